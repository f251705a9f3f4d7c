"""Whether weights, KV cache and activations fit, and the largest batch and context that do.

A cache holds whole blocks, layers with a window hold the window. Activations are an estimate of
the largest buffers alive at once (inference) or of what the backward pass needs (training).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from gnomon.hardware import HardwareProfile
from gnomon.performance_model._checks import MOST_SEQUENCES, MOST_TOKENS, number
from gnomon.performance_model._memory_need import MemoryNeed
from gnomon.performance_model.architecture import Architecture
from gnomon.performance_model.operators import Execution
from gnomon.performance_model.parallelism import Layout, check
from gnomon.performance_model.phases import Phase

USABLE_PCT = 90.0
"""The share of memory that an engine takes (vLLM's gpu_memory_utilization is 0.9 where not set)."""


@dataclass(frozen=True, slots=True)
class Capacity:
    """What one GPU needs and has, in bytes; of a pipeline the fullest stage.

    ``state_bytes``: gradients and optimizer, in training. ``vram_bytes`` is the GPU's whole
    memory, None where it is not known; then ``usable_bytes``, ``fits``, ``max_batch`` and
    ``max_context`` are None too. ``max_batch`` (sequences of a replica) holds at this phase's
    length of sequences, ``max_context`` (tokens, up to the model's own limit) at its batch; 0
    where not even one fits.
    """

    weight_bytes: float
    kv_bytes: float
    activation_bytes: float
    state_bytes: float
    vram_bytes: int | None
    usable_bytes: float | None
    fits: bool | None
    max_batch: int | None
    max_context: int | None
    warning: str | None

    @property
    def needed_bytes(self) -> float:
        """Everything a GPU has to hold."""
        return self.weight_bytes + self.kv_bytes + self.activation_bytes + self.state_bytes


def capacity(
    architecture: Architecture,
    gpu: HardwareProfile,
    layout: Layout,
    phase: Phase,
    execution: Execution | None = None,
    *,
    usable_pct: float = USABLE_PCT,
) -> Capacity:
    """Return what a phase needs of a GPU's memory.

    Raises ModelError, naming the field, where the layout does not fit the model.
    """
    number("--usable-memory", usable_pct, 1, 100)
    check(architecture, layout)
    need = MemoryNeed(architecture, layout, phase, execution or Execution())
    batch, context = phase.batch, phase.longest
    vram_bytes = gpu.spec.memory_bytes if gpu.spec else None
    answer = Capacity(
        weight_bytes=need.weight_bytes,
        kv_bytes=need.kv_bytes(batch, context),
        activation_bytes=need.activation_bytes(batch, context),
        state_bytes=need.state_bytes,
        vram_bytes=vram_bytes,
        usable_bytes=None,
        fits=None,
        max_batch=None,
        max_context=None,
        warning=None,
    )
    if vram_bytes is None:
        return replace(answer, warning=f"the memory of {gpu.name} is not known: fits is not told")
    usable = vram_bytes * usable_pct / 100
    fits = answer.needed_bytes <= usable
    longest = architecture.max_context or MOST_TOKENS
    return replace(
        answer,
        usable_bytes=usable,
        fits=fits,
        max_batch=_largest(MOST_SEQUENCES, lambda many: need.total_bytes(many, context) <= usable),
        max_context=_largest(longest, lambda tokens: need.total_bytes(batch, tokens) <= usable),
        warning=None
        if fits
        else f"{architecture.name} does not fit: a GPU needs {answer.needed_bytes / 1e9:.1f} GB "
        f"(weights {answer.weight_bytes / 1e9:.1f}, KV cache {answer.kv_bytes / 1e9:.1f}) and may "
        f"use {usable / 1e9:.1f} GB of {gpu.name}; more GPUs, fewer sequences or narrower weights "
        "would help",
    )


def _largest(most: int, fits: Callable[[int], bool]) -> int:
    """Return the largest number up to ``most`` that fits, by bisection; 0 where 1 does not."""
    low, high = 0, most + 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low
