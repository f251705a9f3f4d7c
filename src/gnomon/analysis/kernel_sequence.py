"""What lies between kernels: how long a stream, or a GPU, had nothing before each of them.

A gap counts only where it is known that nothing ran: within one window of recording. The first
kernel of a window has none that is known.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gnomon.analysis.intervals import Floats, Ints

# Kernels that are looked at together: what bounds memory, not the result.
AT_ONCE = 1 << 15
# Up to so many tracks, each is looked for by itself: that takes no memory for all at once.
FEW_TRACKS = 16
_NEVER = np.iinfo(np.int64).min
Codes = npt.NDArray[np.integer]


@dataclass(frozen=True, slots=True)
class Kernels:
    """n kernels: when they ran (Unix ns), and of which of the shapes they are; arrays (n,)."""

    start_ns: Ints
    end_ns: Ints
    shape: Codes
    shapes: int

    def __len__(self) -> int:
        return len(self.end_ns)


@dataclass(frozen=True, slots=True)
class Gaps:
    """Time without a kernel before those of each shape: in sum, and before how many it is known.

    Arrays of shape (shapes,). ``busy_ns`` of each track: the union of its kernels.
    """

    total_ns: Floats
    known: Ints
    busy_ns: tuple[int, ...]

    @property
    def mean_ns(self) -> Floats:
        """The mean gap before kernels of a shape; NaN where none is known."""
        nothing = np.full(len(self.known), np.nan)
        np.divide(self.total_ns, self.known, out=nothing, where=self.known > 0)
        return nothing


def gaps(kernels: Kernels, track: Codes, begins_ns: Sequence[Ints | None]) -> Gaps:
    """Return the gaps before kernels of each shape, on tracks (n,): streams, or GPUs.

    ``begins_ns`` of each track: when windows of recording begin, ascending; None where it was
    recorded all along.
    """
    total_ns = np.zeros(kernels.shapes)
    known = counts(kernels.shape, kernels.shapes)
    busy_ns = []
    for mine, begins in zip(_by_track(kernels, track, len(begins_ns)), begins_ns, strict=True):
        start_ns = kernels.start_ns[mine]
        latest_ns, busy = _NEVER, 0
        for low in range(0, len(mine), AT_ONCE):
            part = slice(low, low + AT_ONCE)
            end_ns, shape = kernels.end_ns[mine[part]], kernels.shape[mine[part]]
            reach_ns = np.maximum(np.maximum.accumulate(end_ns), latest_ns)
            before_ns = np.concatenate(([latest_ns], reach_ns[:-1]))
            first_ns = np.maximum(start_ns[part], before_ns)
            busy += int(np.maximum(end_ns - first_ns, 0).sum())
            unknown = _unknown(start_ns[part], before_ns, begins)
            gap_ns = first_ns - before_ns
            gap_ns[unknown] = 0
            total_ns += np.bincount(shape, gap_ns, kernels.shapes)
            known -= np.bincount(shape[unknown], minlength=kernels.shapes)
            latest_ns = int(reach_ns[-1])
        busy_ns.append(busy)
    return Gaps(total_ns, known, tuple(busy_ns))


def counts(codes: Codes, many: int) -> Ints:
    """Return how often each number below ``many`` is there, without a wide copy of all."""
    parts = (codes[low : low + AT_ONCE] for low in range(0, len(codes), AT_ONCE))
    nothing = np.zeros(many, dtype=np.int64)
    return sum((np.bincount(part, minlength=many) for part in parts), nothing)


def _by_track(kernels: Kernels, track: Codes, tracks: int) -> Iterator[Ints]:
    """Yield the places of each track's kernels, in the order of their starts."""
    for mine in _apart(track, tracks):
        start_ns = kernels.start_ns[mine]
        is_ordered = (start_ns[1:] >= start_ns[:-1]).all()
        yield mine if is_ordered else mine[np.argsort(start_ns, kind="stable")]


def _apart(track: Codes, tracks: int) -> Iterator[Ints]:
    """Yield the places of each track's kernels; looking through all for each is slow for many."""
    if tracks <= FEW_TRACKS:
        yield from (np.flatnonzero(track == number) for number in range(tracks))
        return
    # Sorting narrow numbers is done by counting them.
    narrow = track.astype(np.uint16) if tracks <= 1 << 16 else track
    order = np.argsort(narrow, kind="stable")
    yield from np.split(order, np.cumsum(counts(track, tracks))[:-1])


def _unknown(start_ns: Ints, before_ns: Ints, begins_ns: Ints | None) -> Ints:
    """Return the places of kernels before which nobody knows how long nothing ran.

    Within a window only the first can be one: any other has a kernel of the same window before it.
    """
    if begins_ns is None:
        return np.flatnonzero(before_ns[:1] == _NEVER)
    first = np.searchsorted(start_ns, begins_ns)
    # What ran before any window began is of none.
    outside = slice(first[0] if len(first) else None)
    is_unknown = before_ns[outside] < start_ns[outside]
    is_there = first < len(start_ns)
    first, begins_ns = first[is_there], begins_ns[is_there]
    later = first[before_ns[first] < begins_ns]
    return np.unique(np.concatenate((np.flatnonzero(is_unknown), later)))
