"""What calls took in the last seconds."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated, Any

from pydantic import Field

from gnomon.analysis.call_table import CallRow, Other, call_table
from gnomon.analysis.coverage import losses
from gnomon.mcp.desk import NS_PER_S, Desk
from gnomon.mcp.reply import Answer, marked, named, said

# Totals are told once a second, and some rows are known to come before others.
LATE_NS = 3 * NS_PER_S
TIMES = (
    *("total_ns", "p50_ns", "p95_ns", "p99_ns", "longest_ns"),
    *("run_queue_ns", "io_ns", "voluntary_ns", "other_off_cpu_ns"),
)

Seconds = Annotated[
    float, Field(gt=0, le=600, description="How far to look back from the newest row.")
]
Most = Annotated[int, Field(ge=1, le=200, description="Most operations: the most time first.")]


def answer(desk: Desk, *, seconds: Seconds = 10, limit: Most = 30) -> Answer:
    """Show what CUDA and NCCL calls took in the last seconds of a trace that is being written.

    A row an operation, over all threads: counts (calls, calls_per_s, failures; where covered_pct is
    below 100 calls were followed in windows, and these are estimates), percentiles
    from histograms (within a quarter of an octave), the longest, interrupted_pct (share of calls
    in which the thread waited for a CPU), and time off the CPU inside: run_queue_ns wanted a CPU,
    io_ns a disk, voluntary_ns slept or waited to be woken. preemptors had the CPU meanwhile,
    wakers ended the waits. newest_row_age_s tells whether the trace is still being written. Of a
    recording that is over, these are its last seconds; get_trace_stats has all of it by thread.
    """
    to_ns = _newest_ns(desk)
    from_ns = to_ns - round(seconds * NS_PER_S)
    rows = call_table(desk.recording, from_ns, to_ns)
    lost = losses(desk.recording, from_ns=from_ns, to_ns=to_ns)
    return Answer(
        facts={
            "from_ns": from_ns,
            "to_ns": to_ns,
            "newest_row_age_s": (time.time_ns() - to_ns) / NS_PER_S,
        },
        lists={
            "operations": [_row(row) for row in rows[:limit]],
            "losses": [marked(asdict(one)) for one in lost],
        },
        totals={"operations": len(rows)},
        advice="ask for a higher limit",
    )


def _newest_ns(desk: Desk) -> int:
    """When calls were counted last; the recording's end where none was counted near it."""
    _, end_ns = desk.bounds()
    counts = desk.recording.read("call_histograms", from_ns=end_ns - LATE_NS, columns=["ts_ns"])
    return max(counts.column("ts_ns").to_pylist(), default=end_ns)


def _row(row: CallRow) -> dict[str, Any]:
    times = {name: getattr(row, name) for name in TIMES}
    found = {
        "operation": named(row.operation),
        "layer": named(row.layer),
        "calls": row.calls,
        "calls_per_s": row.calls_per_s,
        "covered_pct": row.covered_pct,
        **{name: None if value is None else round(value) for name, value in times.items()},
        "interrupted_pct": row.interrupted_pct,
        "failures": round(row.failures) or None,
        "preemptors": _others(row.preemptors) or None,
        "wakers": _others(row.wakers) or None,
    }
    return {name: value for name, value in found.items() if value is not None}


def _others(others: Sequence[Other]) -> list[dict[str, Any]]:
    return [
        {"name": said(one.name), "ns": round(one.ns), "share_pct": one.share_pct} for one in others
    ]
