"""Memory that ran out: allocations that failed for lack of it, processes that the kernel killed.

Measured: CUDA calls that returned 2 (cudaErrorMemoryAllocation in the runtime,
CUDA_ERROR_OUT_OF_MEMORY in the driver; cuda.h and driver_types.h give both this number), and
events of the kind oom_kill. One is enough to speak: a warning, because a caching allocator may
release what it holds and try again; critical where the process made no CUDA call any more within
``LAST_S`` while others or the recording went on, and where the kernel killed.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from gnomon.analysis.operations import CUDA_LAYERS
from gnomon.analysis.questions import ThreadKey, literal
from gnomon.detectors.case import Case, said
from gnomon.detectors.causes._loss import Figure, figures
from gnomon.detectors.finding import Evidence, Finding
from gnomon.detectors.needs import Need
from gnomon.enums import Cause, EventKind, Severity

NEEDS = (Need.CALLS,)
OUT_OF_MEMORY = 2
LAST_S = 1.0
# So much of the recording must come after, or the process may simply have ended with it.
AFTER_S = 2.0
DEVICE_REMEDY = (
    "Need less, or share less: a smaller batch, sequence or KV cache (gpu_memory_utilization), "
    "activation checkpointing, sharding; look for a leak, and for other processes on the GPU. "
    "Where much is reserved and little used, expandable_segments:True helps fragmentation."
)
HOST_REMEDY = (
    "Give the process more memory (its cgroup's limit counts too) or have it need less: fewer "
    "loader workers, smaller prefetch, pinned memory and shared memory that is given back."
)

FAILED_SQL = """\
SELECT host, pid, tid, operation, ts_ns, duration_ns, bytes FROM host_calls
WHERE {where} AND layer IN ({layers}) AND return_code = {code} AND coalesce(depth, 0) = 0"""
BY_PROCESS_SQL = """\
SELECT host, pid, count(*) AS failures, arg_min(tid, ts_ns) AS tid,
  arg_min(operation, ts_ns) AS operation, min(ts_ns - coalesce(duration_ns, 0)) AS from_ns,
  max(ts_ns) AS to_ns,
  coalesce(sum(duration_ns), 0)::BIGINT AS lost_ns
FROM ({failed}) GROUP BY host, pid ORDER BY failures DESC, pid"""


def detect(case: Case) -> Iterable[Finding]:
    """Yield a finding for each process whose allocations failed, and each that was killed."""
    if any(one.failures for one in case.operations):
        for row in case.session.rows(BY_PROCESS_SQL.format(failed=_failed_sql(case))):
            yield _failed(case, row)
    yield from _killed(case)


def _failed_sql(case: Case, more: str = "") -> str:
    return FAILED_SQL.format(
        where=case.scope.condition + more,
        layers=", ".join(literal(layer.value) for layer in CUDA_LAYERS),
        code=OUT_OF_MEMORY,
    )


def _failed(case: Case, row: dict[str, Any]) -> Finding:
    key = ThreadKey(row["host"], row["pid"], row["tid"])
    process = " AND ".join(
        f"{name} IS NULL" if row[name] is None else f"{name} = {literal(row[name])}"
        for name in ("host", "pid")
    )
    ends = [
        one.to_ns
        for one in case.operations
        if (one.thread.host, one.thread.pid) == (key.host, key.pid) and one.layer in CUDA_LAYERS
    ]
    last_ns = max(ends, default=row["to_ns"])
    has_ended = (
        last_ns - row["to_ns"] <= LAST_S * 1e9 and case.span.to_ns - last_ns >= AFTER_S * 1e9
    )
    afterwards = case.evidence(
        "its last CUDA call came {value} after the last failure",
        f"SELECT (max(ts_ns) - {row['to_ns']})::BIGINT AS ns FROM host_calls "
        f"WHERE {case.span.condition} AND {process} "
        f"AND layer IN ({', '.join(literal(layer.value) for layer in CUDA_LAYERS)})",
        "ns",
    )
    return Finding(
        cause=Cause.OOM,
        severity=Severity.CRITICAL if has_ended else Severity.WARNING,
        from_ns=row["from_ns"],
        to_ns=row["to_ns"],
        **case.who(key),
        operation=row["operation"],
        lost_seconds=row["lost_ns"] / 1e9,
        evidence=(
            *figures(
                case,
                _failed_sql(case, f" AND {process}"),
                Figure("{value} CUDA calls failed for lack of memory", "count(*)", "count"),
                Figure("the largest of them asked for {value}", "max(bytes)", "bytes"),
                Figure("they took {value}", "sum(duration_ns)::BIGINT", "ns"),
            ),
            afterwards,
        ),
        remedy=DEVICE_REMEDY,
        confidence=1.0,
        confidence_reason="the calls themselves returned that memory was out",
    )


def _killed(case: Case) -> Iterable[Finding]:
    where = f"{case.span.condition} AND kind = {literal(EventKind.OOM_KILL.value)}"
    rows = case.session.rows(f"SELECT ts_ns FROM events WHERE {where} ORDER BY ts_ns")
    if not rows:
        return
    counted = f"SELECT count(*) AS kills FROM events WHERE {where}"
    first = f"SELECT arg_min(message, ts_ns) AS message FROM events WHERE {where}"
    yield Finding(
        cause=Cause.OOM,
        severity=Severity.CRITICAL,
        from_ns=rows[0]["ts_ns"],
        to_ns=rows[-1]["ts_ns"],
        evidence=(
            Evidence(
                f"the kernel killed {said(len(rows), 'count')} times for lack of host memory",
                len(rows),
                "count",
                counted,
            ),
            case.evidence("the first: {value}", first, ""),
        ),
        remedy=HOST_REMEDY,
        confidence=1.0,
        confidence_reason="the kernel said so",
    )
