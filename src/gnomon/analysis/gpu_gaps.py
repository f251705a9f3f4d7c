"""Gaps between the kernels of a GPU: how long, between what, and why.

The nanoseconds of a gap go, in this order, to copies that ran in it; to ``queued``, where the next
kernel had been launched before; to what the thread that fed the next kernel was doing; and what is
left to the pattern of its surroundings. So the reasons add up to the gaps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gnomon.analysis.gap_hosts import FeedingThread, explained, feeding_threads
from gnomon.analysis.gap_patterns import Codes, Gaps, find_gaps, patterns, period_of
from gnomon.analysis.gpu_busy import RanTime, busy_time, counter_checks
from gnomon.analysis.gpu_gap_types import CODES, REASONS, GapPair, GapReason, GpuGaps
from gnomon.analysis.gpu_work import Gpu, GpuWork, gpu_works
from gnomon.analysis.interval_sets import Covered, complement, crossed, picked, union
from gnomon.analysis.intervals import Floats, Ints
from gnomon.analysis.kernel_names import Families
from gnomon.analysis.questions import Span, literal
from gnomon.enums import SynchronizationKind
from gnomon.recording.base import Measurements, Session

MOST_PAIRS = 20
# Codes of pairs are counted directly where a table of them is small, else sorted.
MOST_CODES = 1 << 24
SHARES = (0.5, 0.95, 0.99)

WAITS_SQL = """\
SELECT ts_ns FROM gpu_synchronizations
WHERE (gpu_uuid = {gpu} OR gpu_uuid IS NULL) AND pid IN ({pids}) AND {span}
  AND operation <> '{not_of_a_host}' ORDER BY ts_ns"""


@dataclass(frozen=True, slots=True)
class Parts:
    """Nanoseconds of gaps by reason: each row is a gap, a code and how long; arrays (k,)."""

    gap: Ints
    code: Codes
    ns: Ints


def gpu_gaps(
    measurements: Measurements,
    session: Session,
    span: Span,
    families: Families | None = None,
    only: Gpu | None = None,
) -> list[GpuGaps]:
    """Return the gaps of each GPU with kernels in windows in a span, or of one."""
    answers = []
    for work in gpu_works(session, span, families, only):
        if work.known.is_empty:
            continue
        threads = feeding_threads(session, span, work.pids, work.gpu_uuid)
        waits_ns = _waits_ended_ns(session, work, span)
        answers.append(_told(measurements, work, waits_ns, threads))
        del work  # so that the next GPU's need not fit in beside it
    return answers


def split(
    gaps: Gaps, work: GpuWork, waits_ended_ns: Ints, threads: Sequence[FeedingThread]
) -> Parts:
    """Give every nanosecond of n gaps its reason; see the module."""
    copies = union(work.copies.spans)
    copied_ns = Covered(copies).inside(gaps.spans)
    found = patterns(gaps, work, waits_ended_ns)
    with_copies = np.flatnonzero(copied_ns)
    parts = [
        Parts(
            with_copies,
            np.full(len(with_copies), CODES[GapReason.COPYING], dtype=np.int8),
            copied_ns[with_copies],
        )
    ]
    left_ns = gaps.ns - copied_ns
    if threads:
        free = crossed(gaps.spans, complement(copies))
        asked = np.flatnonzero(found[free.left] != CODES[GapReason.QUEUED])
        gap = free.left[asked]
        place, code, ns = explained(picked(free.pieces, asked), gaps.spans.end_ns[gap], threads)
        parts.append(Parts(gap[place], code.astype(np.int8), ns))
        np.subtract.at(left_ns, gap[place], ns)
    rest = np.flatnonzero(left_ns)
    parts.append(Parts(rest, _periodic(gaps, found, left_ns)[rest], left_ns[rest]))
    return Parts(
        np.concatenate([one.gap for one in parts]),
        np.concatenate([one.code for one in parts]),
        np.concatenate([one.ns for one in parts]),
    )


def _periodic(gaps: Gaps, found: Codes, left_ns: Ints) -> Codes:
    """Tell of the pairs with most unexplained time which come regularly."""
    unknown = np.flatnonzero((found == CODES[GapReason.UNKNOWN]) & (left_ns > 0))
    pair, pairs = _pairs(gaps.before[unknown], gaps.after[unknown])
    by_time = np.argsort(-np.bincount(pair, left_ns[unknown], pairs), kind="stable")
    answer = found.copy()
    for number in by_time[:MOST_PAIRS]:
        mine = unknown[pair == number]
        regular = period_of(gaps.spans.start_ns[mine], gaps.ns[mine])
        if regular is not None:
            answer[mine[regular[1]]] = CODES[GapReason.PERIODIC]
    return answer


def _pairs(before: Ints, after: Ints) -> tuple[Ints, int]:
    """Return a number for each pair of labels, from 0 on, and how many there are."""
    labels = 1 + int(max(before.max(initial=0), after.max(initial=0)))
    code = before.astype(np.int64) * labels + after
    if labels * labels > MOST_CODES:
        names, number = np.unique(code, return_inverse=True)
        return number, len(names)
    is_there = np.bincount(code, minlength=1) > 0
    return (np.cumsum(is_there) - 1)[code], int(is_there.sum())


def _told(
    measurements: Measurements,
    work: GpuWork,
    waits_ended_ns: Ints,
    threads: Sequence[FeedingThread],
) -> GpuGaps:
    ran = RanTime.of(work)
    busy, checks = busy_time(work, ran), counter_checks(measurements, work, ran)
    del ran  # millions of intervals, and the gaps are as many
    gaps = find_gaps(work.kernels, work.known)
    parts = split(gaps, work, waits_ended_ns, threads)
    total_ns = int(gaps.ns.sum())
    p50_ns, p95_ns, p99_ns = _quantiles(gaps.ns, SHARES)
    return GpuGaps(
        gpu_uuid=work.gpu_uuid,
        mig_uuid=work.mig_uuid,
        windows=len(work.known),
        dropped=work.dropped,
        busy=busy,
        checks=checks,
        count=len(gaps.spans),
        total_ns=total_ns,
        at_edges_ns=busy.known_ns - busy.kernels_ns - total_ns,
        p50_ns=p50_ns,
        p95_ns=p95_ns,
        p99_ns=p99_ns,
        longest_ns=int(gaps.ns.max()) if len(gaps.spans) else None,
        reasons=_reasons(np.bincount(parts.code, parts.ns, len(REASONS))),
        threads=len(threads),
        pairs=_told_pairs(gaps, parts, work),
    )


def _told_pairs(gaps: Gaps, parts: Parts, work: GpuWork) -> Sequence[GapPair]:
    pair, pairs = _pairs(gaps.before, gaps.after)
    totals_ns = np.bincount(pair, gaps.ns, pairs)
    cells = pair[parts.gap] * len(REASONS) + parts.code
    reasons = np.bincount(cells, parts.ns, pairs * len(REASONS)).reshape(pairs, len(REASONS))
    told = []
    for number in np.argsort(-totals_ns, kind="stable")[:MOST_PAIRS].tolist():
        mine = np.flatnonzero(pair == number)
        ns = gaps.ns[mine]
        regular = period_of(gaps.spans.start_ns[mine], ns)
        told.append(
            GapPair(
                before=work.kernel_labels[gaps.before[mine[0]]].short,
                after=work.kernel_labels[gaps.after[mine[0]]].short,
                count=len(mine),
                total_ns=int(ns.sum()),
                p50_ns=int(np.quantile(ns, 0.5, method="inverted_cdf")),
                longest_ns=int(ns.max()),
                period_ns=None if regular is None else regular[0],
                reasons=_reasons(reasons[number]),
            )
        )
    return told


def _reasons(ns: Floats | Ints) -> dict[str, int]:
    """Return reason -> nanoseconds of those that have any, the largest first."""
    order = np.argsort(-ns, kind="stable").tolist()
    return {REASONS[code].value: int(ns[code]) for code in order if ns[code] > 0}


def _quantiles(values: Ints, shares: Sequence[float]) -> list[int | None]:
    """Return nearest-rank quantiles; None of nothing."""
    if not len(values):
        return [None] * len(shares)
    return [int(one) for one in np.quantile(values, shares, method="inverted_cdf")]


def _waits_ended_ns(session: Session, work: GpuWork, span: Span) -> Ints:
    """Return when threads had waited for a GPU, ascending."""
    if not work.pids:
        return np.zeros(0, dtype=np.int64)
    query = WAITS_SQL.format(
        gpu=literal(work.gpu_uuid),
        pids=", ".join(map(str, work.pids)),
        span=span.condition,
        not_of_a_host=SynchronizationKind.STREAM_WAIT.value,
    )
    return np.asarray(session.arrays(query).columns["ts_ns"])
