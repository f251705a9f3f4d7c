"""A thread that feeds a GPU slept, or waited for something that is neither lock nor loader.

Measured: nanoseconds of waits outside CUDA calls that nobody ended who held a lock, or made the
thread's input meanwhile.
Two things are told apart:

- A sleep in the working thread: the stack sleeps, or the waits are as regular as a timer
  (``TIMED_SHARE`` of their time within ``TIMED_TOLERANCE`` of the median, ``FEWEST_SLEEPS`` at
  least), with CUDA calls between them and no other thread of the process feeding the GPU
  meanwhile. Reported from 1 % of the active time and 10 ms on, as information; as a warning from
  5 % where stacks sleep and the GPU was measured to be idle meanwhile.
- A thread that had nothing to do, as far as is known: as information where it waited for
  ``IDLE_SHARE`` of the span, and only where the recorder knew that the waits were its own will.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from gnomon.analysis.activity import IDLE_STAY_NS, ThreadActivity
from gnomon.analysis.concentration import concentration, span_of
from gnomon.analysis.holding import is_woken_by, none_of
from gnomon.analysis.overlap import Reason
from gnomon.analysis.questions import ThreadKey, literal
from gnomon.analysis.sleeping import SleepLoop, sleep_loop
from gnomon.detectors.case import Case, proven, waits_of
from gnomon.detectors.feeding import (
    Part,
    Said,
    Spent,
    cost_of,
    costly,
    finding,
    graded,
    largest,
    part_of,
)
from gnomon.detectors.finding import Evidence, Finding, RuledOut
from gnomon.detectors.needs import Need
from gnomon.enums import Cause, Severity

NEEDS = (Need.CALLS, Need.SCHEDULING, Need.CLASSES)
IDLE_SHARE = 0.1
OPEN_REASONS = (Reason.SLEEP, Reason.REQUEST, Reason.UNKNOWN)
OPEN = f"reason IN ({', '.join(literal(reason.value) for reason in OPEN_REASONS)})"
SLEEP_REMEDY = (
    "If there was work meanwhile, remove the sleep from this thread: wait for the event itself (a "
    "queue, a condition, a CUDA event) instead of asking again and again."
)
IDLE_REMEDY = (
    "None if there was no work: send more, or share the GPU. If there was, record stacks and who "
    "wakes the thread to see what it waited for."
)


def detect(case: Case) -> Iterable[Finding]:
    """Yield a finding for each worker that slept between its work, or had nothing to do."""
    parts = {worker.thread: _open_waits(case, worker) for worker in case.workers}
    # What is not worth a word needs no second look.
    for inside, _, is_detailed in costly(case, parts.values()):
        loop, part = None, parts[inside.worker.thread]
        if part.worker.operations:
            loop = sleep_loop(case.session, waits_of(part.worker), part.where, part.among)
        if loop is not None:
            yield from _sleeps(case, part, loop, is_detailed=is_detailed)
        elif part.worker.feeds_gpu:
            yield from _idles(case, part, is_detailed=is_detailed)


def _open_waits(case: Case, worker: ThreadActivity) -> Part:
    """Return a worker's waits that nobody else's work explains."""
    others = _who_is_excused(case, worker)
    makers = case.producers[worker.thread]
    made = "".join(f" AND ({maker.condition}) IS NOT TRUE" for maker in makers)
    return part_of(
        case,
        worker,
        "waiting_ns",
        OPEN + none_of(others) + made,
        lambda one: (
            one.reason in OPEN_REASONS
            and not any(is_woken_by(one, key) for key in others)
            and not any(maker.ended(one) for maker in makers)
        ),
    )


def _who_is_excused(case: Case, worker: ThreadActivity) -> Sequence[ThreadKey]:
    """Return threads for which a worker waits with good reason, or for a lock."""
    feeding = {one.thread for one in case.dispatch_threads if one.thread.pid == worker.thread.pid}
    others = feeding - {worker.thread} | set(case.lock_holders[worker.thread])
    return sorted(others, key=str)


def _sleeps(case: Case, part: Part, loop: SleepLoop, *, is_detailed: bool) -> Iterator[Finding]:
    worker = part.worker
    waits = waits_of(worker)
    found = concentration(waits.stretches(case.session, "waiting_ns", loop.where))
    if found is None:
        return
    if not found.is_all:
        loop = loop.within(case.session, waits, found.bins)
    stretches = found.stretches
    long_ns = sum(one.lost_ns for one in stretches if one.to_ns - one.from_ns >= IDLE_STAY_NS)
    idle = case.idle_of(worker.thread)
    lost_ns = loop.slept_ns if idle is None else min(loop.slept_ns, idle.bounded_ns(stretches))
    # A regular wait may be for a request, a frame or the GPU: only a stack that sleeps, while the
    # GPU was measured to be idle, is more than worth knowing.
    most = Severity.WARNING if loop.by_stack and idle is not None else Severity.INFO
    spent = Spent(loop.slept_ns, lost_ns, long_ns)
    cost = graded(case, worker, spent, span_of(stretches), at_most=most)
    if cost is None:
        return
    said = Said(
        evidence=(
            proven(
                "between its calls it slept for {value}",
                loop.slept_ns,
                waits.total_sql("waiting_ns", loop.where),
                "ns",
            ),
            proven(
                f"in {loop.sleeps} sleeps, {{value}} the longest",
                loop.longest_ns,
                f"SELECT max(waiting_ns) AS ns FROM ({waits.sql}) WHERE {loop.where}",
                "ns",
            ),
            *(replace(part, where=loop.where).frame(case) if is_detailed else ()),
        ),
        ruled_out=_ruled_out(case, part),
        remedy=SLEEP_REMEDY,
        confidence=0.95 if loop.by_stack else 0.75,
        confidence_reason="the stacks sleep"
        if loop.by_stack
        else "told by how regular the stays are; neither stacks nor who woke the thread say more",
    )
    yield finding(case, worker, Cause.VOLUNTARY_WAIT, cost, said)


def _idles(case: Case, part: Part, *, is_detailed: bool) -> Iterator[Finding]:
    known = replace(
        part,
        where=f"{part.where} AND is_classed",
        among=[one for one in part.among if one.is_classed],
    )
    if known.ns < IDLE_SHARE * case.span.seconds * 1e9:
        return
    found = cost_of(case, known, at_most=Severity.INFO)
    if found is None:
        return
    known, cost = found
    waits = waits_of(part.worker)
    said = Said(
        evidence=(
            known.total("it waited of its own will for {value}"),
            proven(
                "the longest time for {value}",
                max(one.longest_waiting_ns for one in known.among),
                f"SELECT max(waiting_ns) AS ns FROM ({waits.sql}) WHERE {known.where}",
                "ns",
            ),
            *_woken_by(case, known),
            *(known.frame(case) if is_detailed else ()),
        ),
        ruled_out=_ruled_out(case, known),
        remedy=IDLE_REMEDY,
        confidence=0.6,
        confidence_reason="the waits are measured; that there was no work to do is not known",
    )
    yield replace(finding(case, part.worker, Cause.VOLUNTARY_WAIT, cost, said), expected_gain=None)


def _woken_by(case: Case, part: Part) -> Sequence[Evidence]:
    """Return who ended most of these waits; nobody for a small share."""
    woken_ns: dict[int, int] = {}
    for one in part.among:
        if one.waker_tid is not None:
            woken_ns[one.waker_tid] = woken_ns.get(one.waker_tid, 0) + one.waiting_ns
    most = max(woken_ns, key=lambda tid: woken_ns[tid], default=0)
    query = (
        f"SELECT max(waker_name) AS waker FROM off_cpu WHERE {part.worker.span.condition} "
        f"AND {part.worker.thread.condition} AND waker_tid = {most}"
    )
    rows = [row | {"ns": woken_ns[most]} for row in case.session.rows(query) if most in woken_ns]
    return largest(rows, part.ns, query, "{share} of it was ended by")


def _ruled_out(case: Case, part: Part) -> tuple[RuledOut, ...]:
    in_calls = [one for one in case.circumstances[part.worker.thread] if one.reason is Reason.CUDA]
    shown = proven(
        "inside CUDA calls it was off the CPU for {value}",
        sum(one.waiting_ns for one in in_calls),
        waits_of(part.worker).total_sql("waiting_ns", f"reason = '{Reason.CUDA.value}'"),
        "ns",
    )
    calls = shown.excludes(Cause.SYNCHRONIZATION)
    # Where classes are not known, some of the waits may have been for a CPU.
    return (part.queued(), calls) if all(one.is_classed for one in part.among) else (calls,)
