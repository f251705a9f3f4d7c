"""A process that was starting up: its context and libraries, made at their first use.

Measured: first calls of a CUDA function in their process (launches are ``first_use_loading``, and
synchronisations wait for work) that initialise: allocations and whatever else is neither copy nor
release at any time, those two and fills only where the process had launched nothing that they
could wait for; `cudaFree(0)` always. Reported from ``SHORTEST_NS`` on, in sum over a process, as
information; as more where it cost a real share of the window. Where the recorder could not tell
which call was the first, nothing is said.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

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
  FROM host_calls WHERE {is_dispatch} GROUP BY host, pid
)
SELECT host, pid, tid, operation, ts_ns, duration_ns, run_queue_ns,
  duration_ns - coalesce(run_queue_ns, 0) AS lost_ns
FROM host_calls LEFT JOIN first_work
  ON host IS NOT DISTINCT FROM worker_host AND pid IS NOT DISTINCT FROM worker_pid
WHERE {where} AND layer IN ({layers}) AND first_call = 1 AND coalesce(depth, 0) = 0
  AND duration_ns >= {shortest} AND NOT {launches_or_waits}
  AND (NOT {may_wait} OR ({is_release} AND bytes = 0) OR (
    coalesce(bytes, 0) <= {largest} AND (ts_ns - duration_ns < worked_ns) IS NOT FALSE))"""


def detect(case: Case) -> Iterable[Finding]:
    """Yield a finding for each process whose start took ``SHORTEST_NS`` and more."""
    if not any(one.first_calls_ns >= SHORTEST_CALL_NS for one in case.operations):
        return
    by_process: dict[tuple[str | None, int | None], list[dict[str, Any]]] = {}
    for row in case.session.rows(_sql(case, "")):
        by_process.setdefault((row["host"], row["pid"]), []).append(row)
    for (host, pid), rows in by_process.items():
        if sum(row["lost_ns"] for row in rows) >= SHORTEST_NS:
            yield _finding(case, host, pid, rows)


def _sql(case: Case, more: str) -> str:
    return STARTING_SQL.format(
        where=case.scope.condition + more,
        layers=", ".join(literal(layer.value) for layer in CUDA_LAYERS),
        shortest=SHORTEST_CALL_NS,
        launches_or_waits=among(
            case.operations, Kind.LAUNCH, Kind.GRAPH_LAUNCH, Kind.SYNCHRONIZATION
        ),
        may_wait=among(case.operations, Kind.COPY, Kind.FILL, Kind.RELEASE),
        is_release=among(case.operations, Kind.RELEASE),
        largest=LARGEST_COPY_BYTES,
        is_dispatch=among(case.operations, *DISPATCH),
    )


def _finding(case: Case, host: str | None, pid: int | None, rows: list[dict[str, Any]]) -> Finding:
    lost_ns = sum(row["lost_ns"] for row in rows)
    longest = max(rows, key=lambda row: row["lost_ns"])
    thread = ThreadKey(host, pid, longest["tid"])
    process = f" AND host {_same(host)} AND pid {_same(pid)}"
    loss = loss_of_thread(case, thread, _sql(case, f" AND {thread.condition}"))
    return Finding(
        cause=Cause.COLD_START,
        severity=severity_of(lost_ns / 1e9 / case.span.seconds) or Severity.INFO,
        from_ns=min(row["ts_ns"] - row["duration_ns"] for row in rows),
        to_ns=max(row["ts_ns"] for row in rows),
        host=host,
        pid=pid,
        tid=longest["tid"],
        thread=case.name_of(thread),
        rank=case.rank_of(thread),
        operation=longest["operation"],
        lost_seconds=lost_ns / 1e9,
        lost_pct=None if loss is None else loss.lost_pct,
        gpu=None if loss is None else loss.gpu,
        evidence=_evidence(case, process, len(rows), longest["operation"]),
        ruled_out=(
            case.ruled_out(
                Cause.CPU_CONTENTION,
                "of these calls, waiting for a CPU: {value} (not counted)",
                f"SELECT sum(run_queue_ns)::BIGINT AS ns FROM ({_sql(case, process)})",
                "ns",
            ),
        ),
        remedy=REMEDY,
        expected_gain=Gain(lost_ns / 1e9, "s", "once in the life of each process"),
        confidence=0.9,
        confidence_reason="the recorder marked which calls were the first of their function",
    )


def _evidence(case: Case, process: str, count: int, longest: str) -> tuple[Evidence, ...]:
    calls = _sql(case, process)
    return (
        case.evidence(
            f"{count} first calls that initialise took {{value}}",
            f"SELECT sum(lost_ns)::BIGINT AS ns FROM ({calls})",
            "ns",
        ),
        case.evidence(
            f"the longest of them, {longest}, took {{value}}",
            f"SELECT max(lost_ns)::BIGINT AS ns FROM ({calls})",
            "ns",
        ),
    )


def _same(value: str | int | None) -> str:
    return "IS NULL" if value is None else f"= {literal(value)}"
