"""What a training step keeps of the forward pass, until the backward pass has used it.

Every operator of the backward pass needs some tensors of the forward one: a norm its input, a
product its input (for the weights' gradient), the fused attention core q, k, v and its output, an
activation function what it was applied to. Numbers a token of one layer, each tensor once:

=============================  ==========================================================
norms                          h each
inputs of q, k, v and of MLP   2 h: what the norms wrote
grouped attention              (n_q + 2 n_kv) d for q, k, v; n_q d for the core's output
MLA                            both latents before and after their norms, rope's part; q and
                               k of n_q (nope + rope), v and the output of n_q v
MLP                            I for each matrix that goes up, I for the product going down
experts                        the router's E; for each of a token's k copies its input and
                               output, h each, and an MLP of the expert's width; shared: an MLP
=============================  ==========================================================

With n_q = n_kv, n_q d = h and a plain MLP of 4 h these are 16 h numbers, 32 h bytes in 16 bits:
the 34 h of arXiv 2205.05198 (section 4.1, without the core's rectangle) less its two dropout
masks of a byte, which today's models do not have. Tensor parallelism splits what lies within
attention and MLP, and not what norms read and write (table 2 there: 10 + 24 / t with masks).
Left out: statistics of norms and softmax, a number a head and token.
"""

from __future__ import annotations

from gnomon.performance_model.architecture import (
    Architecture,
    Attention,
    FeedForward,
    GroupedAttention,
    LayerGroup,
    Mlp,
)
from gnomon.performance_model.matrices import kv_heads_per_rank
from gnomon.performance_model.parallelism import Layout


def kept_numbers(architecture: Architecture, layout: Layout, recompute: str) -> float:
    """Return the numbers a token leaves on one GPU, the mean over pipeline stages.

    Full recompute keeps each layer's input, and the tensors of the one that is done again.
    Selective recompute does the core again, which, fused, keeps nothing that is not needed twice.
    LoRA keeps the same: its adapters need the inputs of the products that they stand beside.
    """
    groups, hidden = architecture.groups, architecture.hidden
    if recompute == "full":
        whole = max(_of_layer(group, hidden, layout) for group in groups)
        return architecture.layers / layout.pp * hidden + whole
    return sum(group.count * _of_layer(group, hidden, layout) for group in groups) / layout.pp


def _of_layer(group: LayerGroup, hidden: int, layout: Layout) -> float:
    between = (group.norms + 2) * hidden
    return (
        between
        + _attention(group.attention, layout.tp)
        + _feed_forward(group.feed_forward, hidden, layout)
    )


def _attention(attention: Attention, tp: int) -> float:
    heads = attention.query_heads / tp
    if isinstance(attention, GroupedAttention):
        query = heads * attention.head_dim
        key = kv_heads_per_rank(attention, tp) * attention.head_dim
        # A norm of queries and keys keeps its inputs beside what it wrote.
        normed = query + key if attention.has_query_key_norm else 0
        return 2 * query + 2 * key + normed
    latents = 2 * ((attention.query_rank or 0) + attention.kv_rank) + attention.rope_dim
    per_head = 2 * (attention.nope_dim + attention.rope_dim) + 2 * attention.value_dim
    return latents + heads * per_head


def _feed_forward(feed_forward: FeedForward, hidden: int, layout: Layout) -> float:
    if isinstance(feed_forward, Mlp):
        return _mlp(feed_forward, layout.tp)
    copies = feed_forward.active * layout.expert_replicas / layout.ep
    routed = copies * (2 * hidden + _mlp(feed_forward.expert, layout.expert_shards))
    shared = feed_forward.shared
    return feed_forward.count + routed + (0 if shared is None else _mlp(shared, layout.tp))


def _mlp(mlp: Mlp, shards: float) -> float:
    return (3 if mlp.is_gated else 2) * mlp.width / shards
