"""What is true of a traced process as a whole: who it is, its rank, its GPU, its container."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from gnomon.proc.cgroups import parse_cgroup
from gnomon.proc.files import read_text
from gnomon.proc.identity import PROC, boot_id, process_hash
from gnomon.proc.procfs import parse_task_stat

LARGEST_RANK = (1 << 31) - 1
PCI_ORDER = "PCI_BUS_ID"


@dataclass(frozen=True, slots=True)
class ProcessFacts:
    """What could be read; None where the process was gone, did not say, or would not let us."""

    process_id: str | None = None
    name: str | None = None
    rank: int | None = None
    local_rank: int | None = None
    world_size: int | None = None
    gpu_uuid: str | None = None
    mig_uuid: str | None = None
    cgroup_path: str | None = None
    container_id: str | None = None


UNKNOWN = ProcessFacts()


class ProcessReader:
    """Reads facts of processes. ``proc`` is /proc; a test has its own."""

    def __init__(self, proc: Path = PROC) -> None:
        self._proc = proc
        self._boot = boot_id(proc)
        self._gpus = list_gpus(proc)

    def by_record(self, pid: int, started_ns: int, name: str | None) -> ProcessFacts:
        """Return what the kernel told of a process that is gone.

        ``started_ns``: since boot, suspended time included, as /proc/PID/stat counts in ticks.
        """
        ticks = started_ns // (1_000_000_000 // os.sysconf("SC_CLK_TCK"))
        return ProcessFacts(process_id=process_hash(self._boot, pid, ticks), name=name)

    def read(self, pid: int) -> ProcessFacts:
        """Return what can be read of a process now. Never raises."""
        base = f"{self._proc}/{pid}"
        try:
            stat = parse_task_stat(read_text(f"{base}/stat"))
        except (OSError, ValueError):
            return UNKNOWN
        cgroup = _optional(f"{base}/cgroup")
        environment = _environment(_optional(f"{base}/environ"))
        gpu_uuid, mig_uuid = visible_gpu(environment, self._gpus)
        return ProcessFacts(
            process_id=process_hash(self._boot, pid, stat.start_ticks),
            name=stat.name,
            rank=_rank(environment.get("RANK")),
            local_rank=_rank(environment.get("LOCAL_RANK")),
            world_size=_rank(environment.get("WORLD_SIZE")),
            gpu_uuid=gpu_uuid,
            mig_uuid=mig_uuid,
            cgroup_path=_cgroup_path(cgroup),
            container_id=parse_cgroup(cgroup)[0],
        )


def list_gpus(proc: Path = PROC) -> Sequence[str]:
    """Return the UUIDs of the GPUs of this machine in the order of their PCI addresses."""
    found = []
    for information in sorted((proc / "driver/nvidia/gpus").glob("*/information")):
        for line in _optional(str(information)).splitlines():
            name, _, value = line.partition(":")
            if name == "GPU UUID":
                found.append(value.strip())
    return found


def visible_gpu(
    environment: Mapping[str, str], gpus: Sequence[str]
) -> tuple[str | None, str | None]:
    """Return (GPU, MIG instance) of a process that can see one only; None where not known.

    An index tells a GPU only where CUDA was asked to count in PCI order, or there is but one.
    """
    visible = environment.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return (gpus[0] if len(gpus) == 1 else None), None
    names = [name.strip() for name in visible.split(",")]
    if len(names) != 1:
        return None, None
    (name,) = names
    if name.startswith("MIG-"):
        return None, name
    if name.isdigit():
        is_ordered = len(gpus) == 1 or environment.get("CUDA_DEVICE_ORDER") == PCI_ORDER
        return (gpus[int(name)] if is_ordered and int(name) < len(gpus) else None), None
    meant = [uuid for uuid in gpus if name.startswith("GPU-") and uuid.startswith(name)]
    return (meant[0] if len(meant) == 1 else None), None


def _environment(text: str) -> dict[str, str]:
    pairs = (item.partition("=") for item in text.split("\0"))
    return {name: value for name, _, value in pairs if name}


def _rank(value: str | None) -> int | None:
    if value is None or not value.isascii() or not value.isdigit():
        return None
    return int(value) if int(value) <= LARGEST_RANK else None


def _cgroup_path(text: str) -> str | None:
    """The path of the unified hierarchy (0::/path), else of the first one there is."""
    lines = [line.split(":", 2) for line in text.splitlines() if line.count(":") >= 2]
    unified = [path for number, controllers, path in lines if number == "0" and not controllers]
    return next(iter(unified or [path for _, _, path in lines]), None)


def _optional(path: str) -> str:
    try:
        return read_text(path)
    except OSError:
        return ""
