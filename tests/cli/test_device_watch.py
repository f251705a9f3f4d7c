"""Choosing a GPU, and clock and power beside a point, at NVML's own boundary."""

import time

import pytest

from gnomon._errors import GnomonError
from gnomon.cli.device_watch import DeviceWatch, choose, conditions
from gnomon.hardware.calibration.points import Conditions
from gnomon.sources.nvml import NvmlSource
from gnomon.sources.pm import PmSource
from tests.standins import DEFAULT_UUID

UUID = DEFAULT_UUID.format(index=0)


def row(ts, source="nvml", mhz=1500.0, watts=None, duration=0):
    return {
        "ts_ns": ts,
        "duration_ns": duration,
        "sm_clock_mhz": mhz,
        "sm_clock_source": source,
        "power_watts": watts,
    }


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([], Conditions()),
        ([row(99), row(201)], Conditions()),
        ([row(150), row(160, mhz=1400.0)], Conditions(1450.0, "nvml")),
        # NVML's clock is of an instant; power is a mean, and this one began too early.
        ([row(150, watts=700.0, duration=60)], Conditions(1500.0, "nvml")),
        ([row(150, watts=700.0, duration=40)], Conditions(1500.0, "nvml", 700.0)),
        ([row(150), row(190, "cupti", 1346.0, duration=50)], Conditions(1346.0, "cupti")),
        ([row(150), row(190, "cupti", 900.0, duration=100)], Conditions(1500.0, "nvml")),
    ],
)
def test_conditions_are_those_of_the_window(rows, expected):
    assert conditions(rows, 100, 200) == expected


GPUS = {
    "GPU-a": {"index": 0, "name": "NVIDIA H200"},
    "GPU-b": {"index": 1, "name": "NVIDIA H200"},
    "GPU-m": {"index": 2, "name": "NVIDIA H200", "mig_mode": True},
}


@pytest.mark.parametrize(
    ("wanted", "occupied", "force", "chosen"),
    [
        (None, {}, False, "GPU-a"),
        (None, {"GPU-a": ["busy"]}, False, "GPU-b"),
        (None, {"GPU-a": ["busy"], "GPU-b": ["busy"]}, True, "GPU-a"),
        ("1", {}, False, "GPU-b"),
        ("GPU-b", {"GPU-b": ["busy"]}, True, "GPU-b"),
    ],
)
def test_the_gpu_that_was_named_or_is_idle_is_chosen(wanted, occupied, force, chosen):
    assert choose(GPUS, occupied, wanted, force=force) == chosen


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        ("7", r"--gpu 7: no such GPU; there are 0 \(GPU-a\)"),
        ("2", "GPU-m: in MIG mode"),
        ("0", r"no GPU is idle.*GPU 0 \(GPU-a\): it is busy 80 %.*--force"),
    ],
)
def test_a_gpu_that_cannot_be_measured_is_refused_with_the_reason(wanted, words):
    with pytest.raises(GnomonError, match=words):
        choose(GPUS, {"GPU-a": ["it is busy 80 %"]}, wanted, force=False)


@pytest.fixture
def watch(nvml):
    with DeviceWatch(NvmlSource(), PmSource(enabled=False)) as opened:
        yield opened


@pytest.mark.parametrize(("busy_pct", "reasons"), [(0, []), (97, ["it is busy 97 % of the time"])])
def test_an_idle_gpu_is_idle_and_a_busy_one_is_not(watch, nvml, busy_pct, reasons):
    nvml.set("nvmlDeviceGetUtilizationRates.gpu", busy_pct)

    assert watch.occupied() == {UUID: reasons}


def test_without_pm_sampling_the_clock_is_nvmls_and_the_reason_is_kept(watch):
    watch.watch(UUID)
    from_ns = time.time_ns()
    watch.note()
    with watch.true_clock():
        pass
    seen = watch.conditions(from_ns, time.time_ns())

    assert seen.sm_clock_source == "nvml"
    assert seen.sm_clock_mhz > 0
    assert "switched off" in watch.true_clock_missing
    assert watch.conditions(from_ns, time.time_ns()) == Conditions()
    assert watch.driver() == "580.159.04"
