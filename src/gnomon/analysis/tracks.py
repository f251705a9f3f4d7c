"""One GPU's counters as arrays, whichever sources wrote them.

Several sources describe the same GPU at their own periods. A ``Track`` keeps, for each source,
its intervals and columns; every quantity is then taken from the best source that has it. The
ledger needs its counters on one set of intervals: those of the *base* source.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from gnomon.analysis.collecting import collect
from gnomon.analysis.intervals import Floats, Intervals, intervals, resample, window_mean
from gnomon.analysis.readings import SELDOM_READ, covered
from gnomon.recording.base import Measurements

# Best first. GPM counts over the whole interval in hardware, PM samples at 1 kHz.
SOURCE_ORDER = ("gpm", "pm", "import", "nvml")
COUNTER_SOURCES = ("gpm", "import", "pm")
TRUE_CLOCK_SOURCES = ("gpm", "cupti", "clock64")
# A base interval takes the true clock only if this share of it was covered by readings of it.
TRUE_CLOCK_COVERAGE = 0.5

Readings = tuple[Intervals, Floats]


@dataclass(frozen=True, slots=True)
class SourceColumns:
    """What one source wrote of one GPU: n intervals, columns of shape (n,), NaN where null."""

    intervals: Intervals
    columns: Mapping[str, Floats]
    clock_source: str | None

    def has(self, column: str) -> bool:
        values = self.columns.get(column)
        return values is not None and bool((~np.isnan(values)).any())


@dataclass(frozen=True)
class Track:
    """One GPU or MIG instance over a stretch of time."""

    gpu_uuid: str
    mig_uuid: str | None
    sources: Mapping[str, SourceColumns]
    # What many windows ask for again: column -> its readings, all of them and those not missing.
    _readings: dict[str, Readings | None] = field(default_factory=dict, repr=False, compare=False)
    _known: dict[str, Readings | None] = field(default_factory=dict, repr=False, compare=False)

    @cached_property
    def base(self) -> SourceColumns | None:
        """The source on whose intervals the ledger is computed: the best with SM counters."""
        for name in COUNTER_SOURCES:
            source = self.sources.get(name)
            if source is not None and source.has("sm_active_pct"):
                return source
        return None

    def source_of(self, column: str) -> SourceColumns | None:
        """Return the best source that measured this column at all."""
        for name in SOURCE_ORDER:
            source = self.sources.get(name)
            if source is not None and source.has(column):
                return source
        return None

    def mean(self, column: str, from_ns: int, to_ns: int) -> float | None:
        """Return the time-weighted mean of a column inside the window, or None."""
        readings = self.readings(column)
        if readings is None:
            return None
        return window_mean(*readings, from_ns, to_ns)

    def last(self, column: str, to_ns: int) -> float | None:
        """Return the newest reading of a column up to ``to_ns``, or None.

        It may be older than a window that ends there: limits are read every few seconds.
        """
        if column not in self._known:
            self._known[column] = self._known_readings(column)
        readings = self._known[column]
        if readings is None:
            return None
        intervals, values = readings
        position = int(np.searchsorted(intervals.end_ns, to_ns, "right"))
        return float(values[position - 1]) if position else None

    def share_sum(self, column: str, from_ns: int, to_ns: int) -> float | None:
        """Return the sum of an amount (joules, ns) over the window, edges taken in proportion."""
        readings = self.readings(column)
        if readings is None:
            return None
        intervals, values = readings
        where = intervals.inside(from_ns, to_ns)
        part = intervals.take(where)
        lengths_s = np.maximum(part.end_ns - part.start_ns, 1) / 1e9
        amounts = values[where] * part.weights(from_ns, to_ns) / lengths_s
        known = ~np.isnan(amounts)
        return float(amounts[known].sum()) if known.any() else None

    def readings(self, column: str) -> Readings | None:
        """Return the values of a column and the intervals they cover; None where nobody has it."""
        if column not in self._readings:
            source = self.source_of(column)
            found = None if source is None else (source.intervals, source.columns[column])
            self._readings[column] = (
                covered(*found) if found is not None and column in SELDOM_READ else found
            )
        return self._readings[column]

    def _known_readings(self, column: str) -> Readings | None:
        readings = self.readings(column)
        if readings is None:
            return None
        intervals, values = readings
        known = ~np.isnan(values)
        return Intervals(intervals.start_ns[known], intervals.end_ns[known]), values[known]

    def sampled(self, column: str, base: SourceColumns) -> Floats | None:
        """Return a column on the intervals of ``base``, shape (n,); None where nobody has it."""
        if base.has(column):
            return base.columns[column]
        source = self.source_of(column)
        if source is None:
            return None
        return resample(source.intervals, source.columns[column], base.intervals)[0]

    @cached_property
    def base_clock(self) -> tuple[Floats, np.ndarray[Any, np.dtype[np.bool_]]]:
        """SM clock in MHz on the base intervals, and where it is the true one; shapes (n,)."""
        base = self.base
        if base is None:
            return np.empty(0), np.empty(0, dtype=bool)
        clock = np.full(len(base.intervals), np.nan)
        is_true = np.zeros(len(base.intervals), dtype=bool)
        for source in self._clock_sources(base):
            if source is base:
                values, coverage = base.columns["sm_clock_mhz"], np.ones(len(clock))
            else:
                values, coverage = resample(
                    source.intervals, source.columns["sm_clock_mhz"], base.intervals
                )
            true_here = source.clock_source in TRUE_CLOCK_SOURCES
            needed = TRUE_CLOCK_COVERAGE if true_here else 0.0
            usable = np.isnan(clock) & ~np.isnan(values) & (coverage >= needed)
            clock[usable] = values[usable]
            is_true[usable] = true_here
        return clock, is_true

    @cached_property
    def true_clock_source(self) -> str | None:
        """The name of the best source of the true SM clock that this track has."""
        base = self.base
        for source in self._clock_sources(base) if base else ():
            if source.clock_source in TRUE_CLOCK_SOURCES:
                return source.clock_source
        return None

    def _clock_sources(self, base: SourceColumns) -> list[SourceColumns]:
        """Sources with an SM clock: true ones first, in their order, then the base's own."""
        with_clock = [s for s in self.sources.values() if s.has("sm_clock_mhz")]

        return sorted(with_clock, key=lambda s: (_clock_rank(s.clock_source), s is not base))


def load_tracks(
    measurements: Measurements,
    from_ns: int | None,
    to_ns: int | None,
    *,
    gpu_uuid: str | None = None,
) -> list[Track]:
    """Read the counters of a time range into one track a GPU (or MIG instance), or of one GPU."""
    grouped: dict[tuple[str, str | None], dict[str, SourceColumns]] = {}
    collected = collect(measurements, from_ns, to_ns, gpu_uuid)
    for (uuid, mig_uuid, source), rows in collected.items():
        grouped.setdefault((uuid, mig_uuid), {})[source] = SourceColumns(
            intervals(rows.times("ts_ns"), rows.times("duration_ns")),
            rows.columns(),
            min(rows.clock_sources, key=_clock_rank, default=None),
        )
    ordered = sorted(grouped.items(), key=lambda item: (item[0][0], item[0][1] or ""))
    return [Track(uuid, mig_uuid, sources) for (uuid, mig_uuid), sources in ordered]


def _clock_rank(name: str | None) -> int:
    is_true = name in TRUE_CLOCK_SOURCES
    return TRUE_CLOCK_SOURCES.index(name) if is_true and name else len(TRUE_CLOCK_SOURCES)
