"""Compile the NVML stand-in and write its scenarios; the language is in ``nvml/scenario.h``.

In a subprocess: run with ``library_environment(library, scenario)`` and the real loader finds
the stand-in. In this process: the fixture ``nvml`` of ``tests/conftest.py`` puts it into pynvml.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

SOURCES = Path(__file__).parent / "nvml"
LIBRARY = "libnvidia-ml.so.1"
VARIABLE = "GNOMON_NVML_SCENARIO"
DEFAULT_UUID = "GPU-00000000-0000-4000-8000-00000000000{index}"
MIG_UUID = "MIG-00000000-0000-4000-8000-0000000000{gpu}{mig}"


def build_nvml(tmp_path_factory, *, with_gpm: bool = True) -> Path:
    """Compile ``libnvidia-ml.so.1``; ``with_gpm=False`` is a driver of the 470 series."""
    if shutil.which("gcc") is None:
        pytest.skip("the NVML stand-in needs gcc")
    library = tmp_path_factory.mktemp("nvml" if with_gpm else "nvml470") / LIBRARY
    flags = [] if with_gpm else ["-DWITHOUT_GPM"]
    sources = [str(path) for path in sorted(SOURCES.glob("*.c"))]
    command = ["gcc", "-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror", *flags]
    subprocess.run([*command, "-o", str(library), *sources], check=True)
    return library


def library_environment(library: Path, scenario: Scenario) -> dict[str, str]:
    """Return an environment in which a program finds the stand-in instead of a driver."""
    return {
        **os.environ,
        "LD_LIBRARY_PATH": str(library.parent),
        VARIABLE: str(scenario.path),
    }


class Scenario:
    """A machine as NVML would tell it: by default one H200 like the measured one, idle.

    Every method writes the file anew, so a running reader sees the change at its next call.
    Numbers are those of one H200 SXM, driver 580.159.04, where they were measured.
    """

    def __init__(self, path: Path, gpus: int = 1) -> None:
        self.path = path
        self._lines: list[str] = []
        self._lines += [
            "text * nvmlSystemGetDriverVersion 580.159.04",
            "text * nvmlSystemGetNVMLVersion 13.580.159.04",
            "set * nvmlSystemGetCudaDriverVersion_v2 13000",
        ]
        for index in range(gpus):
            self._lines += [
                "device",
                f"text {index} nvmlDeviceGetUUID {DEFAULT_UUID.format(index=index)}",
                f"text {index} nvmlDeviceGetPciInfo_v3 00000000:{index + 1:02X}:00.0",
            ]
        self._lines += [f"text * {key} {value}" for key, value in H200_TEXT.items()]
        self._lines += [f"set * {key} {value}" for key, value in H200.items()]
        self._lines += ["ramp * field.83 2247739 115455"]  # 115 W
        self.write()

    def add(self, *lines: str) -> None:
        """Append directives; later ones win over earlier ones."""
        self._lines += lines
        self.write()

    def remove(self, *lines: str) -> None:
        for line in lines:
            self._lines.remove(line)
        self.write()

    def set(self, key: str, *values: float | str, gpu: int | str = "*") -> None:
        """Give a number; with several, a further one at each call, and the last stays."""
        self.add(f"set {gpu} {key} {' '.join(map(str, values))}")

    def every(
        self, key: str, period_ms: float, values: Sequence[float], gpu: int | str = 0
    ) -> None:
        """Replay values, a further one each ``period_ms``."""
        self.add(f"every {gpu} {key} {period_ms} {' '.join(map(str, values))}")

    def ramp(self, key: str, start: float, per_s: float, gpu: int | str = "*") -> None:
        self.add(f"ramp {gpu} {key} {start} {per_s}")

    def text(self, key: str, value: str, gpu: int | str = "*") -> None:
        self.add(f"text {gpu} {key} {value}")

    def fail(
        self, function: str, code: int, gpu: int | str = "*", *, first: int = 0, last: int = 0
    ) -> str:
        """Let a function, ``field.N``, ``gpm.N`` or ``*`` return a code; returns the directive."""
        line = f"fail {gpu} {function} {code} {first} {last}"
        self.add(line)
        return line

    def delay(self, function: str, milliseconds: int, gpu: int | str = "*") -> None:
        self.add(f"delay {gpu} {function} {milliseconds}")

    def add_mig(self, gpu: int, *, gpu_instance: int, compute_instance: int = 0) -> str:
        """Add a MIG device of 16 SMs and 18 GB (a 1g.18gb slice); returns its uuid."""
        mig = sum(line == f"mig {gpu}" for line in self._lines)
        uuid = MIG_UUID.format(gpu=gpu, mig=mig)
        scope = f"{gpu}/{mig}"
        self.set("nvmlDeviceGetMigMode.current", 1, gpu=gpu)
        self.set("nvmlDeviceGetMigMode.pending", 1, gpu=gpu)
        self.add(
            f"mig {gpu}",
            f"text {scope} nvmlDeviceGetUUID {uuid}",
            f"set {scope} nvmlDeviceGetGpuInstanceId {gpu_instance}",
            f"set {scope} nvmlDeviceGetComputeInstanceId {compute_instance}",
            f"set {scope} nvmlDeviceGetMemoryInfo.total {18 * 10**9}",
            f"set {scope} nvmlDeviceGetMemoryInfo.used {2 * 10**9}",
            f"set {scope} nvmlDeviceGetAttributes_v2.sm_count 16",
            f"set {scope} nvmlDeviceGetAttributes_v2.memory_mb 18000",
        )
        return uuid

    def write(self) -> None:
        # Renamed into place: a reader in the middle of a call sees one whole file or the other.
        fresh = self.path.with_suffix(".new")
        fresh.write_text("\n".join(self._lines) + "\n")
        fresh.replace(self.path)


H200_TEXT = {
    "nvmlDeviceGetName": "NVIDIA H200",
    "nvmlDeviceGetVbiosVersion": "96.00.BC.00.01",
}

H200: dict[str, float] = {
    "nvmlDeviceGetUtilizationRates.gpu": 0,
    "nvmlDeviceGetUtilizationRates.memory": 0,
    "nvmlDeviceGetEncoderUtilization.pct": 0,
    "nvmlDeviceGetEncoderUtilization.period_us": 167000,
    "nvmlDeviceGetDecoderUtilization.pct": 0,
    "nvmlDeviceGetDecoderUtilization.period_us": 167000,
    "nvmlDeviceGetJpgUtilization.pct": 0,
    "nvmlDeviceGetJpgUtilization.period_us": 167000,
    "nvmlDeviceGetOfaUtilization.pct": 0,
    "nvmlDeviceGetOfaUtilization.period_us": 167000,
    # no nvmlDeviceGetFanSpeed: an SXM module has no fan
    "nvmlDeviceGetMemoryInfo.total": 150754820096,
    "nvmlDeviceGetMemoryInfo.used": 644939776,
    "nvmlDeviceGetEnforcedPowerLimit": 700000,
    "nvmlDeviceGetPowerManagementDefaultLimit": 700000,
    "nvmlDeviceGetPowerManagementLimitConstraints.min": 200000,
    "nvmlDeviceGetPowerManagementLimitConstraints.max": 700000,
    "nvmlDeviceGetPersistenceMode": 1,
    "nvmlDeviceGetEccMode.current": 1,
    "nvmlDeviceGetEccMode.pending": 1,
    "nvmlDeviceGetMigMode.current": 0,
    "nvmlDeviceGetMigMode.pending": 0,
    "nvmlDeviceGetCudaComputeCapability.major": 9,
    "nvmlDeviceGetCudaComputeCapability.minor": 0,
    "nvmlDeviceGetNumGpuCores": 16896,
    "nvmlDeviceGetMemoryBusWidth": 6144,
    "nvmlDeviceGetTemperature.0": 35,
    "nvmlDeviceGetClockInfo.1": 450,
    "nvmlDeviceGetClockInfo.2": 3201,
    "nvmlDeviceGetMaxClockInfo.1": 1980,
    "nvmlDeviceGetMaxClockInfo.2": 3201,
    "nvmlDeviceGetApplicationsClock.0": 1980,
    "nvmlDeviceGetApplicationsClock.2": 3201,
    "nvmlDeviceGetCurrentClocksEventReasons": 1,
    "nvmlDeviceGetCurrentClocksThrottleReasons": 1,
    "nvmlDeviceGetPerformanceState": 0,
    "nvmlDeviceGetCurrPcieLinkGeneration": 5,
    "nvmlDeviceGetCurrPcieLinkWidth": 16,
    "nvmlDeviceGetMaxPcieLinkGeneration": 5,
    "nvmlDeviceGetMaxPcieLinkWidth": 16,
    "nvmlDeviceGetTotalEccErrors.corrected": 0,
    "nvmlDeviceGetTotalEccErrors.uncorrected": 0,
    "nvmlDeviceGetRemappedRows.corrected": 0,
    "nvmlDeviceGetRemappedRows.uncorrected": 0,
    "nvmlDeviceGetSupportedEventTypes": 0x8 | 0x2,
    "field.74": 5_000_000_000,
    "field.76": 0,
    "field.82": 41,
    "field.186": 115455,
    "field.197": 1000,
    "field.198": 2000,
    "field.269": 0,
    "field.270": 0,
    "field.271": 0,
    # no field.138, field.139: a single-GPU machine without NVLink answers NOT_SUPPORTED
    "nvmlGpmQueryDeviceSupport": 1,
    **{f"gpm.{metric}": 0 for metric in (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13)},
    # Polling alone moves MiB/s over PCIe: a window without any was not counted.
    **{f"gpm.{metric}": 1.5 for metric in (20, 21)},
}
