"""What the screen asks for and what it gets: plain values, made off the UI thread."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gnomon.analysis.processes import ProcessRow
from gnomon.analysis.summary_types import GpuSummary
from gnomon.recording.base import Meta, SkippedSegment

GpuKey = tuple[str, str | None]


@dataclass(frozen=True, slots=True)
class Span:
    """A phase of the workload: its name and when it ran, Unix ns."""

    name: str
    from_ns: int
    to_ns: int


@dataclass(frozen=True, slots=True)
class Series:
    """One GPU's numbers over [from_ns, to_ns] in equal bins; None where nothing was read."""

    from_ns: int
    to_ns: int
    values: Mapping[str, Sequence[float | None]]


@dataclass(frozen=True, slots=True)
class GpuView:
    """One GPU as the screen shows it. ``stale`` says why its values are not of now."""

    summary: GpuSummary
    facts: Mapping[str, Any] = field(default_factory=dict)
    series: Series | None = None
    thread_name: str | None = None
    stale: str = ""

    @property
    def key(self) -> GpuKey:
        return self.summary.uuid, self.summary.mig_uuid

    @property
    def label(self) -> str:
        index = self.facts.get("index")
        name = "?" if index is None else str(index)
        return f"{name}·MIG" if self.summary.mig_uuid else name


@dataclass(frozen=True, slots=True)
class Request:
    """What the screen needs next. ``at_ns`` None means the newest there is, less ``behind_ns``."""

    at_ns: int | None = None
    behind_ns: int = 0
    window_ns: int = 5_000_000_000
    chart_ns: int = 120_000_000_000
    chart_bins: int = 240
    charts: bool = True
    chart_first: GpuKey | None = None
    health: bool = False


@dataclass(frozen=True, slots=True)
class Health:
    """The recorder on itself: newest row a source, what was lost or could not be read."""

    sources: Sequence[Mapping[str, Any]] = ()
    losses: Sequence[Mapping[str, Any]] = ()
    events: Sequence[Mapping[str, Any]] = ()
    skipped: Sequence[SkippedSegment] = ()


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything on screen at one moment of the recording.

    ``errors`` names what could not be worked out; the values shown in its place are the last
    good ones.
    """

    at_ns: int | None
    start_ns: int | None
    end_ns: int | None
    window_ns: int
    wall_ns: int
    gpus: Sequence[GpuView] = ()
    processes: Sequence[ProcessRow] = ()
    phases: Sequence[Span] = ()
    last_event: Mapping[str, Any] | None = None
    meta: Meta | None = None
    health: Health = field(default_factory=Health)
    errors: Sequence[str] = ()
    took_s: float = 0.0

    @property
    def phase(self) -> Span | None:
        """The phase that runs at ``at_ns``: the innermost where they nest."""
        if self.at_ns is None:
            return None
        running = [one for one in self.phases if one.from_ns < self.at_ns <= one.to_ns]
        return max(running, key=lambda one: one.from_ns, default=None)
