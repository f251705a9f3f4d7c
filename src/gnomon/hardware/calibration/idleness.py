"""Whether a GPU is free to be measured, from rows that sources read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

# An idle GPU reads 0; a monitor that asks it now and then does not move it.
BUSY_PCT = 5.0
COMPUTE_KINDS = ("compute", "mps")


def occupied_by(
    gpu_uuid: str, counters: Iterable[Mapping[str, Any]], processes: Iterable[Mapping[str, Any]]
) -> list[str]:
    """Return why the GPU is not idle, from rows of gpu_counters and gpu_processes; empty if it is.

    A process that only holds memory counts too: it may begin to compute at any moment.
    """
    reasons = []
    readings = [row.get("busy_pct") for row in counters if row.get("gpu_uuid") == gpu_uuid]
    busiest = max((value for value in readings if value is not None), default=None)
    if busiest is not None and busiest > BUSY_PCT:
        reasons.append(f"it is busy {busiest:.0f} % of the time")
    names: dict[int, str] = {}
    for row in processes:
        if row.get("gpu_uuid") == gpu_uuid and row.get("kind") in COMPUTE_KINDS:
            names[row["pid"]] = str(row.get("name") or "unknown")
    if names:
        listed = ", ".join(f"{pid} ({name})" for pid, name in sorted(names.items()))
        plural = "processes use" if len(names) > 1 else "a process uses"
        reasons.append(f"{plural} it: {listed}")
    return reasons
