"""What a summary says of one GPU over one window: the shape of ``gnomon summary --json``.

Shares are in percent of the window or of the peak; None means "not measured", never 0.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from gnomon.analysis.budget_types import Budget


@dataclass(frozen=True, slots=True)
class ComputeLedger:
    """Where 100 % of the arithmetic peak went; the terms that are known sum to 100.

    ``padding_pct`` is None where the useful work (the model's FLOPs) is not known; it is then
    part of ``achieved_pct``. ``clock_pct`` is negative where the chip ran above the reference
    clock.
    """

    copying_pct: float | None = None
    idle_pct: float | None = None
    sm_empty_pct: float | None = None
    stalled_pct: float | None = None
    clock_pct: float | None = None
    padding_pct: float | None = None
    achieved_pct: float | None = None


@dataclass(frozen=True, slots=True)
class MemoryLedger:
    """Where 100 % of the DRAM bandwidth went."""

    idle_pct: float | None = None
    not_requested_pct: float | None = None
    clock_pct: float | None = None
    achieved_pct: float | None = None


# Edges of windows cut samples: what is measured all the time reads a little less than 100 %.
FULLY_PCT = 95.0


@dataclass(frozen=True, slots=True)
class GpuSummary:
    """One GPU (or MIG instance) in one window."""

    uuid: str
    name: str
    from_ns: int
    to_ns: int
    samples: int
    mig_uuid: str | None = None
    phase: str | None = None
    busy_pct: float | None = None
    memory_busy_pct: float | None = None
    engine_active_pct: float | None = None
    sm_active_pct: float | None = None
    sm_occupancy_pct: float | None = None
    pipe: str | None = None
    pipe_active_pct: float | None = None
    integer_active_pct: float | None = None
    sm_clock_mhz: float | None = None
    reference_clock_mhz: float | None = None
    compute_sol_pct: float | None = None
    memory_sol_pct: float | None = None
    dram_bytes_per_s: float | None = None
    sm_clock_source: str | None = None
    sm_clock_measured_pct: float | None = None
    ledger: ComputeLedger = field(default_factory=ComputeLedger)
    achieved_basis: str | None = None
    sm_clock_estimated: bool = False
    at_most: bool = False
    bound_by: str | None = None
    memory_ledger: MemoryLedger = field(default_factory=MemoryLedger)
    losses: dict[str, int] = field(default_factory=dict)
    pcie_rx_bytes_per_s: float | None = None
    pcie_tx_bytes_per_s: float | None = None
    pcie_sol_pct: float | None = None
    nvlink_rx_bytes_per_s: float | None = None
    nvlink_tx_bytes_per_s: float | None = None
    nvlink_sol_pct: float | None = None
    cpu_pct: float | None = None
    busiest_thread_cpu_pct: float | None = None
    power_limit_watts: float | None = None
    tflops: float | None = None
    tflops_per_watt: float | None = None
    power_watts: float | None = None
    energy_joules: float | None = None
    temperature_celsius: float | None = None
    memory_clock_mhz: float | None = None
    throttle_reasons: tuple[str, ...] = ()
    vram_used_bytes: int | None = None
    vram_total_bytes: int | None = None
    tokens_per_s: float | None = None
    verdict: str = ""
    budget: Budget | None = None
    peak_source: str | None = None
    warnings: tuple[str, ...] = ()
    unavailable: dict[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return plain data for ``json.dumps``, in the order of the fields."""
        return asdict(self)


def doubt(summary: GpuSummary) -> str:
    """Return what stands before compute SOL: "<=" for a bound, "~" for an estimate, or nothing."""
    if summary.compute_sol_pct is None:
        return ""
    if summary.at_most:
        return "<="
    return "~" if summary.sm_clock_estimated else ""


def clock_note(summary: GpuSummary) -> str:
    """Return what is to be known of the SM clock; empty where it was measured all along."""
    measured = summary.sm_clock_measured_pct
    if summary.at_most:
        partly = "" if summary.sm_clock_source == "nvml" else "in part NVML's, which "
        return f"{partly}reads high on tensor work"
    if summary.sm_clock_estimated:
        return "NVML's, scaled by samples seconds away"
    if summary.sm_clock_source == "nvml" or measured is None or measured >= FULLY_PCT:
        return ""
    return f"sampled {measured:.0f} % of the time, NVML's scaled between"
