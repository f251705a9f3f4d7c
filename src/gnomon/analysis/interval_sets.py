"""Sets of time: what two of them have in common, what one leaves of another, how much lies where.

A set is an ``Intervals`` whose intervals are disjoint and in order; ``kernel_overlap.busy`` makes
one of any. All arithmetic is in whole nanoseconds, so that parts add up exactly.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gnomon.analysis.collecting import Bools
from gnomon.analysis.intervals import Intervals, Ints
from gnomon.analysis.kernel_overlap import busy

# Before and after everything that is recorded.
FIRST_NS, LAST_NS = -(1 << 62), 1 << 62


@dataclass(frozen=True, slots=True)
class Crossed:
    """k pieces that lie in an interval of each of two groups: its places there, and the piece."""

    left: Ints
    right: Ints
    pieces: Intervals

    @property
    def ns(self) -> Ints:
        """The length of each piece; shape (k,)."""
        return self.pieces.end_ns - self.pieces.start_ns


def picked(spans: Intervals, chosen: Ints | Bools) -> Intervals:
    """Return the intervals at some places, or where a mask is true."""
    return Intervals(spans.start_ns[chosen], spans.end_ns[chosen])


def lasting(spans: Intervals) -> Intervals:
    """Return the intervals that have a length."""
    kept = spans.end_ns > spans.start_ns
    return spans if kept.all() else picked(spans, kept)


def union(*groups: Intervals) -> Intervals:
    """Return the set of all time that lies in an interval of any group."""
    if len(groups) == 1:
        return busy(lasting(groups[0]))
    begins = np.concatenate([one.start_ns for one in groups])
    ends = np.concatenate([one.end_ns for one in groups])
    return busy(lasting(Intervals(begins, ends)))


def crossed(left: Intervals, right: Intervals) -> Crossed:
    """Lay intervals of any order over a set; pieces come in the order of ``left``."""
    first = np.searchsorted(right.end_ns, left.start_ns, side="right")
    count = np.maximum(np.searchsorted(right.start_ns, left.end_ns, side="left") - first, 0)
    row = np.repeat(np.arange(len(left)), count)
    column = np.arange(len(row)) + np.repeat(first - (np.cumsum(count) - count), count)
    begins = np.maximum(left.start_ns[row], right.start_ns[column])
    ends = np.minimum(left.end_ns[row], right.end_ns[column])
    kept = ends > begins
    return Crossed(row[kept], column[kept], picked(Intervals(begins, ends), kept))


def complement(given: Intervals) -> Intervals:
    """Return all time that is not in a set."""
    return Intervals(
        np.concatenate(([FIRST_NS], given.end_ns)), np.concatenate((given.start_ns, [LAST_NS]))
    )


def intersection(left: Intervals, right: Intervals) -> Intervals:
    """Return the set of time that lies in both sets."""
    return crossed(left, right).pieces


def total_ns(given: Intervals) -> int:
    """Return the length of all intervals together."""
    return int((given.end_ns - given.start_ns).sum())


class Covered:
    """How much of a set lies before any moment, and so in any interval."""

    def __init__(self, given: Intervals) -> None:
        self._start_ns = given.start_ns
        # What lies before each interval, and before none at all.
        self._before_ns = np.zeros(len(given) + 1, dtype=np.int64)
        np.cumsum(given.end_ns - given.start_ns, out=self._before_ns[1:])

    def upto(self, at_ns: Ints) -> Ints:
        """Return the nanoseconds of the set before moments (n,); shape (n,)."""
        if not len(self._start_ns):
            return np.zeros(len(at_ns), dtype=np.int64)
        place = np.maximum(np.searchsorted(self._start_ns, at_ns, side="right") - 1, 0)
        passed_ns = np.maximum(at_ns - self._start_ns[place], 0)
        return np.asarray(
            np.minimum(self._before_ns[place] + passed_ns, self._before_ns[place + 1])
        )

    def inside(self, spans: Intervals) -> Ints:
        """Return the nanoseconds of the set in each of n intervals, of any order; shape (n,)."""
        return self.upto(spans.end_ns) - self.upto(spans.start_ns)
