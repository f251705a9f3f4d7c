"""The operators of dense feed-forwards and of mixtures of experts."""

from __future__ import annotations

from collections.abc import Iterator

from gnomon.performance_model.architecture import Experts, Mlp, WeightFormat
from gnomon.performance_model.matrices import Matrix, Product, mlp_products
from gnomon.performance_model.operators import Operator, Work, expected_distinct, feed_forwards


def feed_forward_operators(work: Work) -> Iterator[Operator]:
    """Yield the feed-forward operators of all layers."""
    for feed_forward, count in feed_forwards(work.architecture).items():
        layers = count / work.layout.pp
        if isinstance(feed_forward, Mlp):
            form = work.architecture.formats.feed_forward
            yield from _mlp(work, feed_forward, form, layers, "mlp")
        else:
            yield from _experts(work, feed_forward, layers)


def _mlp(
    work: Work, mlp: Mlp, form: WeightFormat, layers: float, prefix: str
) -> Iterator[Operator]:
    tokens = work.tokens
    up, down = mlp_products(mlp, work.architecture.hidden, work.layout.tp, prefix)
    yield from work.quantise(prefix, form, layers, (tokens * up.reads, tokens * down.reads))
    yield work.product(up, form, layers, tokens)
    yield work.memory(f"{prefix}_activation", layers, tokens * up.writes, tokens * down.reads)
    yield work.product(down, form, layers, tokens)


def _experts(work: Work, experts: Experts, layers: float) -> Iterator[Operator]:
    """Yield router, routed experts, the sum of their outputs, and shared experts.

    FLOPs follow the tokens' copies; weights are read for the distinct experts that a pass hits
    (uniform routing). With ``ep`` ranks each has 1/ep of both, of all the tokens that meet there.
    """
    layout, step, tokens = work.layout, work.step, work.tokens
    hidden, form = work.architecture.hidden, work.architecture.formats.experts
    # A router is small and sensitive: it is left in 16 bits by every format.
    gate = experts.count + (1 if experts.has_shared_gate else 0)
    router = Product.of("router", (Matrix("gate", hidden, gate),), hidden, gate)
    yield work.product(router, work.architecture.formats.rest, layers, tokens)
    meeting = tokens * layout.expert_replicas
    copies = meeting * experts.active / layout.ep
    hit = expected_distinct(experts.count, experts.active, meeting / step.passes)
    hit = max(min(hit, experts.active), hit * work.execution.routing_skew)
    distinct = hit / layout.ep
    up, down = mlp_products(experts.expert, hidden, layout.expert_shards, "experts")
    yield from work.quantise("experts", form, layers, (copies * up.reads, copies * down.reads))
    # One kernel a layer over all experts, which reads the weights of those that were hit.
    reads = distinct * step.passes
    yield work.product(up, form, layers, copies, reads)
    yield work.memory("experts_activation", layers, copies * up.writes, copies * down.reads)
    yield work.product(down, form, layers, copies, reads)
    yield work.memory("experts_sum", layers, copies * hidden, tokens * hidden)
    if experts.shared is not None:
        shared_form = work.architecture.formats.feed_forward
        yield from _mlp(work, experts.shared, shared_form, layers, "shared_experts")
