"""A whole calibration: NVML is the compiled stand-in, the GPU's times are in closed form."""

import os
from types import SimpleNamespace

import pytest

from gnomon._errors import GnomonError
from gnomon.cli import calibrator
from gnomon.configuration import Settings
from gnomon.hardware.calibration import torch_bench, torch_link
from gnomon.hardware.calibration.plan import all_reduces
from gnomon.hardware.calibration.points import Point
from tests.hardware.calibration.synthetic import Gpu
from tests.hardware.calibration.test_measuring import Bench
from tests.standins import DEFAULT_UUID

UUIDS = [DEFAULT_UUID.format(index=index) for index in range(2)]


@pytest.fixture
def calibrate(monkeypatch):
    """Return a function that calibrates on a PyTorch that needs no GPU."""
    torch = SimpleNamespace(__version__="2.9", version=SimpleNamespace(cuda="13.0"))
    monkeypatch.setattr(calibrator, "find_spec", lambda _: True)
    monkeypatch.setattr(torch_bench, "load_torch", lambda: torch)
    monkeypatch.setattr(torch_bench, "TorchBench", lambda _watch: Bench())
    reduced = [Point(task, Gpu().seconds(task)) for task in all_reduces(2)]
    monkeypatch.setattr(torch_link, "measure", lambda _gpus: reduced)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "7")

    def run(gpu=None, *, force=False):
        return calibrator.calibrate(
            Settings(pm_enabled=False), gpu, lambda _name, _share: None, force=force
        )

    return run


def test_an_idle_gpu_is_measured_and_described(calibrate, nvml):
    found = calibrate()

    assert found.document["gpu_uuid"] == UUIDS[0]
    assert found.document["gpu_name"] == "NVIDIA H200"
    assert (found.document["sku"], found.profile.sku) == ("H200-SXM-141GB", "H200-SXM-141GB")
    assert (found.document["driver"], found.document["torch"]) == ("580.159.04", "2.9")
    assert found.document["power_limit_watts"] == 700.0
    assert "link_bytes_per_s" not in found.document
    assert "switched off" in found.true_clock_missing
    assert os.environ["CUDA_VISIBLE_DEVICES"] == UUIDS[0]


def test_a_second_idle_gpu_gives_the_link_between_them(calibrate, use_nvml, nvml_standin):
    use_nvml(nvml_standin, gpus=2)
    found = calibrate("1")

    assert found.document["gpu_uuid"] == UUIDS[1]
    assert found.document["link_bytes_per_s"] == pytest.approx(Gpu().link_bytes_per_s)
    assert os.environ["CUDA_VISIBLE_DEVICES"] == f"{UUIDS[1]},{UUIDS[0]}"


def test_a_busy_gpu_is_measured_only_by_force(calibrate, nvml):
    nvml.set("nvmlDeviceGetUtilizationRates.gpu", 80)

    with pytest.raises(GnomonError, match=r"no GPU is idle.*busy 80 %.*--force"):
        calibrate()
    assert calibrate(force=True).document["gpu_uuid"] == UUIDS[0]


def test_a_gpu_without_known_peaks_is_refused_before_anything_is_measured(calibrate, nvml):
    nvml.text("nvmlDeviceGetName", "NVIDIA Something New")
    nvml.fail("nvmlDeviceGetCudaComputeCapability", 3)

    with pytest.raises(GnomonError, match=r"NVIDIA Something New.*peaks are not known"):
        calibrate()
