"""The host side of watched processes: their CPU, their busiest thread, memory and storage I/O.

A program that feeds a GPU often hangs on one thread. The kernel tells per thread, in
nanoseconds, how long it ran and how long it was ready and had no CPU (schedstat); that is one
small file a thread, and a server may have hundreds.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from gnomon.proc import procfs
from gnomon.proc.files import read_text
from gnomon.proc.identity import boot_id, process_hash
from gnomon.proc.procfs import SchedStat, TaskStat
from gnomon.sources.base import Missing

T = TypeVar("T")

WAIT_METRIC = "busiest_thread_run_queue_pct"
DEAD = frozenset("ZX")  # zombie and dead: proc(5), field 3 of stat
IO_METRICS = ("io_read_bytes_per_s", "io_write_bytes_per_s")


@dataclass(frozen=True, slots=True)
class ProcessReading:
    """One process at ``at_ns`` on CLOCK_MONOTONIC_RAW."""

    at_ns: int
    stat: TaskStat
    rss_bytes: int | None
    io_bytes: tuple[int, int] | None
    threads: Mapping[int, SchedStat]


class ProcessReader:
    """Reads watched processes, and remembers each one's last reading to take differences."""

    def __init__(self, proc: Path) -> None:
        self._proc = str(proc)
        self._boot_id = boot_id(proc)
        self._page_bytes = os.sysconf("SC_PAGE_SIZE")
        self._tick_ns = 10**9 // os.sysconf("SC_CLK_TCK")
        self._last: dict[str, ProcessReading] = {}
        self.missing: dict[str, Missing] = {}
        # A kernel without scheduler statistics writes zeros there, or has no such file at all.
        own = _parse(f"{self._proc}/self/schedstat", procfs.parse_schedstat)
        self._has_schedstat = own is not None and own.run_ns > 0
        if not self._has_schedstat:
            reason = "this kernel keeps no scheduler statistics (CONFIG_SCHEDSTATS)"
            self.missing[WAIT_METRIC] = Missing(WAIT_METRIC, reason)

    def rows(self, pids: Iterable[int], ts_ns: int) -> list[dict[str, object]]:
        """Return a row of ``process_samples`` for each process that is (still) there."""
        for metric in IO_METRICS:
            self.missing.pop(metric, None)
        rows = []
        seen: dict[str, ProcessReading] = {}
        for pid in sorted(set(pids) - {os.getpid()}):
            reading = self._read(pid)
            if reading is None:
                continue
            process_id = process_hash(self._boot_id, pid, reading.stat.start_ticks)
            seen[process_id] = reading
            rows.append(
                {"ts_ns": ts_ns, "process_id": process_id, "pid": pid}
                | process_row(self._last.get(process_id), reading, self._tick_ns)
                | self._busiest_name(pid, self._last.get(process_id), reading)
            )
        self._last = seen
        return rows

    def _read(self, pid: int) -> ProcessReading | None:
        """Read one process; None where it is gone, also where it goes while being read."""
        base = f"{self._proc}/{pid}"
        at_ns = time.clock_gettime_ns(time.CLOCK_MONOTONIC_RAW)
        stat = _parse(f"{base}/stat", procfs.parse_task_stat)
        if stat is None or stat.state in DEAD:
            return None
        rss = _parse(f"{base}/statm", lambda text: procfs.parse_statm(text, self._page_bytes))
        return ProcessReading(at_ns, stat, rss, self._io(base), self._threads(base))

    def _threads(self, base: str) -> dict[int, SchedStat]:
        try:
            names = os.listdir(f"{base}/task")  # noqa: PTH208  half the time of iterdir
        except OSError:
            return {}
        threads = {}
        for name in names:
            try:
                threads[int(name)] = self._thread(f"{base}/task/{name}")
            except (OSError, ValueError):
                continue  # it ended meanwhile
        return threads

    def _thread(self, base: str) -> SchedStat:
        if self._has_schedstat:
            return procfs.parse_schedstat(read_text(f"{base}/schedstat"))
        stat = procfs.parse_task_stat(read_text(f"{base}/stat"))
        return SchedStat(stat.cpu_ticks * self._tick_ns, None)

    def _io(self, base: str) -> tuple[int, int] | None:
        try:
            found = procfs.parse_io(read_text(f"{base}/io"))
        except PermissionError:
            reason = "the kernel shows storage I/O of a process to its own user and root only"
            for metric in IO_METRICS:
                self.missing[metric] = Missing(metric, reason, "run as that user, or as root")
            return None
        except (OSError, ValueError):
            return None
        return found

    def _busiest_name(
        self, pid: int, before: ProcessReading | None, after: ProcessReading
    ) -> dict[str, object]:
        tid = busiest_thread(before, after)
        if tid is None:
            return {}
        try:
            name = read_text(f"{self._proc}/{pid}/task/{tid}/comm").rstrip("\n")
        except OSError:
            return {}
        return {"busiest_thread_name": name}


def busiest_thread(before: ProcessReading | None, after: ProcessReading) -> int | None:
    """Return the thread that ran longest between two readings; the lowest id where they tie."""
    if before is None:
        return None
    runs = {tid: _ran_ns(before, after, tid) for tid in after.threads}
    return min(runs, key=lambda tid: (-runs[tid], tid), default=None)


def process_row(
    before: ProcessReading | None, after: ProcessReading, tick_ns: int
) -> dict[str, object]:
    """Return the measured columns of ``process_samples``.

    Rates and shares need an earlier reading of the same process; without one they are absent.
    """
    row: dict[str, object] = {
        "name": after.stat.name,
        "threads": after.stat.threads,
        "rss_bytes": after.rss_bytes,
        "duration_ns": 0,
    }
    if before is None or after.at_ns <= before.at_ns:
        return row
    duration_ns = after.at_ns - before.at_ns
    cpu_ns = max(0, after.stat.cpu_ticks - before.stat.cpu_ticks) * tick_ns
    row |= {"duration_ns": duration_ns, "cpu_pct": cpu_ns / duration_ns * 100}
    if before.io_bytes is not None and after.io_bytes is not None:
        for name, earlier, later in zip(IO_METRICS, before.io_bytes, after.io_bytes, strict=True):
            row[name] = max(0, later - earlier) * 1e9 / duration_ns
    tid = busiest_thread(before, after)
    if tid is not None:
        row["busiest_tid"] = tid
        row["busiest_thread_cpu_pct"] = _share(_ran_ns(before, after, tid), duration_ns)
        waited_ns = _waited_ns(before, after, tid)
        if waited_ns is not None:
            row[WAIT_METRIC] = _share(waited_ns, duration_ns)
    return row


def _ran_ns(before: ProcessReading, after: ProcessReading, tid: int) -> int:
    """Nanoseconds a thread ran; one that is new was born in between and counts in full."""
    earlier = before.threads.get(tid)
    return after.threads[tid].run_ns - (earlier.run_ns if earlier else 0)


def _waited_ns(before: ProcessReading, after: ProcessReading, tid: int) -> int | None:
    earlier, later = before.threads.get(tid), after.threads[tid].wait_ns
    if later is None:
        return None
    return later - ((earlier.wait_ns or 0) if earlier else 0)


def _share(part_ns: int, duration_ns: int) -> float:
    """Percent of an interval. The kernel books a wait when it ends and so may exceed it."""
    return min(100.0, max(0.0, part_ns / duration_ns * 100))


def _parse(path: str, parse: Callable[[str], T]) -> T | None:
    """Return None for a file that is not there or makes no sense: the process went away."""
    try:
        return parse(read_text(path))
    except (OSError, ValueError):
        return None
