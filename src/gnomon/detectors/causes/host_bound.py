"""A thread that feeds a GPU is busy by itself: in its own code, on the CPU, outside CUDA calls.

Measured: the thread's active time, less its stays off the CPU, less its time on the CPU inside
CUDA calls. It speaks in one of two cases, of threads that were active for ``LEAST_ACTIVE_NS``:

- Own code fills ``OWN_SHARE`` of the active time and synchronisations ``WAITING_SHARE`` at most:
  the thread hardly ever waits for the GPU, so the GPU waits for it. Without counters this is at
  most a warning.
- Counters show the GPU idle meanwhile: the loss is the time in own code, at most what the GPU was
  idle beyond the thread's own stays off the CPU. Where the thread synchronises more often than
  each ``OWN_CODE_A_WAIT_NS`` of own code, its many waits are the cause (``synchronization``) and
  nothing is said here.

Reported as a warning from 5 % of the time between its first call and its last on; below, it is what
every loop costs. Silent where stays off the CPU were not all recorded.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from gnomon.analysis.activity import ThreadActivity
from gnomon.analysis.operations import CUDA_LAYERS, Kind, condition
from gnomon.analysis.questions import literal
from gnomon.detectors.case import Case, proven
from gnomon.detectors.feeding import MOST_DETAILED, MOST_FINDINGS, Cost, Said, finding, graded
from gnomon.detectors.finding import Evidence, Finding, RuledOut
from gnomon.detectors.needs import Need
from gnomon.enums import Cause, Severity

NEEDS = (Need.CALLS, Need.ALL_CALLS, Need.SCHEDULING, Need.COUNTERS)
LAYERS = ", ".join(literal(layer.value) for layer in CUDA_LAYERS)
LEAST_ACTIVE_NS = 1_000_000_000
# A thread with less than 40 % of its time for calls and waits has no slack to run ahead with.
OWN_SHARE = 0.6
WAITING_SHARE = 0.1
# What a thread does between two waits for the GPU; less is the price of waiting so often.
OWN_CODE_A_WAIT_NS = 1_000_000
# Of the busiest thread of its process: one that dispatches less is not what the GPU waits for.
DISPATCH_SHARE = 0.5
REMEDY = (
    "Take work off this thread: capture launches in CUDA graphs, compile or batch the steps "
    "between them, move tokenization, sampling and logging to other threads or processes. A "
    "profiler of the host (py-spy) shows the lines."
)


@dataclass(frozen=True, slots=True)
class OwnCode:
    """How long a thread was on the CPU outside CUDA calls: at least this, of ``active_ns``."""

    own_ns: int
    waiting_ns: int
    waits: int
    active_ns: int

    @property
    def fills(self) -> bool:
        """Whether it leaves the thread no time to wait for its GPU."""
        return (
            self.own_ns >= OWN_SHARE * self.active_ns
            and self.waiting_ns <= WAITING_SHARE * self.active_ns
        )


def detect(case: Case) -> Iterable[Finding]:
    """Yield a finding for each thread whose own code kept the GPU waiting."""
    found = [(worker, cost) for worker in case.dispatch_threads if (cost := _cost(case, worker))]
    found.sort(key=lambda one: -one[1].lost_ns)
    for place, (worker, cost) in enumerate(found[:MOST_FINDINGS]):
        is_measured = cost.gpu_idle_ns is not None
        said = Said(
            evidence=tuple(_evidence(case, worker, is_detailed=place < MOST_DETAILED)),
            ruled_out=tuple(_ruled_out(case, worker)),
            remedy=REMEDY,
            confidence=0.9 if is_measured else 0.7,
            confidence_reason="the GPU was measured to be idle meanwhile"
            if is_measured
            else "the GPU's idle time was not measured; calls that the recorder does not follow "
            "would count as own code",
        )
        yield finding(case, worker, Cause.HOST_BOUND, cost, said)


def _leads(case: Case, worker: ThreadActivity) -> bool:
    """Tell whether no other thread of its process dispatches far more."""
    process = (worker.thread.host, worker.thread.pid)
    most = max(
        one.dispatched
        for one in case.dispatch_threads
        if (one.thread.host, one.thread.pid) == process
    )
    return worker.dispatched >= DISPATCH_SHARE * most


def _cost(case: Case, worker: ThreadActivity) -> Cost | None:
    """Return what a thread's own code cost; None where that is not known, or not much."""
    if worker.active_ns < LEAST_ACTIVE_NS or not worker.stays or worker.is_off_cpu_biased:
        return None
    if not _leads(case, worker):
        return None
    own = _own_code(case, worker)
    gpu = case.gpu_of(worker.thread)
    idle = None if gpu is None else case.idle_of(gpu)
    lost_ns = own.own_ns
    if idle is not None:
        off_cpu_ns = worker.off_cpu_ns + worker.idle_ns - worker.off_cpu_in_calls_ns
        idle_ns = idle.within(worker.span.from_ns, worker.span.to_ns) - off_cpu_ns
        lost_ns = min(lost_ns, max(0, round(idle_ns)))
    is_seen_idle = idle is not None and own.own_ns >= OWN_CODE_A_WAIT_NS * own.waits
    if not own.fills and not is_seen_idle:
        return None
    at_most = Severity.WARNING if idle is None else Severity.CRITICAL
    # Of the time without work too: a GPU that idles for want of requests is not starved by this.
    idle_ns = worker.idle_ns
    cost = graded(case, worker, lost_ns, worker.span, long_ns=idle_ns, at_most=at_most)
    return None if cost is None or cost.severity is Severity.INFO else cost


def _own_code(case: Case, worker: ThreadActivity) -> OwnCode:
    """Return what is certain; where rows of calls are missing, they may have been any that long.

    Histograms of the whole process then bound the time in calls from above.
    """
    in_calls_ns, waiting_ns = worker.on_cpu_in_calls_ns, worker.waiting_ns
    if worker.biased:
        (counted,) = case.session.rows(_counted_sql(worker))
        in_calls_ns = max(in_calls_ns, counted["in_calls_ns"])
        waiting_ns = max(waiting_ns, counted["waiting_ns"])
    return OwnCode(
        own_ns=max(0, worker.on_cpu_ns - in_calls_ns),
        waiting_ns=waiting_ns,
        waits=worker.waits,
        active_ns=worker.active_ns,
    )


def _counted_sql(worker: ThreadActivity) -> str:
    """Return the SELECT of what histograms have of the process while the thread was active.

    A call within a call counts twice, which makes the bound no lower.
    """
    span = worker.span
    return (
        "SELECT coalesce(sum(total_ns), 0)::BIGINT AS in_calls_ns, coalesce(sum(total_ns) FILTER "
        f"({condition(Kind.SYNCHRONIZATION)}), 0)::BIGINT AS waiting_ns FROM call_histograms "
        f"WHERE ts_ns > {span.from_ns} AND ts_ns - duration_ns < {span.to_ns} "
        f"AND {worker.thread.process_condition} AND layer IN ({LAYERS})"
    )


def _evidence(case: Case, worker: ThreadActivity, *, is_detailed: bool) -> Iterator[Evidence]:
    span = worker.span
    off_cpu = (
        f"SELECT coalesce(round(sum(least(duration_ns, ts_ns - {case.span.from_ns}) "
        "* coalesce(weight, 1))), 0)::BIGINT AS ns "
        f"FROM off_cpu WHERE {span.condition} AND {worker.thread.condition}"
    )
    on_cpu_in_calls = _sum_sql(case, worker, "duration_ns - coalesce(off_cpu_ns, 0)")
    off_cpu_ns = worker.off_cpu_ns + worker.idle_ns
    yield proven(
        ("at most, as not all calls were kept, " if worker.biased else "")
        + f"of {worker.active_ns / 1e9:.4g} s in which it was active, it was on the CPU in its own "
        "code for {value}",
        span.to_ns - span.from_ns - off_cpu_ns - worker.on_cpu_in_calls_ns,
        f"SELECT {span.to_ns - span.from_ns} - ({off_cpu}) - ({on_cpu_in_calls}) AS ns",
        "ns",
    )
    yield proven(
        "on the CPU inside CUDA calls for {value}",
        worker.on_cpu_in_calls_ns,
        on_cpu_in_calls,
        "ns",
    )
    yield proven("off the CPU for {value}, idle time included", off_cpu_ns, off_cpu, "ns")
    frame = (
        "SELECT concat_ws(' ', symbol, nullif(concat_ws(':', file, line), '')) AS frame FROM ("
        f"SELECT stack_hash, count(*) AS calls {_calls(case, worker)} "
        "AND stack_hash IN (SELECT stack_hash FROM stacks WHERE kind = 'python') "
        "GROUP BY stack_hash ORDER BY calls DESC, stack_hash LIMIT 1) "
        "JOIN stacks USING (stack_hash) WHERE kind = 'python' ORDER BY depth LIMIT 1"
    )
    for row in case.session.rows(frame) if is_detailed else ():
        yield proven("most of its calls come from {value}", row["frame"], frame, "")


def _ruled_out(case: Case, worker: ThreadActivity) -> Iterator[RuledOut]:
    launches = (Kind.LAUNCH, Kind.GRAPH_LAUNCH)
    off_cpu = proven(
        "inside all its launches it was off the CPU for {value}",
        sum(one.off_cpu_ns or 0 for one in worker.outermost(*launches)),
        f"SELECT coalesce(sum(off_cpu_ns), 0)::BIGINT AS ns {_calls(case, worker)} "
        f"AND {condition(*launches)}",
        "ns",
    )
    waited = proven(
        "it waited for the GPU in synchronisations for {value}",
        sum(one.total_ns for one in worker.outermost(Kind.SYNCHRONIZATION)),
        f"SELECT coalesce(sum(duration_ns), 0)::BIGINT AS ns {_calls(case, worker)} "
        f"AND {condition(Kind.SYNCHRONIZATION)}",
        "ns",
    )
    for cause, shown in ((Cause.CPU_CONTENTION, off_cpu), (Cause.SYNCHRONIZATION, waited)):
        yield RuledOut(cause, shown.text, shown.value, shown.unit, shown.sql)


def _calls(case: Case, worker: ThreadActivity) -> str:
    """Return FROM and WHERE of its outermost CUDA calls."""
    return (
        f"FROM host_calls WHERE {case.span.condition} AND {worker.thread.condition} "
        f"AND layer IN ({LAYERS}) AND coalesce(depth, 0) = 0"
    )


def _sum_sql(case: Case, worker: ThreadActivity, what: str) -> str:
    """Return the SELECT of a sum over its outermost CUDA calls and those that they stand for."""
    return (
        "SELECT coalesce(sum(ns), 0)::BIGINT AS ns FROM ("
        f"SELECT round(sum(({what}) * coalesce(weight, 1))) AS ns {_calls(case, worker)} "
        "GROUP BY layer, operation)"
    )
