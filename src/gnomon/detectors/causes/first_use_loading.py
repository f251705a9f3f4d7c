"""Kernels that were loaded at their first launch: lazily loaded modules, and what they cost.

CUDA loads a function when it is first launched, and prepares a graph, which takes milliseconds
where a launch takes microseconds. Measured: the durations of a thread's first launches of a
function that lasted longer than ``USUAL`` of its other launches, less the median of those and less
what it waited for a CPU meanwhile. Reported from ``SHORTEST_NS`` on, in sum over a thread, as
information: a start-up. It is more where loads that came after the first ``WARM_UP`` of a thread's
launches cost a real share of a window of ``SHORTEST_WINDOW_S`` and more. Where a thread launched
nothing again, there is nothing to compare with, and the plain durations are told.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from gnomon.analysis.latency import among
from gnomon.analysis.operations import CUDA_LAYERS, Kind
from gnomon.analysis.questions import ThreadKey, literal
from gnomon.detectors.case import Case
from gnomon.detectors.causes._loss import Loss, loss_of_thread
from gnomon.detectors.finding import Evidence, Finding, Gain
from gnomon.detectors.grading import severity_of
from gnomon.detectors.needs import Need
from gnomon.enums import Cause, Severity

NEEDS = (Need.CALLS, Need.CALL_ORDER)
SHORTEST_NS = 10_000_000
# First launches can wait for a full queue like any other: only what is slower than nearly all of
# the others was loading.
USUAL = 0.95
WARM_UP = 0.1
# In a shorter window the tenth of the launches that comes first says nothing of a warm-up.
SHORTEST_WINDOW_S = 2.0
REMEDY = (
    "Warm up before serving: run each shape once, or set CUDA_MODULE_LOADING=EAGER to load all "
    "kernels at the start."
)

LOADS_SQL = """\
WITH launches AS (
  SELECT * FROM host_calls WHERE {where} AND layer IN ({layers}) AND {is_launch}
    AND coalesce(depth, 0) = 0
), usual AS (
  SELECT host, pid, tid, operation,
    quantile_disc(duration_ns, 0.5) FILTER (first_call IS DISTINCT FROM 1) AS usual_ns,
    quantile_disc(duration_ns, {usual}) FILTER (first_call IS DISTINCT FROM 1)
      AS longest_usual_ns,
    quantile_disc(ts_ns, {warm_up}) AS warm_ns
  FROM launches GROUP BY host, pid, tid, operation HAVING count(*) FILTER (first_call = 1) > 0
)
SELECT launches.host, launches.pid, launches.tid, operation, ts_ns, duration_ns, off_cpu_ns,
  run_queue_ns, usual_ns,
  duration_ns - coalesce(usual_ns, 0) - coalesce(run_queue_ns, 0) AS lost_ns,
  ts_ns - duration_ns > warm_ns AS is_late
FROM launches JOIN usual USING (operation)
WHERE first_call = 1 AND duration_ns > coalesce(longest_usual_ns, 0)
  AND launches.host IS NOT DISTINCT FROM usual.host
  AND launches.pid IS NOT DISTINCT FROM usual.pid AND launches.tid IS NOT DISTINCT FROM usual.tid
  AND duration_ns - coalesce(usual_ns, 0) - coalesce(run_queue_ns, 0) > 0"""
BY_THREAD_SQL = """\
SELECT host, pid, tid, count(*) AS loads, count(usual_ns) AS compared,
  min(ts_ns - duration_ns) AS from_ns, max(ts_ns) AS to_ns, max(usual_ns) AS usual_ns,
  max(lost_ns)::BIGINT AS longest_ns,
  sum(lost_ns)::BIGINT AS lost_ns, arg_max(operation, lost_ns) AS operation,
  coalesce(sum(lost_ns) FILTER (is_late), 0)::BIGINT AS late_ns
FROM ({loads}) GROUP BY ALL ORDER BY lost_ns DESC"""


def detect(case: Case) -> Iterable[Finding]:
    """Yield a finding for each thread whose first launches cost ``SHORTEST_NS`` and more."""
    if not any(
        one.kind in {Kind.LAUNCH, Kind.GRAPH_LAUNCH} and one.first_calls_ns >= SHORTEST_NS / 10
        for one in case.operations
    ):
        return
    for row in case.session.rows(BY_THREAD_SQL.format(loads=_sql(case))):
        if row["lost_ns"] >= SHORTEST_NS:
            thread = ThreadKey(row["host"], row["pid"], row["tid"])
            loads = _sql(case, f" AND {thread.condition}")
            # Loads are few and far between, and each of them is one: none is background.
            loss = loss_of_thread(case, thread, loads, is_whole=True)
            yield _finding(case, row, loads, loss)


def _sql(case: Case, more: str = "") -> str:
    return LOADS_SQL.format(
        where=case.scope.condition + more,
        layers=", ".join(literal(layer.value) for layer in CUDA_LAYERS),
        is_launch=among(case.operations, Kind.LAUNCH, Kind.GRAPH_LAUNCH),
        usual=USUAL,
        warm_up=WARM_UP,
    )


def _finding(case: Case, row: dict[str, Any], loads: str, loss: Loss | None) -> Finding:
    """Return the finding of a thread's loads, which ``loads`` gives again."""
    thread = ThreadKey(row["host"], row["pid"], row["tid"])
    late_share = row["late_ns"] / 1e9 / case.span.seconds
    severity = severity_of(late_share) if case.span.seconds >= SHORTEST_WINDOW_S else None
    return Finding(
        cause=Cause.FIRST_USE_LOADING,
        severity=severity or Severity.INFO,
        from_ns=row["from_ns"],
        to_ns=row["to_ns"],
        **case.who(thread),
        operation=row["operation"],
        lost_seconds=row["lost_ns"] / 1e9,
        lost_pct=None if loss is None else loss.lost_pct,
        gpu=None if loss is None else loss.gpu,
        evidence=tuple(_evidence(case, row, loads)),
        ruled_out=(
            case.ruled_out(
                Cause.CPU_CONTENTION,
                "in these first launches the thread was off the CPU for {value}",
                f"SELECT sum(off_cpu_ns)::BIGINT AS ns FROM ({loads})",
                "ns",
            ),
        ),
        remedy=REMEDY,
        expected_gain=Gain(row["lost_ns"] / 1e9, "s", "once in the life of each process"),
        confidence=0.9,
        confidence_reason="the recorder marked which calls were the first of their function",
    )


def _evidence(case: Case, row: dict[str, Any], loads: str) -> Iterator[Evidence]:
    longer = {0: "", row["loads"]: " longer than others"}.get(
        row["compared"], " longer than others, as far as there are any"
    )
    yield case.evidence(
        f"{row['loads']} first launches of a function took {{value}}{longer}",
        f"SELECT sum(lost_ns)::BIGINT AS ns FROM ({loads})",
        "ns",
    )
    yield case.evidence(
        "the longest of them took {value}",
        f"SELECT max(duration_ns)::BIGINT AS ns FROM ({loads})",
        "ns",
    )
    if row["compared"]:
        yield case.evidence(
            "other launches of this thread took {value} at the median",
            f"SELECT max(usual_ns)::BIGINT AS ns FROM ({loads})",
            "ns",
        )
    yield case.evidence(
        f"of it, {{value}} came after the first {100 * WARM_UP:.0f} % of its launches",
        f"SELECT coalesce(sum(lost_ns) FILTER (is_late), 0)::BIGINT AS ns FROM ({loads})",
        "ns",
    )
