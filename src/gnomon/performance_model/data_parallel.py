"""What replicas exchange in training, so that they stay one model."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from gnomon.performance_model._lora import adapter_parameters
from gnomon.performance_model.architecture import BF16
from gnomon.performance_model.held_weights import held_weights
from gnomon.performance_model.operators import Kind, Operator, Work
from gnomon.performance_model.parallelism import gather_bytes
from gnomon.performance_model.phases import Lora, Train


def replica_exchange(work: Work, phase: Train | Lora) -> Iterator[Operator]:
    """Yield the exchange of gradients and weights, each beside the pass that it belongs to.

    Up to ZeRO stage 2: reduce-scatter of gradients and all-gather of weights, together one
    all-reduce, once in ``accumulation`` micro-steps. Stage 3: weights are gathered for forward
    and for backward, and gradients scattered, in every micro-step. LoRA exchanges its adapters'
    gradients alone, but stage 3 gathers the frozen weights too.
    """
    layout = work.layout
    replicas = {False: layout.dp, True: layout.dp / layout.expert_replicas}
    parts = held_weights(work.architecture, layout)
    once = 1 / phase.accumulation
    for is_expert, ranks in replicas.items():
        held = sum(part.total_bytes for part in parts if part.is_expert == is_expert)
        if ranks <= 1 or not held:
            continue
        name = "expert_gradients" if is_expert else "gradients"
        if layout.zero == 3:
            gathered = "expert_weights" if is_expert else "weights"
            gather = _exchange(work, f"{gathered}_gather", 1, gather_bytes(held, ranks))
            yield replace(gather, is_backward=False)
            yield replace(gather, name=f"{gathered}_gather_backward")
            once = 1.0
        if isinstance(phase, Train):
            sent = gather_bytes(held, ranks) * (1 if layout.zero == 3 else 2)
            yield _exchange(work, f"{name}_exchange", once, sent * once)
    if isinstance(phase, Lora) and layout.dp > 1:
        numbers = adapter_parameters(work.architecture, phase, layout)
        held = numbers * BF16.bytes_per_weight / layout.pp
        sent = 2 * gather_bytes(held, layout.dp)
        yield _exchange(work, "adapter_gradients_exchange", once, sent * once)


def _exchange(work: Work, name: str, count: float, sent_bytes: float) -> Operator:
    return Operator(
        name,
        Kind.COLLECTIVE,
        count,
        work.execution.activation_dtype,
        collective_bytes=sent_bytes,
        is_backward=True,
        is_overlapped=True,
    )
