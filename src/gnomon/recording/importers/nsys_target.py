"""What an export of Nsight Systems says of the machine it was made on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from gnomon._errors import RecordingError
from gnomon.recording.importers.foreign_values import EARLIEST_NS, LATEST_NS, clean, integer
from gnomon.recording.importers.sink import made_up_process_id, made_up_uuid
from gnomon.recording.importers.sqlite_file import SqliteFile

# TARGET_INFO_GPU -> facts of a GPU in meta
GPU_FACTS = {
    "name": "name",
    "busLocation": "pci_bus_id",
    "smCount": "sm_count",
    "totalMemory": "vram_total_bytes",
    "maxWarpsPerSm": "max_warps_per_sm",
}


@dataclass(slots=True)
class Target:
    """``begin_ns`` is the Unix time from which the export counts; ``gpus``: uuid -> facts."""

    begin_ns: int
    host: str
    gpus: dict[str, dict[str, Any]]
    uuid_of_device: Mapping[int, str]
    uuid_of_process_device: Mapping[tuple[int, int], str]
    versions: dict[str, str]
    _made_up: dict[int, str] = field(default_factory=dict)

    def gpu_uuid(self, device: int, pid: int | None) -> str:
        """Return the GPU that a process calls by an index."""
        known = self.uuid_of_process_device.get((pid or 0, device))
        found = known or self.uuid_of_device.get(device) or self._made_up.get(device)
        if found is None:
            found = self._made_up[device] = made_up_uuid("nsys", self.host, device)
            self.gpus[found] = {"index": device}
        return found

    def process_id(self, pid: int | None) -> str | None:
        return None if pid is None else made_up_process_id("nsys", self.host, pid)


def target_of(file: SqliteFile, begin_ns: int | None) -> Target:
    """Read it. ``begin_ns`` overrides what the file says, and is needed where it says nothing.

    Raises RecordingError where it is not known when the session began.
    """
    started = next(file.picked("TARGET_INFO_SESSION_START_TIME", ("utcEpochNs",)), {})
    base_ns = begin_ns or integer(started.get("utcEpochNs"), EARLIEST_NS, LATEST_NS)
    if base_ns is None:
        raise RecordingError(
            f"{file.path}: it does not say when its session began (no TARGET_INFO_SESSION_START_"
            "TIME); say it with --begin 2026-01-31T12:00:00"
        )
    environment = {
        str(row["name"]): clean(row["value"], 200)
        for row in file.picked("TARGET_INFO_SYSTEM_ENV", ("name", "value"))
    }
    host = environment.get("Hostname") or ""
    gpus, uuid_of_gpu, uuid_of_device = _gpus(file, host)
    names = ("gpuId", "cudaId", "pid")
    by_process = {
        (row["pid"], row["cudaId"]): uuid_of_gpu[row["gpuId"]]
        for row in file.picked("TARGET_INFO_CUDA_DEVICE", names)
        if row["gpuId"] in uuid_of_gpu
    }
    exported = {
        str(row["name"]): clean(row["value"], 80)
        for row in file.picked("META_DATA_EXPORT", ("name", "value"))
    }
    versions = {
        "nsys": exported.get("EXPORT_PRODUCT_VERSION"),
        "nsys_schema": exported.get("EXPORT_SCHEMA_VERSION"),
    }
    kept = {key: value for key, value in versions.items() if value}
    return Target(base_ns, host, gpus, uuid_of_device, by_process, kept)


def _gpus(
    file: SqliteFile, host: str
) -> tuple[dict[str, dict[str, Any]], dict[Any, str], dict[int, str]]:
    """Return facts by uuid, uuids by the file's own id, and by CUDA's index."""
    gpus: dict[str, dict[str, Any]] = {}
    by_id: dict[Any, str] = {}
    by_device: dict[int, str] = {}
    names = ("id", *GPU_FACTS, "uuid", "cuDevice", "computeMajor", "computeMinor")
    for row in file.picked("TARGET_INFO_GPU", names):
        index = integer(row["id"], 0, 1024)
        if index is None:
            continue
        told = clean(row["uuid"], 80)
        uuid = (
            made_up_uuid("nsys", host, index)
            if told is None
            else told if told.startswith(("GPU-", "MIG-")) else f"GPU-{told}"
        )  # fmt: skip
        facts = {ours: _plain(row[theirs]) for theirs, ours in GPU_FACTS.items()}
        if row["computeMajor"] is not None and row["computeMinor"] is not None:
            facts["compute_capability"] = f"{row['computeMajor']}.{row['computeMinor']}"
        gpus[uuid] = {"index": index} | {key: one for key, one in facts.items() if one is not None}
        by_id[index] = uuid
        device = integer(row["cuDevice"], 0, 1024)
        by_device[index if device is None else device] = uuid
    return gpus, by_id, by_device


def _plain(value: Any) -> int | str | None:
    return integer(value) if isinstance(value, int) else clean(value, 200)
