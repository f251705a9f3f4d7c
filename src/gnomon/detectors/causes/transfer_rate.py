"""Large copies between host and device that run at a fraction of their link.

From pageable memory the driver copies through a staging buffer, at 3 to 12 GB/s, and the caller
waits meanwhile. Measured: of calls that copied ``copies.LARGE_BYTES`` and more and waited for it,
the duration less what the bytes take at the rate that the link can reach: ``REACHED`` of the line
rate that the GPU reports, else the best rate that waiting calls had in this direction. A call that
had to wait for earlier work as well does not tell a rate: only those count whole that follow a
synchronisation, or another waiting copy, with nothing launched between; others count with the time
that their bytes take at the median rate of those. Speaks from ``FEWEST`` telling copies and 1 % of
the thread's active time on; where counters were recorded, only for time in which the GPU was idle
or copying.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from gnomon.analysis import refills
from gnomon.analysis.activity import ThreadActivity
from gnomon.analysis.copies import (
    DIRECTION_SQL,
    FASTEST_LINK_BYTES_PER_S,
    LARGE_BYTES,
    Copies,
    is_copy,
    link_bytes_per_s,
)
from gnomon.analysis.latency import among
from gnomon.analysis.memory_use import MOST_BYTES
from gnomon.analysis.operations import DISPATCH
from gnomon.analysis.weighted import percentile_sql
from gnomon.detectors.case import Case
from gnomon.detectors.causes._large_copies import REACHED, WAYS
from gnomon.detectors.causes._loss import (
    Figure,
    Loss,
    Median,
    commonest,
    figures,
    loss_of,
    operation_of,
)
from gnomon.detectors.finding import Finding, Gain
from gnomon.detectors.grading import INFO_SHARE
from gnomon.detectors.needs import Need
from gnomon.enums import Cause, CopyDirection, Severity

NEEDS = (Need.CALLS, Need.ALL_CALLS)
FEWEST = 3
# Slower than the reachable rate by less than this is no fraction of it.
SLOWER = 1.25
REMEDY = (
    "Copy from pinned memory: pin_memory=True in the loader and non_blocking=True in the copy, or "
    "cudaHostAlloc for buffers that are used again; then the copy runs at the link's rate and its "
    "caller need not wait."
)

# A stream that the caller has waited for is empty: the next copy starts at once.
TELLING_SQL = """\
WITH calls AS (
  SELECT ts_ns, ts_ns - duration_ns AS begin_ns, duration_ns, operation, bytes,
    {is_copy} AS is_copy, {direction} AS direction, {drains} AS drains,
    coalesce(weight, 1) AS weight, 1e9 * bytes / greatest(duration_ns, 1) AS rate
  FROM host_calls
  WHERE {where} AND coalesce(depth, 0) = 0 AND ({drains} OR {is_dispatch})
), marked AS (
  SELECT *, bytes BETWEEN {large} AND {most} AND rate < {fastest} AND is_copy
    AND direction IN ({between}) AS has_waited
  FROM calls
), ordered AS (
  SELECT *, lag(drains OR has_waited) OVER (ORDER BY begin_ns, ts_ns) IS TRUE AS is_telling
  FROM marked
)
SELECT * FROM ordered WHERE has_waited AND direction = '{way}'"""
RATES_SQL = """\
SELECT count(*) FILTER (is_telling) AS kept,
  coalesce(round(sum(weight) FILTER (is_telling)), 0)::BIGINT AS telling,
  ({median}) AS rate_bytes_per_s, ({best}) AS best_bytes_per_s
FROM ({copies})"""
PIECES_SQL = """\
SELECT ts_ns, bytes, weight, (weight * greatest(0, CASE WHEN is_telling THEN duration_ns
    ELSE least(duration_ns, 1e9 * bytes / {rate!r}) END - 1e9 * bytes / {reachable!r}))::BIGINT
  AS lost_ns
FROM ({copies})"""


@dataclass(frozen=True, slots=True)
class Way:
    """A thread's large waiting copies in one direction: the rate that telling ones had."""

    one: ThreadActivity
    direction: CopyDirection
    sql: str
    telling: int
    rate_bytes_per_s: float
    best_bytes_per_s: float


def detect(case: Case) -> Iterable[Finding]:
    """Yield a finding for each thread that feeds a GPU, and direction, whose copies are slow."""
    large = [group for group in case.copies if group.size == "large"]
    ways = [
        way
        for one in case.dispatch_threads
        for direction in WAYS
        if (way := _way(case, one, direction, large)) is not None
    ]
    link = link_bytes_per_s(case.measurements.meta())
    best = {way.direction: max(_best(ways, way.direction)) for way in ways}
    for way in ways:
        reachable = best[way.direction] if link is None else REACHED * link
        if way.rate_bytes_per_s * SLOWER > reachable:
            continue
        pieces = PIECES_SQL.format(rate=way.rate_bytes_per_s, reachable=reachable, copies=way.sql)
        loss = loss_of(case, way.one, pieces, is_copying=True, is_weighted=True)
        severity = None if loss is None else loss.severity
        if loss is not None and severity is not None:
            yield _finding(case, way, loss, severity, reachable, is_link_known=link is not None)


def _best(ways: Sequence[Way], direction: CopyDirection) -> Iterable[float]:
    return (way.best_bytes_per_s for way in ways if way.direction == direction)


def _way(
    case: Case, one: ThreadActivity, direction: CopyDirection, large: Sequence[Copies]
) -> Way | None:
    """Return a thread's copies in a direction, where their calls take long and tell a rate."""
    groups = [
        group for group in large if group.thread == one.thread and group.direction == direction
    ]
    waited = sum(group.waited for group in groups)
    total_ns = sum(group.stood_for_ns for group in groups)
    if waited < FEWEST or total_ns < INFO_SHARE * one.active_ns:
        return None
    query = TELLING_SQL.format(
        is_copy=is_copy(one.operations),
        direction=DIRECTION_SQL,
        drains=refills.drains(one.operations),
        is_dispatch=among(one.operations, *DISPATCH),
        where=f"{case.span.condition} AND {one.thread.condition}",
        large=LARGE_BYTES,
        most=MOST_BYTES,
        fastest=FASTEST_LINK_BYTES_PER_S,
        between=", ".join(f"'{way}'" for way in WAYS),
        way=direction,
    )
    telling = f"SELECT rate, weight FROM ({query}) WHERE is_telling"
    median, best = (percentile_sql(telling, "rate", share) for share in (0.5, 0.9))
    (row,) = case.session.rows(RATES_SQL.format(copies=query, median=median, best=best))
    if row.pop("kept") < FEWEST:
        return None
    return Way(one=one, direction=direction, sql=query, **row)


def _finding(
    case: Case,
    way: Way,
    loss: Loss,
    severity: Severity,
    reachable: float,
    *,
    is_link_known: bool,
) -> Finding:
    one = way.one
    operation = commonest(case, way.sql, "{share} of them were", "weight")
    rate, moved, size = figures(
        case,
        way.sql,
        Median(
            f"{way.telling:,} of them had nothing else to wait for: {{value}} at the median",
            "CASE WHEN is_telling THEN rate / 1e9 END",
            "GB/s",
        ),
        Figure("together they moved {value}", "round(sum(bytes * weight))::BIGINT", "bytes"),
        Median("half of these copies moved {value} and more", "bytes", "bytes"),
    )
    against = (
        f"{100 * REACHED:.0f} % of the link's line rate"
        if is_link_known
        else "the best rate seen in this direction"
    )
    return Finding(
        cause=Cause.TRANSFER_RATE,
        severity=severity,
        **loss.told,
        **case.who(one.thread),
        operation=operation_of(operation),
        evidence=(
            loss.evidence(
                f"{loss.count} copies ({WAYS[way.direction]}) that waited for their bytes took "
                f"{{value}} longer than at {reachable / 1e9:.3g} GB/s, {against}"
            ),
            rate,
            moved,
            *operation,
        ),
        ruled_out=(size.excludes(Cause.TRANSFER_SIZE),),
        remedy=REMEDY,
        expected_gain=Gain(loss.idle_ns / 1e9, "s", f"at {reachable / 1e9:.3g} GB/s"),
        confidence=0.8 if is_link_known else 0.6,
        confidence_reason="the rate is that of calls which had nothing else to wait for; "
        + ("the GPU reports its link" if is_link_known else "the link is not known"),
    )
