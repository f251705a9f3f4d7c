"""Threads that feed a GPU, and what they did while they were active.

A thread that puts work into streams is a dispatch thread. It is active from its first row to its
last, but for stays off the CPU of ``IDLE_STAY_NS`` and more: then it had nothing to do, or waited
for something that other detectors name. Of the active time it ran inside CUDA calls, ran outside
of them, or stood off the CPU in short stays.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gnomon.analysis.latency import Operation
from gnomon.analysis.operations import CUDA_LAYERS, DISPATCH, Kind
from gnomon.analysis.questions import Scope, Span, ThreadKey
from gnomon.recording.base import Session

IDLE_STAY_NS = 250_000_000
# A thread with fewer calls, and a smaller share of its process's, does not feed the GPU.
FEWEST_CALLS = 10
SMALLEST_SHARE = 0.05

STAYS_SQL = """\
SELECT
  count(*) AS stays,
  coalesce(sum(duration_ns), 0)::BIGINT AS off_cpu_ns,
  coalesce(sum(duration_ns) FILTER (duration_ns >= {idle}), 0)::BIGINT AS idle_ns,
  sum(run_queue_ns) FILTER (duration_ns < {idle})::BIGINT AS run_queue_ns,
  sum(io_ns) FILTER (duration_ns < {idle})::BIGINT AS io_ns,
  sum(voluntary_ns) FILTER (duration_ns < {idle})::BIGINT AS voluntary_ns,
  min(ts_ns - duration_ns) AS from_ns,
  max(ts_ns) AS to_ns
FROM off_cpu WHERE {where}"""


@dataclass(frozen=True, slots=True)
class DispatchThread:
    """What a dispatch thread did in ``span``; its parts are None where it was not followed.

    ``idle_ns`` is in long stays off the CPU, ``off_cpu_ns`` in short ones; of these, classes are
    None where the recorder could not tell them. ``in_calls_ns`` is the length of outermost calls
    (of those that were kept, where ``biased``), ``waiting_ns`` the part in synchronisations.
    """

    thread: ThreadKey
    span: Span
    operations: Sequence[Operation]
    is_followed: bool
    stays: int
    idle_ns: int
    off_cpu_ns: int
    run_queue_ns: int | None
    io_ns: int | None
    voluntary_ns: int | None

    @property
    def calls(self) -> int:
        return sum(one.calls for one in self.operations if not one.nested)

    @property
    def launches(self) -> int:
        """Kernels and graphs that it launched, as far as rows were kept."""
        return sum(one.calls for one in self._outermost(Kind.LAUNCH, Kind.GRAPH_LAUNCH))

    @property
    def biased(self) -> bool:
        return any(one.biased for one in self.operations)

    @property
    def active_ns(self) -> int:
        return self.span.to_ns - self.span.from_ns - self.idle_ns

    @property
    def on_cpu_ns(self) -> int:
        return max(0, self.active_ns - self.off_cpu_ns)

    @property
    def in_calls_ns(self) -> int:
        return sum(one.total_ns for one in self.operations if not one.nested)

    @property
    def waiting_ns(self) -> int:
        return sum(one.total_ns for one in self._outermost(Kind.SYNCHRONIZATION))

    @property
    def on_cpu_in_calls_ns(self) -> int:
        """Time on the CPU inside calls, spinning in a synchronisation included."""
        inside = [one for one in self.operations if not one.nested]
        return sum(one.total_ns - (one.off_cpu_ns or 0) for one in inside)

    @property
    def on_cpu_outside_ns(self) -> int:
        """Time on the CPU in its own code: at most this, where rows of calls are missing."""
        return max(0, self.on_cpu_ns - self.on_cpu_in_calls_ns)

    def _outermost(self, *kinds: Kind) -> Sequence[Operation]:
        return [one for one in self.operations if not one.nested and one.kind in kinds]


def dispatch_threads(
    session: Session, scope: Scope, operations: Sequence[Operation]
) -> Sequence[DispatchThread]:
    """Return the threads that feed a GPU, the busiest first."""
    cuda = [one for one in operations if one.layer in CUDA_LAYERS]
    by_thread: dict[ThreadKey, list[Operation]] = {}
    by_process: dict[tuple[str | None, int | None], int] = {}
    for one in cuda:
        by_thread.setdefault(one.thread, []).append(one)
        process = (one.thread.host, one.thread.pid)
        by_process[process] = by_process.get(process, 0) + _dispatched(one)
    found = []
    for key, group in by_thread.items():
        dispatched = sum(map(_dispatched, group))
        of_process = by_process[key.host, key.pid]
        if dispatched >= max(FEWEST_CALLS, SMALLEST_SHARE * of_process):
            found.append(_dispatch_thread(session, scope, key, group))
    return sorted(found, key=lambda one: -one.calls)


def _dispatched(one: Operation) -> int:
    return one.calls if one.kind in DISPATCH and not one.nested else 0


def stays_sql(scope: Scope, thread: ThreadKey) -> str:
    """Return the SELECT that sums up when a thread did not run."""
    where = f"{scope.span.condition} AND {thread.condition}"
    return STAYS_SQL.format(idle=IDLE_STAY_NS, where=where)


def _dispatch_thread(
    session: Session, scope: Scope, key: ThreadKey, operations: Sequence[Operation]
) -> DispatchThread:
    (row,) = session.rows(stays_sql(scope, key))
    starts = [one.from_ns for one in operations]
    ends = [one.to_ns for one in operations]
    if row["stays"]:
        starts.append(row["from_ns"])
        ends.append(row["to_ns"])
    span = Span(max(min(starts), scope.span.from_ns), max(ends))
    return DispatchThread(
        thread=key,
        span=span,
        operations=operations,
        is_followed=row["stays"] > 0,
        stays=row["stays"],
        idle_ns=row["idle_ns"],
        off_cpu_ns=row["off_cpu_ns"] - row["idle_ns"],
        run_queue_ns=row["run_queue_ns"],
        io_ns=row["io_ns"],
        voluntary_ns=row["voluntary_ns"],
    )
