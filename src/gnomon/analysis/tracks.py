"""One GPU's counters as arrays, whichever sources wrote them.

Several sources describe the same GPU at their own periods. A ``Track`` keeps, for each source,
its intervals and columns; every quantity is then taken from the best source that has it. The
ledger needs its counters on one set of intervals: those of the *base* source.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from gnomon.analysis.collecting import Bools, Collected, Key, read_counters, take_apart
from gnomon.analysis.intervals import Floats, Intervals, Ints, intervals, resample
from gnomon.analysis.readings import SELDOM_READ, covered
from gnomon.recording.base import Measurements

# Best first. GPM counts over the whole interval in hardware, PM samples at 1 kHz.
SOURCE_ORDER = ("gpm", "pm", "import", "nvml")
COUNTER_SOURCES = ("gpm", "import", "pm")
TRUE_CLOCK_SOURCES = ("gpm", "cupti", "clock64")
# A base interval takes the true clock only if this share of it was covered by readings of it.
TRUE_CLOCK_COVERAGE = 0.5

# The true clock over the reported one depends on the work: 0.88 to 0.93 on an H200's tensor cores,
# 1 on other pipes, anything on an idle GPU. So a measurement speaks for tensor work of its own
# kind (percent of cycles, split here), and not for long.
RATIO_HOLDS_NS = 10_000_000_000
LEAST_RATIO, MOST_RATIO = 0.8, 1.05
# Samples further apart than this are of two turns.
TURNS_APART_NS = 2_000_000_000
KINDS_OF_TENSOR_WORK_PCT = (10.0, 40.0, 70.0)

Readings = tuple[Intervals, Floats]


@dataclass(frozen=True, slots=True)
class Clock:
    """An SM clock on n intervals, shapes (n,); NaN where nobody knows it.

    ``is_true``: measured by hardware counters. ``is_estimated``: what the driver reported,
    corrected by what true and reported clock were to each other in like work seconds away.
    """

    mhz: Floats
    is_true: Bools
    is_estimated: Bools


@dataclass(frozen=True, slots=True)
class SourceColumns:
    """What one source wrote of one GPU: n intervals, columns of shape (n,), NaN where null.

    A column without a single value is not there.
    """

    intervals: Intervals
    columns: Mapping[str, Floats]
    clock_source: str | None

    def has(self, column: str) -> bool:
        return column in self.columns


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
        if where.stop > where.start and not values[where].any():
            return 0.0
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
        if known.all():
            return readings
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
    def base_clock(self) -> Clock:
        """The SM clock on the base intervals."""
        base = self.base
        if base is None:
            return Clock(np.empty(0), np.empty(0, dtype=bool), np.empty(0, dtype=bool))
        true, reported = (np.full(len(base.intervals), np.nan) for _ in range(2))
        for source in self._clock_sources(base):
            is_source_true = source.clock_source in TRUE_CLOCK_SOURCES
            clock, needed = (true, TRUE_CLOCK_COVERAGE) if is_source_true else (reported, 0.0)
            usable = np.isnan(clock)
            if not usable.any():
                continue  # a better source knows all of it
            values = source.columns["sm_clock_mhz"]
            if source is not base:
                values, coverage = resample(source.intervals, values, base.intervals)
                usable &= coverage >= needed
            clock[usable] = values[usable]
        if np.isnan(true).all():
            nowhere = np.zeros(len(true), dtype=bool)
            return Clock(reported, nowhere, nowhere)
        kinds = np.digitize(
            np.nan_to_num(base.columns.get("tensor_active_pct", np.zeros(len(true)))),
            KINDS_OF_TENSOR_WORK_PCT,
        )
        return _clock(base.intervals, true, reported, kinds)

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
    return tracks_of(take_apart(read_counters(measurements, from_ns, to_ns), gpu_uuid))


def tracks_of(collected: Mapping[Key, Collected]) -> list[Track]:
    """Return one track a GPU or MIG instance, in the order of their uuids."""
    grouped: dict[tuple[str, str | None], dict[str, SourceColumns]] = {}
    for (uuid, mig_uuid, source), rows in collected.items():
        grouped.setdefault((uuid, mig_uuid), {})[source] = SourceColumns(
            intervals(rows.ts_ns, rows.duration_ns),
            rows.columns,
            min(rows.clock_sources, key=_clock_rank, default=None),
        )
    ordered = sorted(grouped.items(), key=lambda item: (item[0][0], item[0][1] or ""))
    return [Track(uuid, mig_uuid, sources) for (uuid, mig_uuid), sources in ordered]


def _clock(intervals: Intervals, true: Floats, reported: Floats, kinds: Ints) -> Clock:
    """Put the true clock where it was measured, and the best guess where it was not.

    ``kinds``: of the work; the driver's clock is right where there is none for the tensor cores,
    kind 0.
    """
    is_true = ~np.isnan(true)
    clock = np.where(is_true, true, reported)
    is_estimated = np.zeros(len(clock), dtype=bool)
    ratio = true / np.where(reported > 0, reported, np.nan)
    plausible = (ratio >= LEAST_RATIO) & (ratio <= MOST_RATIO)
    for kind in range(1, len(KINDS_OF_TENSOR_WORK_PCT) + 1):
        pairs = np.flatnonzero(plausible & (kinds == kind))
        others = np.flatnonzero(~is_true & ~np.isnan(reported) & (kinds == kind))
        if not len(pairs) or not len(others):
            continue
        at_ns, ratios = _turns(intervals.end_ns[pairs], ratio[pairs])
        nearest = _nearest(at_ns, intervals.end_ns[others])
        near = np.abs(at_ns[nearest] - intervals.end_ns[others]) <= RATIO_HOLDS_NS
        others, nearest = others[near], nearest[near]
        clock[others] = reported[others] * ratios[nearest]
        is_estimated[others] = True
    return Clock(clock, is_true, is_estimated)


def _turns(ts_ns: Ints, ratio: Floats) -> tuple[Ints, Floats]:
    """Return when each turn of samples was, and the median of its ratios: one may be an edge."""
    turns = np.split(np.arange(len(ts_ns)), np.flatnonzero(np.diff(ts_ns) > TURNS_APART_NS) + 1)
    when = [int(np.median(ts_ns[turn])) for turn in turns]
    return np.array(when), np.array([float(np.median(ratio[turn])) for turn in turns])


def _nearest(ascending: Ints, wanted: Ints) -> Ints:
    """Return for each wanted number the position of the nearest ascending one."""
    after = np.clip(np.searchsorted(ascending, wanted), 0, len(ascending) - 1)
    before = np.maximum(after - 1, 0)
    is_before_nearer = np.abs(wanted - ascending[before]) < np.abs(ascending[after] - wanted)
    return np.where(is_before_nearer, before, after)


def _clock_rank(name: str | None) -> int:
    is_true = name in TRUE_CLOCK_SOURCES
    return TRUE_CLOCK_SOURCES.index(name) if is_true and name else len(TRUE_CLOCK_SOURCES)
