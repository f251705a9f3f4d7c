"""A rank that comes late to collectives, so that all others wait for it.

Measured: for each collective, how long the other ranks had entered it before the last one came
(``analysis.collectives``), summed over ranks by who was last. Of this, in each second, no more
counts than the late rank's GPU had nothing to do: by its counters, else between its waits for the
GPU and its next launch. Without both nothing is claimed, because a host may come late while its GPU
still has work; where launches were kept for being slow, it is information, because the next one may
not have been kept. A rank that was loading kernels (``_loads``) is no straggler while it did: that
is ``first_use_loading``. Across hosts only what exceeds the uncertainty of both clocks counts.

Not seen: a rank whose GPU alone is slow, which enqueues in time; that takes the durations of the
collective's kernels, where they are recorded.

Detection limit: ``grading.INFO_SHARE`` of the time of the ranks that wait. A rank that came last
to fewer than ``FEWEST`` collectives, or not to most of those while it did, may have come late once
for any reason: that is information.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from gnomon.analysis.clock_error import ClockError, clock_errors
from gnomon.analysis.collectives import (
    Straggler,
    came_last,
    empty_ns,
    joint_sql,
    stragglers,
    waited_sql,
    waits_sql,
)
from gnomon.analysis.concentration import BIN_NS
from gnomon.analysis.latency import Operation
from gnomon.analysis.operations import DISPATCH
from gnomon.detectors.case import Case
from gnomon.detectors.causes._loads import loads_sql, may_have_loaded
from gnomon.detectors.finding import Evidence, Finding, Gain, RuledOut
from gnomon.detectors.grading import INFO_SHARE, severity_of
from gnomon.detectors.needs import Need
from gnomon.enums import Cause, Severity

NEEDS = (Need.COLLECTIVES,)
# Of two ranks that are alike each comes last to half of all.
FEWEST = 10
MOST = 0.5
# Of the ranks that came last, those that cost most are looked into.
MOST_STRAGGLERS = 8
REMEDY = (
    "Look at what this rank's thread did before it came (other findings name it): its host, its "
    "share of the data, its loader. Give every rank the same work."
)


# A load counts as far as another rank waited meanwhile, in the second in which the late one came.
LOADING_SQL = """\
SELECT bucket, sum(greatest(0, least(ts_ns, last_ns) - greatest(ts_ns - lost_ns, first_ns)))::BIGINT
  AS loading_ns
FROM (
  {waits}
  SELECT (last_ns - 1) // {bucket} AS bucket, last_ns,
    last_ns - coalesce(max(waited_ns), 0) AS first_ns
  FROM waits WHERE {came_last} GROUP BY communicator, sequence, last_ns
) JOIN (SELECT ts_ns - {ahead} AS ts_ns, lost_ns FROM ({loads}))
  ON ts_ns > first_ns AND ts_ns - lost_ns < last_ns
GROUP BY bucket"""


def detect(case: Case) -> Iterable[Finding]:
    """Yield a finding for each rank that made the others wait."""
    errors = clock_errors(case.session, case.scope)
    if not errors:
        return
    for one in stragglers(case.session, case.scope, errors)[:MOST_STRAGGLERS]:
        most = one.waited_ns / (one.ranks - 1) / 1e9 / max(case.span.seconds, 1e-9)
        if most < INFO_SHARE:
            return  # and those after it cost less
        loading_ns = _loading_ns(case, one, errors)
        empty_ns = _empty_ns(case, one)
        lost_ns = one.bounded_ns(
            {
                bucket.number: max(
                    0.0,
                    min(empty_ns.get(bucket.number, 0.0), bucket.late_ns)
                    - loading_ns.get(bucket.number, 0.0),
                )
                for bucket in one.buckets
            }
        )
        is_sure = _is_usual(case, one, errors) and not _is_biased(case, one)
        severity = severity_of(
            lost_ns / (one.ranks - 1) / 1e9 / case.span.seconds,
            at_most=Severity.CRITICAL if is_sure else Severity.INFO,
        )
        if severity is not None:
            yield Finding(
                cause=Cause.COLLECTIVE_STRAGGLER,
                severity=severity,
                from_ns=one.from_ns,
                to_ns=one.to_ns,
                gpu=case.gpu_of(one.thread),
                host=one.thread.host,
                pid=one.thread.pid,
                tid=one.thread.tid,
                thread=case.name_of(one.thread),
                rank=one.rank,
                thread_seconds=lost_ns / 1e9,
                lost_seconds=lost_ns / 1e9 if _is_bounded(case, one) else None,
                lost_pct=_lost_pct(case, one, lost_ns),
                evidence=_evidence(case, one, errors),
                ruled_out=_ruled_out(case, one, errors) if loading_ns else (),
                remedy=REMEDY,
                expected_gain=Gain(lost_ns / 1e9, "s", "of all ranks that waited, in sum"),
                confidence=_confidence(case, one),
                confidence_reason=_reason(case, one, errors),
            )


def _is_usual(case: Case, one: Straggler, errors: Mapping[str | None, ClockError]) -> bool:
    """Tell whether a rank came last often, and mostly."""
    if one.collectives < FEWEST:
        return False
    joint = int(case.value(joint_sql(case.scope, errors, one)))
    return one.collectives > MOST * joint


def _is_bounded(case: Case, one: Straggler) -> bool:
    return case.idle_of(one.thread) is not None


def _is_biased(case: Case, one: Straggler) -> bool:
    """Tell whether the next launch after a wait may be one that nobody kept."""
    return not _is_bounded(case, one) and _kept_in_part(case, one, lambda each: each.biased)


def _is_sampled(case: Case, one: Straggler) -> bool:
    return not _is_bounded(case, one) and _kept_in_part(
        case, one, lambda each: each.biased or each.stood_for_calls != each.calls
    )


def _kept_in_part(case: Case, one: Straggler, is_part: Callable[[Operation], bool]) -> bool:
    return any(
        is_part(each)
        for each in case.operations
        if each.thread == one.thread and each.kind in DISPATCH and not each.nested
    )


def _confidence(case: Case, one: Straggler) -> float:
    if _is_bounded(case, one):
        return 0.8
    return 0.4 if _is_sampled(case, one) else 0.6


def _loading_ns(
    case: Case, one: Straggler, errors: Mapping[str | None, ClockError]
) -> Mapping[int, float]:
    """Return second -> ns in which the late rank loaded kernels while others waited for it."""
    if not may_have_loaded(case):
        return {}
    query = _loading_sql(case, one, errors)
    return {row["bucket"]: float(row["loading_ns"]) for row in case.session.rows(query)}


def _loading_sql(case: Case, one: Straggler, errors: Mapping[str | None, ClockError]) -> str:
    return LOADING_SQL.format(
        waits=waits_sql(case.scope, errors),
        came_last=came_last(one),
        loads=loads_sql(case, f" AND {one.thread.condition}"),
        bucket=BIN_NS,
        ahead=errors[one.thread.host].ahead_ns if one.thread.host in errors else 0,
    )


def _empty_ns(case: Case, one: Straggler) -> Mapping[int, float]:
    """Return second -> ns in which the late rank's GPU had nothing to do."""
    idle = case.idle_of(one.thread)
    if idle is None:
        return empty_ns(case.session, case.scope, one.thread)
    # Idle time is known in coarse bins: a short wait is looked at with the second around it.
    return {
        bucket.number: idle.within(min(bucket.from_ns, bucket.to_ns - BIN_NS), bucket.to_ns)
        for bucket in one.buckets
    }


def _lost_pct(case: Case, one: Straggler, lost_ns: int) -> float | None:
    """Return the share of a waiting GPU's peak; None where the late one's idle time is unknown."""
    gpu = case.gpu_of(one.thread)
    idle = next((each.ledger.idle_pct for each in case.gpus if each.uuid == gpu), None)
    if idle is None:
        return None
    return min(idle, 100 * lost_ns / (one.ranks - 1) / max(1, one.to_ns - one.from_ns))


def _evidence(
    case: Case, one: Straggler, errors: Mapping[str | None, ClockError]
) -> tuple[Evidence, ...]:
    waits = waits_sql(case.scope, errors)
    return (
        case.evidence(
            f"rank {one.rank} came last to {{value}} collectives",
            f"{waits}\nSELECT count(DISTINCT (communicator, sequence)) AS collectives FROM waits "
            f"WHERE {came_last(one)}",
            "count",
        ),
        case.evidence(
            f"the other {one.ranks - 1} had waited {{value}} by then, in sum",
            waited_sql(case.scope, errors, one),
            "ns",
        ),
        case.evidence(
            "from the first of them to the last there were {value} collectives in all",
            joint_sql(case.scope, errors, one),
            "count",
        ),
    )


def _ruled_out(
    case: Case, one: Straggler, errors: Mapping[str | None, ClockError]
) -> tuple[RuledOut, ...]:
    query = _loading_sql(case, one, errors)
    return (
        case.ruled_out(
            Cause.FIRST_USE_LOADING,
            "meanwhile it loaded kernels for {value} (not counted)",
            f"SELECT coalesce(sum(loading_ns), 0)::BIGINT AS ns FROM ({query})",
            "ns",
        ),
    )


def _reason(case: Case, one: Straggler, errors: Mapping[str | None, ClockError]) -> str:
    bound = (
        "bounded by the time in which its GPU had nothing to do"
        if _is_bounded(case, one)
        else "bounded by the time in which its thread had nothing queued"
    )
    if _is_sampled(case, one):
        bound += ", as far as launches were kept"
    uncertain_ns = max(each.uncertainty_ns for each in errors.values())
    clocks = (
        f"; clocks of hosts are known within {uncertain_ns / 1e6:.3g} ms, which is taken off"
        if len(errors) > 1
        else ""
    )
    return (
        f"when hosts entered is measured, {bound}{clocks}; a rank whose GPU alone is slow would "
        "not show here"
    )
