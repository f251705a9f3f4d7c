"""What ran in each sample: times of operations cut into stretches, and laid over intervals.

A stretch is a piece of time in which the same set of operations ran. Sets are told apart by the
sum of random 64-bit numbers, one for each group, so that one sort and one cumulative sum find
them all; two different sets share a sum with a chance of 2^-64 a pair.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gnomon.analysis.intervals import Floats, Intervals, Ints

# The numbers are only to differ; a fixed seed makes the same recording give the same answer.
SEED = 20
# Sets of several groups come by the hundred thousand where many kernels run on two streams.
MOST_NAMED = 1000

Words = npt.NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class Operations:
    """n operations of one GPU, Unix nanoseconds; ``group`` (n,) counts from 0."""

    intervals: Intervals
    group: Ints
    groups: int


@dataclass(frozen=True, slots=True)
class Stretches:
    """m disjoint stretches in order of time, and the set of groups that ran in each.

    ``which`` (m,) is an index into ``sets``: groups in ascending order, one that ran twice at a
    time named twice. Several groups at a time beyond the ``MOST_NAMED`` sets of most time are one
    set without names. ``set_ns`` (len(sets),) is the time of each set.
    """

    intervals: Intervals
    which: Ints
    sets: tuple[tuple[int, ...], ...]
    set_ns: Ints


@dataclass(frozen=True, slots=True)
class Overlaps:
    """Pieces of time that lie in a sample and in a stretch; arrays of shape (k,).

    ``row`` ascends; a row and column may come several times, their shares (0 to 1, of the
    sample's length) add up.
    """

    row: Ints
    column: Ints
    share: Floats


def stretches(operations: Operations) -> Stretches:
    """Cut the time of operations where one begins or ends; operations without length drop out."""
    spans = operations.intervals
    lasting = spans.end_ns > spans.start_ns
    start_ns, end_ns = spans.start_ns[lasting], spans.end_ns[lasting]
    group = operations.group[lasting]
    word_of = np.random.default_rng(SEED).integers(
        0, 2**64, size=operations.groups, dtype=np.uint64, endpoint=False
    )
    edges_ns = np.concatenate((start_ns, end_ns))
    order = np.argsort(edges_ns, kind="stable")
    edges_ns = edges_ns[order]
    words = word_of[group]
    with np.errstate(over="ignore"):  # sums of words wrap around, and come back to 0
        word = np.cumsum(np.concatenate((words, np.uint64(0) - words))[order])
    count = np.cumsum(np.repeat(np.array([1, -1]), len(group))[order])
    kept = np.flatnonzero((np.diff(edges_ns) > 0) & (count[:-1] > 0))
    found, first, which = np.unique(word[kept], return_index=True, return_inverse=True)
    begin_ns, length_ns = edges_ns[kept], edges_ns[kept + 1] - edges_ns[kept]
    set_ns = np.bincount(which, weights=length_ns, minlength=len(found)).astype(np.int64)
    alone = _alone(word_of, found)
    named = np.flatnonzero((alone < 0) & (np.argsort(np.argsort(-set_ns)) < MOST_NAMED))
    together = _active(start_ns, end_ns, group, begin_ns[first[named]])
    of_set: dict[int, tuple[int, ...]] = {}
    of_set |= {at: (int(alone[at]),) for at in np.flatnonzero(alone >= 0).tolist()}
    of_set |= dict(zip(named.tolist(), together, strict=True))
    sets = sorted(set(of_set.values()) | ({()} if len(of_set) < len(found) else set()))
    number = {one: at for at, one in enumerate(sets)}
    rank = np.array([number[of_set.get(at, ())] for at in range(len(found))], dtype=np.int64)
    return Stretches(
        Intervals(begin_ns, begin_ns + length_ns),
        rank[which],
        tuple(sets),
        np.bincount(rank, set_ns, len(sets)).astype(np.int64),
    )


def _alone(word_of: Words, found: Words) -> Ints:
    """Return the group that each set consists of, -1 where it is of several."""
    order = np.argsort(word_of)
    at = np.minimum(np.searchsorted(word_of[order], found), max(len(order) - 1, 0))
    group = order[at]
    return np.where(word_of[group] == found, group, -1)


def _active(start_ns: Ints, end_ns: Ints, group: Ints, at_ns: Ints) -> list[tuple[int, ...]]:
    """Return the groups that ran at each moment."""
    order = np.argsort(start_ns, kind="stable")
    start_ns, end_ns, group = start_ns[order], end_ns[order], group[order]
    # Nothing before the first operation after which something ends later can still run.
    begin = np.searchsorted(np.maximum.accumulate(end_ns), at_ns, side="right").tolist()
    end = np.searchsorted(start_ns, at_ns, side="right").tolist()
    return [
        tuple(sorted(group[first:last][end_ns[first:last] > moment].tolist()))
        for first, last, moment in zip(begin, end, at_ns.tolist(), strict=True)
    ]


def overlaps(samples: Intervals, pieces: Intervals, column: Ints, offset_ns: int = 0) -> Overlaps:
    """Lay disjoint ordered pieces, moved by ``offset_ns``, over disjoint ordered samples.

    ``column`` (len(pieces),) is what each piece counts for.
    """
    if samples.is_empty or pieces.is_empty:
        none = np.zeros(0, dtype=np.int64)
        return Overlaps(none, none, np.zeros(0))
    begin_ns, end_ns = pieces.start_ns + offset_ns, pieces.end_ns + offset_ns
    edges_ns = np.concatenate((samples.start_ns, samples.end_ns, begin_ns, end_ns))
    edges_ns.sort(kind="stable")  # four ordered runs: merged, not sorted
    lasting = np.flatnonzero(np.diff(edges_ns) > 0)
    left_ns, length_ns = edges_ns[lasting], np.diff(edges_ns)[lasting]
    row = np.searchsorted(samples.start_ns, left_ns, side="right") - 1
    piece = np.searchsorted(begin_ns, left_ns, side="right") - 1
    inside = (row >= 0) & (piece >= 0)
    inside &= (left_ns < samples.end_ns[row]) & (left_ns < end_ns[piece])
    row, piece = row[inside], piece[inside]
    sample_ns = samples.end_ns[row] - samples.start_ns[row]
    return Overlaps(row, column[piece], length_ns[inside] / sample_ns)


def busy(spans: Intervals) -> Intervals:
    """Return the union of intervals in any order, as disjoint ordered ones."""
    if spans.is_empty:
        return spans
    order = np.argsort(spans.start_ns, kind="stable")
    start_ns = spans.start_ns[order]
    latest_ns = np.maximum.accumulate(spans.end_ns[order])
    begins = np.flatnonzero(np.concatenate(([True], start_ns[1:] > latest_ns[:-1])))
    ends = np.concatenate((begins[1:] - 1, [len(start_ns) - 1]))
    return Intervals(start_ns[begins], latest_ns[ends])
