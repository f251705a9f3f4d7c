"""A thread that feeds a GPU wanted the CPU and another thread had it.

Measured: nanoseconds runnable without a CPU (preempted, or woken and not yet run), of the thread's
active time. Preemptions of a thread that span in a synchronisation do not count: it waited for the
GPU anyway. Reported from 1 % of the active time and 10 ms on, as a warning from 5 %; microseconds
at a time are how every scheduler works. Silent where the recorder did not tell a wait for a CPU
from other waits.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from gnomon.detectors.case import Case, proven, waits_of
from gnomon.detectors.feeding import Part, Said, costly, finding, largest, part_of
from gnomon.detectors.finding import Evidence, Finding, RuledOut
from gnomon.detectors.needs import Need
from gnomon.enums import Cause

NEEDS = (Need.CALLS, Need.SCHEDULING, Need.CLASSES)
REMEDY = (
    "Give the thread cores of its own: pin it (taskset, cpuset), or move what competes with it "
    "elsewhere; in a container, check that its CPU quota does not throttle it."
)


def detect(case: Case) -> Iterable[Finding]:
    """Yield a finding for each worker that waited long for a CPU."""
    parts = (part_of(case, worker, "queued_ns") for worker in case.workers)
    for part, cost, is_detailed in costly(case, parts):
        culprit = tuple(_culprit(case, part)) if is_detailed else ()
        said = Said(
            evidence=(
                part.total("it was runnable without a CPU for {value}"),
                *culprit,
                *(part.frame(case) if is_detailed else ()),
            ),
            ruled_out=(_disk(case, part),),
            remedy=REMEDY,
            confidence=0.95,
            confidence_reason="the scheduler's own account of each wait",
        )
        yield finding(case, part.worker, Cause.CPU_CONTENTION, cost, said)


def _culprit(case: Case, part: Part) -> Iterator[Evidence]:
    """Yield who had the CPU for most of that time, and for how long; nobody for a small share."""
    queued_ns: dict[int, int] = {}
    for one in part.among:
        if one.preemptor_tid is not None:
            queued_ns[one.preemptor_tid] = queued_ns.get(one.preemptor_tid, 0) + (
                one.queued_ns or 0
            )
    most = max(queued_ns, key=lambda tid: queued_ns[tid], default=0)
    query = (
        f"SELECT max(preemptor_name) AS name FROM off_cpu WHERE {part.worker.span.condition} "
        f"AND {part.worker.thread.condition} AND preemptor_tid = {most}"
    )
    for row in case.session.rows(query) if most else ():
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
