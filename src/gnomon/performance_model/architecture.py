"""What a transformer is made of, as far as its arithmetic goes.

An ``Architecture`` is a list of layer groups; a group is a number of equal layers. Everything
that is counted (parameters, FLOPs, bytes) follows from these few numbers. Reading them from a
model's files is ``huggingface``'s business, counting is ``operators``'.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class GroupedAttention:
    """MHA, GQA or MQA: ``kv_heads`` equals ``query_heads``, divides it, or is 1.

    ``head_dim`` is read, never hidden / heads. ``window`` is the sliding window in tokens, None
    for full attention. ``sinks``: one learned number a query head (gpt-oss).
    ``query_key_norm_spans_heads``: the norms of queries and keys have a weight for every number
    of every head (OLMo 2), not one vector of ``head_dim`` that the heads share.
    """

    query_heads: int
    kv_heads: int
    head_dim: int
    window: int | None = None
    has_qkv_bias: bool = False
    has_output_bias: bool = False
    has_query_key_norm: bool = False
    has_sinks: bool = False
    query_key_norm_spans_heads: bool = False


@dataclass(frozen=True, slots=True)
class LatentAttention:
    """MLA: keys and values are made from one latent vector a token, which alone is cached.

    ``query_rank`` is None where queries are projected directly. Per head: ``nope_dim`` +
    ``rope_dim`` for queries and keys, ``value_dim`` for values; ``kv_rank`` + ``rope_dim``
    numbers a token are cached.
    """

    query_heads: int
    query_rank: int | None
    kv_rank: int
    nope_dim: int
    rope_dim: int
    value_dim: int
    has_qkv_bias: bool = False
    has_output_bias: bool = False


Attention = GroupedAttention | LatentAttention


@dataclass(frozen=True, slots=True)
class Mlp:
    """A dense feed-forward of one width; gated ones have three matrices, plain ones two."""

    width: int
    is_gated: bool = True
    has_bias: bool = False


@dataclass(frozen=True, slots=True)
class Experts:
    """A mixture of experts: ``active`` of ``count`` for each token, and ``shared`` for all.

    ``router_bias``: numbers the router has beside its matrix (a bias, or DeepSeek's score
    correction), counted as parameters and part of no product.
    """

    count: int
    active: int
    expert: Mlp
    shared: Mlp | None = None
    has_shared_gate: bool = False
    router_bias: int = 0


FeedForward = Mlp | Experts


@dataclass(frozen=True, slots=True)
class LayerGroup:
    """``count`` equal layers; ``norms`` are the vectors of hidden size that one of them has."""

    count: int
    attention: Attention
    feed_forward: FeedForward
    norms: int = 2
    # LayerNorm has a bias beside its weight, RMSNorm has not.
    norm_has_bias: bool = False


@dataclass(frozen=True, slots=True)
class WeightFormat:
    """How a group of weights is stored, and in which dtype its products are executed.

    ``bytes_per_weight`` includes scales and zero points. ``compute_dtype`` is a dtype of the GPU
    table: weight-only formats execute in bf16 (or fp16). ``quantizes_activations``: an extra pass
    over the inputs of each product (dynamic fp8, int8 and fp4).
    """

    name: str
    bytes_per_weight: float
    compute_dtype: str
    quantizes_activations: bool = False


BF16 = WeightFormat("bf16", 2.0, "bf16")


@dataclass(frozen=True, slots=True)
class Formats:
    """The weight formats of a model's parts: most schemes leave some parts alone.

    ``experts`` are the routed ones; dense layers and shared experts are ``feed_forward``.
    ``rest``: norms, biases and routers, which no scheme quantises.
    """

    attention: WeightFormat = BF16
    feed_forward: WeightFormat = BF16
    experts: WeightFormat = BF16
    lm_head: WeightFormat = BF16
    embedding: WeightFormat = BF16
    rest: WeightFormat = BF16


@dataclass(frozen=True, slots=True)
class Architecture:
    """A decoder-only transformer. ``vocabulary`` is the number of rows of the embedding."""

    name: str
    hidden: int
    vocabulary: int
    groups: tuple[LayerGroup, ...]
    is_tied: bool
    # Norm after the last layer, in vectors of hidden size.
    final_norms: int = 1
    final_norm_has_bias: bool = False
    has_lm_head_bias: bool = False
    # Learned positions (GPT-2): rows of a second embedding.
    learned_positions: int = 0
    max_context: int | None = None
    formats: Formats = field(default_factory=Formats)

    @property
    def layers(self) -> int:
        """The number of layers."""
        return sum(group.count for group in self.groups)
