"""Who uses which GPU: the device side and the host side of each process, in one row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gnomon.recording.base import Measurements

TEXTS = ("name", "command_line", "user", "container_id", "pod_uid", "kind")


@dataclass(frozen=True, slots=True)
class ProcessRow:
    """The newest reading of one process on one GPU in a window; None where not measured."""

    pid: int
    gpu_uuid: str
    mig_uuid: str | None = None
    kind: str | None = None
    name: str | None = None
    command_line: str | None = None
    user: str | None = None
    container_id: str | None = None
    pod_uid: str | None = None
    vram_used_bytes: int | None = None
    sm_pct: float | None = None
    cpu_pct: float | None = None
    rss_bytes: int | None = None
    busiest_thread_name: str | None = None
    busiest_thread_cpu_pct: float | None = None
    busiest_thread_run_queue_pct: float | None = None


def processes(measurements: Measurements, *, from_ns: int, to_ns: int) -> list[ProcessRow]:
    """Return the processes seen in the window, by GPU, the largest user of VRAM first."""
    device = _newest(measurements, "gpu_processes", ("gpu_uuid", "mig_uuid", "pid"), from_ns, to_ns)
    host = _newest(measurements, "process_samples", ("pid",), from_ns, to_ns)
    rows = []
    for key, row in device.items():
        beside = host.get((key[2],), {})
        rows.append(
            ProcessRow(
                pid=row["pid"],
                gpu_uuid=row["gpu_uuid"],
                mig_uuid=row["mig_uuid"],
                vram_used_bytes=row["vram_used_bytes"],
                sm_pct=row["sm_pct"],
                cpu_pct=beside.get("cpu_pct"),
                rss_bytes=beside.get("rss_bytes"),
                busiest_thread_name=beside.get("busiest_thread_name"),
                busiest_thread_cpu_pct=beside.get("busiest_thread_cpu_pct"),
                busiest_thread_run_queue_pct=beside.get("busiest_thread_run_queue_pct"),
                **{name: row[name] for name in TEXTS},
            )
        )
    return sorted(rows, key=lambda row: (row.gpu_uuid, -(row.vram_used_bytes or 0), row.pid))


def _newest(
    measurements: Measurements, table: str, keys: tuple[str, ...], from_ns: int, to_ns: int
) -> Mapping[tuple[Any, ...], Mapping[str, Any]]:
    """Return key -> newest row; what the newest row lacks is taken from the ones before it."""
    newest: dict[tuple[Any, ...], dict[str, Any]] = {}
    for row in measurements.read(table, from_ns=from_ns, to_ns=to_ns).to_pylist():
        if row["pid"] is None:
            continue
        known = {name: value for name, value in row.items() if value is not None}
        newest.setdefault(tuple(row[key] for key in keys), dict.fromkeys(row)).update(known)
    return newest
