"""Times of single operators, and ridges."""

import pytest

from gnomon._errors import ModelError
from gnomon.enums import BoundBy
from gnomon.hardware import profile, sku_facts
from gnomon.performance_model.constants import DEFAULT
from gnomon.performance_model.operators import Kind, Operator
from gnomon.performance_model.roofline import ridge_flop_per_byte, roofs, time_operator
from tests.performance_model.models import H200


def _time(kind, *, flops=0.0, read=0.0, sent=0.0, count=1):
    operator = Operator(
        "it", kind, count, "bf16", flops, flops, weight_bytes=read, collective_bytes=sent
    )
    return time_operator(operator, roofs(H200), DEFAULT)


# Dense peak over bandwidth, from the datasheets.
@pytest.mark.parametrize(
    ("sku", "ridge"),
    [
        ("H100-SXM5-80GB", 295),
        ("H200-SXM-141GB", 206),
        ("A100-SXM4-40GB", 201),
        ("A100-SXM4-80GB", 153),
    ],
)
def test_ridges_are_those_of_the_datasheets(sku, ridge):
    found = ridge_flop_per_byte(profile(sku_facts(sku)), "bf16")

    assert found == pytest.approx(ridge, abs=0.5)


def test_the_ridge_moves_with_the_clock():
    assert ridge_flop_per_byte(H200, "bf16", sm_clock_mhz=915) == pytest.approx(
        ridge_flop_per_byte(H200, "bf16") / 2, rel=1e-4
    )


def test_a_large_product_is_bound_by_compute_and_a_thin_one_by_memory():
    large = _time(Kind.PRODUCT, flops=989.4e12, read=4.8e9)
    thin = _time(Kind.PRODUCT, flops=1e12, read=4.8e12)

    assert large.bound_by is BoundBy.COMPUTE
    assert large.time_s == pytest.approx(2e-6 + 1 / 0.80)
    assert thin.bound_by is BoundBy.MEMORY
    assert thin.time_s == pytest.approx(2e-6 + 1 / 0.92)
    assert (large.ideal_s, thin.ideal_s) == (1, 1)


def test_attention_has_efficiencies_of_its_own():
    prefill = _time(Kind.PREFILL_ATTENTION, flops=989.4e12)
    decode = _time(Kind.DECODE_ATTENTION, read=4.8e12)

    assert prefill.time_s == pytest.approx(2e-6 + 1 / 0.68)
    assert decode.time_s == pytest.approx(2e-6 + 1 / 0.90)


def test_many_small_kernels_are_bound_by_their_launches():
    small = _time(Kind.MEMORY, read=1e6, count=100)

    assert small.bound_by is BoundBy.LATENCY
    assert small.time_s > 200e-6


def test_the_wire_takes_a_start_and_its_bytes():
    sent = _time(Kind.COLLECTIVE, sent=450e9, count=2)

    assert sent.bound_by is BoundBy.COMMUNICATION
    assert sent.time_s == pytest.approx(2 * 5e-6 + 1 / 0.75)


def test_a_gpu_without_peaks_or_without_a_dtype_is_refused_by_name():
    with pytest.raises(ModelError, match="--gpu mystery"):
        roofs(profile({"name": "mystery"}))
    with pytest.raises(ModelError, match="--dtype fp4: NVIDIA H200"):
        ridge_flop_per_byte(H200, "fp4")
