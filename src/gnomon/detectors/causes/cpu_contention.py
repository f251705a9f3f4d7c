"""A thread wanted a CPU and another thread had it.

Measured: nanoseconds runnable behind another thread (preempted, or woken and not yet run), of the
thread's active time. Where the idle task had the CPU before, nobody stood in the way: up to 1 ms
waking up, or being moved to another CPU, took the time, and it is told beside the loss where it is
much; beyond it the thread was denied a CPU that idled, as a quota does.
Preemptions of a thread that span in a synchronisation do not count: it waited for the GPU anyway.
Reported from 1 % of the active time and 10 ms on, as a warning from 5 %; microseconds at a time are
how every scheduler works.

Time behind the recorder's own threads is told apart. What the others took decides how bad it is;
where the recorder took most of it, it is information, and the remedy is about the recording.

Silent where the recorder did not tell a wait for a CPU from other waits.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace

from gnomon.detectors.case import Case, proven, waits_of
from gnomon.detectors.feeding import (
    SMALLEST_TOLD_SHARE,
    Cost,
    Part,
    Said,
    costly,
    finding,
    largest,
    most_severe,
    part_of,
)
from gnomon.detectors.finding import Evidence, Finding, RuledOut
from gnomon.detectors.grading import severity_of
from gnomon.detectors.needs import Need
from gnomon.enums import Cause, Severity

NEEDS = (Need.CALLS, Need.SCHEDULING, Need.CLASSES)
REMEDY = (
    "Give the thread cores of its own: pin it (taskset, cpuset), or move what competes with it "
    "elsewhere; in a container, check that its CPU quota does not throttle it."
)
# Of the time behind other threads, the recorder's own: from here on the recording is the matter.
MOST_SHARE = 0.5
# The number of the idle task: then nobody had the CPU.
IDLE = 0
OBSERVER_REMEDY = (
    "Most of it is the recording itself, and goes away with it: record without --trace, trace "
    "fewer processes, or give gnomon a CPU of its own (taskset)."
)


def detect(case: Case) -> Iterable[Finding]:
    """Yield a finding for each worker that waited long for a CPU."""
    parts = (part_of(case, worker, "queued_ns") for worker in case.workers)
    for part, cost, is_detailed in costly(case, parts):
        observers = _observers(case, part)
        share = _ns_behind(part, observers) / part.ns
        is_observed = share > MOST_SHARE
        culprit = tuple(_culprit(case, part, observers)) if is_detailed and not is_observed else ()
        said = Said(
            evidence=(
                part.total("it was runnable without a CPU for {value}"),
                *_of_the_recorder(part, observers),
                *culprit,
                *(_waking(case, part) if is_detailed else ()),
                *(part.frame(case) if is_detailed else ()),
            ),
            ruled_out=(_disk(case, part),),
            remedy=OBSERVER_REMEDY if is_observed else REMEDY,
            confidence=0.95,
            confidence_reason="the scheduler's own account of each wait",
        )
        yield finding(case, part.worker, Cause.CPU_CONTENTION, _by_others(part, cost, share), said)


def _observers(case: Case, part: Part) -> Collection[int]:
    """Return the recorder's own threads that had the CPU meanwhile."""
    host = part.worker.thread.host
    own = {key.tid for key in case.scope.observers if key.host == host}
    return sorted({one.preemptor_tid for one in part.among if one.preemptor_tid} & own)


def _ns_behind(part: Part, tids: Collection[int]) -> int:
    return sum(one.queued_ns or 0 for one in part.among if one.preemptor_tid in tids)


def _by_others(part: Part, cost: Cost, share: float) -> Cost:
    """Return a cost graded by what others than the recorder took; ``share``: the recorder's."""
    if share > MOST_SHARE:
        return replace(cost, severity=Severity.INFO)
    found = severity_of(cost.share * (1 - share), at_most=most_severe(part.worker))
    return replace(cost, severity=found or Severity.INFO)


def _of_the_recorder(part: Part, observers: Collection[int]) -> Iterator[Evidence]:
    if observers:
        tids = ", ".join(map(str, observers))
        total = waits_of(part.worker).total_sql(
            "queued_ns", f"preemptor_tid IN ({tids}) AND ({part.where})"
        )
        yield proven("of it gnomon itself: {value}", _ns_behind(part, observers), total, "ns")


def _waking(case: Case, part: Part) -> Iterator[Evidence]:
    """Yield how long it took to wake up or to be moved, where that is much beside the loss."""
    waking_ns = sum(one.waking_ns for one in case.circumstances[part.worker.thread])
    if waking_ns >= SMALLEST_TOLD_SHARE * part.ns:
        text = "beside it, to wake up on a CPU that idled, or be moved there, took {value} in all"
        total = waits_of(part.worker).total_sql("waking_ns")
        yield proven(f"{text} (not counted)", waking_ns, total, "ns")


def _culprit(case: Case, part: Part, observers: Collection[int]) -> Iterator[Evidence]:
    """Yield who had the CPU for most of that time, and for how long; nobody for a small share."""
    queued_ns: dict[int, int] = {}
    for one in part.among:
        if one.preemptor_tid is not None and one.preemptor_tid not in observers:
            queued_ns[one.preemptor_tid] = queued_ns.get(one.preemptor_tid, 0) + (
                one.queued_ns or 0
            )
    most = max(queued_ns, key=lambda tid: queued_ns[tid], default=IDLE)
    if most == IDLE and queued_ns.get(IDLE, 0) >= SMALLEST_TOLD_SHARE * part.ns:
        total = waits_of(part.worker).total_sql(
            "queued_ns", f"preemptor_tid = 0 AND ({part.where})"
        )
        text = "of it a CPU idled for {value}, and it was not let on: a quota (cpu.max) does that"
        yield proven(text, queued_ns[IDLE], total, "ns")
    query = (
        f"SELECT max(preemptor_name) AS name FROM off_cpu WHERE {part.worker.span.condition} "
        f"AND {part.worker.thread.condition} AND preemptor_tid = {most}"
    )
    for row in case.session.rows(query) if most != IDLE else ():
        rows = [row | {"queued_ns": queued_ns[most]}]
        named = largest(rows, part.ns, query, "the CPU was meanwhile, for {share} of it, with")
        yield from named
        if named:
            where = f"preemptor_tid = {most} AND ({part.where})"
            total = waits_of(part.worker).total_sql("queued_ns", where)
            yield proven(f"with thread {most} for {{value}}", queued_ns[most], total, "ns")


def _disk(case: Case, part: Part) -> RuledOut:
    met = case.circumstances[part.worker.thread]
    shown = proven(
        "of all its time off the CPU it waited for a disk for {value}",
        sum(one.disk_ns or 0 for one in met),
        waits_of(part.worker).total_sql("coalesce(disk_ns, 0)"),
        "ns",
    )
    return shown.excludes(Cause.IO_WAIT)
