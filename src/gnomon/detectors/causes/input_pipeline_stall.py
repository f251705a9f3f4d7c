"""A thread that feeds a GPU waited for its next batch: who makes it was too slow.

Measured: nanoseconds of waits outside CUDA calls that a thread of the same process ended, or one of
a process that this one started, while it was at work for half of them or more, or while others were
at work for which it waited in turn (``analysis.producing``): on the CPU, waiting for one, or for a
disk. Names prove nothing: where only the stack says that it is a loader's, or nobody recorded who
started the other process, it is information. A thread of the same process that was on the CPU may
as well have held a lock (``lock_contention``), unless the stack is a loader's.

Reported from 1 % of the active time and 10 ms on, as a warning from 5 %; a single long wait is the
start of an epoch and not enough. Where neither stacks nor who woke the thread were recorded, or not
when that one ran, such waits cannot be told from others.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from gnomon.analysis.activity import ThreadActivity
from gnomon.analysis.overlap import Circumstance, Reason
from gnomon.analysis.producing import Producer, Relation
from gnomon.detectors.case import Case, proven, waits_of
from gnomon.detectors.feeding import Part, Said, costly, finding, part_of
from gnomon.detectors.finding import Evidence, Finding
from gnomon.detectors.needs import Need
from gnomon.enums import Cause, Severity

NEEDS = (Need.CALLS, Need.SCHEDULING, Need.WAKERS)
KNOWN = (Relation.THREAD, Relation.CHILD)
IS_LOADER = f"reason = '{Reason.LOADER.value}'"
# Of a thread's producers, those that ended most of its waits are told.
MOST_TOLD = 3
REMEDY = (
    "Make batches faster than they are used: more loader workers and a deeper prefetch, "
    "cheaper decoding, data closer to the host; copy from pinned memory in the background."
)


def detect(case: Case) -> Iterable[Finding]:
    """Yield a finding for each worker that waited long for its input."""
    proven_parts = (_made(case, worker) for worker in case.workers)
    # The first batch is always waited for; a pipeline that is too slow is so all the time.
    for part, cost, is_detailed in costly(case, proven_parts, recurs=True):
        is_named = any(one.reason is Reason.LOADER for one in part.among)
        said = Said(
            evidence=(
                *_total(part),
                *(_makers(case, part) if is_detailed else ()),
                *(part.frame(case) if is_detailed else ()),
            ),
            ruled_out=(part.queued(),),
            remedy=REMEDY,
            confidence=0.9 if is_named else 0.7,
            confidence_reason="who ended the waits was at work meanwhile, or waited for who was"
            + ("" if is_named else "; that it was at work on this thread's input is inferred"),
        )
        yield finding(case, part.worker, Cause.INPUT_PIPELINE_STALL, cost, said)
    likely_parts = (_likely(case, worker) for worker in case.workers)
    for part, cost, is_detailed in costly(case, likely_parts, recurs=True, at_most=Severity.INFO):
        said = Said(
            evidence=(*_total(part), *(part.frame(case) if is_detailed else ())),
            ruled_out=(part.queued(),),
            remedy=REMEDY,
            confidence=0.5,
            confidence_reason="the waits are measured; that they were for input is by the stacks, "
            "or by another process that nobody saw started: whose work it was is not known",
        )
        yield finding(case, part.worker, Cause.INPUT_PIPELINE_STALL, cost, said)


def _made(case: Case, worker: ThreadActivity) -> Part:
    """Return a worker's waits in which its own threads and processes were at work."""
    makers = [one for one in case.producers[worker.thread] if one.relation in KNOWN]
    return part_of(
        case,
        worker,
        "waiting_ns",
        _any_of(makers),
        lambda one: _is_ended(one, makers),
    )


def _likely(case: Case, worker: ThreadActivity) -> Part:
    """Return a worker's other waits that are a loader's by the stack, or end by a stranger."""
    makers = case.producers[worker.thread]
    sure = [one for one in makers if one.relation in KNOWN]
    others = [one for one in makers if one.relation not in KNOWN]
    return part_of(
        case,
        worker,
        "waiting_ns",
        f"({IS_LOADER} OR {_any_of(others)}) AND ({_any_of(sure)}) IS NOT TRUE",
        lambda one: (
            (one.reason is Reason.LOADER or _is_ended(one, others)) and not _is_ended(one, sure)
        ),
    )


def _any_of(makers: Iterable[Producer]) -> str:
    return " OR ".join(f"({one.condition})" for one in makers) or "false"


def _is_ended(one: Circumstance, makers: Iterable[Producer]) -> bool:
    return any(maker.ended(one) for maker in makers)


def _total(part: Part) -> Iterator[Evidence]:
    count = (
        "SELECT coalesce(round(sum(weight)), 0)::BIGINT AS waits "
        f"FROM ({waits_of(part.worker).sql}) WHERE {part.where}"
    )
    yield part.total("it waited for its input for {value}")
    yield proven("in {value} waits", part.stays, count, "count")


def _makers(case: Case, part: Part) -> Iterator[Evidence]:
    """Yield who was at work in these waits, and for how long."""
    ended_ns = {
        maker: sum(one.waiting_ns for one in part.among if maker.ended(one))
        for maker in case.producers[part.worker.thread]
    }
    told = sorted((maker for maker, ns in ended_ns.items() if ns), key=lambda one: -ended_ns[one])
    for maker in told[:MOST_TOLD]:
        where = f"({maker.condition}) AND ({part.where})"
        waits = waits_of(part.worker)
        name = case.name_of(maker.key) or "thread"
        yield proven(
            f"{name} ({maker.key.tid}) ended {{value}} of it",
            ended_ns[maker],
            waits.total_sql("waiting_ns", where),
            "ns",
        )
        for link in case.chains.links(waits, maker, where)[:MOST_TOLD]:
            if link.worked_ns > 0:
                name = case.name_of(link.key) or "thread"
                text = f"of these, {name} ({link.key.tid}) was at work for {{value}}"
                yield proven(text, link.worked_ns, link.sql, "ns")
