"""Statistics of alternating measurements: throughput with an observer over without, pair by pair.

A GPU's throughput drifts with its temperature by more than an observer costs. Two windows next
to each other drift together, so the ratio within a pair is what is looked at, never the ratio of
two long means.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


class Interval(NamedTuple):
    """A median and its bootstrap confidence interval."""

    median: float
    low: float
    high: float


class Quartiles(NamedTuple):
    """The median of values and the quartiles around it: their spread."""

    median: float
    low: float
    high: float


class Progress:
    """How many iterations a workload had finished by when; counts grow with time.

    ``ts_ns`` and ``done`` have one length, of at least 2.
    """

    def __init__(self, ts_ns: Sequence[int], done: Sequence[float]) -> None:
        if len(ts_ns) < 2 or len(ts_ns) != len(done):
            raise ValueError(
                f"need at least two points, got {len(ts_ns)} times, {len(done)} counts"
            )
        # Float64 holds differences of Unix nanoseconds exactly, not the numbers themselves.
        self._origin_ns = int(ts_ns[0])
        self._elapsed_ns = np.asarray([ts - self._origin_ns for ts in ts_ns], dtype=np.float64)
        self._done = np.asarray(done, dtype=np.float64)

    def rate_per_s(self, from_ns: int, to_ns: int) -> float:
        """Iterations per second in a window, interpolated between the points around its ends.

        Raises ValueError where the window is empty or reaches beyond what was noted.
        """
        first, last = from_ns - self._origin_ns, to_ns - self._origin_ns
        if not 0 <= first < last <= self._elapsed_ns[-1]:
            raise ValueError(f"no progress was noted in all of [{from_ns}, {to_ns}]")
        begin, end = np.interp([first, last], self._elapsed_ns, self._done)
        return float((end - begin) / (last - first) * 1e9)


def bootstrap_median(
    values: Sequence[float], confidence: float = 0.95, resamples: int = 10_000, seed: int = 0
) -> Interval:
    """Return the median of the values with its percentile-bootstrap interval.

    Raises ValueError without values.
    """
    if not values:
        raise ValueError("no values to take a median of")
    sample: Floats = np.asarray(values, dtype=np.float64)
    generator = np.random.default_rng(seed)
    drawn = sample[generator.integers(0, len(sample), (resamples, len(sample)))]
    medians = np.median(drawn, axis=1)
    tail = (1.0 - confidence) / 2.0
    low, high = np.quantile(medians, [tail, 1.0 - tail])
    return Interval(float(np.median(sample)), float(low), float(high))


def quartiles(values: Sequence[float]) -> Quartiles:
    """Return the three of the values. Raises ValueError without values."""
    if not values:
        raise ValueError("no values to take quartiles of")
    low, median, high = np.quantile(np.asarray(values, dtype=np.float64), [0.25, 0.5, 0.75])
    return Quartiles(float(median), float(low), float(high))


def paired_ratios(
    progress: Progress, pairs: Sequence[tuple[tuple[int, int], tuple[int, int]]]
) -> list[float]:
    """Return rate with over rate without, for each pair of windows (with, without)."""
    return [
        progress.rate_per_s(*with_observer) / progress.rate_per_s(*without)
        for with_observer, without in pairs
    ]
