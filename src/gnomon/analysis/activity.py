"""Threads that make CUDA calls or were followed, and what they did while they were active.

A thread that puts work into streams feeds a GPU. It is active from its first CUDA call to its last
(one without CUDA calls: from its first stay off the CPU to its last), but for stays of
``IDLE_STAY_NS`` and more outside of CUDA calls: then it had nothing to do, or waited for something
that detectors name.
What such a stay spent waiting for a CPU or a disk counts as active time, because then the thread
had something to do. Of the active time a thread ran inside CUDA calls, ran outside of them, or
stood off the CPU.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gnomon.analysis.latency import LONG_CALL_NS, Operation
from gnomon.analysis.operations import CUDA_LAYERS, DISPATCH, Kind
from gnomon.analysis.questions import Scope, Span, ThreadKey, literal
from gnomon.recording.base import Session

IDLE_STAY_NS = LONG_CALL_NS
# A thread with fewer calls, and a smaller share of its process's, does not feed the GPU.
FEWEST_CALLS = 10
SMALLEST_SHARE = 0.05

# Who was active when. Rows without such a span count wherever they are.
STAYS_SQL = """\
SELECT host, pid, tid,
  count(*) AS stays,
  bool_or(selection = 'biased') AS is_biased,
  round(sum(inside_ns * weight))::BIGINT AS all_ns,
  coalesce(round(sum(greatest(0, inside_ns - coalesce(run_queue_ns, 0) - coalesce(io_ns, 0))
    * weight) FILTER (duration_ns >= {idle})), 0)::BIGINT AS idle_ns,
  round(sum(run_queue_ns * weight))::BIGINT AS run_queue_ns,
  round(sum(io_ns * weight))::BIGINT AS io_ns,
  round(sum(voluntary_ns * weight) FILTER (duration_ns < {idle}))::BIGINT AS voluntary_ns,
  min(ts_ns - inside_ns) AS from_ns,
  max(ts_ns) AS to_ns
FROM (
  SELECT host, pid, tid, ts_ns, duration_ns, selection, run_queue_ns, io_ns, voluntary_ns,
    coalesce(weight, 1) AS weight, least(duration_ns, ts_ns - {begin}) AS inside_ns
  FROM off_cpu LEFT JOIN ({active}) AS active ON host IS NOT DISTINCT FROM active_host
    AND pid IS NOT DISTINCT FROM active_pid AND tid IS NOT DISTINCT FROM active_tid
  WHERE {where} AND (active_from_ns IS NULL OR (ts_ns > active_from_ns AND ts_ns <= active_to_ns))
)
GROUP BY host, pid, tid"""

NOBODY: Mapping[str, Any] = {
    "stays": 0,
    "is_biased": False,
    "all_ns": 0,
    "idle_ns": 0,
    "run_queue_ns": None,
    "io_ns": None,
    "voluntary_ns": None,
}


@dataclass(frozen=True, slots=True)
class ThreadActivity:
    """What a thread did in ``span``; its parts on and off the CPU hold where ``is_followed``.

    ``idle_ns`` is in long stays off the CPU, ``off_cpu_ns`` the rest of the time off it. Of all
    stays, ``run_queue_ns`` and ``io_ns`` are the parts that wait for a CPU and for a disk, of the
    short ones ``voluntary_ns``; they are None where the recorder could not tell them.
    ``is_off_cpu_biased``: not all stays were kept, and these are lower bounds.
    """

    thread: ThreadKey
    span: Span
    operations: Sequence[Operation]
    feeds_gpu: bool
    is_followed: bool
    is_off_cpu_biased: bool
    stays: int
    idle_ns: int
    off_cpu_ns: int
    run_queue_ns: int | None
    io_ns: int | None
    voluntary_ns: int | None

    @property
    def calls(self) -> int:
        """Rows of its outermost calls that were kept."""
        return sum(one.calls for one in self.outermost())

    @property
    def dispatched(self) -> int:
        """How often it put work into a stream, as far as is known."""
        return sum(one.made for one in self.outermost(*DISPATCH))

    @property
    def launches(self) -> int:
        """Kernels and graphs that it launched, as far as is known."""
        return sum(one.made for one in self.outermost(Kind.LAUNCH, Kind.GRAPH_LAUNCH))

    @property
    def biased(self) -> bool:
        return any(one.biased for one in self.operations)

    @property
    def active_ns(self) -> int:
        return max(0, self.span.to_ns - self.span.from_ns - self.idle_ns)

    @property
    def on_cpu_ns(self) -> int:
        return max(0, self.active_ns - self.off_cpu_ns)

    @property
    def in_calls_ns(self) -> int:
        """The length of outermost calls: of those that were kept, where ``biased``."""
        return sum(one.made_ns for one in self.outermost())

    @property
    def waiting_ns(self) -> int:
        """The part of it in calls that return when the GPU has done: see ``waits``."""
        return sum(one.made_ns for one in self._waits())

    @property
    def waits(self) -> int:
        """How often it synchronised, or copied synchronously, as far as is known."""
        return sum(one.made for one in self._waits())

    @property
    def off_cpu_in_calls_ns(self) -> int:
        """Time off the CPU inside calls, a blocking synchronisation's included."""
        return sum(one.off_cpu_ns or 0 for one in self.outermost())

    @property
    def on_cpu_in_calls_ns(self) -> int:
        """Time on the CPU inside calls, spinning in a synchronisation included."""
        return self.in_calls_ns - self.off_cpu_in_calls_ns

    @property
    def on_cpu_outside_ns(self) -> int:
        """Time on the CPU in its own code: at most this, where rows of calls are missing."""
        return max(0, self.on_cpu_ns - self.on_cpu_in_calls_ns)

    def _waits(self) -> Sequence[Operation]:
        return [
            one
            for one in self.outermost(Kind.SYNCHRONIZATION, Kind.COPY)
            if one.kind is Kind.SYNCHRONIZATION or "Async" not in one.operation
        ]

    def outermost(self, *kinds: Kind) -> Sequence[Operation]:
        """Return its outermost calls of some kinds, of all where none is named."""
        return [
            one for one in self.operations if not one.nested and (not kinds or one.kind in kinds)
        ]


def activities(
    session: Session, scope: Scope, operations: Sequence[Operation]
) -> Sequence[ThreadActivity]:
    """Return every thread with CUDA calls or stays off the CPU, the ones with most calls first."""
    by_thread: dict[ThreadKey, list[Operation]] = {}
    for one in operations:
        if one.layer in CUDA_LAYERS:
            by_thread.setdefault(one.thread, []).append(one)
    spans = {
        key: Span(
            max(min(one.from_ns for one in group), scope.span.from_ns),
            max(one.to_ns for one in group),
        )
        for key, group in by_thread.items()
    }
    stays = {
        ThreadKey(row.pop("host"), row.pop("pid"), row.pop("tid")): row
        for row in session.rows(_stays_sql(scope, spans))
    }
    feeding = _feeding(by_thread)
    found = [
        _activity(key, spans.get(key), by_thread.get(key, ()), stays.get(key), key in feeding)
        for key in {**by_thread, **stays}
    ]
    return sorted(found, key=lambda one: (-one.calls, -one.stays))


def _feeding(by_thread: Mapping[ThreadKey, Sequence[Operation]]) -> set[ThreadKey]:
    """Return the threads that put enough into streams, of their own and of their process's."""
    dispatched = {
        key: sum(one.made for one in group if one.kind in DISPATCH and not one.nested)
        for key, group in by_thread.items()
    }
    of_process: dict[tuple[str | None, int | None], int] = {}
    for key, calls in dispatched.items():
        process = (key.host, key.pid)
        of_process[process] = of_process.get(process, 0) + calls
    return {
        key
        for key, calls in dispatched.items()
        if calls >= max(FEWEST_CALLS, SMALLEST_SHARE * of_process[key.host, key.pid])
    }


def _stays_sql(scope: Scope, spans: Mapping[ThreadKey, Span]) -> str:
    return STAYS_SQL.format(
        idle=IDLE_STAY_NS,
        begin=scope.span.from_ns,
        where=scope.condition,
        active=spans_sql(spans),
    )


def spans_sql(spans: Mapping[ThreadKey, Span]) -> str:
    """Return a SELECT of threads and when they were active, without rows where there are none.

    Columns: place (0, 1, ...), active_host, active_pid, active_tid, active_from_ns, active_to_ns.
    """
    rows = ", ".join(
        f"({place}, {literal(key.host)}, {literal(key.pid)}, {literal(key.tid)}, "
        f"{span.from_ns}, {span.to_ns})"
        for place, (key, span) in enumerate(spans.items())
    )
    nobody = "(NULL, NULL, NULL, NULL, NULL, NULL)"
    return (
        "SELECT place::INT AS place, active_host::VARCHAR AS active_host, "
        "active_pid::INT AS active_pid, active_tid::INT AS active_tid, "
        "active_from_ns::BIGINT AS active_from_ns, active_to_ns::BIGINT AS active_to_ns "
        f"FROM (VALUES {rows or nobody}) AS spans(place, active_host, active_pid, active_tid, "
        "active_from_ns, active_to_ns) WHERE place IS NOT NULL"
    )


def _activity(
    key: ThreadKey,
    span: Span | None,
    operations: Sequence[Operation],
    stays: Mapping[str, Any] | None,
    feeds_gpu: bool,  # noqa: FBT001  a private function with one caller
) -> ThreadActivity:
    row = stays or NOBODY
    # Long waits inside calls are for the GPU.
    in_long_calls_ns = sum(one.long_off_cpu_ns for one in operations if not one.nested)
    idle_ns = max(0, row["idle_ns"] - in_long_calls_ns)
    return ThreadActivity(
        thread=key,
        span=span or Span(row["from_ns"], row["to_ns"]),
        operations=operations,
        feeds_gpu=feeds_gpu,
        is_followed=row["stays"] > 0 or any(one.calls_followed for one in operations),
        is_off_cpu_biased=bool(row["is_biased"]),
        stays=row["stays"],
        idle_ns=idle_ns,
        off_cpu_ns=row["all_ns"] - idle_ns,
        run_queue_ns=row["run_queue_ns"],
        io_ns=row["io_ns"],
        voluntary_ns=row["voluntary_ns"],
    )
