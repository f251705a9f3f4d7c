"""What the models of one ``model_type`` share, and the odd ones whose config decides more."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from gnomon.performance_model._fields import Fields

# A fact of the family, or the field of the config that tells it.
Flag = bool | str


@dataclass(frozen=True, slots=True)
class Mixture:
    """How a family names and builds its experts; ``None`` where it has no such part.

    ``width``: the field with the width of one expert, None where the family is unknown.
    ``shared_width``: the field with the width of the shared expert; ``shared_count``: the field
    that says how many experts wide it is.
    """

    width: str | None = "moe_intermediate_size"
    shared_width: str | None = None
    shared_count: str | None = None
    has_shared_gate: bool = False
    has_expert_bias: bool = False
    has_router_bias: bool = False


@dataclass(frozen=True, slots=True)
class Family:
    """What all models of one ``model_type`` have in common.

    ``full_every``: every n-th layer attends to everything and the others to the window; 0 where
    all layers have it, None where none has. ``window_switch`` names the field that turns windows
    on, ``windows_from`` the one with the first layer that has them. ``nested_defaults`` hold
    inside a ``text_config`` only, which omits what equals its class's default.
    """

    qkv_bias: Flag = False
    output_bias: Flag = False
    mlp_bias: Flag = False
    lm_head_bias: Flag = False
    query_key_norm: Flag = False
    query_key_norm_spans_heads: bool = False
    has_sinks: bool = False
    # None: where the config has a rank for keys and values.
    is_latent: bool | None = False
    # Where it is not the config that tells their number: 1 for multi-query attention.
    kv_heads: int | None = None
    is_gated: bool = True
    dense_width: str = "intermediate_size"
    # Width of the feed-forward in hidden sizes, where the config omits it.
    width_ratio: float | None = None
    mixture: Mixture | None = None
    norms: int = 2
    norm_has_bias: bool = False
    final_norms: int = 1
    is_tied: bool = False
    learned_positions: bool = False
    extra_positions: int = 0
    full_every: int | None = None
    window_switch: str | None = None
    windows_from: str | None = None
    renamed: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    defaults: Mapping[str, Any] = field(default_factory=dict)
    nested_defaults: Mapping[str, Any] = field(default_factory=dict)
    variant: Callable[[Family, Fields], Family] | None = None


def falcon(family: Family, fields: Fields) -> Family:
    """Return Falcon with its norms and with one key head where it is multi-query."""
    is_new = fields.flag("new_decoder_architecture")
    # Attention and feed-forward side by side share a norm, unless the config asks for two.
    norms = fields.optional_count("num_ln_in_parallel_attn") or (2 if is_new else 1)
    if not fields.flag("parallel_attn"):
        norms = 2
    has_one_kv_head = fields.flag("multi_query") and not is_new
    return replace(family, norms=norms, kv_heads=1 if has_one_kv_head else None)


def gpt_bigcode(family: Family, fields: Fields) -> Family:
    """Return StarCoder with one key head where it is multi-query."""
    return replace(family, kv_heads=1 if fields.flag("multi_query") else None)


def mpt(family: Family, fields: Fields) -> Family:
    """Return MPT with the biases and learned positions that its training configuration has."""
    attention = fields.get("attn_config")
    attention = attention if isinstance(attention, Mapping) else {}
    has_bias = not fields.flag("no_bias")
    has_positions = fields.flag("learned_pos_emb") and attention.get("alibi", True) is False
    return replace(
        family,
        qkv_bias=has_bias,
        output_bias=has_bias,
        mlp_bias=has_bias,
        norm_has_bias=has_bias,
        learned_positions=has_positions,
        width_ratio=fields.number("expansion_ratio", 4.0),
        defaults={**family.defaults, "num_key_value_heads": attention.get("kv_n_heads")},
    )


def opt(family: Family, fields: Fields) -> Family:
    """Return OPT with its norms; ModelError where embeddings are narrower than the layers."""
    projected, hidden = fields.optional_count("word_embed_proj_dim"), fields.count("hidden_size")
    if projected not in {None, hidden}:
        raise fields.wrong(
            "word_embed_proj_dim",
            f"not hidden_size ({hidden}): projections of embeddings cannot be counted",
        )
    has_norms = fields.flag("layer_norm_elementwise_affine")
    has_final = fields.flag("do_layer_norm_before") and not fields.flag("_remove_final_layer_norm")
    return replace(
        family, norms=2 if has_norms else 0, final_norms=1 if has_norms and has_final else 0
    )
