"""How a model lies on several GPUs, and the bytes that each then puts on the wire.

Bytes are those one GPU sends in one step, with the factor of a ring: an all-reduce of X bytes
over n ranks sends 2 (n - 1) / n X from each, an all-gather or reduce-scatter (n - 1) / n X.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from gnomon._errors import ModelError
from gnomon.performance_model._checks import MOST_GPUS, MOST_SEQUENCES, one_of, whole
from gnomon.performance_model.architecture import Architecture, Experts, GroupedAttention, Mlp


@dataclass(frozen=True, slots=True)
class Layout:
    """Tensor, pipeline, expert and data parallelism; the GPUs are tp x pp x dp.

    ``ep`` ranks share the experts. Up to ``tp`` they lie within the ranks that split one layer;
    beyond it over replicas too, and tokens travel (dispatch and combine). 1: every expert's width
    is split over ``tp``. ``microbatches`` of a pipeline; None: as many as it has stages;
    never more than there are sequences.
    ``zero``: what data-parallel training shards (1 optimizer, 2 gradients, 3 weights).
    ``is_dispatch_deduplicated``: a token goes once to a rank that has several of its experts, as
    DeepEP sends it; otherwise once for each expert.
    """

    tp: int = 1
    pp: int = 1
    ep: int = 1
    dp: int = 1
    microbatches: int | None = None
    zero: int = 0
    is_dispatch_deduplicated: bool = True

    def __post_init__(self) -> None:
        for option in ("tp", "pp", "ep", "dp"):
            whole(f"--{option}", getattr(self, option), 1, MOST_GPUS)
        if self.microbatches is not None:
            whole("--microbatches", self.microbatches, 1, MOST_SEQUENCES)
        one_of("--zero", self.zero, (0, 1, 2, 3))
        together = self.tp * self.dp
        if (self.tp % self.ep and self.ep % self.tp) or together % self.ep:
            raise ModelError(
                f"--ep is {self.ep}: it must divide --tp ({self.tp}), or be a multiple of it that "
                f"divides tp x dp ({together})"
            )

    @property
    def gpus(self) -> int:
        """All GPUs."""
        return self.tp * self.pp * self.dp

    @property
    def expert_shards(self) -> float:
        """Ranks over which the width of one expert is split."""
        return max(1, self.tp / self.ep)

    @property
    def expert_replicas(self) -> float:
        """Replicas whose tokens meet at one set of experts."""
        return max(1, self.ep / self.tp)


def check(architecture: Architecture, layout: Layout) -> None:
    """Raise ModelError, naming the field, where a model cannot be split as a layout wants."""
    if layout.pp > architecture.layers:
        raise ModelError(
            f"--pp {layout.pp} is more than the {architecture.layers} layers of "
            f"{architecture.name} (num_hidden_layers)"
        )
    if layout.ep > 1 and not any(
        isinstance(group.feed_forward, Experts) for group in architecture.groups
    ):
        raise ModelError(f"--ep {layout.ep}: {architecture.name} has no experts; leave it out")
    for group in architecture.groups:
        attention, feed_forward = group.attention, group.feed_forward
        _divides(layout.tp, attention.query_heads, "num_attention_heads", architecture.name)
        if isinstance(attention, GroupedAttention) and layout.tp % attention.kv_heads:
            # Fewer heads than ranks are copied, and then tp must be a multiple of them.
            _divides(layout.tp, attention.kv_heads, "num_key_value_heads", architecture.name)
        if isinstance(feed_forward, Mlp):
            _divides(layout.tp, feed_forward.width, "intermediate_size", architecture.name)
        else:
            _check_experts(feed_forward, layout, architecture.name)


def _check_experts(experts: Experts, layout: Layout, name: str) -> None:
    if experts.count % layout.ep:
        raise ModelError(
            f"--ep {layout.ep} does not divide the {experts.count} experts of {name} "
            "(num_experts): choose a divisor"
        )
    _divides(int(layout.expert_shards), experts.expert.width, "moe_intermediate_size", name)
    if experts.shared is not None:
        _divides(layout.tp, experts.shared.width, "shared_expert_intermediate_size", name)


def _divides(tp: int, value: int, field: str, name: str) -> None:
    if value % tp:
        raise ModelError(
            f"--tp {tp} does not divide {field} {value} of {name}: choose a divisor of it"
        )


def all_reduce_bytes(payload_bytes: float, ranks: int) -> float:
    """Return what each rank of a ring sends to add up ``payload_bytes`` everywhere."""
    return 2 * (ranks - 1) / ranks * payload_bytes


def gather_bytes(payload_bytes: float, ranks: float) -> float:
    """Return what each rank sends in an all-gather or reduce-scatter of ``payload_bytes``."""
    return (ranks - 1) / ranks * payload_bytes


def dispatch_copies(experts: Experts, layout: Layout) -> float:
    """Return to how many other ranks a token goes, on average over uniform routing.

    Plain: k (1 - 1/e). De-duplicated: each of the e - 1 others has at least one of the token's k
    experts with the probability 1 - C(E - E/e, k) / C(E, k).
    """
    ranks = layout.ep
    if not layout.is_dispatch_deduplicated:
        return experts.active * (1 - 1 / ranks)
    elsewhere = experts.count - experts.count // ranks
    missed = math.comb(elsewhere, experts.active) / math.comb(experts.count, experts.active)
    return (ranks - 1) * (1 - missed)


def pipeline_stretch(layout: Layout, microbatches: int, *, is_steady: bool) -> float:
    """Return by what the time of a stage's own work grows to that of the whole step.

    One batch through p stages in m microbatches takes m + p - 1 turns: a bubble of
    (p - 1) / (m + p - 1). Steady decoding keeps the pipeline full where m >= p, because only the
    next token of the same sequences has to wait; with fewer it takes p turns.
    """
    turns = max(microbatches, layout.pp) if is_steady else microbatches + layout.pp - 1
    return turns / microbatches
