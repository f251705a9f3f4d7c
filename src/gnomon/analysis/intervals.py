"""Arithmetic on values that hold over intervals: time-weighted means and overlap resampling.

All arrays of one ``Intervals`` have the same length n and are ordered by ``end_ns``; intervals
of one track do not overlap. Values are float64, missing ones NaN.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Intervals:
    """n intervals (start_ns, end_ns] of one track, Unix nanoseconds."""

    start_ns: Ints
    end_ns: Ints

    def __len__(self) -> int:
        return len(self.end_ns)

    @property
    def is_empty(self) -> bool:
        return len(self.end_ns) == 0

    def weights(self, from_ns: int, to_ns: int) -> Floats:
        """Return the seconds of each interval that lie inside [from_ns, to_ns]; shape (n,)."""
        overlap_ns = np.minimum(self.end_ns, to_ns) - np.maximum(self.start_ns, from_ns)
        return np.asarray(np.clip(overlap_ns, 0, None) / 1e9)

    def inside(self, from_ns: int, to_ns: int) -> slice:
        """Return the slice of intervals that touch [from_ns, to_ns]."""
        first = int(np.searchsorted(self.end_ns, from_ns, side="right"))
        last = int(np.searchsorted(self.start_ns, to_ns, side="left"))
        return slice(first, max(first, last))

    def take(self, where: slice) -> Intervals:
        return Intervals(self.start_ns[where], self.end_ns[where])


def intervals(ts_ns: Ints, duration_ns: Ints) -> Intervals:
    """Build intervals from a table's ``ts_ns`` and ``duration_ns``, ordered and disjoint.

    Neighbouring readings may overlap by the jitter of their clocks; the later one gives way.
    """
    start_ns = ts_ns - np.maximum(duration_ns, 0)
    if len(ts_ns) > 1:
        start_ns[1:] = np.minimum(np.maximum(start_ns[1:], ts_ns[:-1]), ts_ns[1:])
    return Intervals(start_ns, ts_ns)


@dataclass(slots=True)
class Mean:
    """A weighted mean that grows: over the pieces of a range that is too long to hold at once."""

    total: float = 0.0
    weight: float = 0.0

    def add(self, values: Floats, weights: Floats) -> None:
        """Take the values that are there into account; both of shape (n,)."""
        known = ~np.isnan(values)
        if not known.all():
            values, weights = values[known], weights[known]
        self.total += float(np.dot(values, weights))
        self.weight += float(weights.sum())

    @property
    def value(self) -> float | None:
        """The mean; None where no weight is on any value."""
        return self.total / self.weight if self.weight > 0 else None


def resample(source: Intervals, values: Floats, target: Intervals) -> tuple[Floats, Floats]:
    """Return the overlap-weighted mean of ``values`` on each target interval, and its coverage.

    Both have shape (len(target),). Coverage is the share (0 to 1) of the target interval that
    known values cover; where it is 0 the mean is NaN.
    """
    length_ns = np.maximum(target.end_ns - target.start_ns, 1).astype(np.float64)
    if source.is_empty or target.is_empty:
        return np.full(len(target), np.nan), np.zeros(len(target))
    known = ~np.isnan(values)
    origin_ns = int(source.start_ns[0])  # float64 holds differences exactly, not Unix time
    edges_ns = np.empty(2 * len(source), dtype=np.float64)
    edges_ns[0::2] = source.start_ns - origin_ns
    edges_ns[1::2] = source.end_ns - origin_ns
    seconds = np.where(known, (source.end_ns - source.start_ns) / 1e9, 0.0)

    def integral(per_interval: Floats) -> Floats:
        cumulative = np.zeros(2 * len(source))
        cumulative[1::2] = np.cumsum(per_interval)
        cumulative[2::2] = cumulative[1:-1:2]
        begin = np.interp((target.start_ns - origin_ns).astype(np.float64), edges_ns, cumulative)
        end = np.interp((target.end_ns - origin_ns).astype(np.float64), edges_ns, cumulative)
        return np.asarray(end - begin)

    covered_s = integral(seconds)
    total = integral(np.where(known, values, 0.0) * seconds)
    enough = covered_s > 1e-9
    mean = np.divide(total, covered_s, out=np.full(len(target), np.nan), where=enough)
    return mean, np.clip(covered_s * 1e9 / length_ns, 0.0, 1.0)
