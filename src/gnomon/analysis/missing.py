"""What a summary could not say, and why: every None gets its reason."""

from __future__ import annotations

from gnomon.analysis.summary_types import GpuSummary
from gnomon.analysis.tracks import TRUE_CLOCK_SOURCES
from gnomon.recording.base import Meta, Unavailable

# Which measured columns a number of the summary rests on, where it is not the column itself.
RESTS_ON: dict[str, tuple[str, ...]] = {
    "compute_sol_pct": ("sm_active_pct", "engine_active_pct", "tensor_active_pct", "sm_clock_mhz"),
    "memory_sol_pct": ("dram_active_pct",),
    "dram_bytes_per_s": ("dram_active_pct",),
    "cpu_pct": ("cpu_pct",),
    "busiest_thread_cpu_pct": ("busiest_thread_cpu_pct",),
}
EXPLAINED = (
    "busy_pct",
    "engine_active_pct",
    "sm_active_pct",
    "sm_occupancy_pct",
    "compute_sol_pct",
    "memory_sol_pct",
    "dram_bytes_per_s",
    "sm_clock_mhz",
    "pcie_rx_bytes_per_s",
    "pcie_tx_bytes_per_s",
    "nvlink_rx_bytes_per_s",
    "nvlink_tx_bytes_per_s",
    "cpu_pct",
    "busiest_thread_cpu_pct",
    "power_watts",
    "power_limit_watts",
    "energy_joules",
    "vram_used_bytes",
)
# The sources that could have measured a column, in the order in which their reasons help most.
SOURCES_OF: dict[str, tuple[str, ...]] = {
    "cpu_pct": ("host",),
    "busiest_thread_cpu_pct": ("host",),
    "busy_pct": ("nvml",),
    "power_watts": ("nvml",),
    "power_limit_watts": ("nvml",),
    "energy_joules": ("nvml",),
    "vram_used_bytes": ("nvml",),
}
COUNTER_SOURCES = ("gpm", "pm", "nvml")
PARTIAL_CLOCK = "sampled in a part of this window only; NVML's stands in for the rest"


def unavailable(summary: GpuSummary, meta: Meta) -> dict[str, str]:
    """Return metric -> reason for every number of the summary that is missing."""
    here = [
        entry
        for entry in meta.unavailable
        if entry.gpu_uuid in (None, summary.uuid) and _overlaps(entry, summary)
    ]
    reasons = {
        metric: _reason(metric, here) for metric in EXPLAINED if getattr(summary, metric) is None
    }
    if summary.compute_sol_pct is not None and summary.at_most:
        is_partial = summary.sm_clock_source in TRUE_CLOCK_SOURCES
        reasons["true SM clock"] = PARTIAL_CLOCK if is_partial else _reason("pm", here)
    if summary.ledger.padding_pct is None and summary.compute_sol_pct is not None:
        reasons["padding_pct"] = "the model's FLOPs are not known; padding is part of achieved"
    return reasons


def _overlaps(entry: Unavailable, summary: GpuSummary) -> bool:
    after = entry.from_ns is not None and entry.from_ns >= summary.to_ns
    before = entry.to_ns is not None and entry.to_ns <= summary.from_ns
    return not after and not before


def _reason(metric: str, entries: list[Unavailable]) -> str:
    columns = RESTS_ON.get(metric, (metric,))
    for column in columns:
        for entry in entries:
            if entry.metric == column:
                return _text(entry)
    for source in (metric, *SOURCES_OF.get(metric, COUNTER_SOURCES)):
        for entry in entries:
            if entry.metric == source:
                return _text(entry)
    if metric.startswith("nvlink"):
        return "the driver reports no NVLink of this GPU"
    return "not recorded in this window"


def _text(entry: Unavailable) -> str:
    return f"{entry.reason}; {entry.remedy}" if entry.remedy else entry.reason
