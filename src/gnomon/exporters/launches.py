"""Which call launched what a GPU ran: the arrows of a trace, in SQL over a part of its rows.

Known where an operation says when the call that enqueued it began (``enqueued_ns``), and one
thread alone of its process began a CUDA call at that nanosecond. Anything else would be a guess.
"""

from __future__ import annotations

from dataclasses import dataclass

from gnomon.analysis.operations import CUDA_LAYERS
from gnomon.analysis.questions import literal
from gnomon.exporters.rows import ALL_OF_IT, PROCESS, PROCESS_OF_HOST, Chosen, counted
from gnomon.recording.base import Session

IS_CUDA = f"layer IN ({', '.join(map(literal, CUDA_LAYERS))})"
# A number for each operation, the same from whichever side it is asked for.
FLOW = """\
hash(coalesce(process_id, concat_ws('/', pid)), context_id, stream_id, ts_ns, duration_ns,
  correlation_id, graph_node_id) AS flow"""
ENQUEUED_SQL = f"""\
SELECT {PROCESS}, enqueued_ns AS begin_ns, {FLOW} FROM {{table}}
WHERE enqueued_ns IS NOT NULL AND {{where}}"""
CUDA_CALLS_SQL = f"""\
SELECT {PROCESS_OF_HOST}, tid, greatest(0, ts_ns - coalesce(duration_ns, 0)) AS enqueued_ns
FROM host_calls WHERE {IS_CUDA} AND {{where}}"""
ONE_THREAD = "HAVING min(tid) IS NOT DISTINCT FROM max(tid)"

# Of calls inside each other that begin together the outermost is the one that was made.
CALLS_SQL = f"""\
SELECT part.*, CASE WHEN {IS_CUDA} AND 1 = row_number() OVER (
    PARTITION BY process, begin_ns, {IS_CUDA} ORDER BY end_ns DESC, depth
  ) THEN flows END AS starts_flows
FROM part LEFT JOIN (
  SELECT process, begin_ns, list(flow ORDER BY flow) AS flows
  FROM (SELECT process, begin_ns FROM part WHERE {IS_CUDA} GROUP BY ALL {ONE_THREAD})
  JOIN ({{enqueued}}) AS enqueued USING (process, begin_ns)
  GROUP BY process, begin_ns
) USING (process, begin_ns)"""
OPERATIONS_SQL = f"""\
SELECT part.*, CASE WHEN is_known THEN flow END AS ends_flow
FROM part LEFT JOIN (
  SELECT process, enqueued_ns, TRUE AS is_known
  FROM (SELECT DISTINCT process, enqueued_ns FROM part) JOIN ({{calls}}) AS calls
    USING (process, enqueued_ns)
  GROUP BY process, enqueued_ns {ONE_THREAD}
) USING (process, enqueued_ns)"""
NO_CALLS_SQL = f"SELECT *, NULL AS starts_flows FROM ({ALL_OF_IT})"
NO_OPERATIONS_SQL = f"SELECT *, NULL AS ends_flow FROM ({ALL_OF_IT})"


@dataclass(frozen=True, slots=True)
class Launches:
    """What finishes a part of the calls, and a part of the operations, with their flows."""

    of_calls: str
    of_operations: str


def launches(session: Session, chosen: Chosen) -> Launches:
    """Return how the flows of a trace are found; where no operation knows its call, not at all."""
    enqueued = " UNION ALL ".join(
        ENQUEUED_SQL.format(table=table, where=chosen.gpu_condition)
        for table in ("kernels", "copies")
    )
    if not counted(session, enqueued):
        return Launches(NO_CALLS_SQL, NO_OPERATIONS_SQL)
    calls = CUDA_CALLS_SQL.format(where=chosen.call_condition)
    return Launches(CALLS_SQL.format(enqueued=enqueued), OPERATIONS_SQL.format(calls=calls))
