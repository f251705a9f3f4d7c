"""The host beside the GPU: CPU in use, and the busiest thread of the processes on each GPU."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from gnomon.analysis.intervals import Floats, Intervals, Ints, intervals, window_mean
from gnomon.recording.base import Measurements


@dataclass(frozen=True, slots=True)
class Host:
    """Host samples and watched processes over a range; arrays of shape (rows,)."""

    samples: Intervals
    cpu: Floats
    threads: Mapping[int, tuple[Intervals, Floats]]
    gpu_pids: Mapping[str, frozenset[int]]

    def cpu_pct(self, from_ns: int, to_ns: int) -> float | None:
        """CPU in use in the window, of all cores."""
        return window_mean(self.samples, self.cpu, from_ns, to_ns)

    def busiest_thread_cpu_pct(self, gpu_uuid: str, from_ns: int, to_ns: int) -> float | None:
        """CPU of the busiest thread among the GPU's processes, of one core.

        Where the driver lists no processes for the GPU, every watched process counts.
        """
        pids = self.gpu_pids.get(gpu_uuid) or self.threads.keys()
        means = [
            window_mean(*self.threads[pid], from_ns, to_ns) for pid in pids if pid in self.threads
        ]
        return max((mean for mean in means if mean is not None), default=None)


def load(measurements: Measurements, from_ns: int, to_ns: int) -> Host:
    """Read what the host did in a time range."""
    table = measurements.read(
        "host_samples", from_ns=from_ns, to_ns=to_ns, columns=["ts_ns", "duration_ns", "cpu_pct"]
    )
    spans, cpu = _columns(table, "cpu_pct")
    return Host(
        spans, cpu, _threads(measurements, from_ns, to_ns), _gpu_pids(measurements, from_ns, to_ns)
    )


def _threads(
    measurements: Measurements, from_ns: int, to_ns: int
) -> dict[int, tuple[Intervals, Floats]]:
    table = measurements.read(
        "process_samples",
        from_ns=from_ns,
        to_ns=to_ns,
        columns=["ts_ns", "duration_ns", "pid", "busiest_thread_cpu_pct"],
    )
    pids = table.column("pid").to_numpy()
    return {
        int(pid): _columns(table, "busiest_thread_cpu_pct", np.flatnonzero(pids == pid))
        for pid in np.unique(pids)
    }


def _gpu_pids(measurements: Measurements, from_ns: int, to_ns: int) -> dict[str, frozenset[int]]:
    table = measurements.read(
        "gpu_processes", from_ns=from_ns, to_ns=to_ns, columns=["gpu_uuid", "pid"]
    )
    pairs = table.group_by(["gpu_uuid", "pid"]).aggregate([]).to_pylist()
    found: dict[str, set[int]] = {}
    for pair in pairs:
        if pair["gpu_uuid"] is not None and pair["pid"] is not None:
            found.setdefault(pair["gpu_uuid"], set()).add(pair["pid"])
    return {uuid: frozenset(pids) for uuid, pids in found.items()}


def _columns(table: Any, column: str, rows: Ints | slice = slice(None)) -> tuple[Intervals, Floats]:
    """Return some rows of a table as intervals and the values of one column."""
    ts_ns = table.column("ts_ns").to_numpy()
    duration_ns = table.column("duration_ns").fill_null(0).to_numpy()
    values = table.column(column).cast("float64").to_numpy(zero_copy_only=False)
    return intervals(ts_ns[rows], duration_ns[rows]), values[rows]
