"""Walks the plan: measures each point, names the ones that fail, and keeps to the time allowed."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Protocol

from gnomon.hardware.calibration import plan
from gnomon.hardware.calibration.fitting import fastest_kernels
from gnomon.hardware.calibration.points import Conditions, Failure, Kind, Point, Task

ALLOWED_S = 90.0
# What a point takes with its preparation, on an H200's shapes; the last one must end in time.
BURST_S = 0.2
SUSTAINED_S = 4.0
ALL_REDUCE_S = 20.0

Progress = Callable[[str, float], None]
"""Called with what is measured next and the share (0 to 1) of the plan that is done."""


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds of one operation, and the Unix ns between which it ran under load."""

    seconds: float
    from_ns: int
    to_ns: int


class Watch(Protocol):
    """Sees the GPU while it works."""

    def note(self) -> None:
        """Read clocks and power now; called while the GPU is under load."""
        ...

    def true_clock(self) -> AbstractContextManager[None]:
        """Sample the true SM clock inside, where that is possible; it costs speed meanwhile."""
        ...

    def conditions(self, from_ns: int, to_ns: int) -> Conditions:
        """Return what was seen between two Unix ns."""
        ...


class Bench(Protocol):
    """Measures tasks on one device. What goes wrong with one is raised, whatever it is."""

    dtypes: Sequence[str]
    free_bytes: int

    def measure(self, task: Task) -> Timing: ...

    def release(self) -> None:
        """Let go of what a task, finished or failed, holds."""
        ...


@dataclass(slots=True)
class Measured:
    """What a calibration has so far."""

    points: list[Point] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)


def run(
    bench: Bench,
    watch: Watch,
    all_reduce: Callable[[], list[Point]] | None,
    progress: Progress,
    started_s: float,
) -> Measured:
    """Measure the whole plan within ``ALLOWED_S`` of ``started_s`` (monotonic).

    ``all_reduce`` measures the link to a second GPU in one go; None where there is no second one.
    """
    walk = _Walk(bench, watch, progress, started_s + ALLOWED_S)
    brief = plan.bursts(bench.dtypes, bench.free_bytes)
    # Which attention kernels will be sustained is not known yet; that there are two is.
    longs = 2 + len(plan.sustained(bench.dtypes, bench.free_bytes, {}))
    walk.expect(len(brief) * BURST_S + longs * SUSTAINED_S + (ALL_REDUCE_S if all_reduce else 0))
    for task in brief:
        walk.measure(task, BURST_S)
    if all_reduce is not None:
        walk.link(all_reduce)
    best = fastest_kernels(walk.done.points)
    for task in plan.sustained(bench.dtypes, bench.free_bytes, best):
        walk.measure(task, SUSTAINED_S)
    return walk.done


class _Walk:
    """The state of one walk through the plan."""

    def __init__(self, bench: Bench, watch: Watch, progress: Progress, deadline_s: float) -> None:
        self.done = Measured()
        self._bench = bench
        self._watch = watch
        self._progress = progress
        self._deadline_s = deadline_s
        self._expected_s = 1.0
        self._passed_s = 0.0

    def expect(self, seconds: float) -> None:
        self._expected_s = max(seconds, 1e-9)

    def measure(self, task: Task, takes_s: float) -> None:
        if not self._begins(task.name, takes_s):
            return
        try:
            timing = self._bench.measure(task)
        except Exception as error:  # noqa: BLE001  whatever one point meets, the others go on
            self.done.failures.append(Failure(task.name, _words(error)))
            return
        finally:
            self._bench.release()
        conditions = self._watch.conditions(timing.from_ns, timing.to_ns)
        self.done.points.append(Point(task, timing.seconds, conditions))

    def link(self, all_reduce: Callable[[], list[Point]]) -> None:
        name = str(Kind.ALL_REDUCE).replace("_", "-")
        if not self._begins(name, ALL_REDUCE_S):
            return
        try:
            self.done.points += all_reduce()
        except Exception as error:  # noqa: BLE001  as above
            self.done.failures.append(Failure(name, _words(error)))

    def _begins(self, name: str, takes_s: float) -> bool:
        self._progress(name, min(1.0, self._passed_s / self._expected_s))
        self._passed_s += takes_s
        if time.monotonic() + takes_s <= self._deadline_s:
            return True
        reason = f"left out: it would have ended after the {ALLOWED_S:g} s allowed"
        self.done.failures.append(Failure(name, reason))
        return False


def _words(error: Exception) -> str:
    """Return an error's first line: PyTorch adds pages of advice."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
