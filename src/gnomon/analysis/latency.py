"""How long calls took: spread by thread and operation, first calls apart, and what was off-CPU.

Percentiles are nearest-rank (the smallest value with at least that share of calls at or below it)
over the rows that were kept, each counted by its weight; where rows were chosen by how slow they
were and nobody knows for how many they stand (``biased``), they are percentiles of those rows and
not of all calls.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from gnomon.analysis.operations import Kind, kind_of
from gnomon.analysis.questions import Scope, ThreadKey, literal
from gnomon.analysis.weighted import DIFFER, spread
from gnomon.recording.base import Session

# A file may hold any number as a size; their sum stays within 64 bits.
LARGEST = (1 << 63) - 1

# A thread that is off the CPU for longer outside of calls has nothing to do; inside, it waits.
LONG_CALL_NS = 250_000_000

HAS_WEIGHTS = "count(weight) = count(*)"
# Sums over the calls that rows stand for, where all rows say that; else over the rows.
SUM = f"CASE WHEN {HAS_WEIGHTS} THEN round(sum({{value}} * weight)) ELSE sum({{value}}) END::BIGINT"
SUMMED = ("off_cpu_ns", "run_queue_ns", "io_ns", "voluntary_ns")
SUMS = ",\n  ".join(f"{SUM.format(value=name)} AS {name}" for name in SUMMED)

LATENCY_SQL = """\
SELECT host, pid, tid, layer, operation, coalesce(depth, 0) > 0 AS nested,
  count(*) AS calls,
  min(ts_ns - duration_ns) AS from_ns,
  max(ts_ns) AS to_ns,
  sum(duration_ns)::BIGINT AS total_ns,
  quantile_disc(duration_ns, [0.5, 0.95, 0.99]) AS spread_ns,
  max(duration_ns) AS longest_ns,
  count(off_cpu_ns) AS calls_followed,
  count(*) FILTER (off_cpu_ns > 0) AS calls_off_cpu,
  {sums},
  count(*) FILTER (first_call = 1) AS first_calls,
  coalesce(sum(duration_ns) FILTER (first_call = 1), 0)::BIGINT AS first_calls_ns,
  CASE WHEN count(bytes) > 0 THEN least(CASE WHEN {has_weights}
    THEN round(sum(bytes * weight))::HUGEINT ELSE sum(bytes) END, {largest})::BIGINT END AS bytes,
  count(*) FILTER (return_code <> 0) AS failures,
  bool_or(selection = 'biased') AS biased,
  count(*) FILTER (off_cpu_ns > 0 AND run_queue_ns IS NULL) AS calls_unclassed,
  count(*) FILTER (selection = 'biased') AS calls_biased,
  count(first_call) AS calls_order_known,
  {has_weights} AS has_weights,
  round(sum(weight))::BIGINT AS stood_for_calls,
  round(sum(duration_ns * weight))::BIGINT AS stood_for_ns,
  coalesce(round(sum(weight) FILTER (off_cpu_ns > 0)), 0)::BIGINT AS stood_for_calls_off_cpu,
  coalesce(sum(off_cpu_ns) FILTER (duration_ns >= {long}), 0)::BIGINT AS long_off_cpu_ns,
  {differ} AS weights_differ
FROM host_calls WHERE {where} AND operation IS NOT NULL AND duration_ns IS NOT NULL
GROUP BY ALL ORDER BY total_ns DESC, operation, pid, tid, nested"""
# What a group of LATENCY_SQL is.
KEYS = {
    **{name: name for name in ("host", "pid", "tid", "layer", "operation")},
    "nested": "coalesce(depth, 0) > 0",
}
SHARES = (0.5, 0.95, 0.99)


@dataclass(frozen=True, slots=True)
class Operation:
    """All calls of one operation by one thread; ``nested`` ones lie inside another call.

    ``calls``, whatever begins with it, and ``total_ns`` are of the rows that were kept; sums of
    bytes and of time off the CPU are of all calls that these stand for. Off-CPU sums are None where
    no call's scheduling was recorded, or not its class.
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
    # Calls and their time with those that a sampled row stands for; None where that is not known.
    stood_for_calls: int | None = None
    stood_for_ns: int | None = None
    stood_for_calls_off_cpu: int | None = None
    # Off the CPU in calls of LONG_CALL_NS and more.
    long_off_cpu_ns: int = 0
    # Calls off the CPU without a class, kept for being slow, known to be the first or not.
    calls_unclassed: int = 0
    calls_biased: int = 0
    calls_order_known: int = 0

    @property
    def kind(self) -> Kind:
        return kind_of(self.operation)

    @property
    def made(self) -> int:
        """How many calls were made, as far as is known: an estimate where ``is_sampled``."""
        return self.calls if self.stood_for_calls is None else self.stood_for_calls

    @property
    def made_ns(self) -> int:
        """How long they took in sum, as far as is known."""
        return self.total_ns if self.stood_for_ns is None else self.stood_for_ns

    @property
    def made_off_cpu(self) -> int:
        """In how many of them the thread was off the CPU, as far as is known."""
        known = self.stood_for_calls_off_cpu
        return self.calls_off_cpu if known is None else known

    @property
    def is_sampled(self) -> bool:
        """Whether rows stand for more calls than there are rows."""
        return self.made != self.calls


def sql(scope: Scope) -> str:
    """Return the SELECT behind ``latency``."""
    return LATENCY_SQL.format(
        where=scope.condition,
        largest=LARGEST,
        long=LONG_CALL_NS,
        differ=DIFFER,
        has_weights=HAS_WEIGHTS,
        sums=SUMS,
    )


def latency(session: Session, scope: Scope) -> Sequence[Operation]:
    """Return every operation of every thread, the one that took most time first."""
    rows = session.rows(sql(scope))
    names = sorted({row["operation"] for row in rows if row["weights_differ"]})
    if names:
        some = f"operation IN ({', '.join(map(literal, names))})"
        where = f"{scope.condition} AND {some} AND duration_ns IS NOT NULL"
        spreads = spread(session, KEYS, "duration_ns", where, SHARES)
        for row in rows:
            if row["weights_differ"]:
                row["spread_ns"] = spreads[tuple(row[name] for name in KEYS)]
    return sorted(map(_operation, rows), key=lambda one: -one.made_ns)


def among(operations: Sequence[Operation], *kinds: Kind) -> str:
    """Return SQL that is true of rows whose operation is of one of these kinds.

    It lists the names that occur, because over millions of rows a pattern takes seconds.
    """
    return named(one.operation for one in operations if one.kind in kinds)


def named(names: Iterable[str]) -> str:
    """Return SQL that is true of rows whose operation has one of these names."""
    names = sorted(set(names))
    return f"operation IN ({', '.join(map(literal, names))})" if names else "FALSE"


def _operation(row: dict[str, Any]) -> Operation:
    key = ThreadKey(row.pop("host"), row.pop("pid"), row.pop("tid"))
    p50_ns, p95_ns, p99_ns = row.pop("spread_ns")
    del row["weights_differ"]
    row |= {"nested": bool(row["nested"]), "biased": bool(row["biased"])}
    if not row.pop("has_weights"):
        row |= dict.fromkeys(("stood_for_calls", "stood_for_ns", "stood_for_calls_off_cpu"))
    return Operation(thread=key, p50_ns=p50_ns, p95_ns=p95_ns, p99_ns=p99_ns, **row)
