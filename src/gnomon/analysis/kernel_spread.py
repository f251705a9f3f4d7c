"""How long calls of a group take: percentiles, and those that took much longer than usual.

Durations are sorted together with the number of their group, so that every statistic of all
groups is a place in one array.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gnomon.analysis.intervals import Floats, Ints
from gnomon.analysis.kernel_sequence import AT_ONCE, Codes, Kernels

QUANTILES = (0.5, 0.95, 0.99)
# A call is an outlier where it takes at least twice the median, and is beyond so many robust
# standard deviations: of a normal distribution, one call in 10^15 is.
OUTLIER_TIMES = 2.0
OUTLIER_DEVIATIONS = 8.0
# The median absolute deviation of a normal distribution is its standard deviation over this.
NORMAL_MAD = 1.4826
# Of fewer calls nobody can say what is usual.
LEAST_CALLS = 8
_BITS = 63


@dataclass(frozen=True, slots=True)
class Spread:
    """Durations of g groups in ns; arrays of shape (g,), ``quantiles_ns`` (len(QUANTILES), g).

    ``deviation_ns`` is the robust standard deviation, from the median absolute deviation.
    ``outliers`` are calls far beyond the median, -1 where there were too few calls to tell;
    ``outlier_ns`` is what they took in sum.
    """

    count: Ints
    total_ns: Ints
    quantiles_ns: Ints
    longest_ns: Ints
    deviation_ns: Floats
    outliers: Ints
    outlier_ns: Ints

    @property
    def median_ns(self) -> Ints:
        return np.asarray(self.quantiles_ns[0])


def spread(kernels: Kernels, group: Codes, groups: int) -> Spread:
    """Return the spread of n kernels' durations, each of a group (n,). No group is empty.

    Percentiles are nearest ranks.
    """
    one = _Sorted.of(kernels, group, groups)
    count = one.ends - one.begins
    quantiles_ns = np.stack([one.at(np.ceil(share * count)) for share in QUANTILES])
    median_ns = quantiles_ns[0]
    deviation_ns = one.absolute_deviation(median_ns).astype(np.float64) * NORMAL_MAD
    limit_ns = np.maximum(OUTLIER_TIMES * median_ns, median_ns + OUTLIER_DEVIATIONS * deviation_ns)
    is_judged = count >= LEAST_CALLS
    first = np.where(is_judged, one.upto(limit_ns.astype(np.int64)), one.ends)
    return Spread(
        count=count,
        total_ns=one.sums(one.begins),
        quantiles_ns=quantiles_ns,
        longest_ns=one.at(count),
        deviation_ns=deviation_ns,
        outliers=np.where(is_judged, one.ends - first, -1),
        outlier_ns=one.sums(first),
    )


@dataclass(frozen=True, slots=True)
class _Sorted:
    """Durations in the order of their group, then of their length: ``keys`` hold both."""

    keys: Ints
    bits: int
    begins: Ints
    ends: Ints

    @classmethod
    def of(cls, kernels: Kernels, group: Codes, groups: int) -> _Sorted:
        bits = _BITS - groups.bit_length()
        keys = np.empty(len(kernels), dtype=np.int64)
        for low in range(0, len(keys), AT_ONCE):
            part = slice(low, low + AT_ONCE)
            duration_ns = kernels.end_ns[part] - kernels.start_ns[part]
            # With a million groups there is room for two hours: a longer kernel counts as that.
            np.clip(duration_ns, 0, (1 << bits) - 1, out=duration_ns)
            keys[part] = group[part].astype(np.int64) << bits | duration_ns
        keys.sort()
        edges = np.searchsorted(keys, np.arange(groups + 1, dtype=np.int64) << bits)
        return cls(keys, bits, edges[:-1], edges[1:])

    def at(self, rank: Floats | Ints) -> Ints:
        """Return the duration of a rank in each group, counted from 1."""
        place = self.begins + np.maximum(rank, 1).astype(np.int64) - 1
        return np.asarray(self.keys[place] & self._mask)

    def upto(self, limit_ns: Ints) -> Ints:
        """Return the place behind the last call of each group that takes no longer."""
        number = np.arange(len(self.ends), dtype=np.int64) << self.bits
        inside = np.clip(limit_ns, 0, self._mask)
        return np.searchsorted(self.keys, number | inside, side="right")

    def absolute_deviation(self, median_ns: Ints) -> Ints:
        """Return the median of the distances from the median, by halving where it may lie."""
        half = (self.ends - self.begins + 1) // 2
        low, high = np.zeros_like(median_ns), self.at(self.ends - self.begins)
        while (low < high).any():
            middle = (low + high) // 2
            below = median_ns - middle - 1
            within = self.upto(median_ns + middle)
            within -= np.where(below < 0, self.begins, self.upto(below))
            is_enough = within >= half
            low, high = np.where(is_enough, low, middle + 1), np.where(is_enough, middle, high)
        return low

    def sums(self, first: Ints) -> Ints:
        """Return the sum of each group's durations from a place on."""
        parts = zip(first.tolist(), self.ends.tolist(), strict=True)
        return np.array(
            [int((self.keys[begin:end] & self._mask).sum()) for begin, end in parts],
            dtype=np.int64,
        )

    @property
    def _mask(self) -> int:
        return (1 << self.bits) - 1
