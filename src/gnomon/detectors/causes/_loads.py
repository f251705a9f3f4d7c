"""First launches that loaded something: what ``first_use_loading`` tells, and excuses ranks for.

A thread's first launches of a function that lasted longer than ``USUAL`` of its other launches,
less the median of those and less what it waited for a CPU meanwhile.
"""

from __future__ import annotations

from gnomon.analysis.latency import among
from gnomon.analysis.operations import CUDA_LAYERS, Kind
from gnomon.analysis.questions import literal
from gnomon.analysis.weighted import ROUNDING
from gnomon.detectors.case import Case

LAUNCHES = (Kind.LAUNCH, Kind.GRAPH_LAUNCH)
# First launches can wait for a full queue like any other: only what is slower than nearly all of
# the others was loading.
USUAL = 0.95
WARM_UP = 0.1
# A thread whose first launches took less in all is not worth a look.
SHORTEST_NS = 10_000_000

USUAL_SQL = """\
SELECT host, pid, tid, operation,
  quantile_disc(duration_ns, 0.5) FILTER (first_call IS DISTINCT FROM 1) AS usual_ns,
  quantile_disc(duration_ns, {usual}) FILTER (first_call IS DISTINCT FROM 1) AS longest_usual_ns,
  quantile_disc(ts_ns, {warm_up}) AS warm_ns
FROM launches GROUP BY host, pid, tid, operation HAVING count(*) FILTER (first_call = 1) > 0"""
# The same where launches stand for several each, which takes sorts. A first call stands for itself.
SAMPLED_USUAL_SQL = """\
SELECT host, pid, tid, operation,
  min(duration_ns) FILTER (others > 0 AND upto >= {half} * total) AS usual_ns,
  min(duration_ns) FILTER (others > 0 AND upto >= {usual} * total) AS longest_usual_ns,
  min(ts_ns) FILTER (so_far >= {warm_up} * all_of_them) AS warm_ns
FROM (
  SELECT *, sum(others) OVER by_length AS upto, sum(others) OVER alike AS total,
    sum(coalesce(weight, 1)) OVER in_turn AS so_far, sum(coalesce(weight, 1)) OVER alike
      AS all_of_them
  FROM (
    SELECT *, CASE WHEN first_call IS DISTINCT FROM 1 THEN coalesce(weight, 1) ELSE 0 END AS others
    FROM launches
  )
  WINDOW alike AS (PARTITION BY host, pid, tid, operation),
    by_length AS (alike ORDER BY duration_ns), in_turn AS (alike ORDER BY ts_ns)
) GROUP BY host, pid, tid, operation HAVING count(*) FILTER (first_call = 1) > 0"""

LOADS_SQL = """\
WITH launches AS (
  SELECT * FROM host_calls WHERE {where} AND layer IN ({layers}) AND {is_launch}
    AND coalesce(depth, 0) = 0
), usual AS ({usual})
SELECT launches.host, launches.pid, launches.tid, operation, ts_ns, duration_ns, off_cpu_ns,
  run_queue_ns, usual_ns,
  duration_ns - coalesce(usual_ns, 0) - coalesce(run_queue_ns, 0) AS lost_ns,
  ts_ns - duration_ns > warm_ns AS is_late
FROM launches JOIN usual USING (operation)
WHERE first_call = 1 AND duration_ns > coalesce(longest_usual_ns, 0)
  AND launches.host IS NOT DISTINCT FROM usual.host
  AND launches.pid IS NOT DISTINCT FROM usual.pid AND launches.tid IS NOT DISTINCT FROM usual.tid
  AND duration_ns - coalesce(usual_ns, 0) - coalesce(run_queue_ns, 0) > 0"""


def may_have_loaded(case: Case) -> bool:
    """Tell, without a query, whether any thread's first launches took long enough for a look."""
    return any(
        one.kind in LAUNCHES and one.first_calls_ns >= SHORTEST_NS / 10 for one in case.operations
    )


def loads_sql(case: Case, more: str = "") -> str:
    """Return the SELECT of loads (``lost_ns`` of each, and whether it came late) of all threads.

    ``more``: a condition that chooses some.
    """
    is_sampled = any(one.kind in LAUNCHES and one.is_sampled for one in case.operations)
    usual = SAMPLED_USUAL_SQL if is_sampled else USUAL_SQL
    return LOADS_SQL.format(
        where=case.scope.condition + more,
        layers=", ".join(literal(layer.value) for layer in CUDA_LAYERS),
        is_launch=among(case.operations, *LAUNCHES),
        usual=usual.format(half=0.5 - ROUNDING, usual=USUAL, warm_up=WARM_UP),
    )
