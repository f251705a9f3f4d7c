"""Refills: from the end of a wait that left a thread's streams empty to the next work in them.

A synchronisation of the device or of a stream, and a synchronous copy from the device, return when
the GPU has done all that was queued there. Until the end of the next launch, or the begin of the
next copy, the GPU has nothing of this thread; where the thread allocates or releases memory first,
the time is the allocator's and no refill. A synchronisation with an event promises no such thing:
work that was queued behind the event may still run. Of a stream it does so only where the call
before it went into that stream.
"""

from __future__ import annotations

from collections.abc import Sequence

from gnomon.analysis.copies import DIRECTION_SQL
from gnomon.analysis.latency import Operation, among
from gnomon.analysis.operations import CUDA_LAYERS, DISPATCH, Kind
from gnomon.analysis.questions import Span, ThreadKey, literal

# An event says nothing of what was queued behind it.
OF_EVENT = "EventSync"

# One sort of a thread's calls: what was launched up to each wait, less what was up to the wait
# before it, lies between the two. ``launched``: 1 for a kernel, ``A_GRAPH`` for a graph, in one
# number, because each window costs a tenth of a second for a million calls.
A_GRAPH = 1 << 32
REFILLS_SQL = """\
WITH calls AS (
  SELECT ts_ns - duration_ns AS begin_ns, ts_ns AS end_ns, stream, {part} AS part,
    CASE WHEN {drains} THEN operation END AS wait,
    CASE WHEN {launch} THEN 1 WHEN {graph} THEN {a_graph} ELSE 0 END AS launched,
    CASE WHEN {launch} OR {graph} THEN ts_ns
      WHEN {dispatch} AND NOT {drains} THEN ts_ns - duration_ns END AS work_ns
  FROM host_calls
  WHERE {where} AND layer IN ({layers}) AND coalesce(depth, 0) = 0
    AND ({drains} OR {dispatch} OR {memory})
), ordered AS (
  SELECT end_ns, stream, wait, part,
    lead(work_ns) OVER next AS refilled_ns,
    sum(launched) OVER so_far AS launched_so_far,
    lag(stream) OVER next AS stream_before
  FROM calls
  WINDOW next AS ({of_part} ORDER BY begin_ns, end_ns),
    so_far AS ({of_part} ORDER BY begin_ns, end_ns ROWS UNBOUNDED PRECEDING)
), waits AS (
  SELECT *, launched_so_far - lag(launched_so_far, 1, 0) OVER by_end AS launched
  FROM ordered WHERE wait IS NOT NULL
  WINDOW by_end AS ({of_part} ORDER BY end_ns)
)
SELECT end_ns AS begin_ns, refilled_ns AS end_ns, wait AS operation,
  (launched % {a_graph})::BIGINT AS launches, (launched // {a_graph})::BIGINT AS graphs
FROM waits
WHERE refilled_ns > end_ns
  AND (wait NOT LIKE '%StreamSync%' OR coalesce(stream = stream_before, TRUE))"""


def drains(operations: Sequence[Operation]) -> str:
    """Return SQL that is true of calls that return when a stream, or all of them, are empty."""
    waits = [one for one in operations if OF_EVENT not in one.operation]
    back = [one for one in operations if "Async" not in one.operation]
    return (
        f"({among(waits, Kind.SYNCHRONIZATION)} "
        f"OR ({among(back, Kind.COPY)} AND {DIRECTION_SQL} = 'd2h'))"
    )


def sql(span: Span, thread: ThreadKey, operations: Sequence[Operation]) -> str:
    """Return the SELECT of a thread's refills: begin_ns, end_ns, operation, launches, graphs.

    ``operation`` is the wait, ``launches`` and ``graphs`` what was launched between the wait
    before it and itself. It holds where every launch and copy of the thread was kept.
    """
    return _sql(f"{span.condition} AND {thread.condition}", operations, "0", "")


def sampled_sql(
    span: Span, thread: ThreadKey, operations: Sequence[Operation], parts: int, share: float
) -> str:
    """Return the SELECT of refills in the first ``share`` (0 to 1) of each of equal parts."""
    every_ns = max(1, -(-(span.to_ns - span.from_ns) // parts))
    stretches = " OR ".join(
        f"({Span(begin_ns, begin_ns + int(share * every_ns)).condition})"
        for begin_ns in range(span.from_ns, span.to_ns, every_ns)
    )
    part = f"(ts_ns - 1 - {span.from_ns}) // {every_ns}"
    where = f"({stretches}) AND {thread.condition}"
    return _sql(where, operations, part, "PARTITION BY part")


def _sql(where: str, operations: Sequence[Operation], part: str, of_part: str) -> str:
    return REFILLS_SQL.format(
        where=where,
        part=part,
        of_part=of_part,
        layers=", ".join(literal(layer.value) for layer in CUDA_LAYERS),
        drains=drains(operations),
        dispatch=among(operations, *DISPATCH),
        launch=among(operations, Kind.LAUNCH),
        graph=among(operations, Kind.GRAPH_LAUNCH),
        memory=among(operations, Kind.ALLOCATION, Kind.RELEASE),
        a_graph=A_GRAPH,
    )
