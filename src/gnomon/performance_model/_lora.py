"""LoRA's adapters: two thin matrices beside each adapted one, in x rank and rank x out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from gnomon._errors import ModelError
from gnomon.performance_model.architecture import BF16, Architecture, Experts, Mlp
from gnomon.performance_model.matrices import Matrix, attention_products, mlp_products
from gnomon.performance_model.operators import (
    Kind,
    Operator,
    Work,
    attentions,
    feed_forwards,
)
from gnomon.performance_model.parallelism import Layout
from gnomon.performance_model.phases import Lora


class Adapted(NamedTuple):
    """A matrix with an adapter: in how many layers, met how often by a token, held how often."""

    matrix: Matrix
    layers: int
    met: float
    held: float


def adapted(architecture: Architecture, phase: Lora, layout: Layout) -> list[Adapted]:
    """Return the matrices that LoRA adapts, as one rank holds them.

    Raises ModelError where a target names none of them.
    """
    every = list(_every(architecture, layout))
    if "all" in phase.targets:
        return every
    names = {one.matrix.name for one in every}
    short = {target: _full_name(target, names) for target in phase.targets}
    unknown = [target for target, name in short.items() if name is None]
    if unknown or not short:
        raise ModelError(
            f"--lora-targets {','.join(unknown) or 'is empty'}: {architecture.name} has "
            f"{', '.join(sorted(names))}; or say all"
        )
    return [one for one in every if one.matrix.name in short.values()]


def adapter_parameters(
    architecture: Architecture, phase: Lora, layout: Layout, *, is_held: bool = True
) -> float:
    """Return the numbers of all adapters: those held by a rank, or those one token meets."""
    return sum(
        (one.held if is_held else one.met) * one.layers * _numbers(one.matrix, phase.rank)
        for one in adapted(architecture, phase, layout)
    )


def adapter_operators(work: Work, phase: Lora) -> Iterator[Operator]:
    """Yield the adapters' two GEMMs a matrix as one row: 2 FLOP a token for each number met."""
    matrices = adapted(work.architecture, phase, work.layout)
    stage, size = 1 / work.layout.pp, work.execution.activation_bytes
    tokens = work.tokens * stage
    met = adapter_parameters(work.architecture, phase, work.layout, is_held=False)
    held = adapter_parameters(work.architecture, phase, work.layout)
    inner = sum(one.met * one.layers * phase.rank for one in matrices)
    flops = 2 * tokens * met
    yield Operator(
        "lora_adapters",
        Kind.PRODUCT,
        2 * sum(one.layers for one in matrices) * stage * work.step.passes,
        work.execution.activation_dtype,
        flops,
        flops,
        weight_bytes=held * BF16.bytes_per_weight * stage * work.step.passes,
        activation_read_bytes=tokens
        * size
        * (inner + sum(one.met * one.layers * one.matrix.inputs for one in matrices)),
        activation_write_bytes=tokens
        * size
        * (inner + sum(one.met * one.layers * one.matrix.outputs for one in matrices)),
    )


def _numbers(matrix: Matrix, rank: int) -> float:
    return rank * (matrix.inputs + matrix.outputs)


def _full_name(target: str, names: set[str]) -> str | None:
    """Return the matrix that "q_proj" or its short form "q" means."""
    return next((name for name in (target, f"{target}_proj") if name in names), None)


def _every(architecture: Architecture, layout: Layout) -> Iterator[Adapted]:
    hidden = architecture.hidden
    for attention, layers in attentions(architecture).items():
        for product in attention_products(attention, hidden, layout.tp):
            for matrix in product.matrices:
                yield Adapted(matrix, layers, 1, 1)
    for feed_forward, layers in feed_forwards(architecture).items():
        dense: Mlp | None
        if isinstance(feed_forward, Experts):
            met = feed_forward.active * layout.expert_replicas / layout.ep
            held = feed_forward.count / layout.ep
            for matrix in _matrices(feed_forward.expert, hidden, layout.expert_shards):
                yield Adapted(matrix, layers, met, held)
            dense = feed_forward.shared
        else:
            dense = feed_forward
        if dense is not None:
            for matrix in _matrices(dense, hidden, layout.tp):
                yield Adapted(matrix, layers, 1, 1)


def _matrices(mlp: Mlp, hidden: int, shards: float) -> list[Matrix]:
    products = mlp_products(mlp, hidden, shards, "mlp")
    return [matrix for product in products for matrix in product.matrices]
