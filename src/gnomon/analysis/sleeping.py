"""Sleeps in a thread's work, by their stacks or because they are as regular as a timer.

A timer is never early and little late: its stays off the CPU are equally long, where waits for
others are as long as the others take.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from gnomon.analysis.operations import CUDA_LAYERS
from gnomon.analysis.overlap import Circumstance, Reason, Waits
from gnomon.analysis.questions import Span, literal
from gnomon.recording.base import Session

TIMED_SHARE = 0.8
TIMED_TOLERANCE = 0.02
FEWEST_SLEEPS = 10
# Of the sleeps: this many have work before them, or the thread only polls.
WORKING_SHARE = 0.5
# A thread that is nearly always woken by the same other thread waits for that one.
SAME_WAKER_SHARE = 0.5

# Linux lets timers be as late as this; what is shorter is no sleep.
SHORTEST_NS = 50_000
# How many sleeps are held against the calls around them, the first ones.
MOST_LOOKED_AT = 500

# Of all waits, by their time: the one in the middle; and those that are as long as it.
TIMED_SQL = """\
WITH waits AS (SELECT waiting_ns, weight, waker_pid, waker_tid FROM ({waits}) WHERE {where}),
middle AS (
  SELECT waiting_ns AS median_ns, all_ns FROM (
    SELECT waiting_ns, sum(waiting_ns * weight) OVER (ORDER BY waiting_ns) AS so_far_ns,
      sum(waiting_ns * weight) OVER () AS all_ns
    FROM waits
  ) WHERE 2 * so_far_ns >= all_ns ORDER BY so_far_ns LIMIT 1
), timed AS (
  SELECT waker_pid, coalesce(waker_tid, 0) AS waker_tid, sum(waiting_ns * weight) AS ns
  FROM waits, middle WHERE abs(waiting_ns - median_ns) <= {tolerance} * median_ns
  GROUP BY ALL
)
SELECT median_ns, all_ns::BIGINT AS all_ns,
  (SELECT sum(ns) FROM timed)::BIGINT AS timed_ns,
  (SELECT coalesce(max(ns), 0) FROM timed WHERE waker_tid <> 0)::BIGINT AS by_one_ns
FROM middle"""

SLEEPS_SQL = """\
SELECT coalesce(round(sum(weight)), 0)::BIGINT AS sleeps,
  coalesce(round(sum(waiting_ns * weight)), 0)::BIGINT AS slept_ns,
  max(waiting_ns) AS longest_ns
FROM ({waits}) WHERE {where}"""

# Of the first sleeps: how many, how many with a CUDA call of the thread since the sleep before, and
# how many in which another thread of the process ended a CUDA call.
BETWEEN_SQL = """\
WITH sleeps AS (
  SELECT from_ns AS at_ns, ts_ns AS until_ns, lag(ts_ns, 1, 0) OVER (ORDER BY ts_ns) AS since_ns
  FROM ({waits}) WHERE {where} ORDER BY ts_ns LIMIT {most}
), calls AS (
  SELECT ts_ns AS at_ns, CASE WHEN {own} THEN ts_ns END AS own_ns,
    CASE WHEN NOT {own} THEN ts_ns END AS others_ns
  FROM host_calls
  WHERE {calls} AND ts_ns <= (SELECT max(until_ns) FROM sleeps)
)
SELECT count(*) AS sleeps, count(*) FILTER (last_own_ns > since_ns) AS after_work,
  count(*) FILTER (next_other_ns < until_ns) AS while_others_work
FROM (
  SELECT *,
    max(own_ns) OVER (ORDER BY at_ns ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)
      AS last_own_ns,
    min(others_ns) OVER (ORDER BY at_ns ROWS BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING)
      AS next_other_ns
  FROM (SELECT * FROM sleeps UNION ALL BY NAME SELECT * FROM calls)
) WHERE until_ns IS NOT NULL"""


@dataclass(frozen=True, slots=True)
class SleepLoop:
    """``sleeps`` between a thread's work, ``slept_ns`` in all; ``where`` chooses its waits."""

    where: str
    sleeps: int
    slept_ns: int
    longest_ns: int
    by_stack: bool

    def within(self, session: Session, waits: Waits, bins: Span) -> SleepLoop:
        """Return those of its sleeps that end in a span."""
        where = f"{self.where} AND {bins.condition}"
        (row,) = session.rows(SLEEPS_SQL.format(waits=waits.sql, where=where))
        return replace(self, where=where, **row)


def sleep_loop(
    session: Session, waits: Waits, where: str, among: Sequence[Circumstance]
) -> SleepLoop | None:
    """Return the sleeps among some waits of a thread, if it sleeps between its work.

    ``where`` chooses the waits in SQL, ``among`` are the same as circumstances: where these hold
    no stay that is long enough, no query is made.
    """
    long_enough = [one for one in among if one.longest_waiting_ns >= SHORTEST_NS]
    asleep = f"({where}) AND waiting_ns >= {SHORTEST_NS}"
    loop = None
    if any(one.reason is Reason.SLEEP for one in long_enough):
        by_stack = f"{asleep} AND reason = '{Reason.SLEEP.value}'"
        loop = _between_work(session, waits, by_stack, by_stack=True)
    if loop is None and long_enough:
        loop = _timed(session, waits, asleep)
    return loop


def _timed(session: Session, waits: Waits, where: str) -> SleepLoop | None:
    found = session.rows(TIMED_SQL.format(waits=waits.sql, where=where, tolerance=TIMED_TOLERANCE))
    if not found or found[0]["timed_ns"] < TIMED_SHARE * found[0]["all_ns"]:
        return None
    if found[0]["by_one_ns"] >= SAME_WAKER_SHARE * found[0]["timed_ns"]:
        return None
    median_ns = found[0]["median_ns"]
    regular = f"abs(waiting_ns - {median_ns}) <= {TIMED_TOLERANCE} * {median_ns}"
    return _between_work(session, waits, f"{where} AND {regular}", by_stack=False)


def _between_work(
    session: Session, waits: Waits, where: str, *, by_stack: bool
) -> SleepLoop | None:
    (all_of_them,) = session.rows(SLEEPS_SQL.format(waits=waits.sql, where=where))
    if all_of_them["sleeps"] < FEWEST_SLEEPS:
        return None
    layers = ", ".join(literal(layer.value) for layer in CUDA_LAYERS)
    (first,) = session.rows(
        BETWEEN_SQL.format(
            waits=waits.sql,
            where=where,
            most=MOST_LOOKED_AT,
            own=f"tid IS NOT DISTINCT FROM {literal(waits.thread.tid)}",
            calls=f"{waits.span.condition} AND layer IN ({layers}) "
            f"AND {waits.thread.process_condition}",
        )
    )
    if first["after_work"] < WORKING_SHARE * first["sleeps"]:
        return None
    if first["while_others_work"] > (1 - WORKING_SHARE) * first["sleeps"]:
        return None
    return SleepLoop(where, by_stack=by_stack, **all_of_them)
