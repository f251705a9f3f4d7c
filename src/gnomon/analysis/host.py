"""The host beside the GPU: CPU in use, and the busiest thread of the processes on each GPU."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from gnomon.analysis.collecting import encode, evenly, filled, groups, known_values
from gnomon.analysis.intervals import Floats, Intervals, Ints, Mean, intervals
from gnomon.analysis.slices import parts
from gnomon.analysis.windows import Window
from gnomon.recording.base import Measurements

TIME = ("ts_ns", "duration_ns")

Column = tuple[Intervals, Floats]


class Host:
    """What the host did in one window."""

    def __init__(self, gpu_pids: Mapping[str, frozenset[int]]) -> None:
        """``gpu_pids``: the processes on each GPU."""
        self._gpu_pids = gpu_pids
        self._cpu = Mean()
        self._threads: dict[int, Mean] = {}

    def add_cpu(self, column: Column, window: Window) -> None:
        """Take a part of the host's samples into account, CPU in use of all cores."""
        _add(self._cpu, column, window)

    def add_thread(self, pid: int, column: Column, window: Window) -> None:
        """Take a part of a process's samples into account, CPU of its busiest thread."""
        _add(self._threads.setdefault(pid, Mean()), column, window)

    @property
    def cpu_pct(self) -> float | None:
        """CPU in use, of all cores."""
        return self._cpu.value

    def busiest_thread_cpu_pct(self, gpu_uuid: str) -> float | None:
        """CPU of the busiest thread among the GPU's processes, of one core.

        Where the driver lists no processes for the GPU, every watched process counts.
        """
        pids = self._gpu_pids.get(gpu_uuid) or self._threads.keys()
        means = [self._threads[pid].value for pid in pids if pid in self._threads]
        return max((mean for mean in means if mean is not None), default=None)


def hosts(
    measurements: Measurements, windows: Sequence[Window], from_ns: int, to_ns: int
) -> list[Host]:
    """Return what the host did in each window; ``windows`` lie in [from_ns, to_ns]."""
    gpu_pids = _gpu_pids(measurements, from_ns, to_ns)
    found = [Host(gpu_pids) for _ in windows]
    for part in parts(measurements, "host_samples", [*TIME, "cpu_pct"], from_ns, to_ns):
        column = _column(part, "cpu_pct")
        for host, window in _touched(found, windows, column[0]):
            host.add_cpu(column, window)
    columns = [*TIME, "pid", "busiest_thread_cpu_pct"]
    for part in parts(measurements, "process_samples", columns, from_ns, to_ns):
        for pid, column in _by_pid(part, "busiest_thread_cpu_pct"):
            for host, window in _touched(found, windows, column[0]):
                host.add_thread(pid, column, window)
    return found


def _by_pid(part: Any, name: str) -> Iterator[tuple[int, Column]]:
    ts_ns, duration_ns, values = _arrays(part, name)
    pids = filled(part.column("pid"))
    first = int(np.min(pids))
    for rows in groups([pids - first], [int(np.max(pids)) - first + 1]):
        pid = int(pids[rows[0]])
        where = evenly(rows)
        if pid:
            yield pid, (intervals(ts_ns[where], duration_ns[where]), values[where])


def _column(part: Any, name: str) -> Column:
    ts_ns, duration_ns, values = _arrays(part, name)
    return intervals(ts_ns, duration_ns), values


def _arrays(part: Any, name: str) -> tuple[Ints, Ints, Floats]:
    values, is_known = known_values(part.column(name))
    return (
        filled(part.column("ts_ns")),
        filled(part.column("duration_ns")),
        values if is_known.all() else np.where(is_known, values, np.nan),
    )


def _touched(
    found: Sequence[Host], windows: Sequence[Window], spans: Intervals
) -> Iterator[tuple[Host, Window]]:
    """Yield the windows that a part has something to say about."""
    first_ns, last_ns = int(spans.start_ns[0]), int(spans.end_ns[-1])
    for host, window in zip(found, windows, strict=True):
        if window.from_ns < last_ns and window.to_ns > first_ns:
            yield host, window


def _add(mean: Mean, column: Column, window: Window) -> None:
    spans, values = column
    where = spans.inside(window.from_ns, window.to_ns)
    mean.add(values[where], spans.take(where).weights(window.from_ns, window.to_ns))


def _gpu_pids(measurements: Measurements, from_ns: int, to_ns: int) -> dict[str, frozenset[int]]:
    found: dict[str, set[int]] = {}
    for part in parts(measurements, "gpu_processes", ["gpu_uuid", "pid"], from_ns, to_ns):
        codes, uuids = encode(part, "gpu_uuid")
        pids, is_known = known_values(part.column("pid"))
        for code, uuid in enumerate(uuids):
            if uuid is not None:
                here = pids[(codes == code) & is_known]
                found.setdefault(uuid, set()).update(here.tolist())
    return {uuid: frozenset(pids) for uuid, pids in found.items()}
