"""Constants: their bounds and origins, and those that a calibration file replaces."""

import json
from dataclasses import replace

import pytest

from gnomon._errors import ModelError
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
    assert found.compute["bf16"] == pytest.approx(0.664, abs=0.001)
    assert found.burst["bf16"] == pytest.approx(0.796, abs=0.001)
    assert "measured on one NVIDIA H200, driver 580" in found.origins["memory"]
    assert found.origins["link"] == DEFAULT.origins["link"]


def test_a_gpu_without_a_shipped_set_has_none():
    assert shipped(replace(H200, sku=None)) is None
    assert shipped(replace(H200, sku="none")) is None
