"""How long calls took: spread by thread and operation, first calls apart, and what was off-CPU.

Percentiles are nearest-rank (the smallest value with at least that share of calls at or below it)
over the rows that were kept; where rows were chosen by how slow they were (``biased``), they are
percentiles of those rows and not of all calls.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gnomon.analysis.operations import Kind, kind_of
from gnomon.analysis.questions import Scope, ThreadKey
from gnomon.recording.base import Session

LATENCY_SQL = """\
SELECT host, pid, tid, layer, operation, depth > 0 AS nested,
  count(*) AS calls,
  min(ts_ns - duration_ns) AS from_ns,
  max(ts_ns) AS to_ns,
  sum(duration_ns)::BIGINT AS total_ns,
  quantile_disc(duration_ns, [0.5, 0.95, 0.99]) AS spread_ns,
  max(duration_ns) AS longest_ns,
  count(off_cpu_ns) AS calls_followed,
  count(*) FILTER (off_cpu_ns > 0) AS calls_off_cpu,
  sum(off_cpu_ns)::BIGINT AS off_cpu_ns,
  sum(run_queue_ns)::BIGINT AS run_queue_ns,
  sum(io_ns)::BIGINT AS io_ns,
  sum(voluntary_ns)::BIGINT AS voluntary_ns,
  count(*) FILTER (first_call = 1) AS first_calls,
  coalesce(sum(duration_ns) FILTER (first_call = 1), 0)::BIGINT AS first_calls_ns,
  sum(bytes)::BIGINT AS bytes,
  count(*) FILTER (return_code <> 0) AS failures,
  bool_or(selection = 'biased') AS biased
FROM host_calls WHERE {where}
GROUP BY ALL ORDER BY total_ns DESC, operation, pid, tid, nested"""


@dataclass(frozen=True, slots=True)
class Operation:
    """All calls of one operation by one thread; ``nested`` ones lie inside another call.

    Off-CPU sums are None where no call's scheduling was recorded, or not its class.
    """

    thread: ThreadKey
    layer: str
    operation: str
    nested: bool
    calls: int
    from_ns: int
    to_ns: int
    total_ns: int
    p50_ns: int
    p95_ns: int
    p99_ns: int
    longest_ns: int
    calls_followed: int
    calls_off_cpu: int
    off_cpu_ns: int | None
    run_queue_ns: int | None
    io_ns: int | None
    voluntary_ns: int | None
    first_calls: int
    first_calls_ns: int
    bytes: int | None
    failures: int
    biased: bool

    @property
    def kind(self) -> Kind:
        return kind_of(self.operation)


def sql(scope: Scope) -> str:
    """Return the SELECT behind ``latency``."""
    return LATENCY_SQL.format(where=scope.condition)


def latency(session: Session, scope: Scope) -> Sequence[Operation]:
    """Return every operation of every thread, the one that took most time first."""
    return [_operation(row) for row in session.rows(sql(scope))]


def _operation(row: dict[str, Any]) -> Operation:
    key = ThreadKey(row.pop("host"), row.pop("pid"), row.pop("tid"))
    p50_ns, p95_ns, p99_ns = row.pop("spread_ns")
    row |= {"nested": bool(row["nested"]), "biased": bool(row["biased"])}
    return Operation(thread=key, p50_ns=p50_ns, p95_ns=p95_ns, p99_ns=p99_ns, **row)
