"""What no counters bound: a thread that lost time may have lost it while its GPU still had work.

Where the GPU's idle time is known, detectors count no more than that, and findings say so. Where it
is not, a finding is a warning at most, of moderate certainty, and says why; and where the same
thread waited for the GPU, in the same stretch of time, for as long as it lost to the cause, the GPU
may have been the slower of the two: then it is information.
"""

from __future__ import annotations

from dataclasses import replace

from gnomon.analysis.latency import among
from gnomon.analysis.operations import Kind
from gnomon.analysis.questions import Span, ThreadKey
from gnomon.detectors.case import Case, said
from gnomon.detectors.finding import Finding
from gnomon.detectors.grading import milder
from gnomon.enums import Cause, Severity

# Causes that keep a thread from its work, which the GPU does not feel as long as it has some.
HIDDEN_BEHIND_WORK = frozenset(
    {
        Cause.ALLOCATOR_THRASH,
        Cause.CPU_CONTENTION,
        Cause.HOST_MEMORY_SPILL,
        Cause.INPUT_PIPELINE_STALL,
        Cause.IO_WAIT,
        Cause.LOCK_CONTENTION,
    }
)
# These leave the thread's own streams without work; whether there are others is not known.
EMPTIES_STREAMS = frozenset({Cause.SYNCHRONIZATION, Cause.TRANSFER_RATE, Cause.TRANSFER_SIZE})
MOST_CONFIDENCE = 0.6
BOUNDED = "counters say how much of it the GPU was idle"
NOT_BOUNDED = "whether the GPU had work meanwhile was not recorded"


def held(case: Case, finding: Finding) -> Finding:
    """Return a finding as far as it can be held by what is known of the GPU's idle time."""
    known = finding.confidence_reason
    if finding.cause not in HIDDEN_BEHIND_WORK | EMPTIES_STREAMS or finding.thread_seconds is None:
        return finding
    if finding.lost_seconds is not None:
        return replace(finding, confidence_reason=f"{known}; {BOUNDED}")
    thread = ThreadKey(finding.host, finding.pid, finding.tid)
    most, reason = Severity.WARNING, NOT_BOUNDED
    waited_ns = 0
    if finding.cause in HIDDEN_BEHIND_WORK:
        waited_ns = _waited_ns(case, thread, Span(finding.from_ns, finding.to_ns))
    if waited_ns >= finding.thread_seconds * 1e9:
        most = Severity.INFO
        reason += f"; the thread also waited {said(waited_ns, 'ns')} for it, so it may have had"
    return replace(
        finding,
        severity=milder(finding.severity, most),
        confidence=min(finding.confidence, MOST_CONFIDENCE),
        confidence_reason=f"{known}; {reason}",
    )


def _waited_ns(case: Case, thread: ThreadKey, span: Span) -> int:
    """Return how long a thread's outermost synchronisations took that ended in a span."""
    return int(
        case.value(
            "SELECT coalesce(sum(duration_ns * coalesce(weight, 1)), 0)::BIGINT AS ns "
            f"FROM host_calls WHERE {span.condition} AND {thread.condition} "
            f"AND coalesce(depth, 0) = 0 AND {among(case.operations, Kind.SYNCHRONIZATION)}"
        )
    )
