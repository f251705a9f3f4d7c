"""A thread that waits for the GPU after every few launches, and lets it run dry each time.

Measured: refills (``analysis/refills.py``), from the end of each wait that left the thread's
streams empty to its next launch or copy, less the time in them in which the thread was off the CPU
(that is for other causes to explain). A wait counts where it came after 1 to ``FEW_LAUNCHES``
kernels: one after a whole graph is what a healthy program needs. Refills of more than
``LONGEST_REFILL_NS`` do not count: something else than the wait kept the thread. One wait a step
(``analysis/steps.py``) is information at most, and only where it costs a real share. Speaks from
``FEWEST`` refills and 1 % of the thread's time on; where counters were recorded, only for time in
which the GPU was idle. Where launches or copies were sampled, or rows were lost, the next call
after a wait is not known, and nothing is said. A thread of more than ``MANY_CALLS`` is looked at
in ``STRETCHES`` short stretches first: what lasts less than the distance of two may be missed.
"""

from __future__ import annotations

from collections.abc import Iterable

from gnomon.analysis import refills
from gnomon.analysis.activity import ThreadActivity
from gnomon.analysis.operations import DISPATCH, Kind
from gnomon.analysis.steps import steps
from gnomon.detectors.case import Case
from gnomon.detectors.causes._loss import (
    Figure,
    Loss,
    commonest,
    figures,
    is_gapless,
    loss_of,
    operation_of,
)
from gnomon.detectors.finding import Finding, Gain
from gnomon.detectors.grading import INFO_SHARE
from gnomon.detectors.needs import Need
from gnomon.enums import Cause, Severity

NEEDS = (Need.CALLS, Need.ALL_CALLS)
FEWEST = 100
FEW_LAUNCHES = 20
# To read a value and launch again takes tens to hundreds of microseconds; more is the program's
# own work, and `host_bound`.
LONGEST_REFILL_NS = 1_000_000
# To put more calls than these in order takes seconds.
MANY_CALLS = 500_000
STRETCHES = 8
LOOKED_AT = 1 / 16
# Waits a step up to which there is one, and now and then another.
ONE_A_STEP = 1.5
REMEDY = (
    "Take the waits out of the loop: .item(), .cpu(), print of a tensor, nonzero() and copies to "
    "pageable memory wait for the GPU. Keep such values on the device, read them once a step, and "
    "wait for an event of the step before."
)

COUNTED = "launches BETWEEN 1 AND {few} AND graphs = 0 AND end_ns - begin_ns <= {longest}"
PIECES_SQL = """\
WITH refills AS (
  SELECT * FROM ({refills})
  WHERE {counted}
), moments AS (
  SELECT begin_ns AS at_ns, 0 AS length_ns, 0 AS stay_end_ns, begin_ns FROM refills
  UNION ALL SELECT end_ns, 0, 0, begin_ns FROM refills
  UNION ALL SELECT ts_ns - duration_ns, duration_ns, ts_ns, NULL FROM off_cpu WHERE {where}
), off_cpu_until AS (
  SELECT begin_ns, sum(length_ns) OVER passed - greatest(0, max(stay_end_ns) OVER passed - at_ns)
    AS until_ns
  FROM moments WINDOW passed AS (ORDER BY at_ns ROWS UNBOUNDED PRECEDING)
), off_cpu_inside AS (
  SELECT begin_ns, max(until_ns) - min(until_ns) AS off_cpu_ns
  FROM off_cpu_until WHERE begin_ns IS NOT NULL GROUP BY begin_ns
)
SELECT end_ns AS ts_ns, operation, launches, off_cpu_ns::BIGINT AS off_cpu_ns,
  greatest(0, end_ns - begin_ns - off_cpu_ns)::BIGINT AS lost_ns
FROM refills JOIN off_cpu_inside USING (begin_ns)"""


def detect(case: Case) -> Iterable[Finding]:
    """Yield a finding for each thread that feeds a GPU and starves it by waiting."""
    for one in case.dispatch_threads:
        waits = sum(
            group.calls
            for group in one.operations
            if not group.nested and group.kind in {Kind.SYNCHRONIZATION, Kind.COPY}
        )
        if (
            waits < FEWEST
            or waits * LONGEST_REFILL_NS < INFO_SHARE * one.active_ns
            or not _is_complete(case, one)
            or not _is_worth_a_look(case, one)
        ):
            continue
        loss = loss_of(case, one, _sql(case, one))
        if loss is None or loss.pieces < FEWEST:
            continue
        severity = loss.severity
        if severity is not None and _is_once_a_step(case, one, loss):
            severity = None if severity is Severity.INFO else Severity.INFO
        if severity is not None:
            yield _finding(case, one, loss, severity)


def _is_once_a_step(case: Case, one: ThreadActivity, loss: Loss) -> bool:
    found = steps(case.session, case.scope, one.thread, one.calls, one.span)
    return found is not None and loss.pieces <= ONE_A_STEP * len(found)


def _is_worth_a_look(case: Case, one: ThreadActivity) -> bool:
    """Tell, of a thread with very many calls, whether short stretches of it show a loss."""
    if one.calls <= MANY_CALLS:
        return True
    counted = COUNTED.format(few=FEW_LAUNCHES, longest=LONGEST_REFILL_NS)
    sampled = refills.sampled_sql(one.span, one.thread, one.operations, STRETCHES, LOOKED_AT)
    found_ns = case.value(
        f"SELECT coalesce(sum(end_ns - begin_ns), 0)::BIGINT AS ns FROM ({sampled}) WHERE {counted}"
    )
    looked_at_ns = LOOKED_AT * (one.span.to_ns - one.span.from_ns)
    return bool(found_ns >= INFO_SHARE / 2 * looked_at_ns)


def _is_complete(case: Case, one: ThreadActivity) -> bool:
    """Tell whether every call that puts work into a stream was kept."""
    dispatch = [group for group in one.operations if group.kind in DISPATCH and not group.nested]
    kept = not any(group.biased or group.is_sampled for group in dispatch)
    return kept and is_gapless(case)


def _sql(case: Case, one: ThreadActivity) -> str:
    return PIECES_SQL.format(
        refills=refills.sql(case.span, one.thread, one.operations),
        counted=COUNTED.format(few=FEW_LAUNCHES, longest=LONGEST_REFILL_NS),
        where=f"{case.span.condition} AND {one.thread.condition}",
    )


def _finding(case: Case, one: ThreadActivity, loss: Loss, severity: Severity) -> Finding:
    operation = commonest(case, loss.sql, "{share} of the waits were")
    launches, typical, off_cpu = figures(
        case,
        loss.sql,
        Figure(
            "before half of these waits it had launched no more than {value} kernels",
            "quantile_disc(launches, 0.5)",
            "count",
        ),
        Figure("half of the refills took {value} and more", "quantile_disc(lost_ns, 0.5)", "ns"),
        Figure(
            "off the CPU in these refills: {value} (not counted)", "sum(off_cpu_ns)::BIGINT", "ns"
        ),
    )
    return Finding(
        cause=Cause.SYNCHRONIZATION,
        severity=severity,
        **loss.told,
        **case.who(one.thread),
        operation=operation_of(operation),
        evidence=(
            loss.evidence(
                f"after {loss.pieces:,} waits the thread took {{value}} on the CPU until the GPU "
                "had work again"
            ),
            *operation,
            launches,
            typical,
        ),
        ruled_out=(off_cpu.excludes(Cause.VOLUNTARY_WAIT),),
        remedy=REMEDY,
        expected_gain=Gain(loss.idle_ns / 1e9, "s", "if the GPU always had work queued"),
        confidence=0.9,
        confidence_reason="each wait, and the next call after it, were measured",
    )
