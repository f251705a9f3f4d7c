"""Who came last to collectives, and how long the other ranks had waited there.

A collective starts on every rank when the last one has entered it. Of each collective (the same
communicator and sequence number) the entries of all recorded ranks are compared; what a rank
enqueued before the last one came is its wait. Where a rank enqueues several ahead, waits overlap in
time: each nanosecond of a rank counts once.

An entry is when the host enqueued the collective, so this is the most that hosts can have cost. A
GPU still busy with older work when its host enqueues waits for less, or not at all; a rank whose
GPU alone is slow enqueues in time and is not seen here. So the lateness of a rank is set against
the time in which its GPU had nothing to do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gnomon.analysis.concentration import BIN_NS, concentration
from gnomon.analysis.gpu_idle import Stretch
from gnomon.analysis.operations import CUDA_LAYERS, DISPATCH, Kind, condition
from gnomon.analysis.questions import Scope, Span, ThreadKey, literal
from gnomon.recording.base import Session

if TYPE_CHECKING:
    from gnomon.analysis.clock_error import ClockError

# A send or receive has a peer, and starts when these two have come.
WHOLE = (
    "communicator IS NOT NULL AND sequence IS NOT NULL AND rank IS NOT NULL "
    "AND duration_ns IS NOT NULL AND peer_rank IS NULL"
)

WAITS_SQL = """\
WITH entered AS (
  SELECT host, pid, tid, rank, communicator, sequence,
    ts_ns - duration_ns - {ahead} AS entered_ns, {uncertainty} AS uncertainty_ns
  FROM nccl_calls WHERE {where} AND {whole}
), joint AS (
  SELECT communicator, sequence, max(entered_ns) AS last_ns, count(DISTINCT rank) AS ranks,
    arg_max(rank, entered_ns) AS last_rank, arg_max(host, entered_ns) AS last_host,
    arg_max(pid, entered_ns) AS last_pid, arg_max(tid, entered_ns) AS last_tid,
    arg_max(uncertainty_ns, entered_ns) AS last_uncertainty_ns
  FROM entered GROUP BY communicator, sequence HAVING count(DISTINCT rank) > 1
), waits AS (
  SELECT entered.*, joint.* EXCLUDE (communicator, sequence), greatest(0, last_ns - greatest(
      entered_ns, coalesce(max(last_ns) OVER (PARTITION BY host, pid, tid ORDER BY last_ns
        ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), entered_ns))
    - CASE WHEN host IS NOT DISTINCT FROM last_host THEN 0
      ELSE uncertainty_ns + last_uncertainty_ns END) AS waited_ns
  FROM entered JOIN joint USING (communicator, sequence) WHERE rank <> last_rank
)"""

LATE_SQL = """\
{waits}, late AS (
  SELECT last_host, last_pid, last_tid, last_rank, communicator, sequence, last_ns, ranks,
    coalesce(sum(waited_ns), 0) AS waited_ns, coalesce(max(waited_ns), 0) AS late_ns
  FROM waits GROUP BY ALL
)
SELECT last_host AS host, last_pid AS pid, last_tid AS tid, (last_ns - 1) // {bucket} AS bucket,
  min(last_rank) AS rank, max(ranks) AS ranks, count(*) AS collectives,
  sum(waited_ns)::BIGINT AS waited_ns, sum(late_ns)::BIGINT AS late_ns,
  min(last_ns - late_ns) AS from_ns, max(last_ns) AS to_ns
FROM late GROUP BY host, pid, tid, bucket ORDER BY host, pid, tid, bucket"""

# Between the end of a wait for all of a stream and the next work put into one, the stream is empty.
EMPTY_SQL = """\
SELECT (next_ns - 1) // {bucket} AS bucket, sum(next_ns - ts_ns)::BIGINT AS empty_ns FROM (
  SELECT ts_ns, {drains} AS drains,
    lead({feeds}) OVER following AS feeds, lead(ts_ns) OVER following AS next_ns
  FROM host_calls WHERE {where} AND {thread} AND layer IN ({layers}) AND (depth > 0) IS NOT TRUE
    AND ({drains} OR {feeds} OR {waits})
  WINDOW following AS (ORDER BY ts_ns)
) WHERE drains AND feeds GROUP BY bucket"""
# A wait for an event may leave work behind it.
_WAITS = condition(Kind.SYNCHRONIZATION)
_DRAINS = f"({_WAITS} AND operation NOT LIKE '%Event%')"


# How many collectives ended their waits in some bins, of those that a thread took part in.
JOINT_SQL = """\
{waits}
SELECT count(DISTINCT (communicator, sequence)) AS collectives FROM waits
WHERE {when} AND communicator IN (SELECT communicator FROM waits WHERE {came_last})"""


@dataclass(frozen=True, slots=True)
class Bucket:
    """A second in which a rank came last: what others waited in sum, and the longest of them.

    [from_ns, to_ns] holds all of these waits, which may have begun before that second.
    """

    number: int
    waited_ns: int
    late_ns: int
    from_ns: int
    to_ns: int


@dataclass(frozen=True, slots=True)
class Straggler:
    """A thread that came last to ``collectives``; ``ranks``: how many took part in each.

    Of all the times when it came last, those that hold nearly all of what it cost: they came in
    ``bins``; None where that is all of them.
    """

    thread: ThreadKey
    rank: int
    ranks: int
    collectives: int
    from_ns: int
    to_ns: int
    buckets: Sequence[Bucket]
    bins: Span | None

    @property
    def waited_ns(self) -> int:
        """Waits of all other ranks, in sum."""
        return sum(one.waited_ns for one in self.buckets)

    @property
    def late_ns(self) -> int:
        """How late it came, in sum: after the first of the others."""
        return sum(one.late_ns for one in self.buckets)

    def bounded_ns(self, empty_ns: Mapping[int, float]) -> int:
        """Return the waits of others, each second no more than its GPU was ``empty_ns`` in them.

        ``empty_ns``: number of the second -> ns. Others wait together, so that the bound holds
        for the longest wait and scales the rest.
        """
        return round(
            sum(
                one.waited_ns * min(1.0, empty_ns.get(one.number, 0.0) / one.late_ns)
                for one in self.buckets
                if one.late_ns
            )
        )


def stragglers(
    session: Session, scope: Scope, errors: Mapping[str | None, ClockError]
) -> Sequence[Straggler]:
    """Return every thread that came last to a collective, who cost most first.

    ``errors``: the clocks of hosts. Waits for a rank on another host count as far as they exceed
    the uncertainty of both clocks, and not at all where these are not tied together.
    """
    query = LATE_SQL.format(waits=waits_sql(scope, errors), bucket=BIN_NS)
    by_thread: dict[ThreadKey, list[dict[str, int]]] = {}
    for row in session.rows(query):
        key = ThreadKey(row.pop("host"), row.pop("pid"), row.pop("tid"))
        by_thread.setdefault(key, []).append(row)
    found = [_straggler(key, rows) for key, rows in by_thread.items()]
    return sorted(found, key=lambda one: -one.waited_ns)


def waits_sql(scope: Scope, errors: Mapping[str | None, ClockError]) -> str:
    """Return the WITH clause of ``waits``: a row a rank that waited and collective."""
    return WAITS_SQL.format(
        where=scope.condition,
        whole=WHOLE,
        ahead=_by_host({host: one.ahead_ns for host, one in errors.items()}, "0"),
        uncertainty=_by_host({host: one.uncertainty_ns for host, one in errors.items()}, "NULL"),
    )


def waited_sql(scope: Scope, errors: Mapping[str | None, ClockError], one: Straggler) -> str:
    """Return the SELECT of what others waited for one thread, in sum."""
    waits = waits_sql(scope, errors)
    return f"{waits}\nSELECT sum(waited_ns)::BIGINT AS ns FROM waits WHERE {came_last(one)}"


def joint_sql(scope: Scope, errors: Mapping[str | None, ClockError], one: Straggler) -> str:
    """Return the SELECT of how many collectives there were, whoever came last, meanwhile."""
    return JOINT_SQL.format(
        waits=waits_sql(scope, errors),
        when=f"last_ns BETWEEN {one.from_ns} AND {one.to_ns}",
        came_last=came_last(one),
    )


def came_last(one: Straggler) -> str:
    """As it stands in a WHERE of ``waits``: this thread came last, in its bins."""
    conditions = [
        f"last_{name} IS NOT DISTINCT FROM {literal(value)}"
        for name, value in (
            ("host", one.thread.host),
            ("pid", one.thread.pid),
            ("tid", one.thread.tid),
        )
    ]
    if one.bins is not None:
        conditions.append(f"last_ns > {one.bins.from_ns} AND last_ns <= {one.bins.to_ns}")
    return " AND ".join(conditions)


def empty_ns(session: Session, scope: Scope, thread: ThreadKey) -> Mapping[int, float]:
    """Return second -> ns in which a thread had left nothing queued, after it waited for all of it.

    Work that other threads or streams have queued is not seen.
    """
    query = EMPTY_SQL.format(
        bucket=BIN_NS,
        drains=_DRAINS,
        feeds=condition(*DISPATCH),
        waits=_WAITS,
        where=scope.condition,
        thread=thread.condition,
        layers=", ".join(literal(layer.value) for layer in CUDA_LAYERS),
    )
    return {row["bucket"]: float(row["empty_ns"]) for row in session.rows(query)}


def _by_host(values: Mapping[str | None, int], otherwise: str) -> str:
    """Return SQL that is a host's value."""
    cases = " ".join(
        f"WHEN host IS NOT DISTINCT FROM {literal(host)} THEN {value}"
        for host, value in values.items()
    )
    return f"CASE {cases} ELSE {otherwise} END" if cases else otherwise


def _straggler(key: ThreadKey, rows: Sequence[dict[str, int]]) -> Straggler:
    found = concentration([Stretch(row["from_ns"], row["to_ns"], row["waited_ns"]) for row in rows])
    bins = None if found is None or found.is_all else found.bins
    told = [row for row in rows if bins is None or bins.from_ns < row["to_ns"] <= bins.to_ns]
    return Straggler(
        thread=key,
        rank=min(row["rank"] for row in told),
        ranks=max(row["ranks"] for row in told),
        collectives=sum(row["collectives"] for row in told),
        from_ns=min(row["from_ns"] for row in told),
        to_ns=max(row["to_ns"] for row in told),
        buckets=[
            Bucket(row["bucket"], row["waited_ns"], row["late_ns"], row["from_ns"], row["to_ns"])
            for row in told
        ],
        bins=bins,
    )
