"""The GPU performance monitoring counters that the ``gpm`` source reads, as data.

Ids: NVML_GPM_METRIC_* of nvml.h. All shares are percent of elapsed cycles, 0 to 100.
"""

from __future__ import annotations

from dataclasses import dataclass

MIB = 1024.0 * 1024.0
# GPU-wide SM cycles since boot; only the newest drivers answer it (580 refuses it).
SM_CYCLES_ELAPSED = 248


@dataclass(frozen=True, slots=True)
class GpmMetric:
    """One counter: the driver's number times ``scale`` goes into ``column``."""

    id: int
    column: str
    scale: float = 1.0


METRICS: tuple[GpmMetric, ...] = (
    GpmMetric(1, "engine_active_pct"),
    GpmMetric(2, "sm_active_pct"),
    GpmMetric(3, "sm_occupancy_pct"),
    GpmMetric(4, "integer_active_pct"),
    GpmMetric(5, "tensor_active_pct"),
    GpmMetric(6, "tensor_dfma_active_pct"),
    GpmMetric(7, "tensor_hmma_active_pct"),
    GpmMetric(8, "tensor_dmma_active_pct"),
    GpmMetric(9, "tensor_imma_active_pct"),
    GpmMetric(10, "dram_active_pct"),
    GpmMetric(11, "fp64_active_pct"),
    GpmMetric(12, "fp32_active_pct"),
    GpmMetric(13, "fp16_active_pct"),
    GpmMetric(20, "pcie_tx_bytes_per_s", MIB),
    GpmMetric(21, "pcie_rx_bytes_per_s", MIB),
    GpmMetric(60, "nvlink_rx_bytes_per_s", MIB),
    GpmMetric(61, "nvlink_tx_bytes_per_s", MIB),
    GpmMetric(SM_CYCLES_ELAPSED, "sm_cycles_elapsed"),
)
