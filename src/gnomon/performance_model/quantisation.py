"""From a config's ``quantization_config`` to the weight format of each part of a model.

Bytes per weight are those of the stored weight and its share of scales and zero points; scales
for a whole matrix or row are left out. A scheme for weights alone executes its products in the
model's own half precision.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from gnomon._errors import ModelError
from gnomon.performance_model._fields import Fields
from gnomon.performance_model._modules import is_named, is_pattern, parts
from gnomon.performance_model.architecture import BF16, Formats, WeightFormat

# The formats of models that are not quantised, by the name of their dtype.
_BASES = {
    "bfloat16": BF16,
    "float16": WeightFormat("fp16", 2.0, "fp16"),
    "float32": WeightFormat("fp32", 4.0, "fp32"),
}

# An 8-bit scale for 32 weights (OCP Microscaling Formats 1.0, section 5), for 16 (NVFP4), a
# 16-bit one for a group of integers, and a 32-bit one for a block of fp8.
_MXFP4_BYTES = 4 / 8 + 1 / 32
_NVFP4_BYTES = 4 / 8 + 1 / 16
_GROUP_SCALE_BYTES = 2
_BLOCK_SCALE_BYTES = 4

# The fields in which schemes list the modules that they leave alone.
_KEPT = (
    "exclude_modules",
    "ignore",
    "ignored_layers",
    "llm_int8_skip_modules",
    "modules_to_not_convert",
)


def formats(config: Mapping[str, Any], where: str = "the config") -> Formats:
    """Return the weight formats that a config tells of; all parts in its dtype where it has none.

    ``where`` is the file that errors name. Raises ModelError for a scheme that is not known, and
    for fields of one that make no sense.
    """
    base = _base(config, where)
    quantised = config.get("quantization_config")
    if not quantised:
        return _formats({}, base)
    if not isinstance(quantised, Mapping):
        raise ModelError(f"{where}: quantization_config is not an object with fields")
    # ModelOpt's own file has its fields one level down.
    inner = quantised.get("quantization")
    flat = {**quantised, **inner} if isinstance(inner, Mapping) else quantised
    fields = Fields(flat, f"{where}, quantization_config")
    rules = _groups(fields, base) or [(["Linear"], _scheme(fields)(fields, base))]
    kept = [pattern for key in _KEPT for pattern in _patterns(fields, key)]
    stored = {
        part: _majority([_stored(module, rules, kept, base) for module in modules])
        for part, modules in parts(config).items()
    }
    if fields.get("quant_method") == "mxfp4":
        # Engines and transformers keep all but the experts of such a checkpoint in bf16.
        stored = {"experts": stored["experts"]}
    if fields.get("lm_head") is True:
        stored["lm_head"] = rules[0][1]
    return _formats(stored, base)


_Rules = list[tuple[list[str], WeightFormat]]


def _formats(stored: Mapping[str, WeightFormat], base: WeightFormat) -> Formats:
    names = ("attention", "feed_forward", "experts", "lm_head", "embedding", "rest")
    return Formats(**{name: stored.get(name, base) for name in names})


def _base(config: Mapping[str, Any], where: str) -> WeightFormat:
    """Return the format of what is not quantised; bf16 where a config does not say."""
    fields = Fields(config, where)
    key = "torch_dtype" if config.get("torch_dtype") is not None else "dtype"
    dtype = fields.get(key)
    if dtype is None:
        return BF16
    base = _BASES.get(dtype.removeprefix("torch.")) if isinstance(dtype, str) else None
    if base is None:
        raise fields.wrong(key, f"none of {', '.join(_BASES)}")
    return base


def _stored(module: str, rules: _Rules, kept: list[str], base: WeightFormat) -> WeightFormat:
    """Return the format of one module: the first rule's that targets it, unless it is kept."""
    if any(is_named(module, pattern) for pattern in kept):
        return base
    for targets, stored in rules:
        if any(target == "Linear" or is_named(module, target) for target in targets):
            return stored
    return base


def _patterns(fields: Fields, key: str) -> list[str]:
    patterns = fields.listed(key, str) or []
    if not all(map(is_pattern, patterns)):
        raise fields.wrong(key, "not a list of names of which each re: is a regular expression")
    return patterns


def _majority(stored: list[WeightFormat]) -> WeightFormat:
    return Counter(stored).most_common(1)[0][0]


def _groups(fields: Fields, base: WeightFormat) -> _Rules:
    """Read the groups of compressed-tensors, each with its targets; none where it has none."""
    groups = fields.get("config_groups")
    if groups is None:
        return []
    if not isinstance(groups, Mapping):
        raise fields.wrong("config_groups", "not an object with groups")
    rules: _Rules = []
    for name in groups:
        group = Fields(_mapping(Fields(groups, fields.where), name), f"{fields.where}, {name}")
        weights = Fields(_mapping(group, "weights"), f"{group.where}, weights")
        stored = _compressed(weights, base)
        if group.get("input_activations") is not None:
            inputs = Fields(
                _mapping(group, "input_activations"), f"{group.where}, input_activations"
            )
            stored = _with_inputs(stored, inputs)
        rules.append((_patterns(group, "targets") or ["Linear"], stored))
    return rules


def _mapping(fields: Fields, key: str) -> Mapping[str, Any]:
    value = fields.get(key)
    if not isinstance(value, Mapping):
        raise fields.wrong(key, "not an object with fields")
    return value


def _compressed(weights: Fields, base: WeightFormat) -> WeightFormat:
    bits = weights.count("num_bits", 16)
    is_float = weights.get("type") == "float"
    block = weights.listed("block_structure", int)
    size = weights.optional_count("group_size", least=-1) or 0
    name = f"{'fp' if is_float else 'int'}{bits}"
    if weights.get("strategy") == "block" and block is not None:
        return _block_fp8(weights, "block_structure", base.compute_dtype)
    if is_float and bits == 4:
        if size not in {16, 32}:
            raise weights.wrong("group_size", "neither 16 (NVFP4) nor 32 (MXFP4)")
        name, bytes_per_weight = ("nvfp4", _NVFP4_BYTES) if size == 16 else ("mxfp4", _MXFP4_BYTES)
        return WeightFormat(name, bytes_per_weight, base.compute_dtype)
    has_zeros = weights.get("symmetric") is False
    return _integers(name, bits, size, base, has_zeros=has_zeros)


def _with_inputs(stored: WeightFormat, inputs: Fields) -> WeightFormat:
    """Return the format with products in the type of their quantised inputs."""
    kind = f"{'fp' if inputs.get('type') == 'float' else 'int'}{inputs.count('num_bits', 16)}"
    if kind not in {"fp8", "int8", "fp4"}:
        raise inputs.wrong("num_bits", f"{kind}, in which no tensor core multiplies")
    # The scales of fp4's small groups are always made anew.
    is_dynamic = kind == "fp4" or inputs.get("dynamic") is not False
    return WeightFormat(stored.name, stored.bytes_per_weight, kind, is_dynamic)


def _integers(
    name: str, bits: int, size: int, base: WeightFormat, *, has_zeros: bool
) -> WeightFormat:
    """Return weights of some bits with a scale, and maybe a zero point, for each group."""
    if size <= 0:
        return WeightFormat(name, bits / 8, base.compute_dtype)
    shared = _GROUP_SCALE_BYTES + (bits / 8 if has_zeros else 0)
    return WeightFormat(f"{name}-g{size}", bits / 8 + shared / size, base.compute_dtype)


def _block_fp8(fields: Fields, key: str, compute_dtype: str) -> WeightFormat:
    block = fields.listed(key, int) or []
    if len(block) != 2 or min(block) < 1:
        raise fields.wrong(key, "not two numbers from 1")
    rows, columns = block
    return WeightFormat(
        f"fp8-b{rows}x{columns}", 1 + _BLOCK_SCALE_BYTES / (rows * columns), compute_dtype
    )


def _fp8(fields: Fields, _: WeightFormat) -> WeightFormat:
    stored = WeightFormat("fp8", 1.0, "fp8")
    if fields.get("weight_block_size") is not None:
        stored = _block_fp8(fields, "weight_block_size", "fp8")
    is_dynamic = fields.get("activation_scheme") != "static"
    return WeightFormat(stored.name, stored.bytes_per_weight, "fp8", is_dynamic)


def _gptq(fields: Fields, base: WeightFormat) -> WeightFormat:
    bits, size = fields.count("bits", 16), fields.optional_count("group_size", least=-1) or 0
    return _integers(f"int{bits}", bits, size, base, has_zeros=fields.get("sym") is False)


def _awq(fields: Fields, base: WeightFormat) -> WeightFormat:
    bits, size = fields.count("bits", 16), fields.optional_count("group_size", least=-1) or 0
    has_zeros = fields.get("zero_point") is not False
    return _integers(f"int{bits}", bits, size, base, has_zeros=has_zeros)


def _bitsandbytes(fields: Fields, base: WeightFormat) -> WeightFormat:
    """Return 8 bits, or 4 bits with a scale for 64 weights (Dettmers et al., arXiv:2305.14314).

    Double quantisation keeps the scale in 8 bits, with one of 32 bits for 256 scales.
    """
    if fields.get("load_in_8bit") is True:
        return WeightFormat("bnb-int8", 1.0, "int8", quantizes_activations=True)
    if fields.get("load_in_4bit") is not True:
        raise fields.wrong("load_in_4bit", "not true, and neither is load_in_8bit")
    scale = 1 + 4 / 256 if fields.get("bnb_4bit_use_double_quant") is True else 4
    compute = _BASES.get(str(fields.get("bnb_4bit_compute_dtype")).removeprefix("torch."), base)
    return WeightFormat("bnb-4bit", 4 / 8 + scale / 64, compute.compute_dtype)


def _mxfp4(_: Fields, base: WeightFormat) -> WeightFormat:
    return WeightFormat("mxfp4", _MXFP4_BYTES, base.compute_dtype)


def _modelopt(fields: Fields, base: WeightFormat) -> WeightFormat:
    size = fields.optional_count("group_size") or 128
    known = {
        "FP8": WeightFormat("fp8", 1.0, "fp8"),
        "FP8_PER_CHANNEL_PER_TOKEN": WeightFormat("fp8", 1.0, "fp8", quantizes_activations=True),
        "NVFP4": WeightFormat("nvfp4", _NVFP4_BYTES, "fp4", quantizes_activations=True),
        "NVFP4_AWQ": WeightFormat("nvfp4", _NVFP4_BYTES, "fp4", quantizes_activations=True),
        "W4A16_AWQ": _integers("int4", 4, size, base, has_zeros=False),
        "W4A16_NVFP4": WeightFormat("nvfp4", _NVFP4_BYTES, base.compute_dtype),
    }
    algorithm = fields.get("quant_algo")
    if not isinstance(algorithm, str) or algorithm not in known:
        raise fields.wrong("quant_algo", f"none of {', '.join(known)}")
    return known[algorithm]


_SCHEMES: Mapping[str, Callable[[Fields, WeightFormat], WeightFormat]] = {
    "auto-round": _gptq,
    "awq": _awq,
    "bitsandbytes": _bitsandbytes,
    "fbgemm_fp8": _fp8,
    "fp8": _fp8,
    "gptq": _gptq,
    "modelopt": _modelopt,
    "modelopt_fp4": _modelopt,
    "mxfp4": _mxfp4,
}


def _scheme(fields: Fields) -> Callable[[Fields, WeightFormat], WeightFormat]:
    method = fields.get("quant_method")
    scheme = _SCHEMES.get(method) if isinstance(method, str) else None
    if scheme is None:
        known = ", ".join(sorted((*_SCHEMES, "compressed-tensors (with config_groups)")))
        raise ModelError(
            f"{fields.where}: quant_method {method!r} is none of {known}; without "
            "quantization_config the model is counted unquantised"
        )
    return scheme
