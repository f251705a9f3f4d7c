"""The KV cache: bytes a token adds, a decode step reads, and a sequence occupies."""

from __future__ import annotations

import math

from gnomon.performance_model.architecture import Architecture, Attention, GroupedAttention
from gnomon.performance_model.attention_pairs import keys
from gnomon.performance_model.matrices import kv_heads_per_rank
from gnomon.performance_model.operators import attentions
from gnomon.performance_model.parameters import kv_values

BLOCK_TOKENS = 16
"""Tokens of a page of the cache (vLLM's default); a sequence occupies whole pages."""


def cached_numbers(attention: Attention, tp: int = 1) -> float:
    """Return the numbers one token leaves in one layer's cache on one rank.

    2 n_kv d, with heads copied where ranks outnumber them; MLA: kv_rank + rope_dim on every rank.
    """
    if isinstance(attention, GroupedAttention):
        return 2 * kv_heads_per_rank(attention, tp) * attention.head_dim
    return kv_values(attention)


def bytes_per_token(architecture: Architecture, kv_bytes: float = 2.0) -> float:
    """Return what one token adds to the cache in all layers, of all ranks' distinct heads."""
    return sum(
        kv_values(attention) * layers * kv_bytes
        for attention, layers in attentions(architecture).items()
    )


def read_bytes(architecture: Architecture, context: float, kv_bytes: float = 2.0) -> float:
    """Return what one decoded token reads that sees ``context`` tokens, windows respected."""
    return sum(
        kv_values(attention) * keys(1, context - 1, _window(attention)) * layers * kv_bytes
        for attention, layers in attentions(architecture).items()
    )


def occupied_bytes(
    architecture: Architecture, context: float, tp: int, pp: int, kv_bytes: float
) -> float:
    """Return what a sequence of ``context`` tokens occupies on a GPU of the fullest stage.

    Whole blocks of ``BLOCK_TOKENS``; layers with a window keep the window's.
    """
    stage = math.ceil(architecture.layers / pp) / architecture.layers
    return stage * sum(
        cached_numbers(attention, tp) * _blocks(context, _window(attention)) * layers * kv_bytes
        for attention, layers in attentions(architecture).items()
    )


def _window(attention: Attention) -> int | None:
    return attention.window if isinstance(attention, GroupedAttention) else None


def _blocks(context: float, window: int | None) -> int:
    kept = context if window is None else min(context, window)
    return math.ceil(kept / BLOCK_TOKENS) * BLOCK_TOKENS
