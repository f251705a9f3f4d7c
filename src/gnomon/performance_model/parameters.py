"""Counting the parameters of an architecture, and the bytes that they take.

Per layer, with hidden size h, query and KV heads n, head dimension d, width I, experts E:

- grouped attention: h (n_q + 2 n_kv) d for queries, keys and values, n_q d h for the output;
- latent attention: h q + q n (nope + rope) for queries of rank q, or h n (nope + rope) without
  a rank; h (c + rope) + c n (nope + v) for keys and values of rank c; n v h for the output
  (DeepSeek-V2, arXiv:2405.04434, section 2.1);
- feed-forward: 3 h I where gated, else 2 h I; a router is h E.
"""

from __future__ import annotations

from dataclasses import dataclass

from gnomon.performance_model.architecture import (
    Architecture,
    Attention,
    Experts,
    FeedForward,
    GroupedAttention,
    LatentAttention,
    LayerGroup,
    Mlp,
)


@dataclass(frozen=True, slots=True)
class Parameters:
    """The parameters of a model: how many there are, and how many one token uses.

    Published figures of active parameters follow either of two conventions. ``active`` is all
    but the experts that a token is not sent to (Mixtral 12.9B, Qwen3-30B-A3B 3.35B); it includes
    the input embedding, of which a token reads one row. ``active_without_embedding`` leaves the
    input embedding and learned positions out (gpt-oss-120b 5.13B, DeepSeek-V3 36.6B). The matrix
    of a tied model stays in both, because the LM head uses it.

    The parts are matrices; ``vectors`` are norms, biases, sinks and what a router has beside its
    matrix. ``lm_head`` of a tied model is the embedding's matrix, and once in the total.
    ``matmul_per_token``: the weights of the products that each token goes through, without the
    LM head; twice that is the FLOPs of a token's linear layers.
    ``kv_values_per_token``: the numbers that one token adds to the KV cache.
    """

    total: int
    active: int
    active_without_embedding: int
    embedding: int
    positions: int
    lm_head: int
    attention: int
    feed_forward: int
    shared_experts: int
    experts: int
    routers: int
    vectors: int
    matmul_per_token: int
    kv_values_per_token: int


def count(architecture: Architecture) -> Parameters:
    """Count the parameters of an architecture, exactly."""
    hidden, groups = architecture.hidden, architecture.groups
    embedding = architecture.vocabulary * hidden
    positions = architecture.learned_positions * hidden
    attention = sum(g.count * attention_weights(g.attention, hidden) for g in groups)
    dense = sum(g.count * _dense_weights(g.feed_forward, hidden) for g in groups)
    mixtures = [(g.count, g.feed_forward) for g in groups if isinstance(g.feed_forward, Experts)]
    shared = sum(n * _shared_weights(e, hidden) for n, e in mixtures)
    experts = sum(n * e.count * mlp_weights(e.expert, hidden) for n, e in mixtures)
    active = sum(n * e.active * mlp_weights(e.expert, hidden) for n, e in mixtures)
    routers = sum(n * e.count * hidden for n, e in mixtures)
    unused_biases = sum(
        n * (e.count - e.active) * _mlp_biases(e.expert, hidden) for n, e in mixtures
    )
    vectors = sum(g.count * _vectors(g, hidden) for g in groups)
    vectors += architecture.final_norms * hidden * (1 + architecture.final_norm_has_bias)
    vectors += architecture.vocabulary * architecture.has_lm_head_bias
    untied = 0 if architecture.is_tied else embedding
    matmul_per_token = attention + dense + shared + active + routers
    used = matmul_per_token + vectors - unused_biases
    return Parameters(
        total=used + unused_biases + experts - active + embedding + positions + untied,
        active=used + embedding + positions + untied,
        active_without_embedding=used + embedding,
        embedding=embedding,
        positions=positions,
        lm_head=embedding,
        attention=attention,
        feed_forward=dense,
        shared_experts=shared,
        experts=experts,
        routers=routers,
        vectors=vectors,
        matmul_per_token=matmul_per_token,
        kv_values_per_token=sum(g.count * kv_values(g.attention) for g in groups),
    )


def weight_bytes(architecture: Architecture) -> int:
    """Return the bytes of all weights as stored, scales included."""
    counted, formats = count(architecture), architecture.formats
    parts = (
        (counted.embedding + counted.positions, formats.embedding),
        (0 if architecture.is_tied else counted.lm_head, formats.lm_head),
        (counted.attention, formats.attention),
        (counted.feed_forward + counted.shared_experts, formats.feed_forward),
        (counted.experts, formats.experts),
        (counted.routers + counted.vectors, formats.rest),
    )
    return round(sum(weights * stored.bytes_per_weight for weights, stored in parts))


def attention_weights(attention: Attention, hidden: int) -> int:
    """Return the weights of the matrices of one layer's attention."""
    if isinstance(attention, LatentAttention):
        return _latent_weights(attention, hidden)
    heads = 2 * attention.query_heads + 2 * attention.kv_heads
    return hidden * heads * attention.head_dim


def mlp_weights(mlp: Mlp, hidden: int) -> int:
    """Return the weights of the matrices of one dense feed-forward or one expert."""
    return (3 if mlp.is_gated else 2) * hidden * mlp.width


def kv_values(attention: Attention) -> int:
    """Return how many numbers one token adds to the KV cache of one layer."""
    if isinstance(attention, LatentAttention):
        return attention.kv_rank + attention.rope_dim
    return 2 * attention.kv_heads * attention.head_dim


def _latent_weights(attention: LatentAttention, hidden: int) -> int:
    heads, rank = attention.query_heads, attention.query_rank
    queries = heads * (attention.nope_dim + attention.rope_dim)
    keys_and_values = heads * (attention.nope_dim + attention.value_dim)
    return (
        (hidden * queries if rank is None else rank * (hidden + queries))
        + hidden * (attention.kv_rank + attention.rope_dim)
        + attention.kv_rank * keys_and_values
        + heads * attention.value_dim * hidden
    )


def _dense_weights(feed_forward: FeedForward, hidden: int) -> int:
    return mlp_weights(feed_forward, hidden) if isinstance(feed_forward, Mlp) else 0


def _shared_weights(experts: Experts, hidden: int) -> int:
    shared = mlp_weights(experts.shared, hidden) if experts.shared else 0
    return shared + hidden * experts.has_shared_gate


def _vectors(group: LayerGroup, hidden: int) -> int:
    norms = group.norms * hidden * (1 + group.norm_has_bias)
    return norms + _attention_vectors(group.attention, hidden) + _biases(group, hidden)


def _attention_vectors(attention: Attention, hidden: int) -> int:
    output_bias = hidden * attention.has_output_bias
    if isinstance(attention, LatentAttention):
        rank = attention.query_rank or 0
        # The two low ranks are normalised, and their projections are those that may have biases.
        biases = (rank + attention.kv_rank + attention.rope_dim) * attention.has_qkv_bias
        return output_bias + rank + attention.kv_rank + biases
    return output_bias + _grouped_vectors(attention)


def _grouped_vectors(attention: GroupedAttention) -> int:
    queries = attention.query_heads * attention.head_dim
    keys = attention.kv_heads * attention.head_dim
    biases = (queries + 2 * keys) * attention.has_qkv_bias
    norm = queries + keys if attention.query_key_norm_spans_heads else 2 * attention.head_dim
    return (
        biases + norm * attention.has_query_key_norm + attention.query_heads * attention.has_sinks
    )


def _biases(group: LayerGroup, hidden: int) -> int:
    feed_forward = group.feed_forward
    if isinstance(feed_forward, Mlp):
        return _mlp_biases(feed_forward, hidden)
    shared = _mlp_biases(feed_forward.shared, hidden) if feed_forward.shared else 0
    expert = _mlp_biases(feed_forward.expert, hidden)
    return shared + feed_forward.count * expert + feed_forward.router_bias


def _mlp_biases(mlp: Mlp, hidden: int) -> int:
    return ((2 if mlp.is_gated else 1) * mlp.width + hidden) * mlp.has_bias
