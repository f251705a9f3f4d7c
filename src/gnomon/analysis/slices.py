"""A long range, a slice at a time: what is summed over a month needs no month in memory.

Slices end where the recording's files do, so that each file is read once. A slice carries some
rows of its neighbours: readings straddle its edges, and some are read every few seconds only.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise, zip_longest
from typing import Any, TypeVar

import numpy as np

from gnomon.analysis.collecting import COLUMNS, KEYS, Collected, Key, since, take_apart
from gnomon.recording.base import Measurements

T = TypeVar("T")

# Power limits are read every 5 s. A sample of the true clock says something of the seconds before
# it and after it (``tracks.RATIO_HOLDS_NS``).
LOOK_BACK_NS = 12_000_000_000
LOOK_AHEAD_NS = 12_000_000_000
# Files may be many and small, where several writers share a recording.
LEAST_NS = 45 * 60 * 1_000_000_000
# Sources of one writer have files of their own, which end within a period of each other.
TOGETHER_NS = 2_000_000_000


@dataclass(frozen=True, slots=True)
class Slice:
    """The counters that decide what happened in [from_ns, to_ns], with the rows around it."""

    from_ns: int
    to_ns: int
    counters: Mapping[Key, Collected]


def slices(measurements: Measurements, from_ns: int, to_ns: int) -> Iterator[Slice]:
    """Yield slices that cover [from_ns, to_ns] without gap or overlap, in the order of time."""

    def read(begin_ns: int, end_ns: int) -> Sequence[Any]:
        columns = [*KEYS, *COLUMNS]
        return measurements.pieces("gpu_counters", from_ns=begin_ns, to_ns=end_ns, columns=columns)

    cuts = _cuts(measurements, "gpu_counters", from_ns, to_ns)
    edges = [from_ns - LOOK_BACK_NS, *cuts, to_ns + LOOK_AHEAD_NS]
    begin_ns = from_ns
    before: Mapping[Key, Collected] = {}
    for read_ns, pieces in _read_ahead(read, edges):
        counters = _apart(pieces, before)
        del pieces  # the next ones are on their way, and these need no memory any more
        end_ns = min(read_ns - LOOK_AHEAD_NS, to_ns)
        yield Slice(begin_ns, end_ns, counters)
        begin_ns, before = end_ns, since(counters, end_ns - LOOK_BACK_NS)


def _apart(pieces: Sequence[Any], before: Mapping[Key, Collected]) -> Mapping[Key, Collected]:
    """Hand the rows of pieces to their GPU and source, those of ``before`` first."""
    counters = before
    for piece in pieces:
        counters = take_apart(piece, before=counters)
    return {key: _in_order(one) for key, one in counters.items()}


def _in_order(one: Collected) -> Collected:
    """Return the rows in the order of time: files of several writers may overlap."""
    if (one.ts_ns[1:] >= one.ts_ns[:-1]).all():
        return one
    order = np.argsort(one.ts_ns, kind="stable")
    columns = {name: values[order] for name, values in one.columns.items()}
    return Collected(one.ts_ns[order], one.duration_ns[order], columns, one.clock_sources)


def parts(
    measurements: Measurements, table: str, columns: Sequence[str], from_ns: int, to_ns: int
) -> Iterator[Any]:
    """Yield the rows of a range as Arrow tables, text encoded, in the order of time."""

    def read(begin_ns: int, end_ns: int) -> Any:
        return measurements.read(
            table, from_ns=begin_ns, to_ns=end_ns, columns=columns, encoded=True
        )

    edges = [from_ns, *_cuts(measurements, table, from_ns, to_ns), to_ns]
    yield from (rows for _, rows in _read_ahead(read, edges) if rows.num_rows)


def _cuts(measurements: Measurements, table: str, from_ns: int, to_ns: int) -> list[int]:
    """Return where to cut: ends of files, not too close to each other nor to the range's ends.

    Of files that end together the last one's, which cuts through none of them.
    """
    chosen = [from_ns]
    latest_ns = from_ns
    for cut_ns in measurements.cuts(table, from_ns, to_ns):
        if cut_ns <= latest_ns:
            chosen[-1] = cut_ns
        elif cut_ns - chosen[-1] >= LEAST_NS and to_ns - cut_ns >= LEAST_NS:
            chosen.append(cut_ns)
            latest_ns = cut_ns + TOGETHER_NS
    return chosen[1:]


def _read_ahead(read: Callable[[int, int], T], edges: Sequence[int]) -> Iterator[tuple[int, T]]:
    """Yield what lies between the edges, each with its end, the next one already being read."""
    spans = list(pairwise(edges))
    if len(spans) == 1:
        yield spans[0][1], read(*spans[0])
        return
    with ThreadPoolExecutor(1) as pool:
        coming = deque([pool.submit(read, *spans[0])])
        for (_, end_ns), following in zip_longest(spans, spans[1:]):
            if following is not None:
                coming.append(pool.submit(read, *following))
            yield end_ns, coming.popleft().result()  # kept by nobody here
