"""`gnomon calibrate`: what it prints and writes; measuring itself needs a GPU."""

import errno
import json

import pytest

from gnomon.cli import calibrator
from gnomon.cli.calibration_rendering import rows
from gnomon.hardware import profile, sku_facts
from gnomon.hardware.calibration import document
from gnomon.hardware.calibration.measuring import Measured
from gnomon.hardware.calibration.points import Failure
from tests.hardware.calibration.synthetic import Gpu, points

H200 = profile(sku_facts("H200-SXM-141GB"))
DEVICE = document.Device("GPU-1", "NVIDIA H200", H200.sku, "580.1", "2.9", "13.0")


def calibration(gpu=None, failures=()):
    measured = Measured(points(gpu or Gpu()), list(failures))
    built = document.build(DEVICE, measured, created_ns=5, took_s=71.0)
    return calibrator.Calibration(built, H200, "the driver lets only administrators read counters")


@pytest.fixture
def measured(monkeypatch):
    """Return a function that decides what the next calibration measures."""

    def will_be(*arguments, **more):
        found = calibration(*arguments, **more)
        monkeypatch.setattr(calibrator, "calibrate", lambda *_, **__: found)

    will_be()
    return will_be


def test_a_calibration_is_kept_under_its_uuid_and_shown_beside_the_defaults(
    gnomon, measured, tmp_path
):
    done = gnomon("calibrate")

    assert done.returncode == 0, done.stderr
    kept = json.loads((tmp_path / "state" / "calibrations" / "GPU-1.json").read_text())
    assert (kept["gpu_uuid"], kept["driver"]) == ("GPU-1", "580.1")
    assert "bf16 sustained" in done.stdout
    assert "no true clock: the driver lets only administrators" in done.stdout
    assert all(len(line) <= 80 for line in done.stdout.splitlines() if "/" not in line)


def test_a_second_run_says_how_far_it_is_from_the_first(gnomon, measured):
    gnomon("calibrate")
    measured(Gpu(bytes_per_s=4.3e12 * 1.015))

    assert "farthest from the last calibration" in gnomon("calibrate").stdout


def test_output_names_another_file_and_keeps_nothing_else(gnomon, measured, tmp_path):
    file = tmp_path / "mine.json"
    done = gnomon("calibrate", "-o", file, "--json")

    assert json.loads(done.stdout) == json.loads(file.read_text())
    assert not (tmp_path / "state" / "calibrations").exists()


def test_a_place_that_cannot_be_written_is_refused_before_anything_is_measured(
    gnomon, monkeypatch, tmp_path
):
    (tmp_path / "file").touch()
    monkeypatch.setattr(calibrator, "calibrate", lambda *_, **__: pytest.fail("it measured"))
    done = gnomon("calibrate", "-o", tmp_path / "file" / "mine.json")

    assert done.returncode == 1
    assert f"{tmp_path / 'file'}: " in done.stderr
    assert "choose another file with -o" in done.stderr


def test_the_place_is_tried_without_a_trace(gnomon, monkeypatch, tmp_path):
    monkeypatch.setattr(calibrator, "find_spec", lambda _: None)
    gnomon("calibrate", "-o", tmp_path / "new" / "mine.json")

    assert list((tmp_path / "new").iterdir()) == []


@pytest.mark.parametrize("form", [(), ("--json",)])
def test_what_was_measured_is_not_lost_where_it_cannot_be_written(
    gnomon, measured, monkeypatch, tmp_path, form
):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(document, "write", full)
    done = gnomon("calibrate", "-o", tmp_path / "mine.json", *form)

    assert done.returncode == 1
    assert json.loads(done.stdout) == calibration().document
    assert "No space left on device" in done.stderr
    assert "--constants" in done.stderr


def test_what_failed_is_listed(gnomon, measured):
    measured(failures=[Failure(f"gemm int8 {i}", "no kernel") for i in range(14)])
    done = gnomon("calibrate")

    assert "not measured: gemm int8 0: no kernel" in done.stdout
    assert "and 2 more" in done.stdout


def test_without_pytorch_the_remedy_is_told(gnomon, monkeypatch):
    monkeypatch.setattr(calibrator, "find_spec", lambda _: None)
    done = gnomon("calibrate")

    assert done.returncode == 1
    assert "pip install 'gnomon[calibrate]'" in done.stderr


def test_every_constant_stands_beside_its_default_and_power_is_named():
    told = {row.constant: row for row in rows(calibration().document, H200)}

    assert told["memory"].default == "92.0 %"
    assert told["memory"].measured == "89.6 % = 4,300 GB/s"
    assert told["bf16 sustained"].meaning.endswith("power takes 17 %")
    assert told["product_launch_s"].measured == "3.0 us"


def test_a_dtype_without_a_sustained_roof_keeps_its_default():
    found = dict(calibration().document) | {"flops": {"int8": {"burst": 1e15}}}
    told = {row.constant: row for row in rows(found, H200)}

    assert (told["int8 sustained"].default, told["int8 sustained"].measured) == ("72.0 %", "-")
