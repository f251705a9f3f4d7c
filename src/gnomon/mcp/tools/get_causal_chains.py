"""Why the GPUs were kept waiting, with the proof."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from gnomon.detectors.registry import detectors
from gnomon.detectors.report import explain_case
from gnomon.enums import Severity
from gnomon.mcp import explaining
from gnomon.mcp.desk import Desk, QuestionError
from gnomon.mcp.parameters import Since, Until
from gnomon.mcp.reply import Answer

Which = Annotated[
    str | None, Field(description="One cause only, as get_check names it, such as io_wait.")
]
Least = Annotated[
    Severity, Field(description="Leave out what is less severe: info, warning, critical.")
]
Queries = Annotated[
    bool, Field(description="Tell the query of every number, not only that of each loss.")
]
Most = Annotated[int, Field(ge=1, le=100, description="Most findings to return: the worst.")]


def answer(
    desk: Desk,
    *,
    since: Since = None,
    until: Until = None,
    cause: Which = None,
    severity: Least = Severity.INFO,
    queries: Queries = False,
    limit: Most = 10,
) -> Answer:
    """Tell each finding from loss to cause: what stalled the GPU, when, which thread, how long.

    thread_ns was measured: time of the cause in the time of the thread named. lost_ns is what the
    GPU lost of it, and left out where no counters tell that. because is the evidence, and ruled_out
    what looks alike and was measured not to be it; each has a value and its unit. A query is for
    run_sql, which answers with the same value: told is that of the loss, with queries=true that of
    every number. remedy says what to change, confidence (0 to 1) how sure this is, and why.
    """
    names = () if cause is None else (cause,)
    if cause is not None and cause not in (known := detectors()):
        raise QuestionError(f"cause: no detector is called {cause!r}; {', '.join(sorted(known))}")
    with explaining.case_of(desk, since, until) as case:
        found = explain_case(case, causes=names, at_least=severity)
    return Answer(
        facts=explaining.looked(found),
        lists={
            "chains": [
                explaining.chain(one, has_queries=queries) for one in found.findings[:limit]
            ],
            "could_not_see": explaining.unseen(found),
        },
        totals={"chains": len(found.findings)},
        advice="ask for one cause, a higher severity or limit, or a shorter window",
        is_exact=True,
    )
