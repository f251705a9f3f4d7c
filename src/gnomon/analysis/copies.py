"""Copies by size and direction: how many, how much, how long their calls took.

A call's duration is its transfer's only where the call waits for it. One that the program gave
away (an asynchronous copy from pinned memory) returns in microseconds, at a rate no link has; one
that blocks moves its bytes at a rate that a link can have, though it may wait for earlier work
first, so that its rate is at least that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gnomon.analysis.latency import LARGEST, Operation, among
from gnomon.analysis.operations import CUDA_LAYERS, Kind
from gnomon.analysis.questions import Scope, ThreadKey
from gnomon.analysis.weighted import DIFFER, spread
from gnomon.hardware.links import pcie_bytes_per_s
from gnomon.hardware.matching import match
from gnomon.recording.base import Meta, Session

# Bounds of the size classes: below, a copy is all overhead; from LARGE_BYTES on it is all transfer.
SMALL_BYTES = 64 << 10
LARGE_BYTES = 1 << 20
# Faster than any link to a host that is sold (NVLink-C2C: 450 GB/s a direction): the call did not
# wait for its bytes.
FASTEST_LINK_BYTES_PER_S = 500e9
CUDA = ", ".join(f"'{layer}'" for layer in CUDA_LAYERS)
# Directions by the names of the driver's functions, where the arguments were not recorded.
DIRECTION_SQL = (
    "coalesce(direction, CASE WHEN operation LIKE '%HtoD%' THEN 'h2d' "
    "WHEN operation LIKE '%DtoH%' THEN 'd2h' WHEN operation LIKE '%DtoD%' THEN 'd2d' END)"
)
SIZE_SQL = (
    f"CASE WHEN bytes < {SMALL_BYTES} THEN 'small' WHEN bytes < {LARGE_BYTES} THEN 'medium' "
    "WHEN bytes >= 0 THEN 'large' END"
)
RATE_SQL = "1e9 * bytes / greatest(duration_ns, 1)"
# What a group of COPIES_SQL is.
KEYS = {
    **{name: name for name in ("host", "pid", "tid", "operation")},
    "direction": DIRECTION_SQL,
    "size": SIZE_SQL,
}
COPIES_SQL = """\
SELECT host, pid, tid, operation, {direction} AS direction, {size} AS size,
  count(*) AS calls,
  min(ts_ns - duration_ns) AS from_ns,
  max(ts_ns) AS to_ns,
  CASE WHEN count(bytes) > 0 THEN least(sum(bytes), {largest})::BIGINT END AS bytes,
  sum(duration_ns)::BIGINT AS total_ns,
  round(sum(duration_ns * coalesce(weight, 1)))::BIGINT AS stood_for_ns,
  quantile_disc(duration_ns, [0.5, 0.95, 0.99]) AS spread_ns,
  quantile_cont(1e9 * bytes / greatest(duration_ns, 1), 0.5) AS rate_bytes_per_s,
  count(*) FILTER (1e9 * bytes / greatest(duration_ns, 1) < {fastest}) AS waited,
  bool_or(selection = 'biased') IS TRUE AS biased,
  {differ} AS weights_differ
FROM host_calls WHERE {where} AND {is_copy} AND duration_ns IS NOT NULL
GROUP BY ALL ORDER BY total_ns DESC, pid, tid, operation, direction, size"""


@dataclass(frozen=True, slots=True)
class Copies:
    """Copies of one thread, function, direction and size class: small, medium, large.

    ``size`` and ``direction`` are None where they were not recorded. ``rate_bytes_per_s`` is the
    median of bytes over the call's duration, ``waited`` the calls of a rate that a link can have;
    ``stood_for_ns`` the time with that of calls which a sampled row stands for.
    """

    thread: ThreadKey
    operation: str
    direction: str | None
    size: str | None
    calls: int
    from_ns: int
    to_ns: int
    bytes: int | None
    total_ns: int
    stood_for_ns: int
    p50_ns: int
    p95_ns: int
    p99_ns: int
    rate_bytes_per_s: float | None
    waited: int
    biased: bool


def is_copy(operations: Sequence[Operation]) -> str:
    """Return SQL that is true of outermost copies."""
    return f"{among(operations, Kind.COPY)} AND layer IN ({CUDA}) AND coalesce(depth, 0) = 0"


def sql(scope: Scope, operations: Sequence[Operation]) -> str:
    """Return the SELECT behind ``copies``."""
    return COPIES_SQL.format(
        direction=DIRECTION_SQL,
        size=SIZE_SQL,
        largest=LARGEST,
        fastest=FASTEST_LINK_BYTES_PER_S,
        where=scope.condition,
        is_copy=is_copy(operations),
        differ=DIFFER,
    )


def copies(session: Session, scope: Scope, operations: Sequence[Operation]) -> Sequence[Copies]:
    """Return every thread's copies by function, direction and size, the longest sum first."""
    if not any(one.kind is Kind.COPY for one in operations):
        return ()
    rows = session.rows(sql(scope, operations))
    if any(row["weights_differ"] for row in rows):
        where = f"{scope.condition} AND {is_copy(operations)} AND duration_ns IS NOT NULL"
        lengths = spread(session, KEYS, "duration_ns", where, (0.5, 0.95, 0.99))
        rates = spread(session, KEYS, RATE_SQL, f"{where} AND bytes IS NOT NULL", (0.5,))
        for row in (row for row in rows if row["weights_differ"]):
            key = tuple(row[name] for name in KEYS)
            row["spread_ns"] = lengths[key]
            (row["rate_bytes_per_s"],) = rates.get(key, (None,))
    return [_copies(row) for row in rows]


def link_bytes_per_s(meta: Meta) -> float | None:
    """Return the line rate of the GPUs' link to their host, the slowest; None where not known."""
    rates = [pcie_bytes_per_s(facts, match(str(facts.get("name")))) for facts in meta.gpus.values()]
    known = [rate for rate in rates if rate is not None]
    return min(known, default=None)


def _copies(row: dict[str, Any]) -> Copies:
    key = ThreadKey(row.pop("host"), row.pop("pid"), row.pop("tid"))
    del row["weights_differ"]
    p50_ns, p95_ns, p99_ns = row.pop("spread_ns")
    return Copies(thread=key, p50_ns=p50_ns, p95_ns=p95_ns, p99_ns=p99_ns, **row)
