"""How far the clock of kernel times lies from that of counter samples, found in the data.

An offset moves kernels over samples; at the right one the share of each sample in which kernels
ran goes along best with a counter of their work. Pearson's correlation of the two is computed on
a grid of offsets, and a parabola through the best three gives the place between them. Of several
counters the one that goes along best is taken: where something ran that was not recorded, the
tensor pipe can follow the kernels better than the SMs do.
Its uncertainty is the spread of that place over resampled blocks of samples (block bootstrap,
Kuensch 1989), and never less than what is known of the clocks themselves.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from gnomon.analysis.intervals import Floats, Intervals

# Kernel records are Unix time within 1 us of the clock that samples are stamped with, and on an
# H200 (driver 580) the two lie 10 us apart: what is assumed where the data do not tell.
LEAST_UNCERTAINTY_NS = 1_000
ASSUMED_UNCERTAINTY_NS = 20_000
SEARCHED_NS = 2_000_000
# A recording whose samples follow its kernels reads 0.9 and more; unrelated ones read about 0.
LEAST_CORRELATION = 0.4
# Periodic work fits at several offsets; within this of the best, the one nearest to 0 is taken.
AS_GOOD = 0.01
COARSE_SAMPLES = 20_000
FINE_SAMPLES = 100_000
FINE_STEPS = 60
BLOCKS = 50
REPLICATES = 200
SEED = 21


@dataclass(frozen=True, slots=True)
class ClockOffset:
    """``offset_ns`` is to be added to times of kernels to put them on the samples' clock.

    ``correlation`` is that of ``counter`` at the offset. ``reason`` says why the data did not
    tell: then the offset is 0 and the uncertainty an assumption. ``also_fits_ns``: another offset
    that is about as good, because the work repeats itself.
    """

    offset_ns: int
    uncertainty_ns: int
    correlation: float | None
    counter: str | None
    samples: int
    reason: str | None = None
    also_fits_ns: int | None = None


def clock_offset(
    samples: Intervals,
    counters: Mapping[str, Floats],
    kernels: Intervals,
    searched_ns: int = SEARCHED_NS,
) -> ClockOffset:
    """Estimate the offset of disjoint ordered times in which kernels ran.

    ``counters`` (n,) of n samples are of work that SMs do, without NaN.
    """
    if len(samples) < BLOCKS or kernels.is_empty:
        return _unknown(len(samples), "too few samples while kernels were recorded")
    step_ns = max(int(np.median(samples.end_ns - samples.start_ns)) // 2, 1)
    reach = searched_ns // step_ns
    coarse_ns = np.arange(-reach, reach + 1, dtype=np.float64) * step_ns
    fits = {
        name: _correlation(moments.sum(axis=1))
        for name, moments in _moments(
            *_thinned(samples, counters, COARSE_SAMPLES), kernels, coarse_ns
        ).items()
    }
    highest = {name: float(np.nanmax(one, initial=-1.0)) for name, one in fits.items()}
    best = max(highest, key=lambda name: highest[name], default=None)
    if best is None or not np.isfinite(fits[best]).any():
        reason = "the GPU was busy, or idle, all the time: there is no edge to align"
        return _unknown(len(samples), reason)
    if highest[best] < LEAST_CORRELATION:
        reason = f"counters do not follow the kernels: correlation {highest[best]:.2f} at best"
        return _unknown(len(samples), reason)
    peak, other = _peaks(np.nan_to_num(fits[best], nan=-1.0), coarse_ns)
    fine_ns = coarse_ns[peak] + np.linspace(-1.5, 1.5, FINE_STEPS + 1) * step_ns
    some, one = _thinned(samples, {best: counters[best]}, FINE_SAMPLES)
    moments = _moments(some, one, kernels, fine_ns)[best]
    fit = _correlation(moments.sum(axis=1))
    draws = np.random.default_rng(SEED).multinomial(BLOCKS, [1 / BLOCKS] * BLOCKS, REPLICATES)
    drawn = _correlation(np.tensordot(draws, moments, (1, 1)))  # (replicates, offsets)
    places = [_place(one, fine_ns) for one in drawn if np.isfinite(one).any()]
    return ClockOffset(
        round(_place(fit, fine_ns)),
        max(int(np.ceil(np.std(places))), LEAST_UNCERTAINTY_NS),
        float(np.nanmax(fit)),
        best,
        len(samples),
        also_fits_ns=None if other is None else int(coarse_ns[other]),
    )


def _unknown(samples: int, reason: str) -> ClockOffset:
    return ClockOffset(0, ASSUMED_UNCERTAINTY_NS, None, None, samples, reason)


def _thinned(
    samples: Intervals, counters: Mapping[str, Floats], most: int
) -> tuple[Intervals, dict[str, Floats]]:
    every = -(-len(samples) // most)
    thin = Intervals(samples.start_ns[::every], samples.end_ns[::every])
    return thin, {name: values[::every] for name, values in counters.items()}


def _moments(
    samples: Intervals, counters: Mapping[str, Floats], kernels: Intervals, offsets_ns: Floats
) -> dict[str, Floats]:
    """Return each counter's weighted sums of 1, x, y, xx, xy, yy; shape (offsets, blocks, 6).

    x is the share of a sample in which kernels ran, y its counter, the weight its length.
    """
    origin_ns = int(kernels.start_ns[0])
    edges = np.empty(2 * len(kernels))
    edges[0::2] = kernels.start_ns - origin_ns
    edges[1::2] = kernels.end_ns - origin_ns
    total = np.zeros(2 * len(kernels))
    total[1::2] = np.cumsum(kernels.end_ns - kernels.start_ns)
    total[2::2] = total[1:-1:2]
    begin, end = samples.start_ns - origin_ns, samples.end_ns - origin_ns
    length = (end - begin).astype(np.float64)
    weight = length / length.mean()
    # Far from 0 the sums of squares would cancel.
    centred = {name: values - values.mean() for name, values in counters.items()}
    first = np.linspace(0, len(samples), BLOCKS, endpoint=False).astype(np.int64)
    sums = {name: np.empty((len(offsets_ns), BLOCKS, 6)) for name in counters}
    for at, offset in enumerate(offsets_ns):
        ran = np.interp(end - offset, edges, total) - np.interp(begin - offset, edges, total)
        x = ran / length
        for name, y in centred.items():
            terms = np.stack((np.ones_like(x), x, y, x * x, x * y, y * y))
            sums[name][at] = np.add.reduceat(terms * weight, first, axis=1).T
    return sums


def _correlation(sums: Floats) -> Floats:
    """Return Pearson's correlation of each row of moments (..., 6); NaN where nothing varies."""
    weight, x, y, xx, xy, yy = np.moveaxis(sums, -1, 0)
    x_spread, y_spread = xx - x * x / weight, yy - y * y / weight
    varies = (x_spread > 1e-9 * weight) & (y_spread > 1e-6 * weight)
    scale = np.sqrt(np.where(varies, x_spread * y_spread, np.nan))
    return np.asarray((xy - x * y / weight) / scale)


def _peaks(fits: Floats, offsets_ns: Floats) -> tuple[int, int | None]:
    """Return the peak to take, and another that fits as well or None."""
    padded = np.concatenate(([-2.0], fits, [-2.0]))
    tops = np.flatnonzero((fits >= padded[:-2]) & (fits >= padded[2:]))
    good = tops[fits[tops] >= fits.max() - AS_GOOD]
    nearest = good[np.argsort(np.abs(offsets_ns[good]), kind="stable")]
    apart = [at for at in nearest[1:] if abs(at - nearest[0]) > 2]
    return int(nearest[0]), int(apart[0]) if apart else None


def _place(fits: Floats, offsets_ns: Floats) -> float:
    """Return where a parabola through the best point and its neighbours has its top."""
    best = int(np.clip(np.nanargmax(fits), 1, len(fits) - 2))
    left, top, right = fits[best - 1 : best + 2]
    bend = left - 2 * top + right
    shift = 0.5 * (left - right) / bend if bend < 0 else 0.0
    return float(offsets_ns[best] + np.clip(shift, -1, 1) * (offsets_ns[1] - offsets_ns[0]))
