"""The monitor's own books: what each source did, cost and lost, and how the clocks stand."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gnomon.enums import SourceState

if TYPE_CHECKING:
    from gnomon.recording._worker import Worker

SECOND_NS = 1_000_000_000
# More than this of one core per GPU is announced, with the measured cost.
OBSERVER_CPU_SHARE = 0.001
OBSERVER_WINDOW_NS = 10 * SECOND_NS
DESCRIBE_PERIOD_NS = 5 * SECOND_NS
# Under this name ``source_health`` holds what the whole process costs.
OWN_NAME = "gnomon"


@dataclass(frozen=True, slots=True)
class SourceHealth:
    """How a source is doing, for a status line."""

    name: str
    state: SourceState
    reason: str
    period_ns: int
    counts: WorkerCounts


@dataclass(frozen=True, slots=True)
class Interval:
    """What a worker did since its books were last closed."""

    reads: int
    failures: int
    longest_read_ns: int
    cpu_ns: int
    losses: Mapping[tuple[str, str], int]


class WorkerCounts:
    """Counts of one worker: written by its thread, read and reset by the writing thread."""

    def __init__(self) -> None:
        self.total_cpu_ns = 0
        self._lock = threading.Lock()
        self._reads = self._failures = self._longest_ns = self._cpu_ns = 0
        self._losses: dict[tuple[str, str], int] = {}
        self._first_ns = time.monotonic_ns()
        self._described_ns = time.monotonic_ns()
        self._warned = False

    def read(self, wall_ns: int, cpu_ns: int) -> None:
        with self._lock:
            self._reads += 1
            self._cpu_ns += cpu_ns
            self._longest_ns = max(self._longest_ns, wall_ns)
            self.total_cpu_ns += cpu_ns

    def failed(self) -> None:
        with self._lock:
            self._failures += 1

    def lost(self, table: str, rows: int, reason: str) -> None:
        with self._lock:
            key = (table, reason)
            self._losses[key] = self._losses.get(key, 0) + rows

    def take(self) -> Interval:
        """Close the books of this interval and open new ones."""
        with self._lock:
            interval = Interval(
                self._reads, self._failures, self._longest_ns, self._cpu_ns, self._losses
            )
            self._reads = self._failures = self._longest_ns = self._cpu_ns = 0
            self._losses = {}
        return interval

    def description_is_due(self) -> bool:
        now_ns = time.monotonic_ns()
        if now_ns - self._described_ns < DESCRIBE_PERIOD_NS:
            return False
        self._described_ns = now_ns
        return True

    def observer_effect(self, gpus: int) -> str:
        """Return the measured cost, once, where it exceeds the promise; else an empty text."""
        elapsed_ns = time.monotonic_ns() - self._first_ns
        if self._warned or elapsed_ns < OBSERVER_WINDOW_NS:
            return ""
        self._warned = True
        share = self.total_cpu_ns / elapsed_ns / max(gpus, 1)
        if share <= OBSERVER_CPU_SHARE:
            return ""
        return f"costs {share * 100:.2f} % of a core per GPU; a longer period costs less"


class Books:
    """Rows about the observer itself, closed once a second."""

    def __init__(self) -> None:
        self._closed_ns = time.clock_gettime_ns(time.CLOCK_MONOTONIC_RAW)
        self._process_ns = time.process_time_ns()

    def second_has_passed(self) -> bool:
        # Ticks jitter; a second that is a little short is still the second's turn.
        now_ns = time.clock_gettime_ns(time.CLOCK_MONOTONIC_RAW)
        return now_ns - self._closed_ns >= 0.9 * SECOND_NS

    def rows(self, workers: Sequence[Worker]) -> dict[str, list[Mapping[str, object]]]:
        """Close the interval: rows of source_health, losses and clock_sync."""
        clock_row = clock_sync()
        raw_ns = int(str(clock_row["monotonic_raw_ns"]))
        stamp = {"ts_ns": clock_row["ts_ns"], "duration_ns": raw_ns - self._closed_ns}
        self._closed_ns = raw_ns
        health: list[Mapping[str, object]] = [stamp | self._own_cost()]
        lost: dict[tuple[str, str, str], int] = {}
        for worker in workers:
            interval = worker.counts.take()
            for (table, reason), rows in interval.losses.items():
                lost[worker.name, table, reason] = rows
            health.append(
                stamp
                | {
                    "source": worker.name,
                    "state": worker.state.value,
                    "reads": interval.reads,
                    "failures": interval.failures,
                    "period_ns": worker.period_ns,
                    "longest_read_ns": interval.longest_read_ns,
                    "cpu_ns": interval.cpu_ns,
                    "reason": worker.reason or None,
                }
            )
        losses: list[Mapping[str, object]] = [
            stamp | {"source": source, "table": table, "rows": rows, "reason": reason}
            for (source, table, reason), rows in lost.items()
        ]
        return {"source_health": health, "losses": losses, "clock_sync": [clock_row]}

    def _own_cost(self) -> dict[str, object]:
        """Return what the whole process cost: sources, writing, a screen where there is one."""
        before_ns, self._process_ns = self._process_ns, time.process_time_ns()
        return {
            "source": OWN_NAME,
            "state": SourceState.READY.value,
            "cpu_ns": self._process_ns - before_ns,
        }


def clock_sync() -> dict[str, object]:
    """Read the clocks as close together as Python can."""
    before_ns = time.monotonic_ns()
    row: dict[str, object] = {
        "ts_ns": time.time_ns(),
        "duration_ns": 0,
        "monotonic_ns": time.monotonic_ns(),
        "monotonic_raw_ns": time.clock_gettime_ns(time.CLOCK_MONOTONIC_RAW),
        "boottime_ns": time.clock_gettime_ns(time.CLOCK_BOOTTIME),
    }
    return row | {"uncertainty_ns": time.monotonic_ns() - before_ns}
