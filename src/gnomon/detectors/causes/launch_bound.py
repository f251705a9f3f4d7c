"""A thread that launches short kernels one by one, and is slower at it than the GPU at them.

Measured: the time of a thread that feeds a GPU inside launches and on the CPU between them
(``_launching``), at most what its GPU was idle beyond the thread's own stays off the CPU. It speaks
where this fills half of the time in which it happened, a launch and the way to it take 50 us at the
mean at most (else the thread's own code is what takes time: ``host_bound``), and the thread waits
for the GPU once in 20 launches at most (else: ``synchronization``).

Silent where the GPU's idle time was not measured, where graphs are launched, and where launches
were kept without saying how many they stand for. Detection limit: 1,000 launches and 1 % of the
thread's time. Where launches were sampled, pauses of less than about ten sampled distances between
them are not told from launching.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from gnomon.analysis.activity import ThreadActivity
from gnomon.analysis.operations import Kind, condition
from gnomon.analysis.questions import Span
from gnomon.analysis.steps import steps
from gnomon.detectors.case import Case, proven, said
from gnomon.detectors.causes._launching import Launching, calls_sql, launch_sql, launching
from gnomon.detectors.feeding import LEAST_ACTIVE_SHARE, MOST_FINDINGS
from gnomon.detectors.finding import Evidence, Finding, Gain, RuledOut
from gnomon.detectors.grading import SHORTEST_NS, severity_of
from gnomon.detectors.needs import Need
from gnomon.enums import Cause, Severity

NEEDS = (Need.CALLS, Need.ALL_ROWS, Need.SCHEDULING, Need.COUNTERS)
REMEDY = (
    "Launch fewer and longer kernels: capture the step in a CUDA graph, or compile it "
    "(torch.compile with mode='reduce-overhead'), fuse elementwise operations, or make batches "
    "larger."
)


def detect(case: Case) -> Iterable[Finding]:
    """Yield a finding for each thread that cannot launch as fast as its GPU computes."""
    found = [(one, known) for one in case.dispatch_threads if (known := launching(case, one))]
    found.sort(key=lambda each: -each[1].loss.idle_ns)
    for one, known in found[:MOST_FINDINGS]:
        loss = known.loss
        # Of a thread that was active for a moment it is a share of more than that.
        least_ns = LEAST_ACTIVE_SHARE * (case.span.to_ns - case.span.from_ns)
        severity = severity_of(min(loss.share, loss.idle_ns / least_ns))
        if severity is not None and loss.idle_ns >= SHORTEST_NS:
            yield _finding(case, one, known, severity)


def _finding(case: Case, one: ThreadActivity, known: Launching, severity: Severity) -> Finding:
    loss = known.loss
    return Finding(
        cause=Cause.LAUNCH_BOUND,
        severity=severity,
        **loss.told,
        **case.who(one.thread),
        operation=max(one.outermost(Kind.LAUNCH), key=lambda group: group.made).operation,
        evidence=tuple(_evidence(case, one, known)),
        ruled_out=tuple(_ruled_out(case, one, known)),
        remedy=REMEDY,
        expected_gain=Gain(loss.idle_ns / 1e9, "s", "if the GPU always had work queued"),
        confidence=0.75 if known.is_sampled else 0.9,
        confidence_reason="the GPU was measured to be idle meanwhile"
        + (
            "; launches were sampled: pauses of less than "
            f"{said(known.pause_ns, 'ns')} between them are not told from launching"
            if known.is_sampled
            else ""
        ),
    )


def _evidence(case: Case, one: ThreadActivity, known: Launching) -> Iterator[Evidence]:
    sql, seconds = known.loss.sql, (known.loss.to_ns - known.loss.from_ns) / 1e9
    yield known.loss.evidence(
        f"in {seconds:.4g} s it was launching kernels one by one, on the CPU, for {{value}}"
    )
    yield proven(
        "of it inside the launches: {value}",
        known.in_launches_ns,
        f"SELECT round(sum(in_launches_ns))::BIGINT AS ns FROM ({sql})",
        "ns",
    )
    yield case.evidence(
        "from one launch to the next it took {value} at the mean",
        f"SELECT sum(lost_ns) / sum(launches) AS ns FROM ({sql})",
        "ns",
    )
    yield case.evidence(
        "it launched {value}",
        f"SELECT sum(launches) / {seconds} AS per_s FROM ({sql})",
        "kernels/s",
    )
    yield from _a_step(case, one, known)
    if case.has_stacks:
        yield from _frame(case, one)


def _a_step(case: Case, one: ThreadActivity, known: Launching) -> Iterator[Evidence]:
    """Yield how many kernels a step launches, where every launch was kept and steps are seen."""
    if known.is_sampled:
        return
    found = steps(case.session, case.scope, one.thread, one.calls, one.span)
    if found is None:
        return
    span = Span(int(found.starts_ns[0]) - 1, int(found.starts_ns[-1]))
    query = (
        f"SELECT count(*) / {len(found)} AS kernels FROM host_calls "
        f"WHERE {calls_sql(case, one)} AND {launch_sql(one)} AND {span.condition}"
    )
    yield case.evidence("a step launches {value} kernels", query, "")


def _frame(case: Case, one: ThreadActivity) -> Iterator[Evidence]:
    """Yield the line of Python that most launches with a stack come from."""
    query = (
        "SELECT concat_ws(' ', symbol, nullif(concat_ws(':', file, line), '')) AS frame FROM ("
        "SELECT stack_hash, sum(coalesce(weight, 1)) AS calls FROM host_calls "
        f"WHERE {calls_sql(case, one)} AND {launch_sql(one)} "
        "AND stack_hash IN (SELECT stack_hash FROM stacks WHERE kind = 'python') "
        "GROUP BY stack_hash ORDER BY calls DESC, stack_hash LIMIT 1) "
        "JOIN stacks USING (stack_hash) WHERE kind = 'python' ORDER BY depth LIMIT 1"
    )
    for row in case.session.rows(query):
        yield proven("most of its launches with a stack come from {value}", row["frame"], query, "")


def _ruled_out(case: Case, one: ThreadActivity, known: Launching) -> Iterator[RuledOut]:
    own = case.evidence(
        f"between launches more than {said(known.pause_ns, 'ns')} apart it spent {{value}}",
        f"SELECT coalesce(sum(lost_ns), 0)::BIGINT AS ns FROM ({known.paused_sql})",
        "ns",
    )
    waited = case.evidence(
        "it waited for the GPU in synchronisations for {value}",
        "SELECT coalesce(round(sum(duration_ns * coalesce(weight, 1))), 0)::BIGINT AS ns "
        f"FROM host_calls WHERE {calls_sql(case, one)} AND {condition(Kind.SYNCHRONIZATION)}",
        "ns",
    )
    yield own.excludes(Cause.HOST_BOUND)
    yield waited.excludes(Cause.SYNCHRONIZATION)
