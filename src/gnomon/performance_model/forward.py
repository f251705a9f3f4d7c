"""The forward step as a whole: embedding, layers, LM head, and what goes over the wire."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from gnomon.performance_model._attention_operators import attention_operators
from gnomon.performance_model._feed_forward_operators import feed_forward_operators
from gnomon.performance_model.architecture import Architecture, Experts
from gnomon.performance_model.matrices import Matrix, Product
from gnomon.performance_model.operators import Forward, Kind, Operator, Work
from gnomon.performance_model.parallelism import (
    all_reduce_bytes,
    dispatch_copies,
    gather_bytes,
)


def forward(work: Work) -> Forward:
    """Return the operators of one forward step on one GPU, the mean over pipeline stages."""
    return Forward(
        before=tuple(_embedding(work)),
        layers=(
            *_norms(work),
            *attention_operators(work),
            *feed_forward_operators(work),
            *_layer_collectives(work),
        ),
        after=tuple(_head(work)),
    )


def _embedding(work: Work) -> Iterator[Operator]:
    """Yield the gather: no FLOPs, the rows of the tokens alone, split over vocabulary."""
    architecture, layout = work.architecture, work.layout
    stage = 1 / layout.pp
    numbers = work.tokens * architecture.hidden
    gather = work.memory("embedding", stage, 0, numbers)
    rows = numbers / layout.tp * (2 if architecture.learned_positions else 1) * stage
    bytes_per_weight = architecture.formats.embedding.bytes_per_weight
    yield replace(gather, weight_bytes=rows * bytes_per_weight)
    if layout.tp > 1:
        payload = numbers * work.execution.activation_bytes * stage
        yield _all_reduce(work, "embedding_all_reduce", stage, payload)


def _norms(work: Work) -> Iterator[Operator]:
    """Yield the norms: two a layer are fused with the residual, others (Gemma) stand alone.

    Fused: output and residual in, normalised and residual out.
    """
    fused = alone = 0
    for group in work.architecture.groups:
        fused += group.count * min(group.norms, 2)
        alone += group.count * max(group.norms - 2, 0)
    stage, numbers = 1 / work.layout.pp, work.tokens * work.architecture.hidden
    if fused:
        yield work.memory("norm", fused * stage, 2 * numbers, 2 * numbers)
    if alone:
        yield work.memory("post_norm", alone * stage, numbers, numbers)


def _head(work: Work) -> Iterator[Operator]:
    """Yield final norm, LM head, and sampling or (in training) the loss.

    Sampling reads the logits once, as a fused greedy or softmax kernel does; the loss reads them
    and writes their gradient in their place.
    """
    architecture, step = work.architecture, work.step
    stage, tp = 1 / work.layout.pp, work.layout.tp
    numbers = work.tokens * architecture.hidden
    if architecture.final_norms:
        yield work.memory("final_norm", stage, 2 * numbers, numbers)
    rows = architecture.vocabulary / tp
    matrix = Matrix("lm_head", architecture.hidden, rows)
    product = Product.of("lm_head", (matrix,), architecture.hidden, rows)
    form = architecture.formats.lm_head
    head = work.product(product, form, stage, step.logit_rows)
    again = step.head_passes / step.passes
    yield replace(head, count=head.count * again, weight_bytes=head.weight_bytes * again)
    logits = step.logit_rows * rows
    if work.is_training:
        yield work.memory("loss", stage, logits, logits)
        return
    if tp > 1:
        whole = step.logit_rows * architecture.vocabulary * work.execution.activation_bytes
        yield Operator(
            "logits_gather",
            Kind.COLLECTIVE,
            stage * step.head_passes,
            work.execution.activation_dtype,
            collective_bytes=gather_bytes(whole, tp) * stage,
        )
    sampling = work.memory("sampling", stage, logits, 0)
    yield replace(sampling, count=sampling.count * again)


def _layer_collectives(work: Work) -> Iterator[Operator]:
    """Yield what the layers send: all-reduces of TP, dispatch and combine of EP, hops of PP."""
    architecture, layout, execution = work.architecture, work.layout, work.execution
    stage = 1 / layout.pp
    payload = work.tokens * architecture.hidden * execution.activation_bytes
    travelling = _travelling_layers(architecture) if layout.ep > layout.tp else {}
    if layout.tp > 1:
        # One after attention and one after the feed-forward, which combining replaces.
        reduces = (2 * architecture.layers - sum(travelling.values())) * stage
        yield _all_reduce(work, "tensor_parallel_all_reduce", reduces, payload * reduces)
    for experts, count in travelling.items():
        yield from _expert_exchange(work, experts, count * stage)
    if layout.pp > 1:
        # The mean over stages: all but the last send on, each rank its 1/tp.
        hops = (layout.pp - 1) * stage
        yield Operator(
            "pipeline_send",
            Kind.COLLECTIVE,
            hops * work.step.passes,
            execution.activation_dtype,
            collective_bytes=payload / layout.tp * hops,
        )


def _travelling_layers(architecture: Architecture) -> dict[Experts, int]:
    layers: dict[Experts, int] = {}
    for group in architecture.groups:
        if isinstance(group.feed_forward, Experts):
            layers[group.feed_forward] = layers.get(group.feed_forward, 0) + group.count
    return layers


def _expert_exchange(work: Work, experts: Experts, layers: float) -> Iterator[Operator]:
    """Yield dispatch, in the dtype the experts read, and combine, in that of activations."""
    own = work.tokens / work.layout.tp * work.architecture.hidden
    numbers = own * dispatch_copies(experts, work.layout) * layers
    there = work.input_bytes(work.architecture.formats.experts)
    for name, size in (
        ("expert_dispatch", there),
        ("expert_combine", work.execution.activation_bytes),
    ):
        yield Operator(
            name,
            Kind.COLLECTIVE,
            layers * work.step.passes,
            work.execution.activation_dtype,
            collective_bytes=numbers * size,
        )


def _all_reduce(work: Work, name: str, times: float, payload_bytes: float) -> Operator:
    return Operator(
        name,
        Kind.COLLECTIVE,
        times * work.step.passes,
        work.execution.activation_dtype,
        collective_bytes=all_reduce_bytes(payload_bytes, work.layout.tp),
    )
