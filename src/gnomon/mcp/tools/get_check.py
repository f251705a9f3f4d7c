"""What is wrong, in short."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from gnomon.detectors.report import explain_case
from gnomon.enums import Severity
from gnomon.mcp import explaining
from gnomon.mcp.desk import Desk
from gnomon.mcp.parameters import Since, Until
from gnomon.mcp.reply import Answer

Least = Annotated[
    Severity, Field(description="Leave out what is less severe: info, warning, critical.")
]


def answer(
    desk: Desk, *, since: Since = None, until: Until = None, severity: Least = Severity.INFO
) -> Answer:
    """Say what is wrong in a window, the worst first: causes, where, when, and what each cost.

    A cause is blamed only where measured nanoseconds of it explain the loss; get_causal_chains has
    the evidence, with the query that proves it. No findings: nothing is wrong, as far as could be
    seen; could_not_see names the detectors that lacked something, whose silence proves nothing.
    info is worth knowing and costs little.
    """
    with explaining.case_of(desk, since, until) as case:
        found = explain_case(case, at_least=severity)
    return Answer(
        facts=explaining.looked(found) | {"less_severe": found.less_severe},
        lists={
            "findings": [explaining.short(one) for one in found.findings],
            "could_not_see": explaining.unseen(found),
        },
        advice="ask for a higher severity, or a shorter window",
    )
