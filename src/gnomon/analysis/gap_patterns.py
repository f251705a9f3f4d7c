"""Gaps between kernels, and what their surroundings say of why nothing ran in them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gnomon.analysis.collecting import Bools
from gnomon.analysis.gpu_gap_types import CODES, GapReason
from gnomon.analysis.gpu_work import GpuWork, Ran
from gnomon.analysis.interval_sets import picked
from gnomon.analysis.intervals import Intervals, Ints
from gnomon.enums import CopyDirection, KernelFamily

# From the begin of a launch to that of its kernel more time passes on any host: the call alone
# took 5.2 us on an H200's (p50, driver 580). What follows sooner had been launched before: GEMMs
# that were queued there began 2.1 us after each other.
SHORTEST_LAUNCH_NS = 3_000
# Gaps come regularly where the middle half of the times from one to the next differs by no more
# than this share of their median, over so many of them.
REGULAR_SHARE = 0.2
FEWEST_REGULAR = 8

Codes = npt.NDArray[np.int8]


@dataclass(frozen=True, slots=True)
class Gaps:
    """n gaps in the order of time, and the kernels around each; arrays (n,).

    ``before`` and ``after`` are labels, ``enqueued_ns`` is that of the kernel after, 0 if unknown.
    """

    spans: Intervals
    before: Ints
    after: Ints
    enqueued_ns: Ints

    @property
    def ns(self) -> Ints:
        """The length of each."""
        return self.spans.end_ns - self.spans.start_ns


def find_gaps(kernels: Ran, known: Intervals) -> Gaps:
    """Return the stretches without a kernel between two kernels of the same window."""
    start_ns, end_ns = kernels.spans.start_ns, kernels.spans.end_ns
    latest_ns = np.maximum.accumulate(end_ns)
    after = np.flatnonzero(start_ns[1:] > latest_ns[:-1]) + 1
    # The kernel before a gap is the last of those that ended latest by then.
    places = np.where(end_ns >= latest_ns, np.arange(len(end_ns), dtype=np.int32), np.int32(0))
    before = np.maximum.accumulate(places)[after - 1]
    begins, ends = latest_ns[after - 1], start_ns[after]
    if known.is_empty:
        inside = np.zeros(len(begins), dtype=bool)
    else:
        window = np.searchsorted(known.start_ns, begins, side="right") - 1
        inside = (window >= 0) & (ends <= known.end_ns[window])
    before, after = before[inside], after[inside]
    return Gaps(
        picked(Intervals(begins, ends), inside),
        kernels.label[before],
        kernels.label[after],
        kernels.enqueued_ns[after],
    )


def are_queued(gaps: Gaps) -> Bools:
    """Return which gaps had their next kernel launched before they began: no host made them."""
    was_launched: Bools = (gaps.enqueued_ns > 0) & (gaps.enqueued_ns < gaps.spans.start_ns)
    is_short: Bools = (gaps.enqueued_ns == 0) & (gaps.ns < SHORTEST_LAUNCH_NS)
    return np.logical_or(was_launched, is_short)


def patterns(gaps: Gaps, work: GpuWork, waits_ended_ns: Ints) -> Codes:
    """Return the code of the reason that the surroundings of each gap (n,) suggest.

    ``waits_ended_ns``: when threads of the host had waited for the GPU, ascending.
    """
    directions = np.array(
        [one.direction == CopyDirection.DEVICE_TO_HOST for one in work.copy_labels], dtype=bool
    )
    to_host_ns = np.sort(picked(work.copies.spans, directions[work.copies.label]).end_ns)
    collective = np.array(
        [one.family is KernelFamily.COLLECTIVE for one in work.kernel_labels], dtype=bool
    )
    tests = (
        (GapReason.QUEUED, are_queued(gaps)),
        (GapReason.AFTER_SYNCHRONIZATION, _holds(gaps.spans, waits_ended_ns)),
        (GapReason.AFTER_COPY_TO_HOST, _holds(gaps.spans, to_host_ns)),
        (GapReason.AFTER_COLLECTIVE, collective[gaps.before]),
        (GapReason.LAUNCH_BOUND, gaps.enqueued_ns >= gaps.spans.start_ns),
    )
    found = np.full(len(gaps.spans), CODES[GapReason.UNKNOWN], dtype=np.int8)
    for reason, holds in reversed(tests):
        found[holds] = CODES[reason]
    return found


def _holds(spans: Intervals, moments_ns: Ints) -> Bools:
    """Return in which intervals, their ends included, a moment lies; ``moments_ns`` ascend."""
    return np.asarray(
        np.searchsorted(moments_ns, spans.start_ns, side="left")
        < np.searchsorted(moments_ns, spans.end_ns, side="right")
    )


def period_of(begins_ns: Ints, ns: Ints) -> tuple[int, Bools] | None:
    """Return after how long gaps (n,) come again, and which do; None where not regularly.

    Looked at are the long ones, in which most of the time lies: kernels of a name also follow each
    other directly.
    """
    ascending = np.sort(ns)
    upto_ns = np.cumsum(ascending)
    if not len(ns) or not upto_ns[-1]:
        return None
    half_ns = ascending[np.searchsorted(upto_ns, upto_ns[-1] / 2)]
    long = ns * 2 >= half_ns
    apart_ns = np.diff(begins_ns[long])
    if len(apart_ns) < FEWEST_REGULAR:
        return None
    low, middle, high = np.quantile(apart_ns, (0.25, 0.5, 0.75), method="inverted_cdf")
    return (int(middle), long) if high - low <= REGULAR_SHARE * middle else None
