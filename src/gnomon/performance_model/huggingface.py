"""From a model's Hugging Face files to its ``Architecture``.

``from_config`` is the pure part; ``read`` finds the files. What a config omits is filled in from
its family (``_families``), as transformers does.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from gnomon._errors import ModelError
from gnomon.performance_model import _families, known, parameters, quantisation
from gnomon.performance_model._family import Family
from gnomon.performance_model._fields import LARGEST_LAYERS, Fields
from gnomon.performance_model._layers import attentions, feed_forwards
from gnomon.performance_model.architecture import Architecture, LayerGroup

CONFIG = "config.json"
INDEX = "model.safetensors.index.json"
QUANTISATION = "hf_quant_config.json"

# A checkpoint may differ from its model by so much and still be it: scales and small vectors.
INDEX_TOLERANCE = 0.005

_NESTED = ("thinker_config", "text_config", "language_config", "llm_config")
_INHERITED = ("dtype", "quantization_config", "tie_word_embeddings", "torch_dtype")

# Fields of models with layers that are neither attention nor feed-forward.
_OTHER_LAYERS = (
    "cross_attention_layers",
    "full_attention_interval",
    "hybrid_override_pattern",
    "linear_attn_config",
    "linear_num_key_heads",
    "lru_width",
    "mamba_d_state",
    "ssm_cfg",
    "ssm_state_size",
    "state_size",
)


@dataclass(frozen=True, slots=True)
class Reading:
    """A model as it was read, and what a reader of its numbers should know of how."""

    architecture: Architecture
    warnings: tuple[str, ...] = ()


def read(source: str | Path) -> Reading:
    """Read a model from a config.json, its folder, a safetensors index, or a known name.

    The folder's safetensors index is held against the result, and a difference is a warning.
    Raises ModelError for what is neither a file nor a known name, and for what cannot be read.
    """
    path = Path(source)
    if not _exists(path):
        name = known.find(str(source))
        return from_config(known.config(name), name)
    folder = path if path.is_dir() else path.parent
    config_path = path if path.is_file() and path.name != INDEX else folder / CONFIG
    config = dict(_load(config_path))
    quantised = folder / QUANTISATION
    if "quantization_config" not in config and quantised.is_file():
        config["quantization_config"] = {**_load(quantised), "quant_method": "modelopt"}
    name = folder.resolve().name if config_path.name == CONFIG else config_path.stem
    reading = from_config(config, name, str(config_path))
    index = folder / INDEX
    if not index.is_file():
        return reading
    differences = _differences(reading.architecture, _load(index), str(index))
    return replace(reading, warnings=reading.warnings + differences)


def from_config(config: Mapping[str, Any], name: str, where: str = "") -> Reading:
    """Read a model from the fields of its config; ``where`` is the file that errors name.

    Of a multimodal model the language model is read. Raises ModelError for a field that is
    missing or wrong, and for models that are not decoders of attention and feed-forward.
    """
    where = where or f"the config of {name}"
    language, warnings = _language_model(config)
    family = _families.find(language.get("model_type"), language.get("architectures"))
    if family is None:
        family = _families.GENERIC
        warnings.append(
            f"{where}: model_type {language.get('model_type')!r} is not known; it is read as a "
            "llama-like model, so compare its number of parameters with the published one"
        )
    fields = _fields(language, family, where, is_nested=language is not config)
    _refuse_other_models(fields)
    if family.variant:
        family = family.variant(family, fields)
        fields = replace(fields, defaults={**fields.defaults, **family.defaults})
    architecture = _architecture(fields, family, name)
    return Reading(architecture, (*warnings, *_notes(fields, architecture)))


def _exists(path: Path) -> bool:
    """Return whether a path is there; ModelError where it can only have been meant as one."""
    try:
        exists = path.exists()
    except OSError as error:
        raise ModelError(f"cannot read {path}: {error.strerror or error}") from error
    if not exists and (path.is_absolute() or path.suffix == ".json" or str(path).startswith("..")):
        raise ModelError(f"there is no {path}: give a model's config.json, its folder, or a name")
    return exists


def _language_model(config: Mapping[str, Any]) -> tuple[Mapping[str, Any], list[str]]:
    """Return the config of the language model inside a multimodal one, with what it inherits."""
    language = config
    for key in _NESTED:
        nested = language.get(key)
        if isinstance(nested, Mapping) and nested:
            inherited = {name: language[name] for name in _INHERITED if name in language}
            language = {**inherited, **nested}
    if language is config:
        return config, []
    return language, ["the model is multimodal: only its language model is counted"]


def _fields(config: Mapping[str, Any], family: Family, where: str, *, is_nested: bool) -> Fields:
    defaults = {**family.nested_defaults, **family.defaults} if is_nested else family.defaults
    return Fields(config, where, defaults, family.renamed)


def _refuse_other_models(fields: Fields) -> None:
    if fields.get("is_encoder_decoder") is True:
        raise ModelError(f"{fields.where}: encoder-decoder models cannot be counted")
    for key in _OTHER_LAYERS:
        if fields.get(key) is not None:
            raise ModelError(
                f"{fields.where}: {key} tells of layers that are neither full nor windowed "
                "self-attention, which cannot be counted"
            )


def _architecture(fields: Fields, family: Family, name: str) -> Architecture:
    hidden = fields.count("hidden_size")
    layers = fields.count("num_hidden_layers", LARGEST_LAYERS)
    max_context = fields.optional_count("max_position_embeddings")
    tied = fields.get("tie_word_embeddings")
    pairs = zip(
        attentions(fields, family, layers), feed_forwards(fields, family, layers), strict=True
    )
    groups = tuple(
        LayerGroup(count, attention, feed_forward, family.norms, family.norm_has_bias)
        for (attention, feed_forward), count in Counter(pairs).items()
    )
    positions = max_context + family.extra_positions if max_context else 0
    return Architecture(
        name=name,
        hidden=hidden,
        vocabulary=fields.count("vocab_size"),
        groups=groups,
        is_tied=family.is_tied if tied is None else fields.flag("tie_word_embeddings"),
        final_norms=family.final_norms,
        final_norm_has_bias=family.norm_has_bias,
        has_lm_head_bias=fields.flag(family.lm_head_bias),
        learned_positions=positions if family.learned_positions else 0,
        max_context=max_context,
        formats=quantisation.formats(fields.config, fields.where),
    )


def _notes(fields: Fields, architecture: Architecture) -> tuple[str, ...]:
    notes = []
    if fields.get("index_topk") is not None:
        notes.append(
            "its attention is sparse (index_topk): it is counted as full attention, which "
            "overstates long contexts, and without the indexer's weights"
        )
    has_window = any(
        getattr(group.attention, "window", None) is not None for group in architecture.groups
    )
    if has_window and fields.get("attention_chunk_size") is not None:
        notes.append(
            "its local layers attend within chunks: they are counted as sliding windows of "
            "attention_chunk_size, up to twice what they read"
        )
    return tuple(notes)


def _differences(
    architecture: Architecture, index: Mapping[str, Any], where: str
) -> tuple[str, ...]:
    """Hold the sums in a safetensors index against the architecture's."""
    metadata = index.get("metadata")
    metadata = metadata if isinstance(metadata, Mapping) else {}
    expected = {
        "total_size": ("bytes", parameters.weight_bytes(architecture)),
        "total_parameters": ("parameters", parameters.count(architecture).total),
    }
    warnings = []
    for key, (unit, counted) in expected.items():
        stated = metadata.get(key)
        if isinstance(stated, bool) or not isinstance(stated, int | float) or not stated > 0:
            continue
        if abs(stated / counted - 1) > INDEX_TOLERANCE:
            warnings.append(
                f"{where} states {stated:,.0f} {unit}, the config gives {counted:,}: the files "
                "may hold more than the language model (vision, multi-token prediction), or the "
                "config may be of another model"
            )
    return tuple(warnings)


def _load(path: Path) -> Mapping[str, Any]:
    try:
        content = json.loads(path.read_bytes())
    except OSError as error:
        raise ModelError(f"cannot read {path}: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{path} is not JSON ({error})") from error
    if not isinstance(content, dict):
        raise ModelError(f"{path} is JSON, but not an object with the fields of a model")
    return content
