"""Weight formats by the names that users know them by, for a model that is to be stored otherwise.

Bytes include scales: integers have a 16-bit one for a group of 128, MXFP4 an 8-bit one for 32
weights and NVFP4 for 16. Names without an activation type are of weights alone: their products
run in the model's own 16 bits, so that bytes fall and arithmetic does not get faster.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

from gnomon.performance_model._checks import one_of
from gnomon.performance_model.architecture import BF16, Architecture, WeightFormat

_GROUP_SCALE = 2 / 128

_SIXTEEN_BITS = {"bf16": BF16, "fp16": WeightFormat("fp16", 2.0, "fp16")}
_OTHERS = {
    "fp32": WeightFormat("fp32", 4.0, "fp32"),
    "fp8": WeightFormat("fp8", 1.0, "fp8", quantizes_activations=True),
    "int8": WeightFormat("int8", 1.0, "int8", quantizes_activations=True),
    "nvfp4": WeightFormat("nvfp4", 4 / 8 + 1 / 16, "fp4", quantizes_activations=True),
    "int8-weights": WeightFormat("int8-g128", 1.0 + _GROUP_SCALE, "bf16"),
    "int4": WeightFormat("int4-g128", 4 / 8 + _GROUP_SCALE, "bf16"),
    "mxfp4": WeightFormat("mxfp4", 4 / 8 + 1 / 32, "bf16"),
}
_FLOATS = (*_SIXTEEN_BITS, "fp32")

DTYPES = (*_SIXTEEN_BITS, *_OTHERS)
"""Names of formats: fp8, int8 and nvfp4 with activations, int8-weights, int4 and mxfp4 without."""


@lru_cache(maxsize=256)
def with_weights(architecture: Architecture, dtype: str) -> Architecture:
    """Return the model stored in a format of ``DTYPES``.

    A float type holds all of it; narrower formats hold the layers' matrices, and leave LM head,
    embedding, norms and routers in 16 bits, as the engines do. Raises ModelError for other names.
    """
    one_of("--dtype", dtype, DTYPES)
    if dtype in _FLOATS:
        form = _SIXTEEN_BITS.get(dtype) or _OTHERS[dtype]
        parts = dict.fromkeys(
            ("attention", "feed_forward", "experts", "lm_head", "embedding", "rest"), form
        )
        return replace(architecture, formats=replace(architecture.formats, **parts))
    wide = _SIXTEEN_BITS.get(architecture.formats.rest.name, BF16)
    form = _OTHERS[dtype]
    if not form.quantizes_activations:
        form = replace(form, compute_dtype=wide.compute_dtype)
    formats = replace(
        architecture.formats, attention=form, feed_forward=form, experts=form, lm_head=wide
    )
    return replace(architecture, formats=formats)
