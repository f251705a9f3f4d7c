"""Kernels that were loaded at their first launch: lazily loaded modules, and what they cost.

CUDA loads a function when it is first launched, which takes milliseconds where a launch takes
microseconds. Measured: the durations of first calls of a function, less what the same thread's
other calls of that operation take at the median. Reported from ``SHORTEST_NS`` on, in sum over a
thread and operation, as information; as more where it cost a real share of the window.
"""

from __future__ import annotations

from collections.abc import Iterable

from gnomon.analysis.latency import Operation
from gnomon.analysis.operations import Kind
from gnomon.detectors.case import Case
from gnomon.detectors.finding import Finding, Gain
from gnomon.detectors.grading import severity_of
from gnomon.enums import Cause, Severity

SHORTEST_NS = 10_000_000
REMEDY = (
    "Warm up before serving: run each shape once, or set CUDA_MODULE_LOADING=EAGER to load all "
    "kernels at the start."
)


def detect(case: Case) -> Iterable[Finding]:
    """Yield a finding for each thread whose first launches cost ``SHORTEST_NS`` and more."""
    for one in case.operations:
        if one.nested or one.kind is not Kind.LAUNCH or not one.first_calls:
            continue
        lost_ns = one.first_calls_ns - one.first_calls * one.p50_ns
        if lost_ns >= SHORTEST_NS:
            yield _finding(case, one, lost_ns)


def _finding(case: Case, one: Operation, lost_ns: int) -> Finding:
    first = (
        f"FROM host_calls WHERE {case.scope.condition} AND {one.thread.condition} "
        f"AND operation = '{one.operation}' AND depth = 0"
    )
    (when,) = case.session.rows(
        f"SELECT min(ts_ns - duration_ns) AS from_ns, max(ts_ns) AS to_ns {first} "
        "AND first_call = 1"
    )
    return Finding(
        cause=Cause.FIRST_USE_LOADING,
        severity=severity_of(lost_ns / 1e9 / case.span.seconds) or Severity.INFO,
        **when,
        pid=one.thread.pid,
        tid=one.thread.tid,
        host=one.thread.host,
        thread=case.name_of(one.thread),
        rank=case.rank_of(one.thread),
        operation=one.operation,
        lost_seconds=lost_ns / 1e9,
        evidence=(
            case.evidence(
                f"{one.first_calls} first launches of a function took {{value}}",
                f"SELECT sum(duration_ns)::BIGINT AS ns {first} AND first_call = 1",
                "ns",
            ),
            case.evidence(
                f"{one.calls - one.first_calls} other launches took {{value}}",
                f"SELECT sum(duration_ns)::BIGINT AS ns {first} AND first_call IS DISTINCT FROM 1",
                "ns",
            ),
        ),
        ruled_out=(
            case.ruled_out(
                Cause.CPU_CONTENTION,
                "in these first launches the thread was off the CPU for {value}",
                f"SELECT sum(off_cpu_ns)::BIGINT AS ns {first} AND first_call = 1",
                "ns",
            ),
        ),
        remedy=REMEDY,
        expected_gain=Gain(lost_ns / 1e9, "s", "once in the life of each process"),
        confidence=0.9,
        confidence_reason="the recorder marked which calls were the first of their function",
    )
