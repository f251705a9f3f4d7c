"""Why threads were off the CPU: each stay with the CUDA call around it and what it waited for.

A stay has parts: waiting for a CPU (``queued_ns``), for a disk (``io_ns``), and waiting by itself
(``waiting_ns``: a futex, a poll, a sleep; where the recorder could not tell classes, whatever it
did not tell to be one of the first two, and ``is_classed`` is false). What the third part waited
for is its ``reason``, by the stack; inside a CUDA call it is the call's.

A thread that soon comes on a CPU after the idle task waited for no other thread there: waking up,
or being moved to that CPU, took the time. That is ``waking_ns``, and no part of ``queued_ns``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from gnomon.analysis.activity import IDLE_STAY_NS, spans_sql
from gnomon.analysis.gpu_idle import BIN_NS, Stretch
from gnomon.analysis.operations import CUDA_LAYERS, Kind, condition
from gnomon.analysis.questions import Span, ThreadKey, literal
from gnomon.recording.base import Session


class Reason(StrEnum):
    """What a thread waited for by itself."""

    CUDA = "cuda"
    LOADER = "loader"
    LOCK = "lock"
    SLEEP = "sleep"
    REQUEST = "request"
    UNKNOWN = "unknown"
    NOTHING = "nothing"  # all of the stay is one of the other parts


# Frames by reason; the first that a stack has decides. A futex alone is no lock: queues,
# conditions and pools wait in one too.
LOCK_FRAMES = (
    r"take_gil|PyMutex_Lock|pthread_(mutex|spin|rwlock)_\w*lock|__lll_lock_wait|Mutex::[Ll]ock|"
    r"mutex::lock|__mutex_lock|rwsem_down|rt_mutex_\w*lock"
)
STACKS = (
    (Reason.LOCK, LOCK_FRAMES),
    (Reason.SLEEP, r"nanosleep|time_sleep|\busleep\b|sleep_for"),
    # Functions of loaders: a file's or directory's name is anybody's.
    (Reason.LOADER, r"(^|\.)_(try_get|next|get)_data( |$)|IteratorGetNext"),
    (Reason.REQUEST, r"epoll|\bpoll\b|do_sys_poll|select|recvmsg|recvfrom|accept|zmq"),
)

# Functions of the kernel that bring a page back (mm/memory.c, mm/page_io.c, mm/swap_state.c).
SWAP_IN = ("do_swap_page", "swapin_readahead", "swap_read_folio", "swap_readpage")

# What a stack says of a stay, by any of its frames.
OF_STACKS_SQL = """\
SELECT stack_hash AS of_stack, bool_or(symbol IN ({swap_in})) AS is_swapped,
  CASE {reasons} END AS reason_by_stack
FROM stacks GROUP BY stack_hash"""

# The call around a stay is the last one entered before it, if it was left after it began. Found by
# one pass over both in the order of time, numbers only: a join by nearest time took minutes for
# millions of stays, and names in that pass twice the time. ``call``: when it was left, and, in the
# lowest bit, whether it synchronises.
STAYS_SQL = """\
SELECT place, ts_ns, from_ns, duration_ns, run_queue_ns, weight, waker_pid, waker_tid,
  preemptor_tid, stack_hash,
  CASE WHEN {is_spinning} OR {is_waking} THEN 0 ELSE run_queue_ns END AS queued_ns,
  CASE WHEN ({is_spinning}) IS NOT TRUE AND {is_waking} THEN run_queue_ns ELSE 0 END AS waking_ns,
  CASE WHEN is_swapped IS NOT TRUE THEN io_ns END AS disk_ns,
  coalesce(voluntary_ns, CASE WHEN is_swapped THEN 0 ELSE
    greatest(0, duration_ns - coalesce(run_queue_ns, 0) - coalesce(io_ns, 0)) END) AS waiting_ns,
  voluntary_ns IS NOT NULL AS is_classed,
  CASE WHEN call // 2 > from_ns THEN 'cuda' WHEN waiting_ns = 0 THEN 'nothing'
    ELSE reason_outside END AS reason
FROM (
  SELECT * EXCLUDE (call_of_row), last_value(call_of_row IGNORE NULLS) OVER so_far AS call
  FROM (
    SELECT place, ts_ns, ts_ns - duration_ns AS from_ns, duration_ns, run_queue_ns, io_ns,
      voluntary_ns, waker_pid, waker_tid, preemptor_tid, stack_hash, is_swapped,
      coalesce(weight, 1) AS weight, true AS is_stay,
      coalesce(reason_by_stack, 'unknown') AS reason_outside
    FROM off_cpu JOIN ({who}) AS who ON {is_who}
      LEFT JOIN ({of_stacks}) AS of_stacks ON stack_hash = of_stack
    WHERE ts_ns > active_from_ns AND ts_ns <= active_to_ns
    UNION ALL BY NAME
    SELECT place, ts_ns - duration_ns AS from_ns, false AS is_stay,
      2 * ts_ns + {is_synchronization}::BIGINT AS call_of_row
    FROM host_calls JOIN ({who}) AS who ON {is_who}
    WHERE ts_ns > active_from_ns AND ts_ns - duration_ns < active_to_ns
      AND layer IN ({layers}) AND coalesce(depth, 0) = 0 AND coalesce(off_cpu_ns, duration_ns) > 0
  )
  WINDOW so_far AS (PARTITION BY place ORDER BY from_ns, is_stay
    ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)
) WHERE is_stay"""

# Where only calls say how long they were off the CPU: the same columns, a row a call.
CALLS_SQL = """\
SELECT place, ts_ns, ts_ns - duration_ns AS from_ns, duration_ns, stack_hash,
  coalesce(weight, 1) AS weight,
  CASE WHEN {is_synchronization} AND coalesce(voluntary_ns, 0) = 0 AND coalesce(io_ns, 0) = 0
    THEN 0 ELSE run_queue_ns END AS queued_ns,
  0::BIGINT AS waking_ns,
  CASE WHEN is_swapped IS NOT TRUE THEN io_ns END AS disk_ns,
  coalesce(voluntary_ns, greatest(0, off_cpu_ns - coalesce(run_queue_ns, 0) - coalesce(io_ns, 0)))
    AS waiting_ns,
  voluntary_ns IS NOT NULL AS is_classed,
  'cuda' AS reason,
  NULL::INT AS waker_pid, NULL::INT AS waker_tid, NULL::INT AS preemptor_tid
FROM host_calls JOIN ({who}) AS who ON {is_who}
  LEFT JOIN ({of_stacks}) AS of_stacks ON stack_hash = of_stack
WHERE ts_ns > active_from_ns AND ts_ns - duration_ns < active_to_ns
  AND layer IN ({layers}) AND coalesce(depth, 0) = 0 AND off_cpu_ns > 0"""

# To wake an idle CPU, or to move there, takes microseconds, and some hundred where a virtual
# machine has to be scheduled first. A CPU that idles for longer is denied: by a quota.
LONGEST_WAKING_NS = 1_000_000
IS_WAKING = f"(preemptor_tid = 0 AND run_queue_ns BETWEEN 1 AND {LONGEST_WAKING_NS})"
# Preempted while it span in a synchronisation.
IS_SPINNING = (
    "call // 2 > from_ns AND call % 2 = 1 AND coalesce(voluntary_ns, 0) = 0 "
    "AND coalesce(io_ns, 0) = 0"
)
# To look for a word takes a fraction of what a pattern does.
IS_SYNCHRONIZATION = f"(contains(operation, 'Synchronize') AND {condition(Kind.SYNCHRONIZATION)})"
IS_WHO = (
    "host IS NOT DISTINCT FROM active_host AND pid IS NOT DISTINCT FROM active_pid "
    "AND tid IS NOT DISTINCT FROM active_tid"
)

CIRCUMSTANCES_SQL = """\
SELECT place, reason, is_classed, waker_pid, waker_tid,
  CASE WHEN queued_ns > 0 THEN preemptor_tid END AS preemptor_tid,
  min(from_ns) AS from_ns, max(ts_ns) AS to_ns, round(sum(weight))::BIGINT AS stays,
  round(sum(queued_ns * weight))::BIGINT AS queued_ns,
  round(sum(waking_ns * weight))::BIGINT AS waking_ns,
  round(sum(disk_ns * weight))::BIGINT AS disk_ns,
  round(sum(waiting_ns * weight))::BIGINT AS waiting_ns,
  coalesce(round(sum(waiting_ns * weight) FILTER (duration_ns >= {idle})), 0)::BIGINT
    AS long_waiting_ns,
  max(waiting_ns) AS longest_waiting_ns
FROM ({waits}) WHERE {where}
GROUP BY ALL
ORDER BY place, waiting_ns DESC, reason, is_classed, waker_pid, waker_tid, preemptor_tid"""

# Stays shorter than a bin are added up by bins, longer ones stand alone.
STRETCHES_SQL = """\
SELECT min(from_ns) AS from_ns, max(ts_ns) AS to_ns,
  round(sum(({column}) * weight))::BIGINT AS lost_ns
FROM ({waits}) WHERE {column} > 0 AND ({where})
GROUP BY CASE WHEN duration_ns < {bin} THEN (ts_ns - 1) // {bin} ELSE ts_ns END
ORDER BY from_ns"""

TOTAL_SQL = """\
SELECT coalesce(round(sum(({column}) * weight)), 0)::BIGINT AS ns FROM ({waits}) WHERE {where}"""

# Of each stack the innermost Python frame, else the innermost frame; stacks that share it add up.
FRAME_SQL = """\
SELECT frame, round(sum(({column}) * weight))::BIGINT AS ns
FROM ({waits}) JOIN (
  SELECT stack_hash AS of_stack, arg_min(
    concat_ws(' ', symbol, nullif(concat_ws(':', file, line), '')),
    (kind IS DISTINCT FROM 'python', depth)) AS frame
  FROM stacks GROUP BY stack_hash
) ON stack_hash = of_stack
WHERE {column} > 0 AND ({where}) AND frame <> ''
GROUP BY frame ORDER BY ns DESC, frame LIMIT 1"""

# Up to a moment a holder was off the CPU for its stays that ended by then, and for what has passed
# of the next one, which is the first to end after it.
HOLDING_SQL = """\
WITH holder AS (
  SELECT ts_ns AS at_ns, ts_ns - duration_ns AS away_ns,
    sum(duration_ns) OVER (ORDER BY ts_ns) - duration_ns AS before_ns
  FROM off_cpu WHERE {holder}
), waits AS (
  SELECT from_ns, ts_ns - coalesce(run_queue_ns, 0) AS until_ns FROM ({waits}) WHERE {where}
), edges AS (
  SELECT from_ns AS at_ns, -1 AS sign FROM waits UNION ALL SELECT until_ns, 1 FROM waits
  UNION ALL BY NAME SELECT * FROM holder
)
SELECT coalesce(sum(sign * (at_ns - off_cpu_ns)), 0)::BIGINT AS ns FROM (
  SELECT at_ns, sign, coalesce(
    min(before_ns) OVER later + greatest(0, at_ns - min(away_ns) OVER later),
    (SELECT sum(at_ns - away_ns) FROM holder)
  ) AS off_cpu_ns
  FROM edges
  WINDOW later AS (ORDER BY at_ns, sign NULLS LAST
    ROWS BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING)
) WHERE sign IS NOT NULL"""


@dataclass(frozen=True, slots=True)
class Circumstance:
    """Stays off the CPU of a thread that have all this in common, each counted by its weight.

    ``queued_ns`` leaves out ``waking_ns``, and preemptions of a thread that span in a
    synchronisation: it waited for the GPU anyway; ``disk_ns`` leaves out pages that came back from
    swap. Both are None where no stay's class is known. ``preemptor_tid``: who had the CPU while it
    was queued. ``long_waiting_ns``: in stays that are too long for an active thread.
    """

    reason: Reason
    is_classed: bool
    waker_pid: int | None
    waker_tid: int | None
    preemptor_tid: int | None
    from_ns: int
    to_ns: int
    stays: int
    queued_ns: int | None
    waking_ns: int
    disk_ns: int | None
    waiting_ns: int
    long_waiting_ns: int
    longest_waiting_ns: int


@dataclass(frozen=True, slots=True)
class Waits:
    """A thread's stays off the CPU in a span, or, where ``by_calls``, what its calls say of them.

    Questions about them are SELECTs that stand alone; their columns are those of ``sql``.
    """

    thread: ThreadKey
    span: Span
    by_calls: bool = False

    @property
    def sql(self) -> str:
        """The SELECT of all of them."""
        return waits_sql({self.thread: self.span}, by_calls=self.by_calls)

    def total_sql(self, column: str, where: str = "true") -> str:
        """Return the SELECT of a sum, in ns."""
        return TOTAL_SQL.format(column=column, where=where, waits=self.sql)

    def frame_sql(self, column: str, where: str = "true") -> str:
        """Return the SELECT of the frame in which most of it was spent, and of how much."""
        return FRAME_SQL.format(column=column, where=where, waits=self.sql)

    def stretches(self, session: Session, column: str, where: str = "true") -> Sequence[Stretch]:
        """Return when they lost a column, short ones by bins."""
        query = STRETCHES_SQL.format(bin=BIN_NS, column=column, where=where, waits=self.sql)
        return [Stretch(**row) for row in session.rows(query)]

    def circumstances(self, session: Session, where: str) -> Sequence[Circumstance]:
        """Return why the thread was off the CPU in some of them, the longest waits first."""
        return [one for _, one in _circumstances(session, self.sql, where)]

    def holding_sql(self, holder: ThreadKey, where: str) -> str:
        """Return the SELECT of how long another thread was on the CPU during some of them."""
        holds = f"{self.span.condition} AND {holder.condition}"
        return HOLDING_SQL.format(holder=holds, waits=self.sql, where=where)


def waits_sql(spans: Mapping[ThreadKey, Span], *, by_calls: bool = False) -> str:
    """Return the SELECT of all stays of some threads in their spans; ``place`` tells whose."""
    of_stacks = OF_STACKS_SQL.format(
        swap_in=", ".join(map(literal, SWAP_IN)),
        reasons=" ".join(
            f"WHEN bool_or(regexp_matches(concat_ws(' ', symbol, file), {literal(pattern)})) "
            f"THEN '{reason.value}'"
            for reason, pattern in STACKS
        ),
    )
    return (CALLS_SQL if by_calls else STAYS_SQL).format(
        is_synchronization=IS_SYNCHRONIZATION,
        is_spinning=IS_SPINNING,
        is_waking=IS_WAKING,
        of_stacks=of_stacks,
        who=spans_sql(spans),
        is_who=IS_WHO,
        layers=", ".join(literal(layer.value) for layer in CUDA_LAYERS),
    )


def circumstances(
    session: Session,
    spans: Mapping[ThreadKey, Span],
    *,
    by_calls: bool = False,
    is_kept: bool = False,
) -> Mapping[ThreadKey, Sequence[Circumstance]]:
    """Return why each of some threads was off the CPU, the longest waits first.

    ``is_kept``: the session keeps the waits (100 bytes each), so that what ``Waits`` is asked of
    these threads afterwards is cheap.
    """
    found: dict[ThreadKey, list[Circumstance]] = {key: [] for key in spans}
    if not spans:
        return found
    waits = waits_sql(spans, by_calls=by_calls)
    if is_kept:
        of_each = {
            Waits(key, span, by_calls).sql: f"SELECT * FROM {{kept}} WHERE place = {place}"
            for place, (key, span) in enumerate(spans.items())
        }
        session.keep(waits, of_each)
    keys = list(spans)
    for place, one in _circumstances(session, waits):
        found[keys[place]].append(one)
    return found


def _circumstances(
    session: Session, waits: str, where: str = "true"
) -> Iterator[tuple[int, Circumstance]]:
    query = CIRCUMSTANCES_SQL.format(waits=waits, idle=IDLE_STAY_NS, where=where)
    for row in session.rows(query):
        yield row.pop("place"), Circumstance(**row | {"reason": Reason(row["reason"])})
