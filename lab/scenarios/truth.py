"""What is true of a run: which fault there was, when, and what it took by the program's clocks."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Injected:
    """What a program did to itself between the begin and the end of its window.

    ``lost_ns``: time of the dispatch thread that went to the fault, by the program's own clock or
    the scheduler's account; None where it names no such sum. ``least``, ``most``: what a detector
    may claim of it, as a share (the GPU may have had work during a part). ``counts``: everything
    else that is known, with units in the names. ``named``: words of which one must be told.
    ``sources``: functions of which one must be told, by name or by a line within.
    """

    lost_ns: int | None = None
    least: float = 0.0
    most: float = 1.0
    counts: Mapping[str, Any] = field(default_factory=dict)
    named: tuple[str, ...] = ()
    sources: tuple[SourceLines, ...] = ()


@dataclass(frozen=True, slots=True)
class SourceLines:
    """A Python function and where it stands."""

    function: str
    file: str
    first_line: int
    last_line: int


@dataclass(frozen=True, slots=True)
class Truth:
    """One line of a sidecar. ``expected`` is null for a control; times are Unix ns.

    ``accepted``: causes that call the same time by its mechanism (a read on the training thread is
    an ``io_wait`` as well as a stall of the input). ``clocks``: of the dispatch thread, by the
    kernel (``lab/scenarios/clocks.py``). ``steps`` and ``kernels`` are totals.
    """

    name: str
    variant: str
    fault: bool
    seed: int
    expected: str | None
    accepted: tuple[str, ...]
    from_ns: int
    to_ns: int
    pid: int
    tid: int
    steps: int
    kernels: int
    injected: Injected
    clocks: Mapping[str, int]

    @property
    def seconds(self) -> float:
        return (self.to_ns - self.from_ns) / 1e9

    @property
    def steps_per_s(self) -> float:
        return self.steps / self.seconds

    def append(self, path: Path) -> None:
        """Add it to a sidecar."""
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(self)) + "\n")


def read_truths(path: Path) -> list[Truth]:
    """Read a sidecar in the order in which it was written."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return [_truth(json.loads(line)) for line in lines if line.strip()]


def _truth(row: dict[str, Any]) -> Truth:
    injected = row["injected"]
    sources = tuple(SourceLines(**one) for one in injected["sources"])
    told = Injected(**injected | {"sources": sources, "named": tuple(injected["named"])})
    return Truth(**row | {"injected": told, "accepted": tuple(row["accepted"])})
