"""Launching: a thread inside launches of kernels, and on the CPU on its way from one to the next.

From the begin of a launch to the begin of the next one, less the time off the CPU and on the CPU in
other CUDA calls. A distance of more than ``PAUSE_NS``, or many times the usual one, is a pause for
something else and does not count; so where launches were sampled, shorter pauses are not seen, and
what they cost counts as launching. Where launches were followed for a part of the time alone
(``call_histograms.covered_ns``), that part stands for the whole interval. ``launch_bound`` claims
this time, so ``host_bound`` does not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from gnomon.analysis.activity import ThreadActivity
from gnomon.analysis.latency import Operation, among
from gnomon.analysis.operations import CUDA_LAYERS, Kind
from gnomon.analysis.questions import Span, literal
from gnomon.analysis.recorded import lost_rows
from gnomon.detectors.case import Case
from gnomon.detectors.causes._loss import Loss, loss_of
from gnomon.detectors.grading import INFO_SHARE
from gnomon.detectors.needs import what_was_lost

# PyTorch took 4 to 42 us of Python and C++ for each kernel (an H200's host, eager decoding of a
# language model the slowest); a thread that takes longer does something else between them.
LONGEST_PITCH_NS = 50_000
PAUSE_NS = 100_000
# Usual is the median where all launches were kept. Where chance left some, distances are spread
# exponentially: the mean follows from the chance, and one in 1,000 is seven means long.
PAUSE_MEDIANS, PAUSE_MEANS = 10, 7
FEWEST_LAUNCHES = 1_000
# A thread that waits after fewer launches starves its GPU by waiting: `synchronization`.
LAUNCHES_A_WAIT = 20
# A graph is many kernels and one launch: what is between graphs is not between kernels.
MOST_GRAPH_SHARE = 0.1
# Who launches for less of the time has time to wait for the GPU.
LAUNCHING_SHARE = 0.5

# ``piece``: the number of launches that had begun. What ends in a piece lies in it: a thread that
# begins a launch is neither off the CPU nor in another call.
DISTANCES_SQL = """\
WITH moments AS (
  SELECT ts_ns - duration_ns AS at_ns, coalesce(weight, 1) AS launches, 0 AS gone_ns,
    (duration_ns - coalesce(off_cpu_ns, 0)) * coalesce(weight, 1) AS in_launches_ns
  FROM host_calls WHERE {calls} AND {launch}
  UNION ALL SELECT ts_ns, 0, (duration_ns - coalesce(off_cpu_ns, 0)) * coalesce(weight, 1), 0
  FROM host_calls WHERE {calls} AND NOT {launch}
  UNION ALL SELECT ts_ns, 0, duration_ns * coalesce(weight, 1), 0 FROM off_cpu WHERE {stays}
), numbered AS (
  SELECT *, sum((launches > 0)::INT) OVER (
    ORDER BY at_ns, launches DESC ROWS UNBOUNDED PRECEDING) AS piece
  FROM moments
), pieces AS (
  SELECT piece, min(at_ns) AS from_ns, sum(gone_ns) AS gone_ns, sum(launches) AS launches,
    sum(in_launches_ns) AS in_launches_ns
  FROM numbered WHERE piece > 0 GROUP BY piece
)
SELECT * FROM (
  SELECT from_ns, lead(from_ns) OVER by_piece AS ts_ns, launches, in_launches_ns,
    greatest(0, lead(from_ns) OVER by_piece - from_ns - gone_ns)::BIGINT AS lost_ns
  FROM pieces WINDOW by_piece AS (ORDER BY piece)
) WHERE ts_ns IS NOT NULL"""

# How long launches were followed in each interval of the recorder, as far as it lies in the span.
COVERED_SQL = """\
SELECT ts_ns AS until_ns, max(duration_ns) AS interval_ns,
  min(least(ts_ns, {to_ns}) - greatest(ts_ns - duration_ns, {from_ns})) AS inside_ns,
  max(coalesce(covered_ns, duration_ns)) AS covered_ns
FROM call_histograms
WHERE {process} AND {launch} AND ts_ns > {from_ns} AND ts_ns - duration_ns < {to_ns}
  AND duration_ns > 0 AND covered_ns IS DISTINCT FROM 0
GROUP BY ts_ns"""

# Distances with the recorder's interval that they lie in, and what is a pause there: chances change
# from one to the next. Launches kept for their length have a smaller weight than those by chance.
# What launches were followed in lies at an interval's end; from there to the one before is nothing.
TIMED_SQL = """\
WITH seen AS (
  SELECT * FROM ({distances}) AS distances ASOF JOIN ({covered}) ON distances.ts_ns <= until_ns
  WHERE covered_ns = interval_ns OR from_ns >= until_ns - covered_ns
), usual AS (
  SELECT until_ns, greatest({least_ns}, CASE WHEN min(launches) = max(launches)
    THEN {medians} * quantile_disc(lost_ns, 0.5)
    ELSE {means} * max(launches) * least(any_value(covered_ns), any_value(inside_ns))
      / sum(launches) END)::BIGINT AS pause_ns
  FROM seen GROUP BY until_ns
)
SELECT * FROM seen JOIN usual USING (until_ns)"""

# An interval is one piece then: what was seen of it stands for all of it.
STRETCHED_SQL = """\
SELECT least(until_ns, {to_ns}) AS ts_ns, sum(launches) AS launches,
  sum(in_launches_ns) AS in_launches_ns,
  least(any_value(inside_ns), round(sum(lost_ns) * any_value(interval_ns / covered_ns)))::BIGINT
    AS lost_ns
FROM ({distances}) GROUP BY until_ns"""


@dataclass(frozen=True, slots=True)
class Launching:
    """Time of a thread that went to launching kernels one by one, and what its GPU lost by it.

    Of it ``in_launches_ns`` were inside of ``launches`` calls, ``between_ns`` on the way from one
    to the next. ``paused_sql``: a SELECT of the distances that were too long to be that.
    ``is_sampled``: not every launch was kept.
    """

    loss: Loss
    launches: int
    in_launches_ns: int
    pause_ns: int
    paused_sql: str
    is_sampled: bool

    @property
    def between_ns(self) -> int:
        return max(0, self.loss.lost_ns - self.in_launches_ns)

    @property
    def between_sql(self) -> str:
        """The SELECT of ``between_ns``."""
        return (
            "SELECT greatest(0, sum(lost_ns)::BIGINT - round(sum(in_launches_ns))::BIGINT) AS ns "
            f"FROM ({self.loss.sql})"
        )


def launching(case: Case, one: ThreadActivity) -> Launching | None:
    """Return how much of a thread's time went to launching, where its GPU was idle meanwhile.

    None where that was not measured, or where it launches seldom, by graphs, or between waits.
    """
    launches = one.outermost(Kind.LAUNCH)
    if case.idle_of(one.thread) is None or not _is_worth_a_look(one, launches):
        return None
    if not _are_known(launches) or _lacks_rows(case):
        return None
    covered = _covered_sql(case, one)
    distances = _distances_sql(case, one, covered)
    case.session.keep(distances)
    pause_ns = case.value(f"SELECT max(pause_ns) AS ns FROM ({distances})")
    short, paused = (
        f"SELECT * FROM ({distances}) WHERE lost_ns {sign} pause_ns" for sign in ("<=", ">")
    )
    if case.value(f"SELECT count(*) AS n FROM ({covered}) WHERE covered_ns < interval_ns"):
        to_ns = case.span.to_ns
        short, paused = (
            STRETCHED_SQL.format(distances=sql, to_ns=to_ns) for sql in (short, paused)
        )
    loss = loss_of(case, one, short)
    if loss is None or loss.lost_ns < LAUNCHING_SHARE * (loss.to_ns - loss.from_ns):
        return None
    (sums,) = case.session.rows(
        "SELECT round(sum(launches))::BIGINT AS launches, "
        f"round(sum(in_launches_ns))::BIGINT AS in_launches_ns FROM ({loss.sql})"
    )
    if not sums["launches"] or loss.lost_ns > LONGEST_PITCH_NS * sums["launches"]:
        return None
    return Launching(
        loss=_without_stays(case, one, loss),
        launches=sums["launches"],
        in_launches_ns=sums["in_launches_ns"],
        pause_ns=pause_ns,
        paused_sql=paused,
        is_sampled=any(group.is_sampled for group in launches),
    )


def launch_sql(one: ThreadActivity) -> str:
    """Return SQL that is true of a thread's launches of single kernels."""
    return among(one.operations, Kind.LAUNCH)


def calls_sql(case: Case, one: ThreadActivity) -> str:
    """Return a condition that is true of a thread's outermost CUDA calls."""
    layers = ", ".join(literal(layer.value) for layer in CUDA_LAYERS)
    return (
        f"{case.span.condition} AND {one.thread.condition} AND layer IN ({layers}) "
        "AND coalesce(depth, 0) = 0"
    )


def _is_worth_a_look(one: ThreadActivity, launches: Sequence[Operation]) -> bool:
    launched = sum(group.made for group in launches)
    graphs_ns = sum(group.made_ns for group in one.outermost(Kind.GRAPH_LAUNCH))
    return (
        launched >= max(FEWEST_LAUNCHES, LAUNCHES_A_WAIT * one.waits)
        and launched * LONGEST_PITCH_NS >= INFO_SHARE * one.active_ns
        and graphs_ns <= MOST_GRAPH_SHARE * sum(group.made_ns for group in launches)
    )


def _are_known(launches: Sequence[Operation]) -> bool:
    """Tell whether rows say how many launches there were: all were kept, or each has a weight."""
    return all(one.stood_for_calls is not None or not one.biased for one in launches)


def _lacks_rows(case: Case) -> bool:
    """Tell whether a share of calls or stays was lost; without them more time counts as launching.

    Of calls, of all that the kept ones stand for: what was left out by chance is not lost.
    """
    calls = sum(one.made for one in case.operations if one.layer in CUDA_LAYERS)
    stays = sum(one.stays for one in case.activities)
    return what_was_lost(lost_rows(case.session, case.span), calls, stays) is not None


def _without_stays(case: Case, one: ThreadActivity, loss: Loss) -> Loss:
    """Return a loss of no more than the GPU was idle beyond the thread's stays outside of calls.

    For those the GPU waited too, and other causes name them.
    """
    idle = case.idle_of(one.thread)
    if idle is None:
        return loss
    span = Span(loss.from_ns, loss.to_ns)
    within = f"{span.condition} AND {one.thread.condition}"
    off_cpu_ns = case.value(
        "SELECT coalesce(sum(duration_ns * coalesce(weight, 1)), 0)::BIGINT "
        "- (SELECT coalesce(sum(off_cpu_ns * coalesce(weight, 1)), 0)::BIGINT FROM host_calls "
        f"WHERE {within} AND coalesce(depth, 0) = 0) AS ns FROM off_cpu WHERE {within}"
    )
    left_ns = round(idle.within(span.from_ns, span.to_ns)) - max(0, off_cpu_ns)
    idle_ns = max(0, min(loss.idle_ns, left_ns))
    return replace(loss, idle_ns=idle_ns, share=loss.share * idle_ns / max(1, loss.idle_ns))


def _covered_sql(case: Case, one: ThreadActivity) -> str:
    """Return the recorder's intervals; the span is one where none were recorded."""
    from_ns, to_ns = case.span.from_ns, case.span.to_ns
    covered = COVERED_SQL.format(
        process=one.thread.process_condition,
        launch=launch_sql(one),
        from_ns=from_ns,
        to_ns=to_ns,
    )
    if case.value(f"SELECT count(*) AS n FROM ({covered})"):
        return covered
    names = ("interval_ns", "inside_ns", "covered_ns")
    lengths = ", ".join(f"{to_ns - from_ns} AS {name}" for name in names)
    return f"SELECT {to_ns} AS until_ns, {lengths}"


def _distances_sql(case: Case, one: ThreadActivity, covered: str) -> str:
    distances = DISTANCES_SQL.format(
        calls=calls_sql(case, one),
        launch=launch_sql(one),
        stays=f"{case.span.condition} AND {one.thread.condition}",
    )
    return TIMED_SQL.format(
        distances=distances,
        covered=covered,
        least_ns=PAUSE_NS,
        medians=PAUSE_MEDIANS,
        means=PAUSE_MEANS,
    )
