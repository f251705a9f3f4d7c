"""A thread that feeds a GPU waited for a lock that another thread of its process held.

Measured: nanoseconds of waits outside CUDA calls whose stack takes a lock (the interpreter's, a
mutex), or that a thread of the same process ended which was itself on the CPU for half of them or
more (its overlap is measured), of the thread's active time. Reported from 1 % of the active time
and 10 ms on, as a warning from 5 %. A holder that slept or waited for a disk is seen by stacks
alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from gnomon.analysis.activity import ThreadActivity
from gnomon.analysis.holding import is_woken_by, woken_by
from gnomon.analysis.overlap import Reason
from gnomon.detectors.case import Case, waits_of
from gnomon.detectors.feeding import Part, Said, costly, finding, part_of
from gnomon.detectors.finding import Evidence, Finding
from gnomon.detectors.needs import Need
from gnomon.enums import Cause

NEEDS = (Need.CALLS, Need.SCHEDULING, Need.WAKERS)
IS_LOCK = f"reason = '{Reason.LOCK.value}'"
REMEDY = (
    "Let this thread not share a lock with busy threads: move their Python work to another process "
    "(or a free-threaded interpreter), shorten what is done under the lock, or give each its own."
)


def detect(case: Case) -> Iterable[Finding]:
    """Yield a finding for each worker that waited long for a lock."""
    parts = (_locks(case, worker) for worker in case.workers)
    for part, cost, is_detailed in costly(case, parts):
        by_stack = any(one.reason is Reason.LOCK for one in part.among)
        said = Said(
            evidence=(
                part.total("it waited for a lock for {value}"),
                *_overlaps(case, part),
                *(part.frame(case) if is_detailed else ()),
            ),
            ruled_out=(part.queued(),),
            remedy=REMEDY,
            confidence=0.9 if by_stack else 0.7,
            confidence_reason="the stacks take a lock"
            if by_stack
            else "the thread that ended the waits ran meanwhile; that it held a lock, and not "
            "work that was waited for, is inferred: stacks were not recorded",
        )
        yield finding(case, part.worker, Cause.LOCK_CONTENTION, cost, said)


def _locks(case: Case, worker: ThreadActivity) -> Part:
    """Return a worker's waits for locks, by their stacks or by who held them."""
    holders = case.lock_holders[worker.thread]
    where = " OR ".join((IS_LOCK, *(f"({woken_by(key)})" for key in holders)))
    return part_of(
        case,
        worker,
        "waiting_ns",
        where,
        lambda one: one.reason is Reason.LOCK or any(is_woken_by(one, key) for key in holders),
    )


def _overlaps(case: Case, part: Part) -> Sequence[Evidence]:
    return [
        case.evidence(
            f"{case.name_of(key) or 'thread'} ({key.tid}) ended such waits, and was itself on the "
            "CPU for {value} of them",
            waits_of(part.worker).holding_sql(key, f"({woken_by(key)}) AND ({part.where})"),
            "ns",
        )
        for key in case.lock_holders[part.worker.thread]
    ]
