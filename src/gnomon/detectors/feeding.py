"""What kept a thread from feeding its GPU, as a finding: cost, severity, who, when.

The cost is a sum of measured nanoseconds of the thread. Where the GPU's counters are known, the
GPU lost no more in any stretch of time than it was idle in it: a thread that runs ahead of a busy
GPU loses nothing. It is graded as a share of the thread's active time, and told of the stretch of
time in which nearly all of it was lost (``analysis.concentration``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from gnomon.analysis.activity import ThreadActivity
from gnomon.analysis.concentration import concentration, span_of
from gnomon.analysis.overlap import Circumstance
from gnomon.analysis.questions import Span
from gnomon.detectors.case import Case, proven, waits_of
from gnomon.detectors.finding import Evidence, Finding, Gain, RuledOut
from gnomon.detectors.grading import INFO_SHARE, SHORTEST_NS, milder, severity_of
from gnomon.enums import Cause, Severity

# A thread that was active for less of the span was mostly idle: what it lost is then a share of
# this much of the span.
LEAST_ACTIVE_SHARE = 0.1
# Of a cause that many threads have: so many of them, the worst ones, and of so few the details.
MOST_FINDINGS = 8
MOST_DETAILED = 3
# What has less of it is not "where it was": neither a frame nor a thread is named.
SMALLEST_TOLD_SHARE = 0.25
# Of a thread that stands in for the one that feeds the GPU, which was not recorded.
MOST_CONFIDENCE_BESIDE = 0.8
BESIDE = "; that the thread feeds a GPU was not recorded"


@dataclass(frozen=True, slots=True)
class Part:
    """Some of a worker's waits: a ``column`` of those that ``where`` chooses, ``among`` them all.

    ``where`` says in SQL what the choice of circumstances says here: both give the same sum.
    """

    worker: ThreadActivity
    column: str
    where: str
    among: Sequence[Circumstance]

    @property
    def ns(self) -> int:
        return sum(getattr(one, self.column) or 0 for one in self.among)

    @property
    def stays(self) -> int:
        return sum(one.stays for one in self.among)

    @property
    def long_ns(self) -> int:
        """What of it lies in stays so long that they are no part of the thread's active time."""
        return sum(one.long_waiting_ns for one in self.among if self.column == "waiting_ns")

    def within(self, case: Case, bins: Span) -> Part:
        """Return what of it ends in a span."""
        where = f"({self.where}) AND {self.column} > 0 AND {bins.condition}"
        waits = waits_of(self.worker)
        return replace(self, where=where, among=waits.circumstances(case.session, where))

    def total(self, text: str) -> Evidence:
        """Return its sum as evidence, with the query that gives it again."""
        return proven(text, self.ns, waits_of(self.worker).total_sql(self.column, self.where), "ns")

    def queued(self) -> RuledOut:
        """Return how long the thread waited for a busy CPU in the same stays, as ruled out."""
        queued_ns = sum(one.queued_ns or 0 for one in self.among)
        query = waits_of(self.worker).total_sql("coalesce(queued_ns, 0)", self.where)
        text = "in the same stays off the CPU it waited for a busy CPU for {value}"
        shown = proven(text, queued_ns, query, "ns")
        return shown.excludes(Cause.CPU_CONTENTION)

    def frame(self, case: Case) -> Sequence[Evidence]:
        """Return where in the code most of it was, if stacks tell it. Costs a scan."""
        waits = waits_of(self.worker)
        query = waits.frame_sql(self.column, self.where)
        found = case.session.rows(query) if case.has_stacks else ()
        return largest(found, self.ns, f"SELECT frame FROM ({query})", "{share} of it in")


@dataclass(frozen=True, slots=True)
class Spent:
    """A worker's time that went to a cause, and what its GPU lost of that as far as is known.

    ``long_ns``: of it, in stays so long that they are no part of the thread's active time.
    """

    thread_ns: int
    lost_ns: int
    long_ns: int = 0


@dataclass(frozen=True, slots=True)
class Cost:
    """``thread_ns`` were measured in ``span``; the GPU lost ``lost_ns`` of them, being idle.

    Where nobody measured that, they are the same. ``share``: of the thread's active time, 0 to 1.
    ``gpu_idle_ns``: of the thread's GPU in ``span``; None where that was not measured.
    """

    thread_ns: int
    lost_ns: int
    share: float
    severity: Severity
    span: Span
    gpu: str | None
    gpu_idle_ns: float | None

    @property
    def lost_pct(self) -> float | None:
        """Share of the GPU's peak that was lost, at most its idle share."""
        length_ns = self.span.to_ns - self.span.from_ns
        if self.gpu_idle_ns is None or length_ns <= 0:
            return None
        return 100 * min(self.lost_ns, self.gpu_idle_ns) / length_ns


@dataclass(frozen=True, slots=True)
class Said:
    """What a finding says beyond its cost."""

    evidence: Sequence[Evidence]
    ruled_out: Sequence[RuledOut]
    remedy: str
    confidence: float
    confidence_reason: str


def largest(
    rows: Sequence[Mapping[str, Any]], of: float, query: str, text: str
) -> Sequence[Evidence]:
    """Return the name that comes first as evidence, with its share; nothing where that is small.

    ``rows``: a name and how much there is of it, the largest first; ``query`` gives this name
    again. ``{share}`` in the text is replaced.
    """
    if not rows or of <= 0:
        return ()
    name, much = rows[0].values()
    share = min(1.0, float(much or 0) / of)
    if not name or share < SMALLEST_TOLD_SHARE:
        return ()
    return (proven(f"{text.format(share=f'{100 * share:.0f} %')} {{value}}", name, query, ""),)


def part_of(
    case: Case,
    worker: ThreadActivity,
    column: str,
    where: str = "true",
    chosen: Callable[[Circumstance], bool] = lambda _: True,
) -> Part:
    """Return the waits of a worker that a condition chooses, in SQL and here."""
    met = case.circumstances.get(worker.thread, ())
    among = [one for one in met if getattr(one, column) and chosen(one)]
    return Part(worker, column, where, among)


def costly(
    case: Case,
    parts: Iterable[Part],
    *,
    recurs: bool = False,
    at_most: Severity = Severity.CRITICAL,
) -> Iterator[tuple[Part, Cost, bool]]:
    """Yield the parts that are worth a word, the ``MOST_FINDINGS`` largest at most.

    Of each that of its waits which lie where nearly all of its loss is. The last value: whether it
    is one of the ``MOST_DETAILED`` for which more scans are made.
    """
    largest = sorted(parts, key=lambda part: -part.ns)[:MOST_FINDINGS]
    for place, part in enumerate(largest):
        found = cost_of(case, part, recurs=recurs, at_most=at_most)
        if found is not None:
            yield *found, place < MOST_DETAILED


def is_worth_a_look(case: Case, part: Part, *, recurs: bool = False) -> bool:
    """Tell, without a query, whether a part of a worker's waits can be worth a word.

    ``recurs``: it must be worth it without its longest stay too.
    """
    longest_ns = max((one.longest_waiting_ns for one in part.among), default=0) if recurs else 0
    time_to_lose_ns = _time_to_lose_ns(case, part.worker, part.long_ns)
    return part.ns - longest_ns >= max(SHORTEST_NS, INFO_SHARE * time_to_lose_ns)


def cost_of(
    case: Case, part: Part, *, recurs: bool = False, at_most: Severity = Severity.CRITICAL
) -> tuple[Part, Cost] | None:
    """Return where a part of a worker's waits was lost, and what that cost.

    None where that is not worth a word. ``recurs``: see ``is_worth_a_look``.
    """
    if not is_worth_a_look(case, part, recurs=recurs):
        return None
    worker = part.worker
    found = concentration(waits_of(worker).stretches(case.session, part.column, part.where))
    if found is None:
        return None
    stretches = found.stretches
    if not found.is_all:
        inside = part.within(case, found.bins)
        if is_worth_a_look(case, inside, recurs=recurs):
            part = inside
        else:
            stretches = found.of
    idle = case.idle_of(worker.thread)
    lost_ns = part.ns if idle is None else min(part.ns, idle.bounded_ns(stretches))
    spent = Spent(part.ns, lost_ns, part.long_ns)
    cost = graded(case, worker, spent, span_of(stretches), at_most=at_most)
    return None if cost is None else (part, cost)


def graded(
    case: Case,
    worker: ThreadActivity,
    spent: Spent,
    span: Span,
    *,
    at_most: Severity = Severity.CRITICAL,
) -> Cost | None:
    """Return what a worker spent with its severity; None where it is not worth a word."""
    share = spent.lost_ns / _time_to_lose_ns(case, worker, spent.long_ns)
    severity = severity_of(share, at_most=milder(at_most, most_severe(worker)))
    if severity is None or spent.lost_ns < SHORTEST_NS:
        return None
    span = Span(max(span.from_ns, case.span.from_ns), min(span.to_ns, case.span.to_ns))
    idle = case.idle_of(worker.thread)
    return Cost(
        thread_ns=spent.thread_ns,
        lost_ns=spent.lost_ns,
        share=share,
        severity=severity,
        span=span,
        gpu=case.gpu_of(worker.thread),
        gpu_idle_ns=None if idle is None else idle.within(span.from_ns, span.to_ns),
    )


def most_severe(worker: ThreadActivity) -> Severity:
    """Return how bad a worker's loss can be called.

    Where nobody feeds a GPU, who makes CUDA calls, or is a process's first thread, may be the one
    that matters; of others nothing is known.
    """
    if worker.feeds_gpu:
        return Severity.CRITICAL
    is_first = worker.thread.tid == worker.thread.pid
    return Severity.WARNING if worker.operations or is_first else Severity.INFO


def _time_to_lose_ns(case: Case, worker: ThreadActivity, long_ns: int) -> float:
    """Return the active time of a worker, long stays of this cause included."""
    active_ns = worker.active_ns + min(long_ns, worker.idle_ns)
    return max(active_ns, LEAST_ACTIVE_SHARE * (case.span.to_ns - case.span.from_ns), 1)


def finding(case: Case, worker: ThreadActivity, cause: Cause, cost: Cost, said: Said) -> Finding:
    """Return the finding that a cause cost a worker so much."""
    thread = worker.thread
    return Finding(
        cause=cause,
        severity=cost.severity,
        from_ns=cost.span.from_ns,
        to_ns=cost.span.to_ns,
        evidence=said.evidence,
        remedy=said.remedy,
        confidence=said.confidence
        if worker.feeds_gpu
        else min(said.confidence, MOST_CONFIDENCE_BESIDE),
        confidence_reason=said.confidence_reason + ("" if worker.feeds_gpu else BESIDE),
        thread_seconds=cost.thread_ns / 1e9,
        lost_seconds=None if cost.gpu_idle_ns is None else cost.lost_ns / 1e9,
        lost_pct=cost.lost_pct,
        gpu=cost.gpu,
        **case.who(thread),
        ruled_out=said.ruled_out,
        expected_gain=Gain(
            cost.lost_ns / 1e9, "s", f"at most, of {case.span.seconds:.4g} s looked at"
        ),
    )
