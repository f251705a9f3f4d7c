"""Formats by name: bytes with their scales, and where the products run."""

from dataclasses import replace

import pytest

from gnomon._errors import ModelError
from gnomon.performance_model.architecture import Formats, WeightFormat
from gnomon.performance_model.weight_formats import DTYPES, with_weights
from tests.performance_model.models import DENSE

# Published sizes: a 16-bit scale for 128 integers (GPTQ, AWQ), 4.25 and 4.5 bits (OCP MX, NVFP4).
BYTES = {"bf16": 2, "fp16": 2, "fp32": 4, "fp8": 1, "int8": 1, "int8-weights": 1.015625,
         "int4": 0.515625, "mxfp4": 0.53125, "nvfp4": 0.5625}  # fmt: skip


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_weight_takes_its_bits_and_its_share_of_scales(dtype):
    assert with_weights(DENSE, dtype).formats.feed_forward.bytes_per_weight == BYTES[dtype]


@pytest.mark.parametrize("dtype", ["int8-weights", "int4", "mxfp4"])
def test_formats_of_weights_alone_run_in_the_models_own_sixteen_bits(dtype):
    half = replace(DENSE, formats=Formats(rest=WeightFormat("fp16", 2.0, "fp16")))

    assert with_weights(DENSE, dtype).formats.attention.compute_dtype == "bf16"
    assert with_weights(half, dtype).formats.attention.compute_dtype == "fp16"


def test_narrow_formats_leave_the_head_and_wide_ones_take_everything():
    assert with_weights(DENSE, "fp8").formats.lm_head.name == "bf16"
    assert with_weights(DENSE, "fp16").formats.lm_head.name == "fp16"


def test_an_unknown_format_is_refused_by_name():
    with pytest.raises(ModelError, match="--dtype is 'fp7'"):
        with_weights(DENSE, "fp7")
