"""The GPU table against figures that are published outside of it."""

import pytest

from gnomon._errors import GnomonError
from gnomon.hardware import DTYPES, load, lookup
from gnomon.hardware.specs import load_rates

# Dense TFLOP/s and GB/s as the vendor prints them: NVIDIA's product pages of each part.
PUBLISHED = [
    ("H100-SXM5-80GB", "bf16", 989.4),
    ("H100-SXM5-80GB", "fp8", 1978.9),
    ("H100-SXM5-80GB", "fp64", 33.5),
    ("H100-SXM5-80GB", "fp64_tensor", 66.9),
    ("H200-SXM-141GB", "tf32", 494.7),
    ("A100-SXM4-80GB", "bf16", 312),
    ("A100-SXM4-80GB", "tf32", 156),
    ("A100-SXM4-80GB", "int8", 624),
    ("B200-SXM-180GB", "fp4", 9000),
    ("L4", "fp8", 242.5),
    ("V100-SXM2-16GB", "fp16", 125),
    ("T4", "int8", 130),
    ("RTX 4090", "bf16", 165.2),
]
BANDWIDTHS = [("H200-SXM-141GB", 4800), ("H100-SXM5-80GB", 3350), ("A100-SXM4-40GB", 1555)]


@pytest.mark.parametrize(("sku", "dtype", "tera"), PUBLISHED)
def test_peaks_are_the_dense_figures_that_are_published(sku, dtype, tera):
    assert load()[sku].peak_flops[dtype] == pytest.approx(tera * 1e12, rel=1e-12)


@pytest.mark.parametrize(("sku", "gigabytes_per_s"), BANDWIDTHS)
def test_dram_bandwidth_is_the_datasheets(sku, gigabytes_per_s):
    assert load()[sku].dram_bytes_per_s == gigabytes_per_s * 1e9


def test_a_type_that_the_hardware_lacks_has_no_peak():
    assert "bf16" not in load()["V100-SXM2-16GB"].peak_flops
    assert "bf16" not in load()["T4"].peak_flops
    assert "fp8" not in load()["A100-SXM4-80GB"].peak_flops


@pytest.mark.parametrize("spec", load().values(), ids=lambda spec: spec.sku)
def test_every_row_is_whole_and_says_where_it_comes_from(spec):
    assert spec.evidence in {"read", "mixed"}
    assert all(source for source in spec.sources)
    assert spec.compute_capability == spec.rates.compute_capability
    assert set(spec.peak_flops) <= set(DTYPES)
    assert {"fp32", "fp16"} <= set(spec.peak_flops)
    assert spec.tdp_watts > 0
    assert spec.pcie_lanes == 16


@pytest.mark.parametrize("spec", load().values(), ids=lambda spec: spec.sku)
def test_narrower_types_are_never_slower(spec):
    order = [spec.peak_flops[d] for d in ("tf32", "bf16", "fp8") if d in spec.peak_flops]

    assert order == sorted(order)


def test_each_capability_and_product_line_has_one_set_of_rates():
    keys = [
        (rates.compute_capability, rates.product_line)
        for rates in load_rates().values()
        if rates.product_line != "none"
    ]

    assert len(keys) == len(set(keys))


def test_lookup_takes_either_case_and_names_the_nearest():
    assert lookup("h200-sxm-141gb").sku == "H200-SXM-141GB"
    with pytest.raises(GnomonError, match=r"'H200-SXM'.*H200-SXM-141GB"):
        lookup("H200-SXM")
