"""Which processes use a GPU, how much of its memory, and how busy each keeps it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from gnomon.sources import _nvml_errors as errors
from gnomon.sources._availability import Availability
from gnomon.sources._nvml_gpus import Gpu
from gnomon.sources._nvml_metrics import checked
from gnomon.sources._processes import process_columns

Row = dict[str, object]

# kind -> NVML function; a process may be listed as several kinds, the first one wins.
LISTS = (
    ("mps", "nvmlDeviceGetMPSComputeRunningProcesses"),
    ("compute", "nvmlDeviceGetComputeRunningProcesses"),
    ("graphics", "nvmlDeviceGetGraphicsRunningProcesses"),
)
UTILIZATION = ("sm_pct", "memory_pct", "encoder_pct", "decoder_pct")
_SAMPLE_MEMBERS = ("smUtil", "memUtil", "encUtil", "decUtil")


class ProcessReader:
    """Lists the processes of one GPU; remembers up to when their utilisation was read."""

    def __init__(self, availability: Availability, proc: Path) -> None:
        self._availability = availability
        self._proc = proc
        self._seen_us = 0

    def read(self, nvml: Any, gpu: Gpu) -> list[Row]:
        """Return rows of ``gpu_processes`` without time; one a process and GPU or MIG instance."""
        rows: list[Row] = []
        for mig in gpu.mig_instances:
            rows += self._listed(nvml, gpu, mig.handle, mig.uuid)
        known = {row["pid"] for row in rows}
        rows += [
            row for row in self._listed(nvml, gpu, gpu.handle, None) if row["pid"] not in known
        ]
        if not rows:
            return rows
        # The driver does not split utilisation by MIG instance.
        shares = {} if gpu.mig_instances else self._utilization(nvml, gpu)
        return [self._described(row, shares) for row in rows]

    def _described(self, row: Row, shares: Mapping[int, Row]) -> Row:
        pid = int(str(row["pid"]))
        return row | process_columns(pid, self._proc) | shares.get(pid, {})

    def _listed(self, nvml: Any, gpu: Gpu, handle: Any, mig_uuid: str | None) -> list[Row]:
        found: dict[int, Row] = {}
        for kind, function in LISTS:
            key = f"processes ({kind})" if mig_uuid is None else f"processes ({kind}, {mig_uuid})"
            call = partial(getattr(nvml, function), handle)
            listed = self._availability.ask(gpu.uuid, function, (key,), call)
            for process in listed or ():
                row: Row = {
                    "gpu_uuid": gpu.uuid,
                    "mig_uuid": mig_uuid,
                    "pid": process.pid,
                    "kind": kind,
                    "vram_used_bytes": _bytes(process.usedGpuMemory),
                }
                found.setdefault(process.pid, row)
        return list(found.values())

    def _utilization(self, nvml: Any, gpu: Gpu) -> dict[int, Row]:
        samples = self._availability.ask(
            gpu.uuid,
            "nvmlDeviceGetProcessUtilization",
            UTILIZATION,
            lambda: utilization_samples(nvml, gpu.handle, self._seen_us),
        )
        newest: dict[int, Any] = {}
        for sample in samples or ():
            self._seen_us = max(self._seen_us, sample.timeStamp)
            held = newest.get(sample.pid)
            if held is None or sample.timeStamp >= held.timeStamp:
                newest[sample.pid] = sample
        return {pid: _shares(sample) for pid, sample in newest.items()}


def utilization_samples(nvml: Any, handle: Any, since_us: int) -> list[Any]:
    """Return the driver's samples since a time; empty where every process was idle.

    Some drivers answer NOT_FOUND where nothing ran, some Blackwell drivers list nothing at all:
    the newer call is asked then. pynvml raises code 0 where there is nothing to list.
    """
    try:
        samples = list(nvml.nvmlDeviceGetProcessUtilization(handle, since_us))
    except nvml.NVMLError as error:
        if errors.code_of(error) not in {0, errors.NOT_FOUND, errors.NOT_SUPPORTED}:
            raise
        samples = []
        refused = error if errors.code_of(error) == errors.NOT_SUPPORTED else None
    else:
        refused = None
    if samples:
        return samples
    try:
        return list(nvml.nvmlDeviceGetProcessesUtilizationInfo(handle, since_us))
    except nvml.NVMLError as error:
        if refused is not None:
            raise refused from error
        if errors.code_of(error) in errors.GPU_GONE | errors.DRIVER_GONE:
            raise
        return []


def _shares(sample: Any) -> Row:
    return {
        column: checked(column, getattr(sample, member))
        for column, member in zip(UTILIZATION, _SAMPLE_MEMBERS, strict=True)
    }


def _bytes(value: int | None) -> int | None:
    return None if value is None else checked("vram_used_bytes", value)  # type: ignore[return-value]
