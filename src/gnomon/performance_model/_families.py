"""How each family of models is built, and the defaults of its class: what a config does not say.

Read from the model and configuration classes of Hugging Face transformers 5.23, of which the
tests count small instances (``tests/data/models/small_counts.json``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from gnomon.performance_model import _family
from gnomon.performance_model._family import Family, Mixture

_LLAMA = Family(
    qkv_bias="attention_bias",
    output_bias="attention_bias",
    mlp_bias="mlp_bias",
    nested_defaults={
        "vocab_size": 32000,
        "hidden_size": 4096,
        "intermediate_size": 11008,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
    },
)
_MISTRAL = Family(
    full_every=0,
    defaults={"num_key_value_heads": 8, "sliding_window": 4096},
    nested_defaults={**_LLAMA.nested_defaults, "intermediate_size": 14336},
)
_QWEN2 = Family(
    qkv_bias=True,
    full_every=0,
    window_switch="use_sliding_window",
    windows_from="max_window_layers",
    defaults={"num_key_value_heads": 32, "sliding_window": 4096, "max_window_layers": 28},
)
_QWEN3 = replace(
    _QWEN2,
    qkv_bias="attention_bias",
    output_bias="attention_bias",
    query_key_norm=True,
    defaults={**_QWEN2.defaults, "head_dim": 128},
)
_GEMMA = Family(
    qkv_bias="attention_bias",
    output_bias="attention_bias",
    is_tied=True,
    defaults={"head_dim": 256, "num_key_value_heads": 16},
)
_GEMMA2 = replace(
    _GEMMA,
    norms=4,
    full_every=2,
    defaults={"head_dim": 256, "num_key_value_heads": 4, "sliding_window": 4096},
)
_OLMO2 = Family(
    qkv_bias="attention_bias",
    output_bias="attention_bias",
    query_key_norm=True,
    query_key_norm_spans_heads=True,
)
_GPT2 = Family(
    qkv_bias=True,
    output_bias=True,
    mlp_bias=True,
    is_gated=False,
    width_ratio=4,
    norm_has_bias=True,
    is_tied=True,
    learned_positions=True,
    renamed={
        "hidden_size": ("n_embd",),
        "num_hidden_layers": ("n_layer",),
        "num_attention_heads": ("n_head",),
        "intermediate_size": ("n_inner",),
        "max_position_embeddings": ("n_positions", "n_ctx"),
    },
)
_GLM4 = Family(
    qkv_bias="attention_bias",
    norms=4,
    defaults={"attention_bias": True, "head_dim": 128, "num_key_value_heads": 2},
)
_COHERE = Family(
    qkv_bias="attention_bias",
    output_bias="attention_bias",
    query_key_norm="use_qk_norm",
    query_key_norm_spans_heads=True,
    norms=1,
    is_tied=True,
)
_DEEPSEEK_V3 = Family(
    is_latent=True,
    qkv_bias="attention_bias",
    output_bias="attention_bias",
    mixture=Mixture(shared_count="n_shared_experts", has_router_bias=True),
    defaults={"first_k_dense_replace": 3},
)

GENERIC = replace(
    _LLAMA,
    is_latent=None,
    query_key_norm="use_qk_norm",
    mixture=Mixture(None, shared_count="n_shared_experts"),
    nested_defaults={},
)
"""How a model of an unknown family is read: llama with whatever else its fields say."""

FAMILIES: Mapping[str, Family] = {
    "cohere": _COHERE,
    "cohere2": replace(
        _COHERE, query_key_norm=False, full_every=4, defaults={"sliding_window": 4096}
    ),
    "deepseek_v2": replace(
        _DEEPSEEK_V3,
        mlp_bias="mlp_bias",
        mixture=Mixture(shared_count="n_shared_experts"),
        defaults={},
    ),
    "deepseek_v3": _DEEPSEEK_V3,
    "exaone4": Family(query_key_norm=True, full_every=4, defaults={"sliding_window": 4096}),
    "falcon": Family(
        qkv_bias="bias",
        output_bias="bias",
        mlp_bias="bias",
        is_gated=False,
        width_ratio=4,
        norm_has_bias=True,
        is_tied=True,
        renamed={
            "num_hidden_layers": ("n_layer",),
            "num_attention_heads": ("n_head",),
            "num_key_value_heads": ("num_kv_heads", "n_head_kv"),
            "intermediate_size": ("ffn_hidden_size",),
        },
        defaults={"multi_query": True, "parallel_attn": True},
        variant=_family.falcon,
    ),
    "gemma": _GEMMA,
    "gemma2": _GEMMA2,
    "gemma3_text": replace(
        _GEMMA2,
        query_key_norm=True,
        full_every=6,
        nested_defaults={
            "vocab_size": 262208,
            "hidden_size": 2304,
            "intermediate_size": 9216,
            "num_hidden_layers": 26,
            "num_attention_heads": 8,
        },
    ),
    "glm": replace(_GLM4, norms=2),
    "glm4": _GLM4,
    "glm4_moe": Family(
        qkv_bias="attention_bias",
        query_key_norm="use_qk_norm",
        mixture=Mixture(shared_count="n_shared_experts", has_router_bias=True),
        defaults={"num_key_value_heads": 8, "first_k_dense_replace": 1},
    ),
    "gpt2": _GPT2,
    "gpt_bigcode": replace(_GPT2, defaults={"multi_query": True}, variant=_family.gpt_bigcode),
    "gpt_neox": Family(
        qkv_bias="attention_bias",
        output_bias="attention_bias",
        mlp_bias=True,
        is_gated=False,
        norm_has_bias=True,
        defaults={"attention_bias": True},
    ),
    "gpt_oss": Family(
        qkv_bias="attention_bias",
        output_bias="attention_bias",
        has_sinks=True,
        mixture=Mixture("intermediate_size", has_expert_bias=True, has_router_bias=True),
        full_every=2,
        defaults={
            "attention_bias": True,
            "head_dim": 64,
            "num_key_value_heads": 8,
            "sliding_window": 128,
        },
    ),
    "granite": _LLAMA,
    "granitemoe": replace(_LLAMA, mixture=Mixture("intermediate_size"), nested_defaults={}),
    "llama": _LLAMA,
    "llama4_text": Family(
        qkv_bias="attention_bias",
        output_bias="attention_bias",
        dense_width="intermediate_size_mlp",
        mixture=Mixture("intermediate_size", shared_width="intermediate_size"),
        full_every=4,
        renamed={
            "sliding_window": ("attention_chunk_size",),
            "sliding_window_pattern": ("no_rope_layer_interval",),
        },
        defaults={"head_dim": 128, "num_key_value_heads": 8, "sliding_window": 8192},
        nested_defaults={
            "vocab_size": 202048,
            "hidden_size": 5120,
            "intermediate_size": 8192,
            "intermediate_size_mlp": 16384,
            "num_hidden_layers": 48,
            "num_attention_heads": 40,
            "num_local_experts": 16,
            "num_experts_per_tok": 1,
        },
    ),
    "minimax_m2": Family(
        query_key_norm=True,
        query_key_norm_spans_heads=True,
        mixture=Mixture("intermediate_size", has_router_bias=True),
        defaults={"head_dim": 128, "num_key_value_heads": 8},
    ),
    "ministral3": replace(_MISTRAL, defaults={"num_key_value_heads": 8, "head_dim": 128}),
    "mistral": _MISTRAL,
    "mixtral": Family(
        mixture=Mixture("intermediate_size"),
        full_every=0,
        defaults={"num_key_value_heads": 8},
    ),
    "mpt": Family(
        is_gated=False,
        is_tied=True,
        renamed={
            "hidden_size": ("d_model",),
            "num_hidden_layers": ("n_layers",),
            "num_attention_heads": ("n_heads",),
            "max_position_embeddings": ("max_seq_len",),
        },
        defaults={"no_bias": True, "learned_pos_emb": True},
        variant=_family.mpt,
    ),
    "nemotron": Family(
        qkv_bias="attention_bias",
        output_bias="attention_bias",
        mlp_bias="mlp_bias",
        is_gated=False,
        norm_has_bias=True,
    ),
    "olmo": Family(qkv_bias="attention_bias", output_bias="attention_bias", norms=0, final_norms=0),
    "olmo2": _OLMO2,
    "olmo3": replace(_OLMO2, full_every=4, defaults={"sliding_window": 4096}),
    "olmoe": replace(_OLMO2, mixture=Mixture("intermediate_size")),
    "opt": Family(
        qkv_bias="enable_bias",
        output_bias="enable_bias",
        mlp_bias="enable_bias",
        is_gated=False,
        norm_has_bias=True,
        is_tied=True,
        learned_positions=True,
        # Positions of padded sequences begin at 2.
        extra_positions=2,
        renamed={"intermediate_size": ("ffn_dim",)},
        defaults={
            "enable_bias": True,
            "do_layer_norm_before": True,
            "layer_norm_elementwise_affine": True,
        },
        variant=_family.opt,
    ),
    "phi": Family(
        qkv_bias=True,
        output_bias=True,
        mlp_bias=True,
        lm_head_bias=True,
        is_gated=False,
        norms=1,
        norm_has_bias=True,
    ),
    "phi3": Family(full_every=0),
    "qwen2": _QWEN2,
    "qwen2_moe": replace(
        _QWEN2,
        qkv_bias="qkv_bias",
        mixture=Mixture(shared_width="shared_expert_intermediate_size", has_shared_gate=True),
        defaults={**_QWEN2.defaults, "qkv_bias": True, "num_key_value_heads": 16},
    ),
    "qwen3": _QWEN3,
    "qwen3_moe": replace(
        _QWEN3,
        mixture=Mixture(),
        windows_from=None,
        defaults={"num_key_value_heads": 4, "sliding_window": 4096},
    ),
    "seed_oss": Family(
        qkv_bias="attention_bias",
        output_bias="attention_out_bias",
        mlp_bias="mlp_bias",
        defaults={"attention_bias": True, "head_dim": 128, "num_key_value_heads": 8},
    ),
    "smollm3": replace(
        _LLAMA,
        is_tied=True,
        full_every=0,
        window_switch="use_sliding_window",
        nested_defaults={},
        defaults={"num_key_value_heads": 4},
    ),
    "starcoder2": Family(
        qkv_bias="use_bias",
        output_bias="use_bias",
        mlp_bias="use_bias",
        is_gated=False,
        norm_has_bias=True,
        is_tied=True,
        full_every=0,
        defaults={"use_bias": True, "num_key_value_heads": 2},
    ),
}

_ALIASES: Mapping[str, str] = {
    "gemma3": "gemma3_text",
    "kimi_k2": "deepseek_v3",
    "llama4": "llama4_text",
    "qwen2_5_vl": "qwen2",
    "qwen2_5_vl_text": "qwen2",
    "qwen2_vl": "qwen2",
    "qwen2_vl_text": "qwen2",
    "qwen3_vl_moe_text": "qwen3_moe",
    "qwen3_vl_text": "qwen3",
    "refinedweb": "falcon",
    "refinedwebmodel": "falcon",
}

_CLASS_ENDINGS = ("ForCausalLM", "ForConditionalGeneration", "LMHeadModel", "Model")


def find(model_type: object, classes: object) -> Family | None:
    """Return the family of a ``model_type``, else of its first architecture class; None if unknown.

    ``classes`` is the config's ``architectures``, such as ``["GptOssForCausalLM"]``.
    """
    names = [model_type] if isinstance(model_type, str) else []
    if isinstance(classes, list):
        for name in classes:
            ending = next((e for e in _CLASS_ENDINGS if str(name).endswith(e)), "")
            names.append(str(name).removesuffix(ending))
    known = {_plain(name): name for name in FAMILIES}
    known |= {_plain(alias): name for alias, name in _ALIASES.items()}
    for name in names:
        if _plain(name) in known:
            return FAMILIES[known[_plain(name)]]
    return None


def _plain(name: str) -> str:
    return name.replace("_", "").casefold()
