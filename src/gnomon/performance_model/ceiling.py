"""What a workload could reach at best: from operators to time, tokens per second and SOL.

Attainable: the sum over operators of launch floor + max(compute, memory) at the best kernels'
efficiencies, plus the wire. Roofline: the same sum at the bare peaks. Typical: what production
engines reach of attainable, from published measurements.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace

from gnomon._errors import ModelError
from gnomon.enums import BoundBy
from gnomon.hardware import HardwareProfile
from gnomon.performance_model.architecture import Architecture, WeightFormat
from gnomon.performance_model.constants import DEFAULT, Constants
from gnomon.performance_model.forward import forward
from gnomon.performance_model.operators import Execution, Operator, Work
from gnomon.performance_model.parallelism import Layout, check, pipeline_stretch
from gnomon.performance_model.phases import (
    Decode,
    Lora,
    MicroStep,
    Phase,
    Prefill,
    Serve,
    Step,
    Verify,
)
from gnomon.performance_model.roofline import Timed, ridge_flop_per_byte, roofs, time_operator
from gnomon.performance_model.topology import wire_warnings
from gnomon.performance_model.totals import Bytes, Totals, sum_up
from gnomon.performance_model.training import training
from gnomon.performance_model.typical import Typical, typical

_SIXTEEN_BITS = ("bf16", "fp16")


@dataclass(frozen=True, slots=True)
class Ceiling:
    """The best of one step. FLOPs and bytes are those of one GPU, tokens/s of all ``gpus``.

    ``tokens`` of a step are prompt tokens in prefill, trained ones in training, output tokens
    otherwise; ``useful_share`` is the part of the work that is not rejected drafts.
    ``roofline_time_s`` is the time at the bare peaks. ``ttft_s`` and ``tpot_s`` are lower bounds,
    None where a phase has none. ``bubble_s``: the time that a pipeline's stages wait;
    ``exposed_s``: the time that is waited for exchanges that outlast the pass they run beside.
    """

    phase: str
    gpu: HardwareProfile
    gpus: int
    tp: int
    tokens: float
    useful_share: float
    totals: Totals
    time_s: float
    roofline_time_s: float
    ttft_s: float | None
    tpot_s: float | None
    bubble_s: float
    exposed_s: float
    constants: Constants
    operators: tuple[Timed, ...]
    warnings: tuple[str, ...]

    @property
    def flops(self) -> float:
        """FLOPs by the attention convention, with recompute that was asked for: HFU's numerator."""
        return sum(self.totals.flops.values())

    @property
    def useful_flops(self) -> float:
        """FLOPs by the convention without recompute and rejected drafts: MFU's numerator."""
        return sum(self.totals.useful_flops.values()) * self.useful_share

    @property
    def executed_flops(self) -> float:
        """FLOPs that the kernels do: causal, and with work that no convention counts."""
        return sum(self.totals.executed_flops.values())

    @property
    def flops_by_dtype(self) -> Mapping[str, float]:
        """``flops`` by the dtype that executes them."""
        return self.totals.flops

    @property
    def bytes(self) -> Bytes:
        """DRAM traffic by what moves."""
        return self.totals.bytes

    @property
    def collective_bytes(self) -> float:
        """Bytes that a GPU sends."""
        return self.totals.collective_bytes

    @property
    def arithmetic_intensity_flop_per_byte(self) -> float:
        """FLOPs for each byte of DRAM traffic."""
        return self.flops / self.bytes.total

    @property
    def ridge_flop_per_byte(self) -> float:
        """The intensity from which on the dtype of most FLOPs is bound by compute."""
        return ridge_flop_per_byte(self.gpu, self.totals.leading_dtype)

    @property
    def tokens_per_s(self) -> float:
        """Attainable tokens per second of all GPUs."""
        return self.tokens / self.time_s

    @property
    def tokens_per_s_per_gpu(self) -> float:
        """Attainable tokens per second and GPU."""
        return self.tokens_per_s / self.gpus

    @property
    def roofline_tokens_per_s(self) -> float:
        """Tokens per second at the bare peaks."""
        return self.tokens / self.roofline_time_s

    @property
    def typical(self) -> Typical | None:
        """The share of attainable that engines reach, with its source; None without one."""
        return typical(self.phase, self.tp)

    @property
    def typical_tokens_per_s(self) -> float | None:
        """What engines reach by published measurements; None where there are none."""
        return None if self.typical is None else self.typical.share * self.tokens_per_s

    @property
    def compute_sol_pct(self) -> float:
        """Executed FLOPs as a share of what their dtypes' peaks do in this time."""
        return self._share_of_peak_pct(self.totals.executed_flops)

    @property
    def mfu_pct(self) -> float:
        """Useful FLOPs as a share of peak."""
        return self._share_of_peak_pct(self.totals.useful_flops) * self.useful_share

    @property
    def hfu_pct(self) -> float:
        """Counted FLOPs as a share of peak, recompute and rejected drafts included."""
        return self._share_of_peak_pct(self.totals.flops)

    @property
    def memory_sol_pct(self) -> float:
        """All DRAM traffic as a share of bandwidth."""
        return self._share_of_bandwidth_pct(self.bytes.total)

    @property
    def mbu_pct(self) -> float:
        """Weights and cache read as a share of bandwidth (Databricks' definition)."""
        return self._share_of_bandwidth_pct(self.bytes.weights + self.bytes.kv_read)

    @property
    def bubble_pct(self) -> float:
        """The share of the time that a pipeline's stages wait."""
        return 100 * self.bubble_s / self.time_s

    @property
    def seconds_by_bound(self) -> dict[BoundBy, float]:
        """The step's time by what it waits for."""
        seconds = dict(self.totals.seconds_by_bound)
        seconds[BoundBy.IDLE] = self.bubble_s
        if self.exposed_s:
            waited_s = seconds.get(BoundBy.COMMUNICATION, 0.0)
            seconds[BoundBy.COMMUNICATION] = waited_s + self.exposed_s
        return seconds

    @property
    def bound_by(self) -> BoundBy:
        """What takes most of the time."""
        seconds = self.seconds_by_bound
        return max(seconds, key=lambda bound: seconds[bound])

    def _share_of_peak_pct(self, flops: Mapping[str, float]) -> float:
        peaks = self.gpu.peak_flops
        return 100 * sum(done / peaks[dtype] for dtype, done in flops.items()) / self.time_s

    def _share_of_bandwidth_pct(self, moved_bytes: float) -> float:
        return 100 * moved_bytes / (self.gpu.dram_bytes_per_s or math.inf) / self.time_s


def ceiling(
    architecture: Architecture,
    gpu: HardwareProfile,
    layout: Layout,
    phase: Phase,
    constants: Constants = DEFAULT,
    execution: Execution | None = None,
    first_token_s: float | None = None,
) -> Ceiling:
    """Return the ceiling of a phase of a model on GPUs of one kind.

    ``first_token_s``: the TTFT of serving, where it is known of another batch or output.
    Raises ModelError, naming the field, where the layout does not fit the model or the peaks of
    the GPU are not known. What does not fit into memory is computed all the same: ``capacity``.
    """
    check(architecture, layout)
    execution = _with_activations(execution or Execution(), gpu)
    runnable, warnings = _runnable(architecture, gpu, execution.activation_dtype)
    # A pipeline gets the batch in parts, and reads its weights for each.
    microbatches = min(layout.microbatches or layout.pp, phase.batch)
    step = _in_parts(phase.step(), microbatches)
    operators = _operators(Work(runnable, layout, step, execution), phase)
    roof = roofs(gpu)
    timed = tuple(time_operator(one, roof, constants) for one in operators)
    totals = sum_up(timed)
    stretch = _stretch(architecture, layout, phase, microbatches)
    exposed_s = totals.exposed_s(stretch)
    time_s = totals.serial_s * stretch + exposed_s
    ttft_s = time_s if isinstance(phase, Prefill) else first_token_s
    if isinstance(phase, Serve) and ttft_s is None:
        # The first token of a prompt that meets idle GPUs.
        ttft_s = ceiling(architecture, gpu, layout, phase.alone(), constants, execution).time_s
    return Ceiling(
        phase=phase.name,
        gpu=gpu,
        gpus=layout.gpus,
        tp=layout.tp,
        tokens=step.output_tokens * layout.dp,
        useful_share=step.useful_share,
        totals=totals,
        time_s=time_s,
        roofline_time_s=totals.ideal_s(stretch),
        ttft_s=ttft_s,
        tpot_s=_tpot_s(phase, time_s),
        bubble_s=totals.serial_s * (stretch - 1),
        exposed_s=exposed_s,
        constants=constants,
        operators=timed,
        warnings=(
            *warnings,
            *_long_context(architecture, phase),
            *wire_warnings(gpu, layout, phase),
        ),
    )


def _operators(work: Work, phase: Phase) -> tuple[Operator, ...]:
    if isinstance(phase, MicroStep):
        work = replace(work, is_training=True)
        if isinstance(phase, Lora) and phase.is_quantised:
            work = replace(work, architecture=_unpacked(work))
        return training(work, forward(work), phase)
    parts = forward(work)
    return (*parts.before, *parts.layers, *parts.after)


def _unpacked(work: Work) -> Architecture:
    """Return the model as QLoRA's products meet it: unpacked to 16 bits, however it is stored."""
    dtype = work.execution.activation_dtype
    wide = WeightFormat(dtype, 2.0, dtype)
    formats = replace(work.architecture.formats, attention=wide, feed_forward=wide, experts=wide)
    return replace(work.architecture, formats=formats)


def _in_parts(step: Step, microbatches: int) -> Step:
    if microbatches == 1:
        return step
    return replace(
        step, passes=step.passes * microbatches, head_passes=step.head_passes * microbatches
    )


def _stretch(architecture: Architecture, layout: Layout, phase: Phase, microbatches: int) -> float:
    """Return by what a pipeline's bubble, and stages of unequal length, stretch the time."""
    if layout.pp == 1:
        return 1.0
    is_steady = not isinstance(phase, Prefill | MicroStep)
    longest = math.ceil(architecture.layers / layout.pp) * layout.pp / architecture.layers
    return longest * pipeline_stretch(layout, microbatches, is_steady=is_steady)


def _tpot_s(phase: Phase, time_s: float) -> float | None:
    if isinstance(phase, Verify):
        return time_s / (1 + phase.accepted)
    return time_s if isinstance(phase, Decode | Serve) else None


def _with_activations(execution: Execution, gpu: HardwareProfile) -> Execution:
    """Return the execution with a 16-bit type that the GPU has: Volta and Turing have no bf16."""
    if execution.activation_dtype in gpu.peak_flops:
        return execution
    found = next((dtype for dtype in _SIXTEEN_BITS if dtype in gpu.peak_flops), None)
    if found is None:
        raise ModelError(f"--gpu {gpu.name}: no 16-bit peak of it is known; name one of the table")
    return replace(execution, activation_dtype=found)


def _runnable(
    architecture: Architecture, gpu: HardwareProfile, sixteen_bits: str
) -> tuple[Architecture, tuple[str, ...]]:
    """Return the model with every product in a dtype that the GPU has, and what that changed.

    Narrow weights stay narrow in memory and are widened in the kernel, as weight-only ones are.
    """
    formats = architecture.formats
    changed: dict[str, WeightFormat] = {}
    for part in fields(formats):
        form: WeightFormat = getattr(formats, part.name)
        if form.compute_dtype not in gpu.peak_flops:
            changed[part.name] = replace(
                form, compute_dtype=sixteen_bits, quantizes_activations=False
            )
    if not changed:
        return architecture, ()
    absent = sorted({getattr(formats, part).compute_dtype for part in changed})
    warning = f"{gpu.name} has no {', '.join(absent)} products: they run in {sixteen_bits}"
    return replace(architecture, formats=replace(formats, **changed)), (warning,)


def _long_context(architecture: Architecture, phase: Phase) -> tuple[str, ...]:
    """Return a warning where sequences are longer than the model was made for."""
    longest, allowed = phase.longest, architecture.max_context
    if allowed is None or longest <= allowed:
        return ()
    warning = (
        f"{longest:g} tokens are more than the {allowed} that {architecture.name} was made for "
        "(max_position_embeddings)"
    )
    return (warning,)
