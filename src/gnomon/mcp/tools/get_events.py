"""What happened, and when."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from gnomon.enums import Severity
from gnomon.mcp.desk import Desk, only_gpu
from gnomon.mcp.parameters import Gpu, Since, Until
from gnomon.mcp.reply import Answer, marked, said

TEXTS = ("message", "old_value", "new_value")
COLUMNS = ("ts_ns", "severity", "kind", "gpu_uuid", "mig_uuid", "source", *TEXTS)
RANKS = {severity.value: rank for rank, severity in enumerate(Severity)}

Least = Annotated[
    Severity, Field(description="Leave out what is less severe: info, warning, critical.")
]
Most = Annotated[int, Field(ge=1, le=500, description="Most events to return: the newest.")]


def answer(
    desk: Desk,
    *,
    since: Since = None,
    until: Until = None,
    severity: Least = Severity.INFO,
    gpu: Gpu = None,
    limit: Most = 100,
) -> Answer:
    """List what happened at an instant, the newest first.

    Xids and other GPU errors, limits that were changed, a GPU that was lost, a source that
    stalled, the recording's own start and end. Throttling and utilisation are no events: ask
    get_sol. With gpu, events of the whole host are left out.
    """
    from_ns, to_ns = desk.window(since, until)
    # A recording begins and ends with events, outside of the first and the last measurement.
    table = desk.recording.read(
        "events",
        from_ns=None if since is None else from_ns - 1,
        to_ns=None if until is None else to_ns,
        columns=COLUMNS,
    )
    least = RANKS[severity.value]
    severe = [row for row in table.to_pylist() if RANKS.get(row["severity"], 0) >= least]
    found = only_gpu(
        severe, gpu, desk.recording.meta(), lambda row: (row["gpu_uuid"], row["mig_uuid"])
    )
    return Answer(
        facts={"from_ns": from_ns, "to_ns": to_ns},
        lists={"events": [_event(row) for row in reversed(found[-limit:])]},
        totals={"events": len(found)},
        advice="ask for a higher limit or severity, or with until at the oldest event shown",
    )


def _event(row: dict[str, Any]) -> dict[str, Any]:
    values = marked(row) | {name: said(row[name]) for name in TEXTS}
    return {name: value for name, value in values.items() if value is not None}
