"""Numbers over time, in bins."""

from __future__ import annotations

import math
from collections import defaultdict
from typing import Annotated, Any

from pydantic import Field

from gnomon.analysis.summary import summarize
from gnomon.analysis.summary_types import GpuSummary
from gnomon.mcp.desk import Desk, only_gpu
from gnomon.mcp.parameters import Gpu, Since, Until
from gnomon.mcp.reply import Answer, named, said
from gnomon.recording.marks import phases

METRICS = (
    "busy_pct",
    "compute_sol_pct",
    "memory_sol_pct",
    "sm_clock_mhz",
    "power_watts",
    "pcie_rx_bytes_per_s",
    "pcie_tx_bytes_per_s",
    "busiest_thread_cpu_pct",
    "bound_by",
)
LEDGER_METRICS = ("idle_pct", "sm_empty_pct", "stalled_pct", "clock_pct", "copying_pct")
# A series of bins is read at a glance: three digits are more than a chart shows.
DIGITS = 3

Bins = Annotated[
    int, Field(ge=1, le=200, description="Equal parts of the window: a number a metric each.")
]


def answer(
    desk: Desk, *, since: Since = None, until: Until = None, bins: Bins = 40, gpu: Gpu = None
) -> Answer:
    """Show how each GPU's numbers went over time: where something changed, and when.

    Each GPU has a series a metric: time-weighted means of equal bins, null where nothing was
    measured. Bin i begins at from_ns + i * bin_ns. busy_pct is nvidia-smi's GPU-Util;
    compute_sol_pct and memory_sol_pct are shares of peak (0 to 100); sm_clock_mhz is the mean
    while the pipe worked; idle_pct, sm_empty_pct, stalled_pct, clock_pct and copying_pct are the
    terms of the loss ledger; bound_by is a word a bin. phases are what the workload said it was
    doing. Then ask get_sol of the window that stands out, and get_events and run_sql of what
    happened in it.
    """
    from_ns, to_ns = desk.window(since, until)
    bin_ns = math.ceil((to_ns - from_ns) / bins)
    every = summarize(desk.recording, from_ns=from_ns, to_ns=to_ns, by=bin_ns)
    meta = desk.recording.meta()
    summaries = only_gpu(every, gpu, meta, lambda one: (one.uuid, one.mig_uuid))
    grouped: defaultdict[tuple[str, str | None], list[GpuSummary]] = defaultdict(list)
    for summary in summaries:
        grouped[summary.uuid, summary.mig_uuid].append(summary)
    marked = [one for one in phases(desk.recording) if one.from_ns < to_ns and one.to_ns > from_ns]
    return Answer(
        facts={"from_ns": from_ns, "to_ns": to_ns, "bin_ns": bin_ns},
        lists={
            "gpus": [
                {"uuid": named(uuid), "mig_uuid": named(mig_uuid), "series": _series(of_gpu)}
                for (uuid, mig_uuid), of_gpu in grouped.items()
            ],
            "phases": [
                {"name": said(one.name), "from_ns": one.from_ns, "to_ns": one.to_ns}
                for one in sorted(marked, key=lambda one: one.from_ns)
            ],
        },
        advice="ask for one gpu, fewer bins, or a shorter window",
    )


def _series(summaries: list[GpuSummary]) -> dict[str, list[Any]]:
    """Return metric -> a value a bin; a metric that was never measured is left out."""
    series = {name: [_short(getattr(one, name)) for one in summaries] for name in METRICS}
    series |= {
        name: [_short(getattr(one.ledger, name)) for one in summaries] for name in LEDGER_METRICS
    }
    return {name: values for name, values in series.items() if any(v is not None for v in values)}


def _short(value: Any) -> Any:
    return float(f"{value:.{DIGITS}g}") if isinstance(value, float) else value
