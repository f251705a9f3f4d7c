"""Memory that is allocated and released again and again, long after the start.

An allocation takes a hundred microseconds to milliseconds, and a release waits for the GPU first;
caching allocators exist to avoid both. Measured: the durations of a thread's allocations and
releases after the first ``WARM_UP`` of its time, less what it waited for a CPU in them. Speaks
where it made ``FEWEST`` of each, in ``FEWEST_PARTS`` of the ten parts of its time and more (a
burst when a program starts, or changes what it does, is healthy), and they took 1 % of its active
time; where counters were recorded, only for time in which the GPU was idle.
"""

from __future__ import annotations

from collections.abc import Iterable

from gnomon.analysis.activity import ThreadActivity
from gnomon.analysis.latency import among
from gnomon.analysis.operations import CUDA_LAYERS, Kind
from gnomon.analysis.questions import literal
from gnomon.detectors.case import Case
from gnomon.detectors.causes._loss import Figure, Loss, commonest, figures, loss_of, operation_of
from gnomon.detectors.finding import Finding, Gain
from gnomon.detectors.grading import INFO_SHARE
from gnomon.detectors.needs import Need
from gnomon.enums import Cause, Severity

NEEDS = (Need.CALLS,)
FEWEST = 10
WARM_UP = 0.1
PARTS = 10
FEWEST_PARTS = 3
REMEDY = (
    "Allocate once and use again: keep PyTorch's caching allocator on, take empty_cache() out of "
    "the loop, pad shapes so that blocks fit again, try expandable_segments:True; leave some "
    "memory free, because an allocator that is out of it releases and allocates at every step. "
    "Pinned buffers want a pool as well."
)

PIECES_SQL = """\
SELECT ts_ns, operation, duration_ns, bytes, {is_release} AS is_release,
  coalesce(weight, 1) AS weight,
  ((duration_ns - coalesce(run_queue_ns, 0)) * coalesce(weight, 1))::BIGINT AS lost_ns
FROM host_calls
WHERE {where} AND layer IN ({layers}) AND coalesce(depth, 0) = 0 AND {is_either}
  AND first_call IS DISTINCT FROM 1 AND ts_ns > {warm_ns}"""
PARTS_SQL = """\
SELECT count(*) FILTER (allocations > 0 AND releases > 0) AS parts,
  coalesce(sum(allocations), 0)::BIGINT AS allocations,
  coalesce(sum(releases), 0)::BIGINT AS releases
FROM (
  SELECT (ts_ns - {warm_ns}) // {part_ns} AS part, count(*) FILTER (is_release) AS releases,
    count(*) FILTER (NOT is_release) AS allocations
  FROM ({pieces}) GROUP BY part
)"""


def detect(case: Case) -> Iterable[Finding]:
    """Yield a finding for each thread that feeds a GPU and loses time to its allocator."""
    for one in case.dispatch_threads:
        groups = [
            group
            for group in one.operations
            if not group.nested and group.kind in {Kind.ALLOCATION, Kind.RELEASE}
        ]
        if sum(group.made_ns for group in groups) < INFO_SHARE * one.active_ns:
            continue
        pieces = _sql(case, one)
        (row,) = case.session.rows(
            PARTS_SQL.format(warm_ns=_warm_ns(one), part_ns=_part_ns(one), pieces=pieces)
        )
        if row["parts"] < FEWEST_PARTS or min(row["allocations"], row["releases"]) < FEWEST:
            continue
        loss = loss_of(case, one, pieces, is_weighted=True)
        severity = None if loss is None else loss.severity
        if loss is not None and severity is not None:
            yield _finding(case, one, loss, severity)


def _warm_ns(one: ThreadActivity) -> int:
    return one.span.from_ns + int(WARM_UP * (one.span.to_ns - one.span.from_ns))


def _part_ns(one: ThreadActivity) -> int:
    return max(1, -(-(one.span.to_ns - _warm_ns(one)) // PARTS))


def _sql(case: Case, one: ThreadActivity) -> str:
    return PIECES_SQL.format(
        where=f"{case.span.condition} AND {one.thread.condition}",
        layers=", ".join(literal(layer.value) for layer in CUDA_LAYERS),
        is_release=among(one.operations, Kind.RELEASE),
        is_either=among(one.operations, Kind.ALLOCATION, Kind.RELEASE),
        warm_ns=_warm_ns(one),
    )


def _finding(case: Case, one: ThreadActivity, loss: Loss, severity: Severity) -> Finding:
    seconds = (one.span.to_ns - _warm_ns(one)) / 1e9
    operation = commonest(case, loss.sql, "{share} of the calls were", "weight")
    releases, allocated = figures(
        case,
        loss.sql,
        Figure(
            f"{{value}} of them were releases, {loss.pieces / seconds:.3g} calls a second in all",
            "coalesce(round(sum(weight) FILTER (is_release)), 0)::BIGINT",
            "count",
        ),
        Figure(
            "they allocated {value} in all",
            "least(coalesce(sum(bytes * weight) FILTER (NOT is_release), 0), 1e18)::BIGINT",
            "bytes",
        ),
    )
    return Finding(
        cause=Cause.ALLOCATOR_THRASH,
        severity=severity,
        **loss.told,
        **case.who(one.thread),
        operation=operation_of(operation),
        evidence=(
            loss.evidence(f"{loss.count} allocations and releases took {{value}}"),
            *operation,
            releases,
            allocated,
        ),
        ruled_out=(
            case.ruled_out(
                Cause.COLD_START,
                f"in the first {100 * WARM_UP:.0f} % of the thread's time they took {{value}} (not "
                "counted)",
                "SELECT coalesce(round(sum(duration_ns * coalesce(weight, 1))), 0)::BIGINT AS ns "
                "FROM host_calls "
                f"WHERE {case.span.condition} AND {one.thread.condition} "
                f"AND {among(one.operations, Kind.ALLOCATION, Kind.RELEASE)} "
                f"AND coalesce(depth, 0) = 0 AND ts_ns <= {_warm_ns(one)}",
                "ns",
            ),
        ),
        remedy=REMEDY,
        expected_gain=Gain(loss.idle_ns / 1e9, "s", "if blocks were used again"),
        confidence=0.9,
        confidence_reason="the calls' own time was measured",
    )
