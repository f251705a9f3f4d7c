"""The weight matrices of a layer, as one rank of a layout holds them.

A ``Product`` is one GEMM, which engines run for several matrices at once (query, key and value;
gate and up). Names of matrices are those of the Hugging Face modules, by which LoRA targets them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from gnomon.performance_model.architecture import (
    Attention,
    GroupedAttention,
    LatentAttention,
    Mlp,
)


class Matrix(NamedTuple):
    """One matrix: y = x W, with W of ``inputs`` x ``outputs`` numbers on this rank."""

    name: str
    inputs: float
    outputs: float

    @property
    def weights(self) -> float:
        """Numbers in the matrix."""
        return self.inputs * self.outputs


@dataclass(frozen=True, slots=True)
class Product:
    """One GEMM of a layer. ``reads`` and ``writes`` are its activations, in numbers a token.

    ``weights``: the numbers in all of its matrices; a token costs 2 FLOP for each.
    """

    name: str
    matrices: tuple[Matrix, ...]
    reads: float
    writes: float
    weights: float

    @classmethod
    def of(cls, name: str, matrices: tuple[Matrix, ...], reads: float, writes: float) -> Product:
        """Return the product of these matrices."""
        return cls(name, matrices, reads, writes, sum(matrix.weights for matrix in matrices))


def kv_heads_per_rank(attention: GroupedAttention, tp: int) -> float:
    """Return the KV heads of a rank: where there are fewer than ranks, ranks share copies."""
    return max(1, attention.kv_heads / tp)


@lru_cache(maxsize=1024)
def attention_products(
    attention: Attention, hidden: int, tp: int, *, is_absorbed: bool = False
) -> tuple[Product, ...]:
    """Return the GEMMs around one attention core.

    ``is_absorbed`` (MLA in decode): the matrices that would expand the cached latents are applied
    to queries and outputs instead; the same weights and FLOPs a token, other activations.
    """
    if isinstance(attention, GroupedAttention):
        return _grouped(attention, hidden, tp)
    return _latent(attention, hidden, tp, is_absorbed=is_absorbed)


def _grouped(attention: GroupedAttention, hidden: int, tp: int) -> tuple[Product, ...]:
    query = attention.query_heads * attention.head_dim / tp
    key = kv_heads_per_rank(attention, tp) * attention.head_dim
    return (
        Product.of(
            "qkv_projection",
            (
                Matrix("q_proj", hidden, query),
                Matrix("k_proj", hidden, key),
                Matrix("v_proj", hidden, key),
            ),
            hidden,
            query + 2 * key,
        ),
        Product.of("output_projection", (Matrix("o_proj", query, hidden),), query, hidden),
    )


def _latent(
    attention: LatentAttention, hidden: int, tp: int, *, is_absorbed: bool
) -> tuple[Product, ...]:
    heads = attention.query_heads / tp
    query = heads * (attention.nope_dim + attention.rope_dim)
    latent = attention.kv_rank + attention.rope_dim
    expanded = heads * (attention.nope_dim + attention.value_dim)
    # The latents are small and every rank needs them whole: their matrices are not split.
    down = Matrix("kv_a_proj_with_mqa", hidden, latent)
    if attention.query_rank is None:
        direct = Matrix("q_proj", hidden, query)
        first: tuple[Product, ...] = (
            Product.of("qkv_projection", (direct, down), hidden, query + latent),
        )
    else:
        rank = attention.query_rank
        first = (
            Product.of(
                "latent_projection",
                (Matrix("q_a_proj", hidden, rank), down),
                hidden,
                rank + latent,
            ),
            Product.of("query_projection", (Matrix("q_b_proj", rank, query),), rank, query),
        )
    expansion = (Matrix("kv_b_proj", attention.kv_rank, expanded),)
    absorbed = heads * (attention.nope_dim + attention.kv_rank)
    released = heads * (attention.kv_rank + attention.value_dim)
    return (
        *first,
        Product.of("kv_absorption", expansion, absorbed, released)
        if is_absorbed
        else Product.of("kv_expansion", expansion, 0, expanded),
        Product.of(
            "output_projection",
            (Matrix("o_proj", heads * attention.value_dim, hidden),),
            heads * attention.value_dim,
            hidden,
        ),
    )


@lru_cache(maxsize=1024)
def mlp_products(mlp: Mlp, hidden: int, shards: float, prefix: str) -> tuple[Product, Product]:
    """Return the two GEMMs of a feed-forward whose width is split over ``shards`` ranks."""
    width = mlp.width / shards
    up: tuple[Matrix, ...] = (Matrix("up_proj", hidden, width),)
    if mlp.is_gated:
        up = (Matrix("gate_proj", hidden, width), *up)
    return (
        Product.of(
            f"{prefix}_gate_up" if mlp.is_gated else f"{prefix}_up", up, hidden, width * len(up)
        ),
        Product.of(f"{prefix}_down", (Matrix("down_proj", width, hidden),), width, hidden),
    )
