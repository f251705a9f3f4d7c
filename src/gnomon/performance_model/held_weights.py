"""The weights that one GPU of a layout holds."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

from gnomon.performance_model.architecture import Architecture, Experts, WeightFormat
from gnomon.performance_model.matrices import Product, attention_products, mlp_products
from gnomon.performance_model.operators import attentions, feed_forwards
from gnomon.performance_model.parallelism import Layout


class Held(NamedTuple):
    """A part of the model on one GPU: how many numbers, in which format, and whose they are.

    ``is_expert``: routed experts, of which replicas may hold different ones.
    """

    name: str
    weights: float
    form: WeightFormat
    is_expert: bool = False

    @property
    def total_bytes(self) -> float:
        """Bytes, scales and zero points included."""
        return self.weights * self.form.bytes_per_weight


def held_weights(architecture: Architecture, layout: Layout) -> tuple[Held, ...]:
    """Return what a GPU of the fullest pipeline stage holds.

    That is its layers and, of a pipeline, the larger end: embedding or LM head. Biases are left
    out: they are below 0.1 % of every known model.
    """
    stage = math.ceil(architecture.layers / layout.pp) / architecture.layers
    layers = [
        part._replace(weights=part.weights * stage)
        for part in (*_attention(architecture, layout), *_feed_forward(architecture, layout))
    ]
    formats, hidden = architecture.formats, architecture.hidden
    rows = architecture.vocabulary * hidden / layout.tp
    positions = architecture.learned_positions * hidden / layout.tp
    ends = [Held("embedding", rows + positions, formats.embedding)]
    if not architecture.is_tied or layout.pp > 1:
        ends.append(Held("lm_head", rows, formats.lm_head))
    if layout.pp > 1:
        ends = [max(ends, key=lambda end: end.total_bytes)]
    return (*layers, *ends)


def total_bytes(parts: tuple[Held, ...]) -> float:
    """Return the bytes of all parts."""
    return sum(part.total_bytes for part in parts)


def _attention(architecture: Architecture, layout: Layout) -> Iterator[Held]:
    for attention, layers in attentions(architecture).items():
        products = attention_products(attention, architecture.hidden, layout.tp)
        yield Held("attention", _weights(products) * layers, architecture.formats.attention)
    norms = sum(
        group.count * group.norms * (2 if group.norm_has_bias else 1)
        for group in architecture.groups
    )
    yield Held(
        "norms", (norms + architecture.final_norms) * architecture.hidden, architecture.formats.rest
    )


def _feed_forward(architecture: Architecture, layout: Layout) -> Iterator[Held]:
    hidden, formats = architecture.hidden, architecture.formats
    for feed_forward, layers in feed_forwards(architecture).items():
        if isinstance(feed_forward, Experts):
            yield Held("router", feed_forward.count * hidden * layers, formats.rest)
            one = _weights(mlp_products(feed_forward.expert, hidden, layout.expert_shards, ""))
            held = one * feed_forward.count / layout.ep * layers
            yield Held("experts", held, formats.experts, is_expert=True)
        dense = feed_forward.shared if isinstance(feed_forward, Experts) else feed_forward
        if dense is not None:
            products = mlp_products(dense, hidden, layout.tp, "")
            yield Held("mlp", _weights(products) * layers, formats.feed_forward)


def _weights(products: tuple[Product, ...]) -> float:
    return sum(product.weights for product in products)
