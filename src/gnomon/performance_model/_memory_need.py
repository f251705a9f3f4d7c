"""The bytes a phase needs on one GPU, as a function of batch and length of sequences."""

from __future__ import annotations

from gnomon.performance_model import cache
from gnomon.performance_model._kept_activations import kept_numbers
from gnomon.performance_model._lora import adapter_parameters
from gnomon.performance_model.architecture import BF16, Architecture, Experts
from gnomon.performance_model.held_weights import Held, held_weights
from gnomon.performance_model.matrices import attention_products, mlp_products
from gnomon.performance_model.operators import Execution, attentions, feed_forwards
from gnomon.performance_model.parallelism import Layout
from gnomon.performance_model.phases import Lora, MicroStep, Phase, Prefill, Serve, Train, Verify
from gnomon.performance_model.training import QLORA_BYTES_PER_WEIGHT

OPTIMIZER_BYTES = 12.0
"""Adam in mixed precision: a weight's master copy, mean, variance (arXiv 1910.02054, 3.1)."""

PASS_TOKENS = 8192
"""Tokens of prompts that an engine takes in one pass where no chunk is given; its buffers hold
those."""

_QUANTISED_BY_QLORA = ("attention", "mlp", "experts")


class MemoryNeed:
    """The memory of a phase of a model in a layout, on a GPU of the fullest pipeline stage.

    ``weight_bytes``: ZeRO stage 3 splits them over replicas. ``state_bytes``: gradients and Adam,
    for all weights or for LoRA's adapters.
    """

    def __init__(
        self, architecture: Architecture, layout: Layout, phase: Phase, execution: Execution
    ) -> None:
        self.architecture = architecture
        self.layout = layout
        self.phase = phase
        self.execution = execution
        parts = held_weights(architecture, layout)
        sharded = layout.zero == 3 and isinstance(phase, MicroStep)
        stored = sum(self._stored(part) for part in parts)
        self.weight_bytes = stored / (layout.dp if sharded else 1)
        self.state_bytes = self._state_bytes(parts)
        self._widest = _widest(architecture, layout)

    def _stored(self, part: Held) -> float:
        phase = self.phase
        if isinstance(phase, Lora) and phase.is_quantised and part.name in _QUANTISED_BY_QLORA:
            return part.weights * QLORA_BYTES_PER_WEIGHT
        return part.total_bytes

    def _state_bytes(self, parts: tuple[Held, ...]) -> float:
        layout, phase = self.layout, self.phase
        if isinstance(phase, Lora):
            adapters = adapter_parameters(self.architecture, phase, layout) / layout.pp
            return adapters * (2 * BF16.bytes_per_weight + OPTIMIZER_BYTES)
        if not isinstance(phase, Train):
            return 0.0
        weights = sum(part.weights for part in parts)
        gradients = BF16.bytes_per_weight / (layout.dp if layout.zero >= 2 else 1)
        return weights * (gradients + OPTIMIZER_BYTES / (layout.dp if layout.zero else 1))

    def kv_bytes(self, batch: float, length: float) -> float:
        """Return the bytes of the caches of ``batch`` sequences; training has none."""
        if isinstance(self.phase, MicroStep):
            return 0.0
        layout = self.layout
        return batch * cache.occupied_bytes(
            self.architecture, length, layout.tp, layout.pp, self.execution.kv_bytes
        )

    def activation_bytes(self, batch: float, length: float) -> float:
        """Return the bytes of buffers, and in training of what waits for the backward pass."""
        architecture, size = self.architecture, self.execution.activation_bytes
        tokens, rows = self._tokens_and_rows(batch, length)
        # Logits in the activations' dtype and, for sampling or loss, in fp32.
        logits = rows * architecture.vocabulary / self.layout.tp * (size + 4)
        widest = tokens * size * (2 * architecture.hidden + self._widest)
        if not isinstance(self.phase, MicroStep):
            return widest + logits
        kept = kept_numbers(architecture, self.layout, self.phase.recompute)
        return tokens * kept * size + logits

    def total_bytes(self, batch: float, length: float) -> float:
        """Return everything together."""
        return (
            self.weight_bytes
            + self.state_bytes
            + self.kv_bytes(batch, length)
            + self.activation_bytes(batch, length)
        )

    def _tokens_and_rows(self, batch: float, length: float) -> tuple[float, float]:
        """Return the tokens of the largest pass, and the rows of its logits."""
        phase = self.phase
        if isinstance(phase, Prefill):
            tokens = min(batch * length, phase.chunk or PASS_TOKENS)
            return tokens, tokens if phase.has_all_logits else batch
        if isinstance(phase, Serve):
            return max(batch, PASS_TOKENS), batch
        if isinstance(phase, Verify):
            return batch * (1 + phase.drafted), batch * (1 + phase.drafted)
        tokens = batch * length if isinstance(phase, MicroStep) else batch
        return tokens, tokens


def _widest(architecture: Architecture, layout: Layout) -> float:
    """Return the numbers a token has in the widest layer's buffers."""
    hidden = architecture.hidden
    widths = [
        sum(one.reads + one.writes for one in attention_products(attention, hidden, layout.tp))
        for attention in attentions(architecture)
    ]
    for feed_forward in feed_forwards(architecture):
        if isinstance(feed_forward, Experts):
            products = mlp_products(feed_forward.expert, hidden, layout.expert_shards, "")
            copies = feed_forward.active * layout.expert_replicas / layout.ep
        else:
            products, copies = mlp_products(feed_forward, hidden, layout.tp, ""), 1
        widths.append(copies * sum(one.reads + one.writes for one in products))
    return max(widths)
