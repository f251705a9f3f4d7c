"""Constants: their bounds and origins, and those that a calibration file replaces."""

import json
import re
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from benchmarks.ceiling_page import measured
from hypothesis import given
from hypothesis import strategies as st

from gnomon._errors import ModelError
from gnomon.hardware import profile, sku_facts
from gnomon.hardware.calibration import fitting
from gnomon.hardware.calibration.points import Kind, Point, Task
from gnomon.performance_model import constants
from gnomon.performance_model.constants import (
    DEFAULT,
    Constants,
    from_calibration,
    read_calibration,
    shipped,
)
from tests.performance_model.models import H200

MEASURED = {
    "schema": 1,
    "gpu_uuid": "GPU-1",
    "gpu_name": "NVIDIA H200",
    "driver": "580.1",
    "created_ns": 1_760_000_000_000_000_000,
    "flops": {"bf16": {"burst": 788e12, "sustained": 650e12}},
    "memory_bytes_per_s": 4300e9,
    "launch_s": 1.8e-6,
}


def test_every_default_names_its_origin():
    named = " ".join(DEFAULT.origins)

    assert DEFAULT.source == "default"
    for name in ("memory", "attention_compute", "decode_attention", "launch_s", "link"):
        assert name in DEFAULT.origins
    assert all(dtype in named for dtype in DEFAULT.compute)


def test_a_calibration_replaces_what_it_measured_and_says_so(tmp_path):
    path = tmp_path / "calibration.json"
    path.write_text(json.dumps(MEASURED))
    found = read_calibration(path, H200)

    assert found.compute["bf16"] == pytest.approx(650 / 989.4)
    assert found.burst["bf16"] == pytest.approx(788 / 989.4)
    assert found.memory == pytest.approx(4300 / 4800)
    assert (found.launch_s, found.link) == (1.8e-6, DEFAULT.link)
    assert (found.source, found.gpu_uuid, found.driver) == ("calibrated", "GPU-1", "580.1")
    assert found.origins["memory"] == found.origins["compute bf16"] == "calibrated"
    assert found.origins["link"] == DEFAULT.origins["link"]


def with_flops(**flops):
    return from_calibration({"flops": flops}, H200)


def test_dtypes_that_were_not_measured_keep_what_their_pipe_keeps():
    """bf16 holds 0.6 of a default 0.8, fp8 0.63 of 0.72: fp16 is as bf16, int8 as fp8."""
    found = with_flops(bf16={"sustained": 0.6 * 989.4e12}, fp8={"sustained": 0.63 * 1978.9e12})

    assert found.compute["fp16"] == found.compute["tf32"] == pytest.approx(0.6)
    assert found.compute["int8"] == found.compute["fp4"] == pytest.approx(0.63)
    assert found.compute["fp32"] == DEFAULT.compute["fp32"]
    assert found.origins["compute fp16"] == "derived from bf16"
    assert found.origins["compute int8"] == "derived from fp8"
    assert found.origins["compute fp32"] == DEFAULT.origins["compute fp32"]


def test_a_dtype_of_another_width_is_derived_by_the_ratio_of_defaults():
    found = with_flops(bf16={"sustained": 0.6 * 989.4e12})

    assert found.compute["fp8"] == pytest.approx(0.72 * 0.6 / 0.8)
    assert found.origins["compute fp8"] == "derived from bf16"


@given(
    st.dictionaries(st.sampled_from(["bf16", "fp16", "tf32", "fp8", "int8"]), st.floats(0.05, 1))
)
def test_every_dtype_of_a_measured_pipe_is_measured_or_derived(shares):
    found = with_flops(
        **{dtype: {"sustained": share * H200.flops(dtype)} for dtype, share in shares.items()}
    )
    origins = {dtype: found.origins[f"compute {dtype}"] for dtype in found.compute}

    assert {dtype for dtype, text in origins.items() if text == "calibrated"} == shares.keys()
    assert found.source == ("calibrated" if shares else "default")
    for dtype in ("bf16", "fp16", "tf32", "fp8", "int8", "fp4") if shares else ():
        assert origins[dtype] == "calibrated" or origins[dtype].startswith("derived from ")


def test_a_burst_alone_calibrates_nothing_and_caps_what_is_assumed():
    low = with_flops(bf16={"burst": 0.7 * 989.4e12})
    high = with_flops(bf16={"burst": 0.9 * 989.4e12})
    beside = with_flops(bf16={"burst": 0.5 * 989.4e12}, fp16={"sustained": 0.6 * 989.4e12})

    assert (low.compute["bf16"], low.source) == (pytest.approx(0.7), "default")
    assert low.origins["compute bf16"] == "default, capped by the measured burst"
    assert high.compute["bf16"] == DEFAULT.compute["bf16"]
    assert high.origins["compute bf16"] == DEFAULT.origins["compute bf16"]
    assert beside.compute["bf16"] == pytest.approx(0.5)
    assert beside.origins["compute bf16"] == "derived from fp16, capped by the measured burst"


@pytest.mark.parametrize("sku", ["T4", "H100-SXM5-80GB", "H200-NVL-141GB"])
def test_a_calibration_of_another_gpu_is_refused_with_both_names(tmp_path, sku):
    path = tmp_path / "calibration.json"
    path.write_text(json.dumps(MEASURED))
    other = profile(sku_facts(sku))

    with pytest.raises(ModelError, match=f"NVIDIA H200, and the GPU asked for is {other.name}"):
        read_calibration(path, other)


def test_a_calibration_is_of_its_sku_however_its_name_is_spelled(tmp_path):
    path = tmp_path / "calibration.json"
    unheard = profile({"name": "NVIDIA Unheard 9000"})
    path.write_text(json.dumps(MEASURED | {"gpu_name": "h200"}))
    assert read_calibration(path, H200).source == "calibrated"

    path.write_text(json.dumps({"schema": 1, "gpu_name": "nvidia unheard 9000", "launch_s": 1e-6}))
    assert read_calibration(path, unheard).launch_s == 1e-6
    with pytest.raises(ModelError, match="nvidia unheard 9000"):
        read_calibration(path, H200)
    path.write_text(json.dumps(MEASURED | {"gpu_name": None}))
    with pytest.raises(ModelError, match="gpu_name"):
        read_calibration(path, H200)


def test_no_share_of_peak_is_above_one():
    found = from_calibration({"memory_bytes_per_s": 4917e9}, H200)

    assert found.memory == 1.0


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"schema": 2}, "schema 2"),
        ({"launch_s": -1}, "launch_s is -1"),
        ({"memory_bytes_per_s": "fast"}, "memory_bytes_per_s is 'fast'"),
        ({"flops": {"bf12": {"sustained": 1e12}}}, "bf12"),
        ({"flops": {"bf16": {"sustained": 0}}}, "flops bf16: sustained is 0"),
        ({"flops": [1]}, "flops must be an object"),
    ],
)
def test_a_calibration_without_sense_is_refused_by_field(tmp_path, change, named):
    path = tmp_path / "calibration.json"
    path.write_text(json.dumps(MEASURED | change))

    with pytest.raises(ModelError, match=named):
        read_calibration(path, H200)


@pytest.mark.parametrize("text", ["{", "[]", "null"])
def test_what_is_no_calibration_is_refused_by_file(tmp_path, text):
    path = tmp_path / "calibration.json"
    path.write_text(text)

    with pytest.raises(ModelError, match=r"calibration.json"):
        read_calibration(path, H200)


@pytest.mark.parametrize("share", [0, 1.2, float("nan")])
def test_an_efficiency_is_a_share(share):
    with pytest.raises(ModelError, match="efficiency memory"):
        Constants({}, share, 0.7, 0.9, 2e-6, 5e-6, 0.75)


def test_floors_of_products_and_decode_cores_are_never_below_that_of_any_kernel():
    found = from_calibration({"launch_s": 2e-6, "product_launch_s": 3e-6}, H200)
    low = from_calibration({"launch_s": 2e-6, "product_launch_s": 1e-6}, H200)

    assert (found.product_floor_s, found.decode_attention_floor_s) == (3e-6, 2e-6)
    assert low.product_floor_s == 2e-6
    assert DEFAULT.product_floor_s == DEFAULT.launch_s


def test_the_shipped_h200_was_measured_and_is_no_calibration_of_this_device():
    found = shipped(H200)

    assert (found.source, found.gpu_uuid) == ("default", None)
    assert found.compute["bf16"] == pytest.approx(0.678, abs=0.001)
    assert found.burst["bf16"] == pytest.approx(0.802, abs=0.001)
    assert found.memory == pytest.approx(0.931, abs=0.001)
    assert "measured on one NVIDIA H200, driver 580" in found.origins["memory"]
    assert found.origins["compute fp4"] == "derived from fp8"
    assert found.origins["link"] == DEFAULT.origins["link"]


@pytest.mark.parametrize(("measured_s", "used_s"), [(20e-6, 5e-6), (3e-6, 3e-6)])
def test_a_slow_all_reduce_of_the_library_does_not_lower_the_ceiling(tmp_path, measured_s, used_s):
    file = tmp_path / "c.json"
    found = {"schema": 1, "gpu_name": "NVIDIA H200", "launch_s": 1e-6, "collective_s": measured_s}
    file.write_text(json.dumps(found))

    constants = read_calibration(file, H200)

    assert constants.collective_s == used_s
    assert (constants.origins["collective_s"] == "calibrated") is (used_s == measured_s)


SHIPPED = sorted((Path(constants.__file__).parent / "calibrations").glob("*.json"))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_a_shipped_file_is_a_run_of_gnomon_calibrate_on_a_gpu_that_it_does_not_name(path):
    found = json.loads(path.read_text())
    points = [
        Point(
            Task(
                Kind(one["kind"]),
                tuple(one["shape"].values()),
                one["dtype"] or "",
                one["kernel"] or "",
                one["sustained"],
            ),
            one["seconds"],
        )
        for one in found["points"]
    ]
    fitted = fitting.constants(points)

    assert "gpu_uuid" not in found
    assert (found["sku"], found["failures"]) == (path.stem, [])
    for name in fitted.keys() - {"flops", "pcie", "fits"}:
        assert found[name] == pytest.approx(fitted[name], rel=1e-4)
    for dtype, roofs in fitted["flops"].items():
        assert found["flops"][dtype] == pytest.approx(roofs, rel=1e-4)


def test_the_shipped_h200_is_the_second_calibration_of_the_page():
    page = (Path(__file__).parents[2] / "docs" / "measurements" / "ceiling.md").read_text()
    found = json.loads(next(path for path in SHIPPED if path.stem == H200.sku).read_text())
    gpu = profile({"name": found["gpu_name"]})

    for one in measured(found, gpu):
        digits = 2 if one.peak is None else 1
        row = re.search(rf"^\| `{re.escape(one.name)}` \|.*$", page, re.MULTILINE)
        assert f"| {one.value:,.{digits}f} {one.unit} | " in row[0]
    day = datetime.fromtimestamp(found["created_ns"] / 1e9, UTC)
    assert f"Measured on {day:%Y-%m-%d} on one NVIDIA H200" in page
    assert f"driver {found['driver']}" in page
    assert f"PyTorch {found['torch']}" in page


def test_a_gpu_without_a_shipped_set_has_none():
    assert shipped(replace(H200, sku=None)) is None
    assert shipped(replace(H200, sku="none")) is None
