"""A process that was starting up: its context and libraries, made at their first use.

Measured: first calls of a CUDA function in their process (launches are ``first_use_loading``, and
synchronisations wait for work) that initialise: allocations and whatever else is neither copy nor
release at any time, those two and fills only where the process had launched nothing that they
could wait for; `cudaFree(0)` always. Reported from ``SHORTEST_NS`` on, in sum over a process, as
information, because it is paid once in a process's life; as a warning where it cost a real share
of a window of ``LONG_WINDOW_S`` and more. Where the recorder could not tell which call was the
first, nothing is said.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from gnomon.analysis.concentration import concentration
from gnomon.analysis.gpu_idle import Stretch
from gnomon.analysis.latency import among
from gnomon.analysis.operations import CUDA_LAYERS, DISPATCH, Kind
from gnomon.analysis.questions import ThreadKey, literal
from gnomon.detectors.case import Case
from gnomon.detectors.causes._loss import loss_of_thread
from gnomon.detectors.finding import Evidence, Finding, Gain
from gnomon.detectors.grading import severity_of
from gnomon.detectors.needs import Need
from gnomon.enums import Cause, Severity

NEEDS = (Need.CALLS, Need.CALL_ORDER)
SHORTEST_NS = 100_000_000
# Of a shorter window a start is a large share whatever it took: that says how long one looked.
LONG_WINDOW_S = 10.0
# A first call below this is no start-up: it did what it does every time.
SHORTEST_CALL_NS = 1_000_000
# A copy of more bytes may take its time for them.
LARGEST_COPY_BYTES = 64 << 10
REMEDY = (
    "Pay it once: keep the process alive between jobs, initialise CUDA before the first request "
    "(a small allocation is enough), and run nvidia-persistenced so that the driver stays loaded."
)

STARTING_SQL = """\
WITH first_work AS (
  SELECT host AS worker_host, pid AS worker_pid, min(ts_ns) AS worked_ns
  FROM host_calls WHERE {is_dispatch} AND ts_ns <= {latest_ns} GROUP BY host, pid
)
SELECT host, pid, tid, operation, ts_ns, duration_ns, run_queue_ns,
  duration_ns - coalesce(run_queue_ns, 0) AS lost_ns
FROM host_calls LEFT JOIN first_work
  ON host IS NOT DISTINCT FROM worker_host AND pid IS NOT DISTINCT FROM worker_pid
WHERE {may_start}
  AND (NOT {may_wait} OR ({is_release} AND bytes = 0) OR (
    coalesce(bytes, 0) <= {largest} AND (ts_ns - duration_ns < worked_ns) IS NOT FALSE))"""


# Of the calls that may be a part of it, the last one: work after that tells nothing.
LATEST_SQL = "SELECT max(ts_ns) AS ns FROM host_calls WHERE {may_start}"
MAY_START = (
    "{where} AND layer IN ({layers}) AND first_call = 1 AND coalesce(depth, 0) = 0 "
    "AND duration_ns >= {shortest} AND NOT {launches_or_waits}"
)


def detect(case: Case) -> Iterable[Finding]:
    """Yield a finding for each process whose start took ``SHORTEST_NS`` and more."""
    if not any(one.first_calls_ns >= SHORTEST_CALL_NS for one in case.operations):
        return
    calls = _starting_sql(case)
    if calls is None:
        return
    case.session.keep(calls)
    by_process: dict[tuple[str | None, int | None], list[dict[str, Any]]] = {}
    for row in case.session.rows(f"SELECT * FROM ({calls})"):
        by_process.setdefault((row["host"], row["pid"]), []).append(row)
    for (host, pid), rows in by_process.items():
        of_process = f"SELECT * FROM ({calls}) WHERE {ThreadKey(host, pid, None).process_condition}"
        found = concentration(
            [
                Stretch(row["ts_ns"] - row["duration_ns"], row["ts_ns"], row["lost_ns"])
                for row in rows
            ]
        )
        if found is None or sum(one.lost_ns for one in found.stretches) < SHORTEST_NS:
            continue
        if not found.is_all:
            of_process += f" AND {found.bins.condition}"
        within = [row for row in rows if found.bins.from_ns < row["ts_ns"] <= found.bins.to_ns]
        yield _finding(case, ThreadKey(host, pid, None), within, of_process)


def _starting_sql(case: Case) -> str | None:
    """Return the SELECT of what belongs to starts; None where nothing can."""
    may_start = MAY_START.format(
        where=case.scope.condition,
        layers=", ".join(literal(layer.value) for layer in CUDA_LAYERS),
        shortest=SHORTEST_CALL_NS,
        launches_or_waits=among(
            case.operations, Kind.LAUNCH, Kind.GRAPH_LAUNCH, Kind.SYNCHRONIZATION
        ),
    )
    latest_ns = case.value(LATEST_SQL.format(may_start=may_start))
    if latest_ns is None:
        return None
    return STARTING_SQL.format(
        may_start=may_start,
        latest_ns=latest_ns,
        may_wait=among(case.operations, Kind.COPY, Kind.FILL, Kind.RELEASE),
        is_release=among(case.operations, Kind.RELEASE),
        largest=LARGEST_COPY_BYTES,
        is_dispatch=among(case.operations, *DISPATCH),
    )


def _finding(case: Case, process: ThreadKey, rows: list[dict[str, Any]], calls: str) -> Finding:
    """Return the finding of a process's calls, which ``calls`` gives again."""
    lost_ns = sum(row["lost_ns"] for row in rows)
    longest = max(rows, key=lambda row: row["lost_ns"])
    thread = ThreadKey(process.host, process.pid, longest["tid"])
    loss = loss_of_thread(case, thread, calls, is_whole=True)
    is_bounded = loss is not None and loss.gpu is not None
    cost_ns = loss.idle_ns if loss is not None else lost_ns
    return Finding(
        cause=Cause.COLD_START,
        severity=_severity(case, cost_ns),
        from_ns=min(row["ts_ns"] - row["duration_ns"] for row in rows),
        to_ns=max(row["ts_ns"] for row in rows),
        host=process.host,
        pid=process.pid,
        tid=longest["tid"],
        thread=case.name_of(thread),
        rank=case.rank_of(thread),
        operation=longest["operation"],
        thread_seconds=lost_ns / 1e9,
        lost_seconds=cost_ns / 1e9 if is_bounded else None,
        lost_pct=None if loss is None else loss.lost_pct,
        gpu=None if loss is None else loss.gpu,
        evidence=_evidence(case, calls, len(rows), longest["operation"]),
        ruled_out=(
            case.ruled_out(
                Cause.CPU_CONTENTION,
                "of these calls, waiting for a CPU: {value} (not counted)",
                f"SELECT sum(run_queue_ns)::BIGINT AS ns FROM ({calls})",
                "ns",
            ),
        ),
        remedy=REMEDY,
        expected_gain=Gain(cost_ns / 1e9, "s", "once in the life of each process"),
        confidence=0.9,
        confidence_reason="the recorder marked which calls were the first of their function",
    )


def _severity(case: Case, lost_ns: int) -> Severity:
    if case.span.seconds < LONG_WINDOW_S:
        return Severity.INFO
    share = lost_ns / 1e9 / case.span.seconds
    return severity_of(share, at_most=Severity.WARNING) or Severity.INFO


def _evidence(case: Case, calls: str, count: int, longest: str) -> tuple[Evidence, ...]:
    most = case.evidence(
        "the longest of them took {value}",
        f"SELECT max(lost_ns)::BIGINT AS ns FROM ({calls})",
        "ns",
    )
    return (
        case.evidence(
            f"{count} first calls that initialise took {{value}}",
            f"SELECT sum(lost_ns)::BIGINT AS ns FROM ({calls})",
            "ns",
        ),
        # The name is foreign text: it may hold anything, a place for a value too.
        replace(most, text=f"{most.text}: {longest}"),
    )
