"""GPU summaries for tests: the measured prefill of an H200 (driver 580), and variations of it."""

from dataclasses import replace

from gnomon.analysis.summary_types import ComputeLedger, GpuSummary, MemoryLedger
from gnomon.recording.base import Meta

UUID = "GPU-11111111-2222-3333-4444-555555555555"

PREFILL = GpuSummary(
    uuid=UUID,
    name="NVIDIA H200",
    from_ns=1_795_202_133_334_134_600,
    to_ns=1_795_202_141_471_394_500,
    samples=81,
    busy_pct=99.6,
    engine_active_pct=99.6,
    sm_active_pct=97.3,
    pipe="tensor",
    pipe_active_pct=65.9,
    sm_clock_mhz=1541.0,
    reference_clock_mhz=1830.0,
    compute_sol_pct=55.46,
    memory_sol_pct=26.6,
    dram_bytes_per_s=1.2768e12,
    sm_clock_source="nvml",
    ledger=ComputeLedger(0.0, 0.4, 2.3, 31.4, 10.44, None, 55.46),
    achieved_basis="pipe",
    at_most=True,
    bound_by="clock",
    memory_ledger=MemoryLedger(0.4, 73.0, 0.0, 26.6),
    losses={"samples_lost": 3},
    pcie_rx_bytes_per_s=4.1e6,
    pcie_tx_bytes_per_s=2.0e6,
    pcie_sol_pct=0.0065,
    cpu_pct=12.1,
    busiest_thread_cpu_pct=99.2,
    power_limit_watts=700.0,
    power_watts=691.2,
    energy_joules=5620.0,
    temperature_celsius=66.0,
    memory_clock_mhz=3201.0,
    throttle_reasons=("sw_power_cap",),
    vram_used_bytes=67_000_000_000,
    vram_total_bytes=150_754_820_096,
    verdict="throttled: the power cap holds the SM clock at 1,541 of 1,830 MHz and costs at "
    "least 10 % of peak; the tensor pipe is active 66 % of cycles",
    unavailable={
        "nvlink_rx_bytes_per_s": "the driver says NOT_SUPPORTED",
        "nvlink_tx_bytes_per_s": "the driver says NOT_SUPPORTED",
    },
)
META = Meta(1, gpus={UUID: {"index": 0, "name": "NVIDIA H200"}})

UNKNOWN = GpuSummary(
    uuid=UUID,
    name="unknown GPU",
    from_ns=0,
    to_ns=10**9,
    samples=1,
    verdict="unknown: no hardware counters",
    unavailable={"compute_sol_pct": "no hardware counters"},
)


def phase(name, **values):
    return replace(PREFILL, phase=name, **values)
