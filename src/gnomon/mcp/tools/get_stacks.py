"""Where in the code time went."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from gnomon.analysis.stacks import Frame, TopStack, top_stacks
from gnomon.mcp import explaining
from gnomon.mcp.desk import Desk
from gnomon.mcp.parameters import Since, Until
from gnomon.mcp.reply import Answer, named, said

MOST_FRAMES = 24

What = Annotated[
    Literal["off_cpu", "calls"],
    Field(description="off_cpu: while threads did not run. calls: inside CUDA and other calls."),
]
OfThread = Annotated[int | None, Field(description="One thread only, by its tid.")]
Called = Annotated[
    str | None, Field(description="of=calls: one operation only, as get_trace_stats names it.")
]
Most = Annotated[int, Field(ge=1, le=100, description="Most stacks to return: the most time.")]


def answer(
    desk: Desk,
    *,
    of: What = "off_cpu",
    since: Since = None,
    until: Until = None,
    tid: OfThread = None,
    operation: Called = None,
    limit: Most = 10,
) -> Answer:
    """List the stacks with most time, the innermost frame first.

    of=off_cpu: where threads stood while they did not run, which says what they waited for.
    of=calls: from where calls were made, and how long these took. A row is a thread and a stack.
    total_ns is all the time there was, without_stack_ns the part of it that carries no stack:
    where that is most of it, the stacks say little.
    """
    with explaining.case_of(desk, since, until) as case:
        span = case.span
        found = top_stacks(case.session, case.scope, of, most=limit, tid=tid, operation=operation)
        stacks = [_stack(one, case.name_of(one.thread)) for one in found.stacks]
    return Answer(
        facts={
            "from_ns": span.from_ns,
            "to_ns": span.to_ns,
            "total_ns": found.total_ns,
            "without_stack_ns": found.without_stack_ns,
        },
        lists={"stacks": stacks},
        advice="ask for one tid, a lower limit, or a shorter window",
        is_exact=True,
    )


def _stack(one: TopStack, name: str | None) -> dict[str, Any]:
    hidden = len(one.frames) - MOST_FRAMES
    return explaining.known(
        {
            **explaining.thread(one.thread),
            "thread": said(name),
            "operation": named(one.operation),
            "rows": one.rows,
            "total_ns": one.total_ns,
            "longest_ns": one.longest_ns,
            "frames": [_frame(frame) for frame in one.frames[:MOST_FRAMES]],
            "outer_frames_left_out": hidden if hidden > 0 else None,
        }
    )


def _frame(frame: Frame) -> dict[str, str] | None:
    """Return a frame as one marked text: symbols and files are the program's own."""
    place = frame.file and f"{frame.file}:{frame.line or '?'}"
    return said(" ".join(part for part in (frame.symbol or "?", place or frame.module) if part))
