"""What threads did over time, in equal bins: the cause side of a chart.

Of each bin a thread was some share off the CPU (by class), waiting for the GPU in a
synchronisation, inside other CUDA calls, or running its own code, which is the rest between its
first row and its last. A row that lies in several bins is divided among them by time; its classes
are divided alike. Rows count by their weight, those without one as one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gnomon.analysis.activity import IDLE_STAY_NS
from gnomon.analysis.intervals import Floats
from gnomon.analysis.operations import CUDA_LAYERS, Kind, condition
from gnomon.analysis.questions import Span, ThreadKey, literal
from gnomon.recording.base import Session

# What a bin is made of, in the order in which it is stacked.
RUN_QUEUE, IO, VOLUNTARY, UNKNOWN, ASLEEP, WAITING, IN_CALLS, OWN_CODE = PARTS = (
    "run_queue",
    "io",
    "voluntary",
    "unknown",
    "asleep",
    "waiting",
    "in_calls",
    "own_code",
)
# A synchronisation that blocks is off the CPU of its own will: that part is WAITING already.
_MAY_BE_WAITING = (VOLUNTARY, UNKNOWN, ASLEEP)
_OUTERMOST = "(depth > 0) IS NOT TRUE"

# Rows in one bin, which nearly all are, take the short way.
DIVIDED_SQL = """\
WITH cut AS (
  SELECT *, (begin_ns - {from_ns}) // {bin_ns} AS first_bin,
    (end_ns - 1 - {from_ns}) // {bin_ns} AS last_bin
  FROM (
    SELECT *, greatest(ts_ns - duration_ns, {from_ns}) AS begin_ns, least(ts_ns, {to_ns}) AS end_ns
    FROM (SELECT host, pid, tid, ts_ns, duration_ns, coalesce(weight, 1) AS weight, {columns}
          FROM {table} WHERE {where})
  ) WHERE end_ns > begin_ns
), pieces AS (
  SELECT *, first_bin AS bin, (end_ns - begin_ns) / duration_ns AS share
  FROM cut WHERE first_bin = last_bin
  UNION ALL BY NAME
  SELECT *, (least(end_ns, {from_ns} + (bin + 1) * {bin_ns})
    - greatest(begin_ns, {from_ns} + bin * {bin_ns})) / duration_ns AS share
  FROM (SELECT *, unnest(range(first_bin, last_bin + 1)) AS bin
        FROM cut WHERE first_bin < last_bin)
)
SELECT host, pid, tid, bin::BIGINT AS bin, {sums} FROM pieces GROUP BY host, pid, tid, bin"""

LAUNCHES_SQL = """\
SELECT ((ts_ns - 1 - {from_ns}) // {bin_ns})::BIGINT AS bin,
  sum(coalesce(weight, 1))::DOUBLE AS launches,
  coalesce(bool_and(selection <> 'biased' AND weight IS NOT NULL), FALSE) AS are_counted
FROM host_calls WHERE {where} GROUP BY bin"""
LAUNCHED = condition(Kind.LAUNCH, Kind.GRAPH_LAUNCH)

_STAYS = {
    RUN_QUEUE: "coalesce(run_queue_ns, 0)",
    IO: "coalesce(io_ns, 0)",
    VOLUNTARY: f"CASE WHEN duration_ns < {IDLE_STAY_NS} THEN coalesce(voluntary_ns, 0) ELSE 0 END",
    UNKNOWN: f"CASE WHEN duration_ns < {IDLE_STAY_NS} THEN duration_ns - coalesce(run_queue_ns, 0) "
    "- coalesce(io_ns, 0) - coalesce(voluntary_ns, 0) ELSE 0 END",
    ASLEEP: f"CASE WHEN duration_ns < {IDLE_STAY_NS} THEN 0 ELSE duration_ns "
    "- coalesce(run_queue_ns, 0) - coalesce(io_ns, 0) END",
}
_IS_WAIT = condition(Kind.SYNCHRONIZATION)
_NOT_HELD_UP = "duration_ns - coalesce(run_queue_ns, 0) - coalesce(io_ns, 0)"
_BLOCKED = "waiting_off_cpu"
_CALLS = {
    WAITING: f"CASE WHEN {_IS_WAIT} THEN {_NOT_HELD_UP} ELSE 0 END",
    IN_CALLS: f"CASE WHEN {_IS_WAIT} THEN 0 ELSE duration_ns - coalesce(off_cpu_ns, 0) END",
    _BLOCKED: f"CASE WHEN {_IS_WAIT} THEN greatest(0, coalesce(off_cpu_ns, 0) "
    "- coalesce(run_queue_ns, 0) - coalesce(io_ns, 0)) ELSE 0 END",
}


@dataclass(frozen=True, slots=True)
class Grid:
    """``bins`` equal parts of a span; the last may reach beyond it.

    ``length_ns``: of each, where it is not to be computed from their number.
    """

    span: Span
    bins: int
    length_ns: int = 0

    @property
    def bin_ns(self) -> int:
        return self.length_ns or max(1, -(-(self.span.to_ns - self.span.from_ns) // self.bins))


@dataclass(frozen=True, slots=True)
class Lane:
    """A thread's bins: part -> share of each bin, 0 to 1; parts that never occur are left out.

    ``is_followed``: its stays off the CPU were recorded; else OWN_CODE is not known.
    """

    thread: ThreadKey
    is_followed: bool
    parts: Mapping[str, Sequence[float]]


def lanes(session: Session, grid: Grid, threads: Sequence[ThreadKey]) -> Sequence[Lane]:
    """Return what each of some threads did, in their order."""
    if not threads:
        return ()
    stays = _divided(session, grid, "off_cpu", _STAYS, threads, "TRUE")
    layers = ", ".join(literal(layer.value) for layer in CUDA_LAYERS)
    calls = _divided(
        session, grid, "host_calls", _CALLS, threads, f"{_OUTERMOST} AND layer IN ({layers})"
    )
    nothing = {name: np.zeros(grid.bins) for name in (*_STAYS, *_CALLS)}
    return [
        _lane(key, nothing | stays.get(key, {}) | calls.get(key, {}), is_followed=key in stays)
        for key in threads
    ]


def launches_per_s(
    session: Session, grid: Grid, *, launched: str = LAUNCHED, must_count: bool = False
) -> Sequence[float] | None:
    """Return launches of kernels and graphs in each bin, of all threads; None without any.

    Rows count by their weight; of rows without one (kept for being slow) only they themselves.
    ``must_count``: None where there are such rows. ``launched``: SQL that is true of launches; a
    list of the names that occur takes half the time of a pattern.
    """
    where = f"{grid.span.condition} AND {launched} AND {_OUTERMOST}"
    rows = session.rows(
        LAUNCHES_SQL.format(from_ns=grid.span.from_ns, bin_ns=grid.bin_ns, where=where)
    )
    if not rows or (must_count and not all(row["are_counted"] for row in rows)):
        return None
    counts = np.zeros(grid.bins)
    for row in rows:
        counts[row["bin"]] = row["launches"]
    return _listed(counts / grid.bin_ns * 1e9)


def _divided(
    session: Session,
    grid: Grid,
    table: str,
    columns: Mapping[str, str],
    threads: Sequence[ThreadKey],
    condition_: str,
) -> Mapping[ThreadKey, dict[str, Floats]]:
    """Return thread -> column -> ns in each bin."""
    span = grid.span
    anyone = " OR ".join(f"({key.condition})" for key in threads)
    query = DIVIDED_SQL.format(
        from_ns=span.from_ns,
        to_ns=span.to_ns,
        bin_ns=grid.bin_ns,
        table=table,
        columns=", ".join(f"{sql} AS {name}" for name, sql in columns.items()),
        sums=", ".join(f"sum({name} * share * weight) AS {name}" for name in columns),
        where=f"duration_ns > 0 AND ts_ns > {span.from_ns} "
        f"AND ts_ns - duration_ns < {span.to_ns} AND ({anyone}) AND {condition_}",
    )
    found: dict[ThreadKey, dict[str, Floats]] = {}
    for row in session.rows(query):
        key = ThreadKey(row["host"], row["pid"], row["tid"])
        of_thread = found.setdefault(key, {name: np.zeros(grid.bins) for name in columns})
        for name in columns:
            of_thread[name][row["bin"]] = row[name] / grid.bin_ns
    return found


def _lane(key: ThreadKey, shares: dict[str, Floats], *, is_followed: bool) -> Lane:
    blocked = shares.pop(_BLOCKED)
    for name in _MAY_BE_WAITING:
        taken = np.minimum(shares[name], blocked)
        shares[name], blocked = shares[name] - taken, blocked - taken
    total = np.sum(list(shares.values()), axis=0)
    if is_followed:
        shares[OWN_CODE] = np.clip(_between_first_and_last(total) - total, 0, 1)
    # Calls and stays come from different probes: where they overlap, a bin must not overflow.
    overflow = np.maximum(1.0, total)
    return Lane(
        key,
        is_followed,
        {
            name: _listed(np.maximum(0, shares[name]) / overflow)
            for name in PARTS
            if name in shares and shares[name].any()
        },
    )


def _between_first_and_last(total: Floats) -> Floats:
    """Return 1 from the first bin with anything in it to the last one, 0 elsewhere."""
    seen = np.flatnonzero(total)
    inside = np.zeros(len(total))
    if len(seen):
        inside[seen[0] : seen[-1] + 1] = 1
    return inside


def _listed(values: Any) -> list[float]:
    return [float(value) for value in values]
