"""What one GPU did in one window, summed up piece by piece.

Every number of a summary is a mean, a sum or the last of something, so a window may come in any
number of pieces: ``add`` each in the order of time, then read the results.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from gnomon.analysis.bounds import THRESHOLDS
from gnomon.analysis.collecting import Bools
from gnomon.analysis.intervals import Floats, Intervals, Mean
from gnomon.analysis.ledger import ComputeMeans
from gnomon.analysis.sol import SolRows
from gnomon.analysis.throttle import ThrottleTally
from gnomon.analysis.tracks import Track
from gnomon.enums import Pipe

# A summary tells these as they are.
TOLD_MEANS = (
    "busy_pct",
    "memory_busy_pct",
    "engine_active_pct",
    "sm_active_pct",
    "sm_occupancy_pct",
    "integer_active_pct",
    "memory_clock_mhz",
    "temperature_celsius",
    "power_watts",
)
MEANS = (
    *TOLD_MEANS,
    "dram_active_pct",
    "pcie_rx_bytes_per_s",
    "pcie_tx_bytes_per_s",
    "nvlink_rx_bytes_per_s",
    "nvlink_tx_bytes_per_s",
)
AMOUNTS = ("energy_joules",)
LAST = ("vram_used_bytes", "vram_total_bytes", "power_limit_watts")
# Below this share of time (percent) a pipe's own clock is noise.
LEAST_PIPE_PCT = 0.01


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a window in which one track holds; ``is_last``: the window ends with it."""

    track: Track
    rows: SolRows | None
    from_ns: int
    to_ns: int
    is_last: bool


@dataclass(slots=True)
class Tally:
    """The sums of one GPU and window; means in the units of their columns."""

    throttle: ThrottleTally = field(default_factory=ThrottleTally)
    clock_source: str | None = None
    _compute: ComputeTally | None = None
    _means: defaultdict[str, Mean] = field(default_factory=lambda: defaultdict(Mean))
    _amounts: dict[str, float] = field(default_factory=dict)
    _last: dict[str, float] = field(default_factory=dict)
    _base_samples: int = 0
    _samples: Counter[str] = field(default_factory=Counter)

    def add(self, piece: Piece) -> None:
        """Take a piece into account; pieces do not overlap and come in the order of time."""
        track, begin, end = piece.track, piece.from_ns, piece.to_ns
        weighing = _Weighing(begin, end)
        for name in MEANS:
            readings = track.readings(name)
            if readings is not None:
                _add(self._means[name], readings[1], weighing.of(readings[0]))
        for name in AMOUNTS:
            amount = track.share_sum(name, begin, end)
            if amount is not None:
                self._amounts[name] = self._amounts.get(name, 0.0) + amount
        for name in LAST:
            last = track.last(name, end)
            if last is not None:
                self._last[name] = last
        self.throttle.add(track, begin, end)
        self._count(piece)
        self.clock_source = self.clock_source or track.true_clock_source
        if piece.rows is not None and piece.rows.products:
            self._compute = self._compute or ComputeTally()
            self._compute.add(piece.rows, weighing.of(piece.rows.intervals))

    def mean(self, column: str) -> float | None:
        return self._means[column].value

    def amount(self, column: str) -> float | None:
        return self._amounts.get(column)

    def last(self, column: str) -> float | None:
        """The newest reading; it may be older than the window: limits are read every 5 s only."""
        return self._last.get(column)

    @property
    def compute(self) -> ComputeTally | None:
        """The compute side; None where no interval of the window has all of its counters."""
        return self._compute if self._compute is not None and self._compute.weight > 0 else None

    @property
    def samples(self) -> int:
        """Intervals of the source that the ledger rests on, else of the busiest one."""
        return self._base_samples or max(self._samples.values(), default=0)

    def _count(self, piece: Piece) -> None:
        base = piece.track.base
        if base is not None:
            self._base_samples += _owned(base.intervals, piece)
        for name, source in piece.track.sources.items():
            self._samples[name] += _owned(source.intervals, piece)


@dataclass(slots=True)
class ComputeTally:
    """The compute side of a window: seconds, and percent times seconds."""

    weight: float = 0.0
    true_weight: float = 0.0
    _engine: float = 0.0
    _copying: float = 0.0
    _sm_empty: float = 0.0
    _idle: float = 0.0
    _idle_in_gaps: float = 0.0
    _clock: float = 0.0
    _active: float = 0.0
    _active_clock: float = 0.0
    _pipes: defaultdict[Pipe, float] = field(default_factory=lambda: defaultdict(float))
    _products: dict[Pipe, float] = field(default_factory=dict)
    _true_products: defaultdict[Pipe, float] = field(default_factory=lambda: defaultdict(float))
    _known_products: defaultdict[Pipe, float] = field(default_factory=lambda: defaultdict(float))

    def add(self, rows: SolRows, part: _Part) -> None:
        """Take those base intervals of a part into account of which everything is known."""
        where, weights, total_s = part
        usable = rows.usable[where]
        picked: slice | Bools = slice(None)
        if not usable.all():
            picked, weights = usable, weights[usable]
            total_s = float(weights.sum())

        def column(values: Floats) -> Floats:
            return np.asarray(values[where][picked])

        engine, sm_active = column(rows.engine_active), column(rows.sm_active)
        clock = column(rows.clock_mhz)
        idle = np.maximum(100.0 - engine, 0.0)
        active = weights * sm_active
        is_true = rows.clock_is_true[where][picked]
        is_known = is_true | rows.clock_is_estimated[where][picked]
        # Of an interval's weight, what lies at a true clock, at a known one, and in a gap.
        true, known = weights * is_true, weights * is_known
        in_gaps = weights * (engine >= THRESHOLDS["idle_engine_pct"].value)
        self.weight += total_s
        self.true_weight += float(true.sum())
        self._engine += float(engine @ weights)
        self._copying += float(column(rows.copying) @ weights)
        self._sm_empty += float(np.maximum(engine - sm_active, 0.0) @ weights)
        self._idle += float(idle @ weights)
        self._idle_in_gaps += float(idle @ in_gaps)
        self._clock += float(clock @ weights)
        self._active += float(active.sum())
        self._active_clock += float(clock @ active)
        for pipe, values in rows.pipes.items():
            self._pipes[pipe] += float(column(values) @ weights)
        for pipe, values in rows.products.items():
            products = column(values)
            self._products[pipe] = self._products.get(pipe, 0.0) + float(products @ weights)
            self._true_products[pipe] += float(products @ true)
            self._known_products[pipe] += float(products @ known)

    def means(self) -> ComputeMeans:
        """Return the time-weighted means, of the pipe that came closest to its peak."""
        pipe = max(self._products, key=lambda name: self._products[name])
        return ComputeMeans(
            copying_pct=self._copying / self.weight,
            engine_active_pct=self._engine / self.weight,
            sm_empty_pct=self._sm_empty / self.weight,
            pipe=pipe,
            pipe_active_pct=self._pipes[pipe] / self.weight,
            product_pct=self._products[pipe] / self.weight,
        )

    def working_clock_mhz(self, reference_mhz: float | None) -> float:
        """Mean SM clock while the pipe worked, so that pipe active x clock / reference is SOL.

        Where the pipe did next to nothing, the mean over the time in which SMs held warps, and
        where they held none, over all of it.
        """
        means = self.means()
        if reference_mhz and means.pipe_active_pct > LEAST_PIPE_PCT:
            return means.product_pct / means.pipe_active_pct * reference_mhz
        if self._active > 0:
            return self._active_clock / self._active
        return self._clock / self.weight

    @property
    def true_share(self) -> float:
        """Share of the time (0 to 1) in which the SM clock is the true one, measured."""
        return self.true_weight / self.weight

    @property
    def known_share(self) -> float:
        """Share of the winning pipe's work (0 to 1) at a clock that was measured, or estimated."""
        return self._share_of_work(self._known_products)

    @property
    def sampled_share(self) -> float:
        """Share of the winning pipe's work (0 to 1) at a clock that was measured."""
        return self._share_of_work(self._true_products)

    def _share_of_work(self, part: Mapping[Pipe, float]) -> float:
        pipe = self.means().pipe
        work = self._products[pipe]
        return part.get(pipe, 0.0) / work if work > 0 else self.true_share

    @property
    def idle_in_gaps(self) -> float | None:
        """Share of the idle time (0 to 1) in intervals in which the engine also worked."""
        return self._idle_in_gaps / self._idle if self._idle > 0 else None


class _Part(NamedTuple):
    """The intervals that touch a piece, for how many seconds each, and all together."""

    where: slice
    weights: Floats
    total_s: float


class _Weighing:
    """Which intervals touch a piece: columns of a source share it."""

    def __init__(self, from_ns: int, to_ns: int) -> None:
        self._from_ns, self._to_ns = from_ns, to_ns
        self._found: dict[int, _Part] = {}

    def of(self, intervals: Intervals) -> _Part:
        key = id(intervals)
        if key not in self._found:
            where = intervals.inside(self._from_ns, self._to_ns)
            weights = intervals.take(where).weights(self._from_ns, self._to_ns)
            self._found[key] = _Part(where, weights, float(weights.sum()))
        return self._found[key]


def _add(mean: Mean, values: Floats, part: _Part) -> None:
    """Take the values of a part into account; looked through only where one is missing."""
    here = values[part.where]
    total = float(here @ part.weights)
    if math.isnan(total):
        mean.add(here, part.weights)
    else:
        mean.total += total
        mean.weight += part.total_s


def _owned(intervals: Intervals, piece: Piece) -> int:
    """Count the intervals of a piece: one that straddles two pieces belongs to the later."""
    first = int(np.searchsorted(intervals.end_ns, piece.from_ns, "right"))
    if piece.is_last:
        after = int(np.searchsorted(intervals.start_ns, piece.to_ns, "left"))
    else:
        after = int(np.searchsorted(intervals.end_ns, piece.to_ns, "right"))
    return max(0, after - first)
