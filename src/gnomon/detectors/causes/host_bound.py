"""A thread that feeds a GPU is busy by itself: in its own code, on the CPU, outside CUDA calls.

Measured (``_own_code``): the thread's active time, less its stays off the CPU, less its time on the
CPU inside CUDA calls. Between a query whether the GPU has done and the next one it waits for the
GPU; a gap between its calls and stays that is ``LONE_GAP`` times the fifth longest one may be a
clock that was set, or rows that nobody kept. Neither is own code. A thread that polls for requests
looks the same: where less than ``WORK_SHARE`` of it lies in gaps that calls of one step have, it is
information, else only what does is counted. It speaks in one of two cases, of threads that were
active for ``LEAST_ACTIVE_NS``:

- Own code fills ``OWN_SHARE`` of the active time and synchronisations ``WAITING_SHARE`` at most:
  the thread hardly ever waits for the GPU, so the GPU waits for it. Without counters this is at
  most a warning, and information where it waits at all (``SOME_WAITING_SHARE``): then it keeps pace
  with the GPU, which may be at work on one step while the thread prepares the next.
- Counters show the GPU idle meanwhile: the loss is the time in own code, at most what the GPU was
  idle beyond the thread's own stays off the CPU. Where the thread synchronises more often than
  each ``OWN_CODE_A_WAIT_NS`` of own code, its many waits are the cause (``synchronization``) and
  nothing is said here.

Reported as a warning from 5 % of the time between its first call and its last on, of the stretch in
which nearly all of it was; below, it is what every loop costs. Silent where stays off the CPU were
not all recorded, or calls or stays were lost.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from gnomon.analysis.activity import ThreadActivity
from gnomon.analysis.concentration import span_of
from gnomon.analysis.operations import CUDA_LAYERS, Kind, condition
from gnomon.analysis.recorded import lost_rows
from gnomon.detectors.case import Case, proven, said
from gnomon.detectors.causes._launching import Launching, launching
from gnomon.detectors.causes._own_code import (
    OWN_CODE_A_WAIT_NS,
    OwnCode,
    calls_of,
    certain,
    lone_gaps_sql,
    own_code,
    polling_sql,
    where_it_was,
    without,
    work_sql,
)
from gnomon.detectors.feeding import (
    MOST_DETAILED,
    MOST_FINDINGS,
    Cost,
    Said,
    Spent,
    finding,
    graded,
    largest,
)
from gnomon.detectors.finding import Evidence, Finding, RuledOut
from gnomon.detectors.needs import Need, what_was_lost
from gnomon.enums import Cause, Severity

NEEDS = (Need.CALLS, Need.ALL_CALLS, Need.ALL_ROWS, Need.SCHEDULING, Need.COUNTERS)
LEAST_ACTIVE_NS = 1_000_000_000
# Of calls that were kept for being slow or rare, and of a thread that may have polled.
MOST_CONFIDENCE_KEPT = 0.5
MOST_CONFIDENCE_POLLING = 0.3
UNKNOWN = "the GPU's idle time was not measured"
CALLS_NOT_FOLLOWED = "; calls that the recorder does not follow would count as own code"
KEEPS_PACE = (
    ", and the thread waited {waited} for it: it keeps pace with the GPU, which may have worked on "
    "one step while the thread prepared the next"
)
NOT_KEPT = "; where no call was kept, some may have been made"
MAY_POLL = (
    "; most of it lies in gaps between calls that may be polling for requests as well: that there "
    "was work to do is not known"
)
# Of the busiest thread of its process: one that dispatches less is not what the GPU waits for.
DISPATCH_SHARE = 0.5
REMEDY = (
    "Take work off this thread: capture launches in CUDA graphs, compile or batch the steps "
    "between them, move tokenization, sampling and logging to other threads or processes. A "
    "profiler of the host (py-spy) shows the lines."
)


# By the function of the innermost Python frame of each stack, with the line that comes most often.
FRAME_SQL = """\
SELECT concat_ws(' ', symbol, nullif(concat_ws(':', file, mode(line)), '')) AS frame,
  sum(weight) AS calls
FROM (SELECT stack_hash, {weight} AS weight {calls}) JOIN (
  SELECT stack_hash, arg_min(symbol, depth) AS symbol, arg_min(file, depth) AS file,
    arg_min(line, depth) AS line
  FROM stacks WHERE kind = 'python' GROUP BY stack_hash
) USING (stack_hash)
GROUP BY symbol, file ORDER BY calls DESC, symbol, file LIMIT 1"""


@dataclass(frozen=True, slots=True)
class Known:
    """A thread's own code in a case, and what it cost; the case may be narrower than the whole."""

    case: Case
    worker: ThreadActivity
    own: OwnCode
    cost: Cost
    launching: Launching | None


def detect(case: Case) -> Iterable[Finding]:
    """Yield a finding for each thread whose own code kept the GPU waiting."""
    if not case.dispatch_threads or _lacks_rows(case):
        return
    found = [known for worker in case.dispatch_threads if (known := _known(case, worker))]
    found.sort(key=lambda one: -one.cost.lost_ns)
    for place, one in enumerate(found[:MOST_FINDINGS]):
        confidence, reason = _certainty(one)
        told = Said(
            evidence=tuple(_evidence(one, is_detailed=place < MOST_DETAILED)),
            ruled_out=tuple(_ruled_out(one.case, one.worker)),
            remedy=REMEDY,
            confidence=confidence,
            confidence_reason=reason,
        )
        yield finding(case, one.worker, Cause.HOST_BOUND, one.cost, told)


def _lacks_rows(case: Case) -> bool:
    """Tell whether what was lost may have been the calls and stays that own code would be."""
    calls = sum(one.calls for one in case.operations if one.layer in CUDA_LAYERS)
    stays = sum(one.stays for one in case.activities)
    return what_was_lost(lost_rows(case.session, case.span), calls, stays) is not None


def _certainty(one: Known) -> tuple[float, str]:
    confidence, reason = 0.9, "the GPU was measured to be idle meanwhile"
    if one.cost.gpu_idle_ns is None:
        confidence, reason = 0.7, UNKNOWN + CALLS_NOT_FOLLOWED
        if one.own.keeps_pace:
            waited = said(one.own.waiting_ns, "ns")
            confidence, reason = 0.4, UNKNOWN + KEEPS_PACE.format(waited=waited)
    if one.worker.biased:
        confidence, reason = min(confidence, MOST_CONFIDENCE_KEPT), reason + NOT_KEPT
    if not one.own.is_work:
        confidence, reason = min(confidence, MOST_CONFIDENCE_POLLING), reason + MAY_POLL
    return confidence, reason


def _leads(case: Case, worker: ThreadActivity) -> bool:
    """Tell whether no other thread of its process dispatches far more."""
    process = (worker.thread.host, worker.thread.pid)
    most = max(
        one.dispatched
        for one in case.dispatch_threads
        if (one.thread.host, one.thread.pid) == process
    )
    return worker.dispatched >= DISPATCH_SHARE * most


def _known(case: Case, worker: ThreadActivity) -> Known | None:
    """Return a thread's own code and what it cost; None where that is not known, or not much.

    Of the stretch in which nearly all of it was.
    """
    whole = _within(case, worker, worker)
    if whole is None:
        return None
    found = where_it_was(case, worker, is_all=not whole.own.is_work)
    if found is None or found.is_all:
        return whole
    narrow = Case(case.measurements, case.session, span_of(found.stretches))
    inside = next((one for one in narrow.dispatch_threads if one.thread == worker.thread), None)
    return (None if inside is None else _within(narrow, inside, worker)) or whole


def _within(case: Case, worker: ThreadActivity, whole: ThreadActivity) -> Known | None:
    """Return what a thread's own code cost in a case, as a share of the whole thread's time."""
    if worker.active_ns < LEAST_ACTIVE_NS or not worker.stays or worker.is_off_cpu_biased:
        return None
    # Calls that all took no time were not measured.
    if worker.in_calls_ns <= 0 or not _leads(case, worker):
        return None
    own = own_code(case, worker)
    if own is None or _cost(case, worker, own, whole) is None:
        return None
    # Only now what takes a sort of all of its rows.
    found = launching(case, worker)
    own = without(certain(case, worker, own), 0 if found is None else found.between_ns)
    cost = _cost(case, worker, own, whole)
    return None if cost is None else Known(case, worker, own, cost, found)


def _cost(case: Case, worker: ThreadActivity, own: OwnCode, whole: ThreadActivity) -> Cost | None:
    idle = case.idle_of(worker.thread)
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
    spent = Spent(own.own_ns, lost_ns, whole.idle_ns)
    cost = graded(case, whole, spent, worker.span, at_most=at_most)
    if cost is None or cost.severity is Severity.INFO:
        return None
    is_guess = (idle is None and own.keeps_pace) or not own.is_work
    return replace(cost, severity=Severity.INFO) if is_guess else cost


def _evidence(one: Known, *, is_detailed: bool) -> Iterator[Evidence]:
    case, worker, own, span = one.case, one.worker, one.own, one.worker.span
    off_cpu = (
        f"SELECT coalesce(round(sum(least(duration_ns, ts_ns - {case.span.from_ns}) "
        "* coalesce(weight, 1))), 0)::BIGINT AS ns "
        f"FROM off_cpu WHERE {span.condition} AND {worker.thread.condition}"
    )
    on_cpu_in_calls = _sum_sql(case, worker, "duration_ns - coalesce(off_cpu_ns, 0)")
    off_cpu_ns = worker.off_cpu_ns + worker.idle_ns
    not_counted = {
        polling_sql(case, worker): own.polling_ns,
        lone_gaps_sql(case, worker): own.lone_ns,
    }
    less = "".join(f" - ({query})" for query, ns in not_counted.items() if ns)
    in_all = proven(
        ("at most, as not all calls were kept, " if worker.biased else "")
        + f"of {own.active_ns / 1e9:.4g} s in which it was active, it was on the CPU in its own "
        "code for {value}",
        span.to_ns
        - span.from_ns
        - off_cpu_ns
        - worker.on_cpu_in_calls_ns
        - sum(not_counted.values()),
        f"SELECT {span.to_ns - span.from_ns} - ({off_cpu}) - ({on_cpu_in_calls}){less} AS ns",
        "ns",
    )
    at_work = proven(
        "in its own code between calls that follow as those of one step do, for {value}",
        own.work_ns,
        work_sql(case, worker),
        "ns",
    )
    # What is counted comes first.
    yield from (at_work, in_all) if own.own_ns == own.work_ns else (in_all, at_work)
    yield proven(
        "on the CPU inside CUDA calls for {value}",
        worker.on_cpu_in_calls_ns,
        on_cpu_in_calls,
        "ns",
    )
    yield proven("off the CPU for {value}, idle time included", off_cpu_ns, off_cpu, "ns")
    if own.polling_ns:
        text = "between one query whether the GPU has done and the next: {value} (not counted)"
        yield proven(text, own.polling_ns, polling_sql(case, worker), "ns")
    if own.lone_ns:
        text = "without any call or stay, unlike the rest: {value} (not counted)"
        yield proven(text, own.lone_ns, lone_gaps_sql(case, worker), "ns")
    if one.launching is not None:
        text = "on the way from one launch to the next: {value} (launch_bound, not counted)"
        yield proven(text, one.launching.between_ns, one.launching.between_sql, "ns")
    if is_detailed and case.has_stacks:
        yield from _lines(case, worker)


def _lines(case: Case, worker: ThreadActivity) -> Iterator[Evidence]:
    """Yield where it was outside of calls when somebody looked, else where its calls come from."""
    looked = (
        f"FROM stack_samples WHERE {worker.span.condition} AND {worker.thread.condition} "
        "AND operation IS NULL"
    )
    looks = case.value(f"SELECT count(*) AS looks {looked}")
    text = "in {share} of looks at it outside of calls it was in"
    query = FRAME_SQL.format(calls=looked, weight="1")
    if not looks:
        text = "{share} of its calls come from"
        looks = sum(one.made for one in worker.outermost())
        query = FRAME_SQL.format(calls=calls_of(case, worker), weight="coalesce(weight, 1)")
    yield from largest(case.session.rows(query), looks, f"SELECT frame FROM ({query})", text)


def _ruled_out(case: Case, worker: ThreadActivity) -> Iterator[RuledOut]:
    launches = (Kind.LAUNCH, Kind.GRAPH_LAUNCH)
    off_cpu = proven(
        "inside all its launches it was off the CPU for {value}",
        sum(one.off_cpu_ns or 0 for one in worker.outermost(*launches)),
        _sum_sql(case, worker, "off_cpu_ns", f" AND {condition(*launches)}"),
        "ns",
    )
    waited = proven(
        "it waited for the GPU in synchronisations for {value}",
        sum(one.made_ns for one in worker.outermost(Kind.SYNCHRONIZATION)),
        _sum_sql(case, worker, "duration_ns", f" AND {condition(Kind.SYNCHRONIZATION)}"),
        "ns",
    )
    for cause, shown in ((Cause.CPU_CONTENTION, off_cpu), (Cause.SYNCHRONIZATION, waited)):
        yield shown.excludes(cause)


def _sum_sql(case: Case, worker: ThreadActivity, what: str, more: str = "") -> str:
    """Return the SELECT of a sum over its outermost CUDA calls and those that they stand for.

    ``more``: a condition that chooses some.
    """
    return (
        "SELECT coalesce(sum(ns), 0)::BIGINT AS ns FROM ("
        f"SELECT round(sum(({what}) * coalesce(weight, 1))) AS ns {calls_of(case, worker)}{more} "
        "GROUP BY layer, operation)"
    )
