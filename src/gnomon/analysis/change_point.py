"""Where the level of a noisy series changes, and stays changed for a while.

Optimal partitioning (Jackson et al., "An algorithm for optimal partitioning of data on an
interval", IEEE Signal Processing Letters 12, 2005): of all ways to cut the series, the one with the
least sum of squares around each segment's mean plus a price for each cut. The price is
``CUT_PRICE`` sigma^2 ln n, so that noise alone is hardly ever cut. Single outliers are taken out
first, by a median of three; sigma comes from differences of neighbours, which a change of level
does not touch.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from gnomon.analysis.intervals import Floats

# A level that holds for fewer bins is an outlier: a checkpoint, a pause.
SHORTEST_BINS = 3
# 2 sigma^2 ln n is the usual price (BIC, one level and one place a cut); a median of three leaves
# neighbours correlated, which makes runs of noise longer.
CUT_PRICE = 6.0
# The scatter of perfectly regular work: below it a change is not worth a word.
LEAST_SIGMA = 0.01
# Above the median, MAD to sigma of a normal distribution; a difference has twice the variance.
MAD_TO_SIGMA = 1.4826 / 2**0.5
MOST_BINS = 2_000
# A fall is at least so deep, of the level before, and so many standard errors of both levels: work
# that comes in bursts scatters within a level, too.
SHALLOWEST = 0.1
ERRORS_APART = 4.0


@dataclass(frozen=True, slots=True)
class Segment:
    """Bins [first, end) around one level, the median of their values."""

    first: int
    end: int
    level: float

    @property
    def bins(self) -> int:
        return self.end - self.first


@dataclass(frozen=True, slots=True)
class Fall:
    """Bins [first, end) in which the level was below that of ``before``.

    ``after``: the segment in which it was back; None where it did not come back.
    """

    first: int
    end: int
    level: float
    before: Segment
    after: Segment | None

    @property
    def depth(self) -> float:
        """What is missing of the level before, 0 to 1."""
        return 1 - self.level / self.before.level


def falls(values: Floats) -> list[Fall]:
    """Return where a series fell below its level; ``values`` of shape (n,), none negative.

    What is low from the start is no fall: nobody knows what it should have been.
    """
    found: list[Fall] = []
    usual: Segment | None = None
    low: list[Segment] = []
    noise = sigma(values)
    for segment in segments(values):
        if usual is not None and _is_below(values, segment, usual, noise):
            low.append(segment)
            continue
        if usual is not None and low:
            found.append(_fall(values, low, usual, segment))
            low = []
        usual = segment
    if usual is not None and low:
        found.append(_fall(values, low, usual, None))
    return found


def segments(values: Floats) -> list[Segment]:
    """Return the levels of a series in its order; ``values`` of shape (n,), at most MOST_BINS."""
    count = len(values)
    if count < 2 * SHORTEST_BINS:
        return [Segment(0, count, float(np.median(values)))] if count else []
    smooth = _median_of_three(values)
    price = CUT_PRICE * sigma(values) ** 2 * np.log(count)
    edges = _cheapest_cuts(smooth, price)
    return [
        Segment(first, end, float(np.median(values[first:end]))) for first, end in pairwise(edges)
    ]


def sigma(values: Floats) -> float:
    """Return the scatter of single values around their level."""
    if len(values) < 2:
        return 0.0
    differences = np.diff(values)
    mad = float(np.median(np.abs(differences - np.median(differences))))
    return max(MAD_TO_SIGMA * mad, LEAST_SIGMA * float(np.median(np.abs(values))))


def _is_below(values: Floats, segment: Segment, usual: Segment, noise: float) -> bool:
    missing = usual.level - segment.level
    error = sum(
        max(noise, float(np.std(values[one.first : one.end], ddof=1))) ** 2 / one.bins
        for one in (segment, usual)
    )
    # The scatter of few bins is itself a matter of luck: less so with every degree of freedom.
    apart = ERRORS_APART * (1 + ERRORS_APART / (segment.bins + usual.bins - 2))
    return missing > SHALLOWEST * usual.level and missing > apart * error**0.5


def _fall(values: Floats, low: list[Segment], before: Segment, after: Segment | None) -> Fall:
    first, end = low[0].first, low[-1].end
    return Fall(first, end, float(np.median(values[first:end])), before, after)


def _median_of_three(values: Floats) -> Floats:
    """Return the middle one of each value and its neighbours; the ends as they are."""
    middle = np.median(np.stack([values[:-2], values[1:-1], values[2:]]), axis=0)
    return np.concatenate([values[:1], middle, values[-1:]])


def _cheapest_cuts(values: Floats, price: float) -> list[int]:
    """Return the edges of the cheapest segments, 0 and n included."""
    count = len(values)
    sums = np.concatenate([[0.0], np.cumsum(values)])
    squares = np.concatenate([[0.0], np.cumsum(values**2)])
    cheapest = np.full(count + 1, np.inf)
    cheapest[0] = -price
    begin_of = np.zeros(count + 1, dtype=np.int64)
    for end in range(SHORTEST_BINS, count + 1):
        begins = np.arange(end - SHORTEST_BINS + 1)
        lengths = end - begins
        scatter = squares[end] - squares[begins] - (sums[end] - sums[begins]) ** 2 / lengths
        totals = cheapest[begins] + np.maximum(scatter, 0.0) + price
        best = int(np.argmin(totals))
        cheapest[end], begin_of[end] = totals[best], best
    edges = [count]
    while edges[-1] > 0:
        edges.append(int(begin_of[edges[-1]]))
    return edges[::-1]
