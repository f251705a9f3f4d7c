"""How long calls took."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from gnomon.analysis.latency import Operation
from gnomon.mcp import explaining
from gnomon.mcp.desk import Desk
from gnomon.mcp.parameters import Since, Until
from gnomon.mcp.reply import Answer, named, said

NUMBERS = (
    "p50_ns",
    "p95_ns",
    "p99_ns",
    "longest_ns",
    "off_cpu_ns",
    "run_queue_ns",
    "io_ns",
    "voluntary_ns",
    "first_calls",
    "first_calls_ns",
    "bytes",
    "failures",
)
# Zero says the same as not at all here, and there would be many.
WORTH_IF_NOT_ZERO = {"first_calls", "first_calls_ns", "failures", "bytes"}

OfThread = Annotated[int | None, Field(description="One thread only, by its tid.")]
Called = Annotated[
    str | None, Field(description="Operations that contain this text, such as Launch or Memcpy.")
]
Most = Annotated[int, Field(ge=1, le=500, description="Most rows to return: the most time first.")]


def answer(
    desk: Desk,
    *,
    since: Since = None,
    until: Until = None,
    tid: OfThread = None,
    operation: Called = None,
    limit: Most = 40,
) -> Answer:
    """Tell how long calls took: a row a thread and operation, the most time first.

    CUDA runtime and driver calls, sockets and block requests: calls, total_ns, nearest-rank
    percentiles, the longest, and how much of it the thread was off the CPU in them: run_queue_ns
    wanted a CPU, io_ns waited for a disk, voluntary_ns slept or waited for the GPU. first_calls
    load and initialise. A call with nested: true lies inside another: do not add it. Where
    calls_kept is told, only so many calls were kept, by chance, and the other numbers are estimates
    of all calls from them (is_exact is false then). Where biased is true, slow calls were kept
    rather than others: no number is of all calls. What is missing was not recorded.
    """
    with explaining.case_of(desk, since, until) as case:
        span = case.span
        found = [
            one
            for one in case.operations
            if (tid is None or one.thread.tid == tid)
            and (operation is None or operation.lower() in one.operation.lower())
        ]
        shown = [_row(one, case.name_of(one.thread)) for one in found[:limit]]
    is_exact = not any(one.is_sampled or one.biased for one in found[:limit])
    return Answer(
        facts={"from_ns": span.from_ns, "to_ns": span.to_ns, "is_exact": is_exact},
        lists={"operations": shown},
        totals={"operations": len(found)},
        advice="ask for one tid or operation, or a higher limit",
        is_exact=is_exact,
    )


def _row(one: Operation, name: str | None) -> dict[str, Any]:
    numbers = {
        "calls": one.made,
        "calls_kept": one.calls if one.is_sampled else None,
        "total_ns": one.made_ns,
        "calls_off_cpu": one.made_off_cpu,
    } | {field: getattr(one, field) for field in NUMBERS}
    flags = {"nested": one.nested or None, "biased": one.biased or None}
    return explaining.known(
        {
            "operation": named(one.operation),
            "layer": named(one.layer),
            **explaining.thread(one.thread),
            "thread": said(name),
            **{key: of for key, of in numbers.items() if of or key not in WORTH_IF_NOT_ZERO},
            **flags,
        }
    )
