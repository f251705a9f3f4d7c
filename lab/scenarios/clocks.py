"""What the kernel says of a thread: how long it ran, and how long it wanted to and could not."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path


def thread_clocks(tid: int | None = None) -> Mapping[str, int]:
    """Return totals of a thread of this process, by default the calling one.

    ``cpu_ns`` on a CPU, ``run_queue_ns`` runnable without one (``schedstat``), ``switches`` off
    the CPU, of them ``preemptions``.
    """
    task = Path("/proc/self/task") / str(tid or threading.get_native_id())
    cpu_ns, run_queue_ns, _ = parse_schedstat((task / "schedstat").read_text())
    own, forced = parse_switches((task / "status").read_text())
    return {
        "cpu_ns": cpu_ns,
        "run_queue_ns": run_queue_ns,
        "switches": own + forced,
        "preemptions": forced,
    }


def process_cpu_ns(pid: int) -> int:
    """Return how long the first thread of a process has been on a CPU."""
    return parse_schedstat((Path("/proc") / str(pid) / "schedstat").read_text())[0]


def parse_schedstat(text: str) -> tuple[int, int, int]:
    """Return nanoseconds on a CPU, nanoseconds waiting for one, times it got one."""
    cpu_ns, run_queue_ns, slices = map(int, text.split())
    return cpu_ns, run_queue_ns, slices


def parse_switches(status: str) -> tuple[int, int]:
    """Return how often a thread left the CPU by itself, and how often it was made to."""
    rows = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    return int(rows["voluntary_ctxt_switches"]), int(rows["nonvoluntary_ctxt_switches"])


def since(before: Mapping[str, int], after: Mapping[str, int]) -> Mapping[str, int]:
    """Return what was added between two readings."""
    return {name: value - before[name] for name, value in after.items()}


class Stopwatch:
    """Adds up stretches of time: ``with stopwatch: ...``.

    By the wall's clock, or by ``time.thread_time_ns``, which stands still while the thread has no
    CPU.
    """

    def __init__(self, clock: Callable[[], int] = time.monotonic_ns) -> None:
        self._clock = clock
        self.reset()

    def reset(self) -> None:
        self.total_ns = 0
        self.count = 0

    def __enter__(self) -> None:
        self._begun_ns = self._clock()

    def __exit__(self, *error: object) -> None:
        self.total_ns += self._clock() - self._begun_ns
        self.count += 1
