"""Large copies between host and device whose bytes themselves take the time.

Measured: of calls that copied ``copies.LARGE_BYTES`` and more and waited for it, what their bytes
take at the rate that the link can reach, else at the best rate that these calls had; what they took
beyond it is ``transfer_rate``'s. That a call's time is its bytes', and no wait for the GPU's
earlier work, is known where the link is, or where durations follow bytes over different sizes;
elsewhere it is information at most. Speaks from ``FEWEST`` copies and 1 % of the thread's active
time on; where counters were recorded, only for time in which the GPU was idle or copying.
"""

from __future__ import annotations

from collections.abc import Iterable

from gnomon.analysis.activity import ThreadActivity
from gnomon.analysis.copies import (
    DIRECTION_SQL,
    FASTEST_LINK_BYTES_PER_S,
    LARGE_BYTES,
    is_copy,
    link_bytes_per_s,
)
from gnomon.analysis.memory_use import MOST_BYTES
from gnomon.analysis.weighted import percentile_sql
from gnomon.detectors.case import Case
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
from gnomon.enums import Cause, CopyDirection, Severity

FEWEST = 3
# Of a PCIe link's line rate, what large copies reach (hardware/links.py: 80 to 90 %).
REACHED = 0.8
# Durations follow bytes: over sizes this far apart, correlated this much.
SIZES_APART = 1.5
FOLLOWS = 0.95
WAYS = {
    CopyDirection.HOST_TO_DEVICE: "host to device",
    CopyDirection.DEVICE_TO_HOST: "device to host",
}
REMEDY = (
    "Move fewer bytes: keep on the device what stays the same, send smaller types, prepare data "
    "there; or copy from pinned memory on a stream of its own while kernels run."
)

WAITED_SQL = """\
SELECT ts_ns, duration_ns, bytes, operation, coalesce(weight, 1) AS weight FROM host_calls
WHERE {where} AND {is_copy} AND {direction} = '{way}' AND duration_ns > 0
  AND bytes BETWEEN {large} AND {most} AND 1e9 * bytes / duration_ns < {fastest}"""
RATE_SQL = """\
SELECT count(*) AS calls,
  ({best}) AS best_bytes_per_s,
  quantile_cont(bytes, 0.95) / quantile_cont(bytes, 0.05) AS apart,
  corr(duration_ns, bytes) AS follows
FROM ({waited})"""
PIECES_SQL = """\
SELECT ts_ns, bytes, operation, duration_ns, weight,
  (weight * least(duration_ns, 1e9 * bytes / {reachable!r}))::BIGINT AS lost_ns
FROM ({waited})"""


def large_copies(case: Case) -> Iterable[Finding]:
    """Yield a finding for each thread that feeds a GPU, and direction, that moves many bytes."""
    for one in case.dispatch_threads:
        for way in WAYS:
            total_ns = sum(
                group.stood_for_ns
                for group in case.copies
                if group.thread == one.thread and group.direction == way and group.size == "large"
            )
            if total_ns >= INFO_SHARE * one.active_ns:
                yield from _of_way(case, one, way)


def _of_way(case: Case, one: ThreadActivity, way: CopyDirection) -> Iterable[Finding]:
    waited = WAITED_SQL.format(
        where=f"{case.span.condition} AND {one.thread.condition}",
        is_copy=is_copy(one.operations),
        direction=DIRECTION_SQL,
        way=way,
        large=LARGE_BYTES,
        most=MOST_BYTES,
        fastest=FASTEST_LINK_BYTES_PER_S,
    )
    best = percentile_sql(waited, "1e9 * bytes / duration_ns", 0.9)
    (row,) = case.session.rows(RATE_SQL.format(waited=waited, best=best))
    if row["calls"] < FEWEST:
        return
    link = link_bytes_per_s(case.measurements.meta())
    reachable = row["best_bytes_per_s"] if link is None else REACHED * link
    loss = loss_of(
        case,
        one,
        PIECES_SQL.format(reachable=reachable, waited=waited),
        is_copying=True,
        is_weighted=True,
    )
    is_known = link is not None or (
        row["apart"] >= SIZES_APART and (row["follows"] or 0.0) >= FOLLOWS
    )
    severity = None if loss is None else loss.severity
    if loss is not None and severity is not None:
        told = severity if is_known else Severity.INFO
        yield _finding(case, one, loss, told, way, reachable, is_link_known=link is not None)


def _finding(
    case: Case,
    one: ThreadActivity,
    loss: Loss,
    severity: Severity,
    way: CopyDirection,
    reachable: float,
    *,
    is_link_known: bool,
) -> Finding:
    operation = commonest(case, loss.sql, "{share} of them were", "weight")
    moved, size, rate = figures(
        case,
        loss.sql,
        Figure("together they moved {value}", "round(sum(bytes * weight))::BIGINT", "bytes"),
        Median("half of them moved {value} and more", "bytes", "bytes"),
        Median("at the median they ran at {value}", "bytes / duration_ns", "GB/s"),
    )
    against = "what the link can reach" if is_link_known else "the best that these calls had"
    is_guess = severity is Severity.INFO and not is_link_known
    reason = (
        "whether these calls waited for the GPU's earlier work as well was not recorded"
        if is_guess
        else "the bytes and the calls' own time were measured"
    )
    return Finding(
        cause=Cause.TRANSFER_SIZE,
        severity=severity,
        **loss.told,
        **case.who(one.thread),
        operation=operation_of(operation),
        evidence=(
            loss.evidence(
                f"{loss.count} large copies ({WAYS[way]}) waited {{value}} for their bytes, at "
                f"{reachable / 1e9:.3g} GB/s, {against}"
            ),
            *operation,
            moved,
            size,
            rate,
        ),
        remedy=REMEDY,
        expected_gain=Gain(loss.idle_ns / 1e9, "s", "if none of these bytes had to be waited for"),
        confidence=0.4 if is_guess else 0.7,
        confidence_reason=reason,
    )
