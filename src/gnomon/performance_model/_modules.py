"""The names that a model's parts have in Hugging Face files, and patterns over such names.

Quantised checkpoints tell by name what they leave alone. Lists often name first or last layers
one by one, so that a layer in the middle stands for its part.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any

# Where the layers hang: in a language model alone, and in multimodal ones.
_ROOTS = ("model.", "language_model.model.", "model.language_model.")

_GROUPED = ("q_proj", "k_proj", "v_proj", "o_proj")
_LATENT = ("q_a_proj", "q_b_proj", "kv_a_proj_with_mqa", "kv_b_proj", "o_proj")
_MLP = ("gate_proj", "up_proj", "down_proj")

# Families that call their feed-forward otherwise than mlp.
_BLOCKS = {
    "granitemoe": "block_sparse_moe",
    "llama4": "feed_forward",
    "mixtral": "block_sparse_moe",
}
_SHARED = {"n_shared_experts": "shared_experts", "shared_expert_intermediate_size": "shared_expert"}


def parts(config: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """Return, for each part that ``Formats`` has, the modules that stand for it.

    The feed-forward of a model with shared experts is these: they outweigh its dense layers.
    """
    layers = config.get("num_hidden_layers")
    middle = layers // 2 if isinstance(layers, int) else 0
    block = _BLOCKS.get(str(config.get("model_type")).removesuffix("_text"), "mlp")
    shared = next((f".{name}" for key, name in _SHARED.items() if config.get(key)), "")
    attention = _LATENT if config.get("kv_lora_rank") is not None else _GROUPED
    return {
        "attention": tuple(f"layers.{middle}.self_attn.{name}" for name in attention),
        "feed_forward": tuple(f"layers.{middle}.{block}{shared}.{name}" for name in _MLP),
        "experts": tuple(f"layers.{middle}.{block}.experts.0.{name}" for name in _MLP),
    }


def is_pattern(text: str) -> bool:
    """Return whether a pattern can be used: false for a broken regular expression."""
    try:
        re.compile(text.removeprefix("re:") if text.startswith("re:") else "")
    except (re.error, OverflowError, RecursionError):
        return False
    return True


def is_named(module: str, pattern: str) -> bool:
    """Return whether a pattern names a module: the module, one around it, or one of its parts.

    ``re:`` begins a regular expression (compressed-tensors), ``*`` stands for anything
    (ModelOpt), and any other pattern is a run of whole names.
    """
    names = [root + module for root in _ROOTS]
    if pattern.startswith("re:"):
        expression = re.compile(pattern.removeprefix("re:"))
        return any(expression.match(name) for name in names)
    if "*" in pattern:
        around = f"{pattern}.*"
        return any(fnmatchcase(name, pattern) or fnmatchcase(name, around) for name in names)
    return any(f".{pattern}." in f".{name}." for name in names)
