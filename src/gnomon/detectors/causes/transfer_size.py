"""Copies so small that each costs its caller more than its bytes do, or so large that these cost.

Of large ones ``_large_copies`` tells. Of small ones:
Measured: the durations of a thread's calls that copied less than ``copies.SMALL_BYTES``, less the
time that their bytes take at ``REACHABLE_BYTES_PER_S``. A call that lasted longer than
``LONGEST`` times the median of its kind waited for something and counts with that much; kinds
whose median is beyond ``LONGEST_CALL_NS`` and synchronous copies from the device (which wait for
the work before them) do not count. Speaks from ``FEWEST`` copies and 1 % of the thread's active
time on; where counters were recorded, only for time in which the GPU was idle or copying.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from gnomon.analysis.activity import ThreadActivity
from gnomon.analysis.copies import DIRECTION_SQL, LARGE_BYTES, SMALL_BYTES, Copies, is_copy
from gnomon.analysis.weighted import ROUNDING
from gnomon.detectors.case import Case
from gnomon.detectors.causes._large_copies import large_copies
from gnomon.detectors.causes._loss import Figure, Loss, Median, figures, loss_of
from gnomon.detectors.finding import Evidence, Finding, Gain
from gnomon.detectors.grading import INFO_SHARE
from gnomon.detectors.needs import Need
from gnomon.enums import Cause, Severity

NEEDS = (Need.CALLS, Need.ALL_CALLS)
FEWEST = 100
# A PCIe link of 16 lanes, generation 4, reaches about this; a faster one saves little of so few
# bytes (64 KiB in 2.6 us).
REACHABLE_BYTES_PER_S = 25e9
LONGEST = 4
# A copy's call takes 4 to 40 us; longer medians are waits for a queue or for the GPU.
LONGEST_CALL_NS = 100_000
REMEDY = (
    "Pack what goes the same way into one buffer and copy it once a step (pinned, asynchronous); "
    "keep on the device what every step needs, and build small tensors there."
)

SMALL_SQL = """\
WITH ranked AS (
  SELECT ts_ns, duration_ns, bytes, coalesce(weight, 1) AS weight, operation,
    {direction} AS direction,
    sum(coalesce(weight, 1)) OVER (PARTITION BY operation, {direction} ORDER BY duration_ns)
      AS upto,
    sum(coalesce(weight, 1)) OVER (PARTITION BY operation, {direction}) AS total
  FROM host_calls
  WHERE {where} AND {is_copy} AND bytes >= 0 AND bytes < {small}
    AND NOT (coalesce({direction}, 'd2h') = 'd2h' AND operation NOT LIKE '%Async%')
), small AS (
  SELECT *, min(duration_ns) FILTER (upto >= {half!r} * total)
    OVER (PARTITION BY operation, direction) AS usual_ns
  FROM ranked
)
SELECT ts_ns, weight, bytes, duration_ns,
  (weight * greatest(0, least(duration_ns, {longest} * usual_ns) - 1e9 * bytes / {reachable}))
    ::BIGINT AS lost_ns
FROM small WHERE usual_ns <= {longest_call}"""


def detect(case: Case) -> Iterable[Finding]:
    """Yield a finding for each thread that feeds a GPU and loses time to small or large copies."""
    yield from large_copies(case)
    for one in case.dispatch_threads:
        of_thread = [group for group in case.copies if group.thread == one.thread]
        small = [group for group in of_thread if group.size == "small"]
        if (
            sum(group.calls for group in small) < FEWEST
            or sum(group.stood_for_ns for group in small) < INFO_SHARE * one.active_ns
        ):
            continue
        loss = loss_of(case, one, _sql(case, one), is_copying=True, is_weighted=True)
        severity = None if loss is None else loss.severity
        if loss is not None and severity is not None and loss.pieces >= FEWEST:
            yield _finding(case, one, loss, severity, of_thread)


def _sql(case: Case, one: ThreadActivity) -> str:
    return SMALL_SQL.format(
        direction=DIRECTION_SQL,
        where=f"{case.scope.span.condition} AND {one.thread.condition}",
        is_copy=is_copy(case.operations),
        small=SMALL_BYTES,
        longest=LONGEST,
        longest_call=LONGEST_CALL_NS,
        reachable=REACHABLE_BYTES_PER_S,
        half=0.5 - ROUNDING,
    )


def _finding(
    case: Case, one: ThreadActivity, loss: Loss, severity: Severity, of_thread: Sequence[Copies]
) -> Finding:
    largest = max((group for group in of_thread if group.size == "small"), key=_time)
    return Finding(
        cause=Cause.TRANSFER_SIZE,
        severity=severity,
        **loss.told,
        **case.who(one.thread),
        operation=largest.operation,
        evidence=tuple(_evidence(case, one, loss)),
        ruled_out=(
            case.ruled_out(
                Cause.TRANSFER_RATE,
                f"copies of {LARGE_BYTES >> 20} MiB and more took {{value}} in all",
                "SELECT coalesce(round(sum(duration_ns * coalesce(weight, 1))), 0)::BIGINT AS ns "
                f"FROM host_calls "
                f"WHERE {case.span.condition} AND {one.thread.condition} "
                f"AND {is_copy(case.operations)} AND bytes >= {LARGE_BYTES}",
                "ns",
            ),
        ),
        remedy=REMEDY,
        expected_gain=Gain(loss.idle_ns / 1e9, "s", "if all of them went in a few large copies"),
        confidence=0.8,
        confidence_reason="the calls' own time was measured",
    )


def _time(group: Copies) -> int:
    return group.stood_for_ns


def _evidence(case: Case, one: ThreadActivity, loss: Loss) -> Iterable[Evidence]:
    yield loss.evidence(
        f"{loss.count} copies of less than {SMALL_BYTES >> 10} KiB took {{value}} longer than "
        f"their bytes need"
    )
    yield from figures(
        case,
        loss.sql,
        Figure("together they moved {value}", "sum(weight * bytes)::BIGINT", "bytes"),
        Median("half of them moved no more than {value}", "bytes", "bytes"),
        Median("half of them took {value} and more", "duration_ns", "ns"),
    )
    yield case.evidence(
        "{value} copies of the same thread moved more than that",
        "SELECT coalesce(round(sum(coalesce(weight, 1))), 0)::BIGINT AS copies FROM host_calls "
        f"WHERE {case.span.condition} AND {one.thread.condition} "
        f"AND {is_copy(case.operations)} AND bytes >= {SMALL_BYTES}",
        "count",
    )
