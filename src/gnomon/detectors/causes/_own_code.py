"""Own code between calls, and how much of it was surely work: a loop may also poll for requests.

A thread that polls for requests is on the CPU as one is that works, and makes no CUDA calls
meanwhile. It is work where calls follow in quick succession: a gap between two calls that launch,
copy, wait or allocate counts where it is ``QUICK_NS`` at most, or ``INSIDE_NS`` where the call
before it does not wait for the GPU, so that a step goes on. Any other gap counts where it comes
again and again, as the same step does: of ``BLOCK`` of them in turn, own code and what lies between
them vary by ``ALIKE`` at most (the upper by the lower quartile), own code is ``MOST_OF_REST`` times
what lies between them at most, and the thread waits for its GPU ``MOST_WAITS`` times there. Who
answers equal requests of a step each that come at equal intervals, for a fifth of its time and
more, passes for one that works.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from gnomon.analysis.activity import ThreadActivity
from gnomon.analysis.concentration import BIN_NS, Concentration, concentration
from gnomon.analysis.gpu_idle import Stretch
from gnomon.analysis.latency import among, named
from gnomon.analysis.operations import CUDA_LAYERS, DISPATCH, Kind, condition
from gnomon.analysis.questions import literal
from gnomon.detectors.case import Case

QUICK_NS = 10_000_000
INSIDE_NS = 100_000_000
BLOCK = 8
FEWEST = 5
ALIKE = 2.5
MOST_OF_REST = 4
# A loss that is read, a norm, a batch; more waits in a step are several steps, of one request.
MOST_WAITS = 4
# Has the GPU done? cudaEventQuery, cuStreamQuery, ...
QUERIES = "^cu(da)?(Event|Stream)Query"

LAYERS = ", ".join(literal(layer.value) for layer in CUDA_LAYERS)
# A thread with less than 40 % of its time for calls and waits has no slack to run ahead with.
OWN_SHARE = 0.6
WAITING_SHARE = 0.1
# Waits of 10 us in steps of 10 ms are what a synchronisation itself takes.
SOME_WAITING_SHARE = 0.001
LONE_GAP = 10
# What a thread does between two waits for the GPU; less is the price of waiting so often.
OWN_CODE_A_WAIT_NS = 1_000_000
# Of own code, in gaps that calls of one step have: less, and it may have polled for requests.
WORK_SHARE = 0.5

COUNTED_SQL = """\
SELECT coalesce(sum(total_ns), 0)::BIGINT AS in_calls_ns,
  coalesce(sum(total_ns) FILTER ({waits}), 0)::BIGINT AS waiting_ns,
  coalesce(sum(calls) FILTER (regexp_matches(operation, '{queries}')), 0)::BIGINT AS queries
FROM call_histograms WHERE ts_ns > {from_ns} AND ts_ns - duration_ns < {to_ns}
  AND {process} AND layer IN ({layers})"""

# From the end of a query that did not find the GPU done to the next one, with no call in between.
POLLING_SQL = """\
SELECT coalesce(sum(greatest(0, next_ns - ts_ns)), 0)::BIGINT AS ns FROM (
  SELECT ts_ns, return_code, is_query, lead(is_query) OVER following AS is_next_query,
    lead(ts_ns - duration_ns) OVER following AS next_ns
  FROM (SELECT *, regexp_matches(operation, '{queries}') AS is_query {calls})
  WINDOW following AS (ORDER BY ts_ns)
) WHERE is_query AND is_next_query AND return_code IS DISTINCT FROM 0"""

# Of the five longest gaps those that are far longer than the fifth.
LONE_GAPS_SQL = """\
SELECT coalesce(list_sum(list_filter(longest, lambda gap_ns:
  gap_ns > {lone} * coalesce(longest[5], 0))), 0)::BIGINT AS ns
FROM (
  SELECT max(gap_ns, 5) AS longest FROM (
    SELECT begin_ns - max(ts_ns) OVER (
      ORDER BY begin_ns ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS gap_ns
    FROM (SELECT ts_ns - duration_ns AS begin_ns, ts_ns {calls}
      UNION ALL SELECT ts_ns - duration_ns, ts_ns FROM off_cpu WHERE {stays})
  ) WHERE gap_ns > 0
)"""

# Own code is what neither a call nor a stay off the CPU covers; of a gap, all of it between two
# calls of a step, whatever lies between them. ``gap``: when the first of these two began, and, in
# the lowest bit, whether it waits; null before the first of all. One number, because each window
# costs a tenth of a second for a million rows (and one with count(*) FILTER more than a minute).
GAPS_SQL = """\
SELECT gap, min(begin_ns - piece_ns) FILTER (piece_ns > 0) AS from_ns, max(begin_ns) AS ts_ns,
  sum(piece_ns)::BIGINT AS own_ns, max(piece_ns) AS longest_ns, bool_or(is_query) AS has_query
FROM (
  SELECT begin_ns, greatest(0, begin_ns - max(ts_ns) OVER earlier) AS piece_ns, is_query,
    max(of_step) OVER earlier AS gap
  FROM (
    SELECT ts_ns - duration_ns AS begin_ns, ts_ns, {is_query} AS is_query,
      CASE WHEN {is_of_step} THEN 2 * (ts_ns - duration_ns) + {is_wait}::INT END AS of_step {calls}
    UNION ALL
    SELECT ts_ns - duration_ns, ts_ns, false, NULL FROM off_cpu WHERE {stays}
  )
  WINDOW earlier AS (ORDER BY begin_ns, ts_ns ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)
) GROUP BY gap HAVING sum(piece_ns) > 0"""
LONGEST_SQL = "SELECT max(longest_ns, 5) AS longest FROM ({gaps})"
JUDGED_SQL = """\
WITH slow AS (
  SELECT from_ns, ts_ns, own_ns, from_ns - lag(ts_ns) OVER in_turn AS rest_ns,
    waits - lag(waits) OVER in_turn AS waits,
    ((row_number() OVER in_turn - 1) * greatest(1, count(*) OVER () // {block})
      // count(*) OVER ()) AS block
  FROM (
    SELECT *, sum(gap % 2) OVER (ORDER BY gap ROWS UNBOUNDED PRECEDING) AS waits
    FROM ({gaps}) WHERE gap % 2 = 1 OR (gap IS NOT NULL AND NOT {is_quick})
  ) WHERE NOT {is_quick}
  WINDOW in_turn AS (ORDER BY gap)
), even AS (
  SELECT block, quantile_disc(own_ns, 0.75) AS long_ns FROM slow GROUP BY block
  HAVING count(*) >= {fewest}
    AND quantile_disc(own_ns, 0.75) <= {alike} * quantile_disc(own_ns, 0.25)
    AND quantile_disc(rest_ns, 0.75) <= {alike} * quantile_disc(rest_ns, 0.25)
    AND quantile_disc(own_ns, 0.5) <= {most} * quantile_disc(rest_ns, 0.5)
    AND quantile_disc(waits, 0.5) <= {most_waits}
)
SELECT from_ns, ts_ns, own_ns, TRUE AS is_work FROM ({gaps}) WHERE gap IS NOT NULL AND {is_quick}
UNION ALL
SELECT from_ns, ts_ns, own_ns, (own_ns <= 2 * long_ns) IS TRUE
FROM slow LEFT JOIN even USING (block)"""
IS_QUICK = f"(own_ns <= {QUICK_NS} OR (own_ns <= {INSIDE_NS} AND gap % 2 = 0 AND NOT has_query))"
BINS_SQL = """\
SELECT min(from_ns) AS from_ns, max(ts_ns) AS to_ns, sum(own_ns)::BIGINT AS lost_ns
FROM ({gaps}) WHERE is_work OR {is_all} GROUP BY (ts_ns - 1) // {bin} ORDER BY from_ns"""


@dataclass(frozen=True, slots=True)
class OwnCode:
    """How long a thread was on the CPU outside CUDA calls: at least this, of ``active_ns``.

    ``polling_ns`` between queries is a part of ``waiting_ns``; ``lone_ns`` is in gaps of which
    nobody knows, and not active. ``work_ns`` was surely work (``_own_code``), and ``is_work`` says
    whether that is most of it.
    """

    own_ns: int
    waiting_ns: int
    waits: int
    active_ns: int
    polling_ns: int = 0
    lone_ns: int = 0
    is_work: bool = True
    work_ns: int = 0

    @property
    def fills(self) -> bool:
        """Whether it leaves the thread no time to wait for its GPU."""
        return (
            self.own_ns >= OWN_SHARE * self.active_ns
            and self.waiting_ns <= WAITING_SHARE * self.active_ns
        )

    @property
    def keeps_pace(self) -> bool:
        """Whether it waits for its GPU at all."""
        return self.waiting_ns > SOME_WAITING_SHARE * self.active_ns


def own_code(case: Case, worker: ThreadActivity) -> OwnCode | None:
    """Return what is certain; where rows of calls are missing, they may have been any that long.

    Histograms of the whole process then bound the time in calls from above. None where they count
    so many queries that the thread may have done nothing else.
    """
    in_calls_ns, waiting_ns, queries = worker.on_cpu_in_calls_ns, worker.waiting_ns, 0
    if worker.biased:
        (counted,) = case.session.rows(_counted_sql(worker))
        in_calls_ns = max(in_calls_ns, counted["in_calls_ns"])
        waiting_ns = max(waiting_ns, counted["waiting_ns"])
        queries = counted["queries"]
    own_ns = max(0, worker.on_cpu_ns - in_calls_ns)
    if own_ns < OWN_CODE_A_WAIT_NS * queries:
        return None
    return OwnCode(own_ns, waiting_ns, worker.waits, worker.active_ns)


def certain(case: Case, worker: ThreadActivity, own: OwnCode) -> OwnCode:
    """Return own code without what lies between queries, or in a gap unlike all others.

    And without what may have been polling for requests, where that is the smaller part.
    """
    polls = any(re.match(QUERIES, one.operation) for one in worker.outermost())
    polling_ns = int(case.value(polling_sql(case, worker))) if polls else 0
    # Asked for the longest, for work, and for where it was.
    case.session.keep(_gaps_sql(case, worker))
    lone_ns = int(case.value(lone_gaps_sql(case, worker))) if _has_lone_gaps(case, worker) else 0
    own_ns = max(0, own.own_ns - polling_ns - lone_ns)
    work_ns = int(case.value(work_sql(case, worker)))
    is_work = work_ns >= WORK_SHARE * own_ns
    return OwnCode(
        own_ns=min(own_ns, work_ns) if is_work else own_ns,
        waiting_ns=own.waiting_ns + polling_ns,
        waits=own.waits,
        active_ns=max(0, own.active_ns - lone_ns),
        polling_ns=polling_ns,
        lone_ns=lone_ns,
        is_work=is_work,
        work_ns=work_ns,
    )


def _has_lone_gaps(case: Case, worker: ThreadActivity) -> bool:
    """Tell, without a sort of its own, whether one of the longest pieces of own code stands out.

    The fifth longest of all is as long at least as the fifth of those that are each the longest of
    their gap.
    """
    longest = case.value(LONGEST_SQL.format(gaps=_gaps_sql(case, worker))) or [0]
    return bool(longest[0] > LONE_GAP * (longest[4] if len(longest) > 4 else 0))


def without(own: OwnCode, launching_ns: int) -> OwnCode:
    """Return own code without the way from one launch to the next (``launch_bound``)."""
    return replace(own, own_ns=max(0, own.own_ns - launching_ns))


def polling_sql(case: Case, worker: ThreadActivity) -> str:
    return POLLING_SQL.format(queries=QUERIES, calls=calls_of(case, worker))


def lone_gaps_sql(case: Case, worker: ThreadActivity) -> str:
    stays = f"{worker.span.condition} AND {worker.thread.condition}"
    return LONE_GAPS_SQL.format(lone=LONE_GAP, calls=calls_of(case, worker), stays=stays)


def _counted_sql(worker: ThreadActivity) -> str:
    """Return the SELECT of what histograms have of the process while the thread was active.

    A call within a call counts twice, which makes the bound no lower.
    """
    return COUNTED_SQL.format(
        waits=condition(Kind.SYNCHRONIZATION),
        queries=QUERIES,
        from_ns=worker.span.from_ns,
        to_ns=worker.span.to_ns,
        process=worker.thread.process_condition,
        layers=LAYERS,
    )


def _gaps_sql(case: Case, worker: ThreadActivity) -> str:
    """Return the SELECT of gaps in a thread's calls, with own code in each."""
    waits = among(worker.operations, Kind.SYNCHRONIZATION)
    copies = among(worker.operations, Kind.COPY)
    of_step = (*DISPATCH, Kind.SYNCHRONIZATION, Kind.ALLOCATION, Kind.RELEASE)
    queries = (one.operation for one in worker.operations if re.match(QUERIES, one.operation))
    return GAPS_SQL.format(
        is_of_step=among(worker.operations, *of_step),
        is_wait=f"({waits} OR ({copies} AND NOT contains(operation, 'Async')))",
        is_query=named(queries),
        calls=calls_of(case, worker),
        stays=f"{worker.span.condition} AND {worker.thread.condition}",
    )


def _judged_sql(case: Case, worker: ThreadActivity) -> str:
    """Return the SELECT of gaps, each with whether it was work."""
    return JUDGED_SQL.format(
        gaps=_gaps_sql(case, worker),
        is_quick=IS_QUICK,
        block=BLOCK,
        fewest=FEWEST,
        alike=ALIKE,
        most=MOST_OF_REST,
        most_waits=MOST_WAITS,
    )


def work_sql(case: Case, worker: ThreadActivity) -> str:
    """Return the SELECT of own code that was surely work."""
    judged = _judged_sql(case, worker)
    return f"SELECT coalesce(sum(own_ns), 0)::BIGINT AS ns FROM ({judged}) WHERE is_work"


def where_it_was(case: Case, worker: ThreadActivity, *, is_all: bool) -> Concentration | None:
    """Return where own code was: what was surely work, or all of it."""
    query = BINS_SQL.format(gaps=_judged_sql(case, worker), is_all=is_all, bin=BIN_NS)
    return concentration([Stretch(**row) for row in case.session.rows(query)])


def calls_of(case: Case, worker: ThreadActivity) -> str:
    """Return FROM and WHERE of its outermost CUDA calls."""
    return (
        f"FROM host_calls WHERE {case.span.condition} AND {worker.thread.condition} "
        f"AND layer IN ({LAYERS}) AND coalesce(depth, 0) = 0"
    )
