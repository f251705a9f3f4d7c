"""From the fields of a config to the attention and the feed-forward of each layer."""

from __future__ import annotations

from collections.abc import Iterator

from gnomon.performance_model._family import Family, Mixture
from gnomon.performance_model._fields import Fields
from gnomon.performance_model.architecture import (
    Attention,
    Experts,
    FeedForward,
    GroupedAttention,
    LatentAttention,
    Mlp,
)

_EXPERT_COUNTS = ("num_experts", "num_local_experts", "n_routed_experts")
_ACTIVE_COUNTS = ("num_experts_per_tok", "experts_per_token")
_WINDOWED = {"full_attention": False, "sliding_attention": True, "chunked_attention": True}


def attentions(fields: Fields, family: Family, layers: int) -> Iterator[Attention]:
    """Yield the attention of each layer; ModelError where a field is missing or wrong."""
    has_rank = fields.get("kv_lora_rank") is not None
    if has_rank if family.is_latent is None else family.is_latent:
        return iter([_latent(fields, family)] * layers)
    return (_grouped(fields, family, window) for window in _windows(fields, family, layers))


def feed_forwards(fields: Fields, family: Family, layers: int) -> Iterator[FeedForward]:
    """Yield the feed-forward of each layer; ModelError where a field is missing or wrong."""
    has_bias = fields.flag(family.mlp_bias)
    mixture = family.mixture
    count = fields.first_count(_EXPERT_COUNTS, least=0) if mixture else None
    if mixture is None or not count:
        dense = Mlp(_dense_width(fields, family), family.is_gated, has_bias)
        return iter([dense] * layers)
    experts = _experts(fields, family, mixture, count)
    has_experts = _has_experts(fields, layers)
    if all(has_experts):
        return iter([experts] * layers)
    dense = Mlp(_dense_width(fields, family), family.is_gated, has_bias)
    return (experts if here else dense for here in has_experts)


def _latent(fields: Fields, family: Family) -> LatentAttention:
    return LatentAttention(
        query_heads=fields.count("num_attention_heads"),
        query_rank=fields.optional_count("q_lora_rank"),
        kv_rank=fields.count("kv_lora_rank"),
        nope_dim=fields.count("qk_nope_head_dim"),
        rope_dim=fields.count("qk_rope_head_dim"),
        value_dim=fields.count("v_head_dim"),
        has_qkv_bias=fields.flag(family.qkv_bias),
        has_output_bias=fields.flag(family.output_bias),
    )


def _grouped(fields: Fields, family: Family, window: int | None) -> GroupedAttention:
    heads = fields.count("num_attention_heads")
    kv_heads = family.kv_heads or fields.optional_count("num_key_value_heads") or heads
    if heads % kv_heads:
        raise fields.wrong("num_key_value_heads", f"no divisor of num_attention_heads ({heads})")
    return GroupedAttention(
        query_heads=heads,
        kv_heads=kv_heads,
        head_dim=_head_dim(fields, heads),
        window=window,
        has_qkv_bias=fields.flag(family.qkv_bias),
        has_output_bias=fields.flag(family.output_bias),
        has_query_key_norm=fields.flag(family.query_key_norm),
        has_sinks=family.has_sinks,
        query_key_norm_spans_heads=family.query_key_norm_spans_heads,
    )


def _head_dim(fields: Fields, heads: int) -> int:
    stated = fields.optional_count("head_dim")
    if stated is not None:
        return stated
    hidden = fields.count("hidden_size")
    if hidden % heads:
        raise fields.wrong(
            "hidden_size", f"no multiple of num_attention_heads ({heads}), and head_dim is absent"
        )
    return hidden // heads


def _windows(fields: Fields, family: Family, layers: int) -> list[int | None]:
    """Return the sliding window of each layer in tokens, None for full attention."""
    window = fields.optional_count("sliding_window", least=0) or None
    if family.window_switch and not fields.flag(family.window_switch):
        window = None
    return [window if windowed else None for windowed in _windowed(fields, family, layers)]


def _windowed(fields: Fields, family: Family, layers: int) -> list[bool]:
    kinds = fields.listed("layer_types", str)
    if kinds is not None:
        if len(kinds) != layers:
            raise fields.wrong("layer_types", f"not one kind for each of {layers} layers")
        if not set(kinds) <= set(_WINDOWED):
            known = ", ".join(_WINDOWED)
            raise fields.wrong("layer_types", f"more than the kinds that can be counted ({known})")
        return [_WINDOWED[kind] for kind in kinds]
    if family.full_every is None:
        return [False] * layers
    if family.full_every:
        every = fields.first_count(("sliding_window_pattern", "_sliding_window_pattern"))
        every = every or family.full_every
        return [bool((layer + 1) % every) for layer in range(layers)]
    first = 0
    if family.windows_from:
        first = fields.optional_count(family.windows_from, least=0) or 0
    return [layer >= first for layer in range(layers)]


def _dense_width(fields: Fields, family: Family) -> int:
    if fields.get(family.dense_width) is None and family.width_ratio is not None:
        return int(family.width_ratio * fields.count("hidden_size"))
    return fields.count(family.dense_width)


def _experts(fields: Fields, family: Family, mixture: Mixture, count: int) -> Experts:
    width = _expert_width(fields, mixture)
    active = fields.first_count(_ACTIVE_COUNTS)
    active = fields.count("num_experts_per_tok") if active is None else active
    if active > count:
        raise fields.wrong("num_experts_per_tok", f"more than the {count} experts")
    shared = _shared_width(fields, mixture, width)
    return Experts(
        count=count,
        active=active,
        expert=Mlp(width, family.is_gated, mixture.has_expert_bias),
        shared=Mlp(shared, family.is_gated, fields.flag(family.mlp_bias)) if shared else None,
        has_shared_gate=bool(shared) and mixture.has_shared_gate,
        router_bias=count if mixture.has_router_bias else 0,
    )


def _expert_width(fields: Fields, mixture: Mixture) -> int:
    if mixture.width:
        return fields.count(mixture.width)
    # Of an unknown family: the experts' own width, else that of a dense layer.
    return fields.first_count(("moe_intermediate_size",)) or fields.count("intermediate_size")


def _shared_width(fields: Fields, mixture: Mixture, width: int) -> int:
    if mixture.shared_width:
        return fields.optional_count(mixture.shared_width, least=0) or 0
    if mixture.shared_count:
        return width * (fields.optional_count(mixture.shared_count, least=0) or 0)
    return 0


def _has_experts(fields: Fields, layers: int) -> list[bool]:
    """Return which layers have experts: each family uses one or two of these five fields."""
    first = fields.optional_count("first_k_dense_replace", least=0) or 0
    every = fields.optional_count("moe_layer_freq") or 1
    step = fields.first_count(("decoder_sparse_step", "interleave_moe_layer_step")) or 1
    dense = set(fields.listed("mlp_only_layers", int) or ())
    listed = fields.listed("moe_layers", int)
    if listed is not None:
        return [layer in set(listed) for layer in range(layers)]
    return [
        layer >= first and layer % every == 0 and (layer + 1) % step == 0 and layer not in dense
        for layer in range(layers)
    ]
