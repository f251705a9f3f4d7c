"""The stored calibration: built from points, refused where empty, read back by the model."""

import json

import pytest

from gnomon.hardware import profile, sku_facts
from gnomon.hardware.calibration import document
from gnomon.hardware.calibration.measuring import Measured
from gnomon.hardware.calibration.points import CalibrationError, Failure
from gnomon.performance_model.constants import read_calibration
from tests.hardware.calibration.synthetic import Gpu, points

DEVICE = document.Device("GPU-1", "NVIDIA H200", "H200-SXM-141GB", "580.1", "2.9", "13.0", 700.0)


def build(gpu=None, failures=()):
    measured = Measured(points(gpu or Gpu()), list(failures))
    return document.build(DEVICE, measured, created_ns=5, took_s=71.26)


def test_the_model_reads_what_was_written(tmp_path):
    path = tmp_path / "state" / "GPU-1.json"
    document.write(build(), path)
    found = read_calibration(path, profile(sku_facts("H200-SXM-141GB")))

    assert found.memory == pytest.approx(4.3 / 4.8)
    assert found.compute["bf16"] == pytest.approx(780 / 1.2 / 989.4, rel=1e-3)
    assert (found.product_launch_s, found.attention_launch_s) == (
        pytest.approx(3e-6, rel=1e-3),
        pytest.approx(10e-6, rel=1e-3),
    )
    assert (found.gpu_uuid, found.driver, found.created_ns) == ("GPU-1", "580.1", 5)


def test_all_points_and_failures_are_kept():
    built = build(failures=[Failure("gemm int8", "no kernel")])

    assert len(built["points"]) == len(points(Gpu()))
    assert built["failures"] == [{"name": "gemm int8", "reason": "no kernel"}]
    assert built["took_s"] == 71.3


def test_a_calibration_of_nothing_is_refused_with_the_first_reason():
    measured = Measured([], [Failure("launch", "CUDA error: out of memory")])

    with pytest.raises(CalibrationError, match=r"GPU-1.*launch: CUDA error: out of memory"):
        document.build(DEVICE, measured, 0, 1.0)


def test_a_write_that_fails_leaves_the_former_file(tmp_path):
    path = tmp_path / "GPU-1.json"
    document.write({"schema": 1}, path)

    with pytest.raises(ValueError, match="not JSON compliant"):
        document.write({"schema": float("nan")}, path)
    assert json.loads(path.read_text()) == {"schema": 1}
    assert list(tmp_path.iterdir()) == [path]


def test_two_runs_are_compared_by_the_roof_that_moved_most():
    before, after = build(), build(Gpu(bytes_per_s=4.3e12 * 1.01, flops=780e12 * 0.97))
    name, change_pct = document.largest_change(before, after)

    assert change_pct == pytest.approx(-3.0)
    assert name.startswith(("bf16", "fp8", "attention"))
    assert document.largest_change({}, after) is None
