"""DCGM's fields that we have a column for: id, names, unit, and how "no value" is spelled.

Ids and names are those of NVIDIA's dcgm_fields.h, short names those of ``dcgmi dmon -l`` (DCGM
3.3), blank values those of dcgm_structs.h (DCGM_INT32_BLANK, DCGM_INT64_BLANK, DCGM_FP64_BLANK).
Of several fields for one column the first of ``FIELDS`` is the better one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

MIB = 1 << 20
# A blank value is the base itself or one of the reasons after it: not found, not supported, not
# permitted and so on. DCGM leaves room for 16.
BLANK_BASES = (0x7FFFFFF0, 0x7FFFFFFFFFFFFFF0, 2.0**47)
BLANK_REASONS = 16
PERCENT_OF_RATIO = 100.0


@dataclass(frozen=True, slots=True)
class DcgmField:
    """One field. Its value times ``factor`` is in the unit of ``column`` of ``gpu_counters``.

    ``is_counter``: it only grows, and the difference over an interval is what the column means.
    """

    id: int
    name: str
    short_name: str
    column: str
    factor: float = 1.0
    is_counter: bool = False


def _ratio(field_id: int, name: str, short_name: str, column: str) -> DcgmField:
    return DcgmField(field_id, name, short_name, column, PERCENT_OF_RATIO)


FIELDS: tuple[DcgmField, ...] = (
    # Clocks, MHz; heat, Celsius; power, W
    DcgmField(100, "DCGM_FI_DEV_SM_CLOCK", "SMCLK", "sm_clock_mhz"),
    DcgmField(101, "DCGM_FI_DEV_MEM_CLOCK", "MMCLK", "memory_clock_mhz"),
    DcgmField(112, "DCGM_FI_DEV_CLOCK_THROTTLE_REASONS", "DVCCTR", "throttle_reasons"),
    DcgmField(140, "DCGM_FI_DEV_MEMORY_TEMP", "MMTMP", "memory_temperature_celsius"),
    DcgmField(150, "DCGM_FI_DEV_GPU_TEMP", "TMPTR", "temperature_celsius"),
    DcgmField(157, "DCGM_FI_DEV_POWER_USAGE_INSTANT", "POWINST", "power_instant_watts"),
    DcgmField(155, "DCGM_FI_DEV_POWER_USAGE", "POWER", "power_instant_watts"),
    DcgmField(
        156, "DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION", "TOTEC", "energy_joules", 1e-3,
        is_counter=True,
    ),
    DcgmField(164, "DCGM_FI_DEV_ENFORCED_POWER_LIMIT", "EPLMT", "power_limit_watts"),
    DcgmField(190, "DCGM_FI_DEV_PSTATE", "PSTAT", "performance_state"),
    DcgmField(191, "DCGM_FI_DEV_FAN_SPEED", "FANSP", "fan_pct"),
    # What nvidia-smi shows, percent
    DcgmField(203, "DCGM_FI_DEV_GPU_UTIL", "GPUTL", "busy_pct"),
    DcgmField(204, "DCGM_FI_DEV_MEM_COPY_UTIL", "MCUTL", "memory_busy_pct"),
    DcgmField(206, "DCGM_FI_DEV_ENC_UTIL", "ECUTL", "encoder_pct"),
    DcgmField(207, "DCGM_FI_DEV_DEC_UTIL", "DCUTL", "decoder_pct"),
    # Link as it is, memory in MiB, ECC since the driver was loaded
    DcgmField(237, "DCGM_FI_DEV_PCIE_LINK_GEN", "PCILG", "pcie_generation"),
    DcgmField(238, "DCGM_FI_DEV_PCIE_LINK_WIDTH", "PCILW", "pcie_lanes"),
    DcgmField(250, "DCGM_FI_DEV_FB_TOTAL", "FBTTL", "vram_total_bytes", MIB),
    DcgmField(252, "DCGM_FI_DEV_FB_USED", "FBUSD", "vram_used_bytes", MIB),
    DcgmField(310, "DCGM_FI_DEV_ECC_SBE_VOL_TOTAL", "ESVTL", "ecc_corrected"),
    DcgmField(311, "DCGM_FI_DEV_ECC_DBE_VOL_TOTAL", "EDVTL", "ecc_uncorrected"),
    # Profiling: ratios of 0 to 1
    _ratio(1001, "DCGM_FI_PROF_GR_ENGINE_ACTIVE", "GRACT", "engine_active_pct"),
    _ratio(1002, "DCGM_FI_PROF_SM_ACTIVE", "SMACT", "sm_active_pct"),
    _ratio(1003, "DCGM_FI_PROF_SM_OCCUPANCY", "SMOCC", "sm_occupancy_pct"),
    _ratio(1004, "DCGM_FI_PROF_PIPE_TENSOR_ACTIVE", "TENSO", "tensor_active_pct"),
    _ratio(1005, "DCGM_FI_PROF_DRAM_ACTIVE", "DRAMA", "dram_active_pct"),
    _ratio(1006, "DCGM_FI_PROF_PIPE_FP64_ACTIVE", "FP64A", "fp64_active_pct"),
    _ratio(1007, "DCGM_FI_PROF_PIPE_FP32_ACTIVE", "FP32A", "fp32_active_pct"),
    _ratio(1008, "DCGM_FI_PROF_PIPE_FP16_ACTIVE", "FP16A", "fp16_active_pct"),
    # Bytes a second, from where the GPU stands, headers included
    DcgmField(1009, "DCGM_FI_PROF_PCIE_TX_BYTES", "PCITX", "pcie_tx_bytes_per_s"),
    DcgmField(1010, "DCGM_FI_PROF_PCIE_RX_BYTES", "PCIRX", "pcie_rx_bytes_per_s"),
    DcgmField(1011, "DCGM_FI_PROF_NVLINK_TX_BYTES", "NVLTX", "nvlink_tx_bytes_per_s"),
    DcgmField(1012, "DCGM_FI_PROF_NVLINK_RX_BYTES", "NVLRX", "nvlink_rx_bytes_per_s"),
    _ratio(1013, "DCGM_FI_PROF_PIPE_TENSOR_IMMA_ACTIVE", "TIMMA", "tensor_imma_active_pct"),
    _ratio(1014, "DCGM_FI_PROF_PIPE_TENSOR_HMMA_ACTIVE", "THMMA", "tensor_hmma_active_pct"),
    _ratio(1015, "DCGM_FI_PROF_PIPE_TENSOR_DFMA_ACTIVE", "TDFMA", "tensor_dfma_active_pct"),
    _ratio(1016, "DCGM_FI_PROF_PIPE_INT_ACTIVE", "INTAC", "integer_active_pct"),
    # What came before 1009 and 1010: KB a second
    DcgmField(200, "DCGM_FI_DEV_PCIE_TX_THROUGHPUT", "TXTPT", "pcie_tx_bytes_per_s", 1e3),
    DcgmField(201, "DCGM_FI_DEV_PCIE_RX_THROUGHPUT", "RXTPT", "pcie_rx_bytes_per_s", 1e3),
)  # fmt: skip

BY_ID: Mapping[int, DcgmField] = MappingProxyType({field.id: field for field in FIELDS})
_BY_WORD = {
    **{field.name: field for field in FIELDS},
    **{field.short_name: field for field in FIELDS},
    **{str(field.id): field for field in FIELDS},
    # Names that DCGM 4 gave to old ids.
    "DCGM_FI_DEV_CLOCKS_EVENT_REASONS": BY_ID[112],
}


def find(word: str) -> DcgmField | None:
    """Return the field of an id, a name or a short name, None for one without a column."""
    return _BY_WORD.get(word.strip().upper())


def is_blank(value: float) -> bool:
    """Tell whether a number is how DCGM says that there is none."""
    return not math.isfinite(value) or any(
        base <= value < base + BLANK_REASONS for base in BLANK_BASES
    )


def reading(field: DcgmField, value: float) -> float | None:
    """Return a value in the unit of the field's column, None where it is no value."""
    return None if is_blank(value) else value * field.factor
