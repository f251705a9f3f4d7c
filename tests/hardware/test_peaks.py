"""Reference clocks, derived, against clocks that are known otherwise."""

import pytest

from gnomon.enums import Pipe
from gnomon.hardware import load
from gnomon.hardware.peaks import derive_clocks, disagreements, reference_clocks_mhz

# Published boost clocks and the clocks that others derived: H100 whitepaper (SXM 1830 tensor, 1980
# boost; PCIe 1620, 1755), A100 whitepaper (1410), L4 datasheet (2040), Ada whitepaper (2520).
KNOWN = [
    ("H100-SXM5-80GB", Pipe.TENSOR, 1830),
    ("H100-SXM5-80GB", Pipe.FP32, 1980),
    ("H100-SXM5-80GB", Pipe.FP64, 1980),
    ("H100-SXM5-80GB", Pipe.FP64_TENSOR, 1980),
    ("H200-SXM-141GB", Pipe.TENSOR, 1830),
    ("H200-SXM-141GB", Pipe.FP64_TENSOR, 1980),
    ("H100-PCIe-80GB", Pipe.TENSOR, 1620),
    ("H100-PCIe-80GB", Pipe.FP32, 1755),
    ("H100-PCIe-80GB", Pipe.FP64, 1755),
    ("H100-NVL-94GB", Pipe.TENSOR, 1545),
    ("A100-SXM4-80GB", Pipe.TENSOR, 1410),
    ("A100-SXM4-80GB", Pipe.FP64_TENSOR, 1410),
    ("B200-SXM-180GB", Pipe.TENSOR, 1856),
    ("B200-SXM-180GB", Pipe.FP64, 1965),
    ("L4", Pipe.TENSOR, 2040),
    ("RTX 4090", Pipe.TENSOR, 2520),
    ("T4", Pipe.TENSOR, 1590),
]


@pytest.mark.parametrize(("sku", "pipe", "clock_mhz"), KNOWN)
def test_reference_clock_of_each_pipe(sku, pipe, clock_mhz):
    assert reference_clocks_mhz(load()[sku])[pipe] == pytest.approx(clock_mhz, abs=1)


@pytest.mark.parametrize("spec", load().values(), ids=lambda spec: spec.sku)
def test_every_figure_agrees_with_its_pipes_clock_or_is_noted(spec):
    clocks = reference_clocks_mhz(spec)
    notes = " ".join(disagreements(spec))
    for derived in derive_clocks(spec):
        off_pct = abs(derived.clock_mhz / clocks[derived.pipe] - 1) * 100
        rounding_pct = (derived.highest_mhz / derived.clock_mhz - 1) * 100
        assert off_pct <= 1.0 + rounding_pct or f"the {derived.dtype} peak" in notes


WITH_BOOST = [spec for spec in load().values() if spec.boost_clock_mhz is not None]


@pytest.mark.parametrize("spec", WITH_BOOST, ids=lambda spec: spec.sku)
def test_no_pipe_runs_above_the_boost_clock_unless_it_is_noted(spec):
    notes = " ".join(disagreements(spec))
    for pipe, clock_mhz in reference_clocks_mhz(spec).items():
        assert clock_mhz <= spec.boost_clock_mhz * 1.02 or f"the {pipe} peak would" in notes


def test_figures_that_contradict_each_other_are_told_by_name():
    (first, second) = disagreements(load()["L40S"])

    assert "fp8 peak holds at 2520 MHz" in first
    assert "int8" in second
    assert "2204 MHz, above the boost clock of 1980" in disagreements(load()["H20-96GB"])[0]
    assert disagreements(load()["H200-SXM-141GB"]) == ()


def test_without_an_sm_count_no_clock_is_made_up():
    spec = load()["B100"]

    assert reference_clocks_mhz(spec) == {}
    assert reference_clocks_mhz(spec, sm_count=132)[Pipe.TENSOR] > 0


def test_half_precision_outside_the_tensor_pipe_shares_the_fp32_clock():
    clocks = reference_clocks_mhz(load()["H200-SXM-141GB"])

    assert clocks[Pipe.FP16] == clocks[Pipe.FP32] == 1980
