"""One GPU's counters as arrays, whichever sources wrote them.

Several sources describe the same GPU at their own periods. A ``Track`` keeps, for each source,
its intervals and columns; every quantity is then taken from the best source that has it. The
ledger needs its counters on one set of intervals: those of the *base* source.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np

from gnomon.analysis.intervals import Floats, Intervals, Ints, intervals, resample, weighted_mean
from gnomon.recording.base import Measurements

# Best first. GPM counts over the whole interval in hardware, PM samples at 1 kHz.
SOURCE_ORDER = ("gpm", "pm", "import", "nvml")
COUNTER_SOURCES = ("gpm", "import", "pm")
TRUE_CLOCK_SOURCES = ("gpm", "cupti", "clock64")
# As one table, a day of eight GPUs takes 1 GB before half of it (nulls) can be dropped.
READ_AT_ONCE_NS = 3 * 3_600_000_000_000
# A base interval takes the true clock only if this share of it was covered by readings of it.
TRUE_CLOCK_COVERAGE = 0.5

COLUMNS: tuple[str, ...] = (
    "busy_pct",
    "memory_busy_pct",
    "engine_active_pct",
    "sm_active_pct",
    "sm_occupancy_pct",
    "integer_active_pct",
    "tensor_active_pct",
    "tensor_dfma_active_pct",
    "tensor_dmma_active_pct",
    "fp64_active_pct",
    "fp32_active_pct",
    "fp16_active_pct",
    "dram_active_pct",
    "pcie_rx_bytes_per_s",
    "pcie_tx_bytes_per_s",
    "nvlink_rx_bytes_per_s",
    "nvlink_tx_bytes_per_s",
    "link_only_pct",
    "sm_clock_mhz",
    "memory_clock_mhz",
    "power_watts",
    "energy_joules",
    "power_limit_watts",
    "temperature_celsius",
    "vram_used_bytes",
    "vram_total_bytes",
    "throttle_reasons",
    "throttle_sw_power_cap_ns",
    "throttle_sync_boost_ns",
    "throttle_sw_thermal_ns",
    "throttle_hw_thermal_ns",
    "throttle_hw_power_brake_ns",
)


_Key = tuple[str, str | None, str]  # GPU uuid, MIG uuid, source


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
        source = self.source_of(column)
        if source is None:
            return None
        where = source.intervals.inside(from_ns, to_ns)
        weights = source.intervals.take(where).weights(from_ns, to_ns)
        return weighted_mean(source.columns[column][where], weights)

    def last(self, column: str, from_ns: int, to_ns: int) -> float | None:
        """Return the newest reading of a column inside the window, or None."""
        source = self.source_of(column)
        if source is None:
            return None
        values = source.columns[column][source.intervals.inside(from_ns, to_ns)]
        known = values[~np.isnan(values)]
        return float(known[-1]) if len(known) else None

    def share_sum(self, column: str, from_ns: int, to_ns: int) -> float | None:
        """Return the sum of an amount (joules, ns) over the window, edges taken in proportion."""
        source = self.source_of(column)
        if source is None:
            return None
        where = source.intervals.inside(from_ns, to_ns)
        part = source.intervals.take(where)
        values = source.columns[column][where]
        lengths_s = np.maximum(part.end_ns - part.start_ns, 1) / 1e9
        known = ~np.isnan(values)
        if not known.any():
            return None
        return float((values * part.weights(from_ns, to_ns) / lengths_s)[known].sum())

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

        def rank(source: SourceColumns) -> tuple[int, bool]:
            name = source.clock_source
            true_rank = TRUE_CLOCK_SOURCES.index(name) if name in TRUE_CLOCK_SOURCES else 9
            return true_rank, source is not base

        return sorted(with_clock, key=rank)


def load_tracks(measurements: Measurements, from_ns: int | None, to_ns: int | None) -> list[Track]:
    """Read the counters of a time range into one track a GPU (or MIG instance)."""
    collected: dict[_Key, _Collected] = {}
    for batch, parts_left in _batches(measurements, from_ns, to_ns):
        _collect(batch, collected, parts_left)
    grouped: dict[tuple[str, str | None], dict[str, SourceColumns]] = {}
    for (uuid, mig_uuid, source), rows in collected.items():
        grouped.setdefault((uuid, mig_uuid), {})[source] = rows.columns()
    ordered = sorted(grouped.items(), key=lambda item: (item[0][0], item[0][1] or ""))
    return [Track(uuid, mig_uuid, sources) for (uuid, mig_uuid), sources in ordered]


def _batches(
    measurements: Measurements, from_ns: int | None, to_ns: int | None
) -> Iterator[tuple[Any, int]]:
    """Yield counters in the order of time, and how many such parts there are from here on."""
    edges: list[int | None] = [from_ns, to_ns]
    if from_ns is not None and to_ns is not None:
        edges = [*range(from_ns, to_ns, READ_AT_ONCE_NS), to_ns]
    wanted = ["ts_ns", "duration_ns", "gpu_uuid", "mig_uuid", "source", "sm_clock_source"]
    for part, (begin, end) in enumerate(pairwise(edges)):
        table = measurements.read(
            "gpu_counters", from_ns=begin, to_ns=end, columns=[*wanted, *COLUMNS]
        )
        for batch in table.combine_chunks().to_batches():
            yield batch, len(edges) - 1 - part


class _Collected:
    """What one source wrote of one GPU, as it comes in; arrays are made for all that will come."""

    def __init__(self, capacity: int) -> None:
        self.rows = 0
        self.clock_sources: set[str] = set()
        self._capacity = capacity
        self._times = {name: np.zeros(capacity, np.int64) for name in ("ts_ns", "duration_ns")}
        self._columns: dict[str, Floats] = {}

    def make_room(self, rows: int) -> slice:
        """Return where the next ``rows`` go."""
        self.rows += rows
        if self.rows > self._capacity:
            more = 2 * self.rows - self._capacity
            self._capacity += more
            self._times = {k: np.pad(v, (0, more)) for k, v in self._times.items()}
            self._columns = {
                k: np.pad(v, (0, more), constant_values=np.nan) for k, v in self._columns.items()
            }
        return slice(self.rows - rows, self.rows)

    def put_times(self, name: str, where: slice, times: Ints) -> None:
        self._times[name][where] = times

    def put(self, name: str, where: slice, values: Floats) -> None:
        """Keep a column's values; one without a single known value takes no memory."""
        if name not in self._columns:
            if np.isnan(values).all():
                return
            self._columns[name] = np.full(self._capacity, np.nan)
        self._columns[name][where] = values

    def columns(self) -> SourceColumns:
        ts_ns, duration_ns = (self._times[name][: self.rows] for name in ("ts_ns", "duration_ns"))
        return SourceColumns(
            intervals(ts_ns, duration_ns),
            {name: values[: self.rows] for name, values in self._columns.items()},
            min(self.clock_sources, key=_clock_rank, default=None),
        )


def _collect(batch: Any, collected: dict[_Key, _Collected], parts: int) -> None:
    """Hand the rows of a batch to their GPU, MIG instance and source, in their order."""
    codes, names = zip(
        *(_encode(batch, n) for n in ("gpu_uuid", "mig_uuid", "source", "sm_clock_source")),
        strict=True,
    )
    group = np.ravel_multi_index(codes[:3], [len(values) for values in names[:3]])
    order = np.argsort(group, kind="stable")
    edges = [0, *(np.flatnonzero(np.diff(group[order])) + 1).tolist(), batch.num_rows]
    places = []
    for begin, end in pairwise(edges):
        rows = order[begin:end]
        uuid, mig_uuid, source = (names[at][codes[at][rows[0]]] for at in range(3))
        if uuid is None or source is None:
            continue
        key = (uuid, mig_uuid, source)
        target = collected.setdefault(key, _Collected(len(rows) * parts))
        target.clock_sources |= {
            name for code in np.unique(codes[3][rows]) if (name := names[3][code]) is not None
        }
        places.append((rows, target, target.make_room(len(rows))))
    for name in ("ts_ns", "duration_ns"):
        times = batch.column(name).fill_null(0).to_numpy()
        for rows, target, where in places:
            target.put_times(name, where, times[rows])
    for name in COLUMNS:
        column = batch.column(name)
        if column.null_count == batch.num_rows:
            continue
        values = column.cast("float64").to_numpy(zero_copy_only=False)
        for rows, target, where in places:
            target.put(name, where, values[rows])


def _encode(batch: Any, column: str) -> tuple[Ints, Sequence[str | None]]:
    """Return a code for each row, and what the codes stand for; the last one is null."""
    encoded = batch.column(column).dictionary_encode()
    names = [*encoded.dictionary.to_pylist(), None]
    codes = encoded.indices.fill_null(len(names) - 1).to_numpy().astype(np.int64)
    return codes, names


def _clock_rank(name: str) -> int:
    return TRUE_CLOCK_SOURCES.index(name) if name in TRUE_CLOCK_SOURCES else 9
