"""Every counter that the ``nvml`` source reads, as data: column, NVML call, own period.

Calls that cost much or change seldom have a period of their own: on an H200 VM with driver 580
utilisation costs 2.2 ms a call, memory information 0.05 ms.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from gnomon.sources._availability import first_of

SECOND_NS = 10**9
EVERY_READING = 0

CLOCK_GRAPHICS = 0
CLOCK_SM = 1
CLOCK_MEMORY = 2
TEMPERATURE_GPU = 0
ECC_CORRECTED = 0
ECC_UNCORRECTED = 1
ECC_SINCE_DRIVER_LOAD = 0
ALL_NVLINKS = 0xFFFFFFFF  # scopeId of the NVLink fields: summed over all links

Number = float | int


@dataclass(frozen=True, slots=True)
class Call:
    """One NVML call that fills ``columns``; ``on_mig`` where a MIG device answers it too."""

    columns: tuple[str, ...]
    function: str
    read: Callable[[Any, Any], Sequence[Number]]
    period_ns: int = EVERY_READING
    on_mig: bool = False


@dataclass(frozen=True, slots=True)
class Field:
    """One value of nvmlDeviceGetFieldValues, times ``scale``.

    ``kind``: instant (as read), delta (growth since its last reading) or rate (delta over
    seconds). A counter of ``bits`` bits wraps. ``fallback`` is asked where the field is refused.
    ``period_ns`` as of ``Call``.
    """

    column: str
    field_id: int
    kind: Literal["instant", "delta", "rate"]
    scale: float = 1
    bits: int = 64
    scope: int = 0
    fallback: Callable[[Any, Any], Number] | None = None
    period_ns: int = EVERY_READING


def _utilization(nvml: Any, handle: Any) -> Sequence[Number]:
    rates = nvml.nvmlDeviceGetUtilizationRates(handle)
    return rates.gpu, rates.memory


def _memory(nvml: Any, handle: Any) -> Sequence[Number]:
    memory = nvml.nvmlDeviceGetMemoryInfo(handle)
    return memory.used, memory.total


def _temperature(nvml: Any, handle: Any) -> Sequence[Number]:
    return (
        first_of(
            lambda: nvml.nvmlDeviceGetTemperatureV(handle, TEMPERATURE_GPU),
            lambda: nvml.nvmlDeviceGetTemperature(handle, TEMPERATURE_GPU),
        ),
    )


def _event_reasons(nvml: Any, handle: Any) -> Sequence[Number]:
    # Renamed in driver 535; the bits are the same.
    return (
        first_of(
            lambda: nvml.nvmlDeviceGetCurrentClocksEventReasons(handle),
            lambda: nvml.nvmlDeviceGetCurrentClocksThrottleReasons(handle),
        ),
    )


def _ecc(nvml: Any, handle: Any) -> Sequence[Number]:
    return tuple(
        nvml.nvmlDeviceGetTotalEccErrors(handle, kind, ECC_SINCE_DRIVER_LOAD)
        for kind in (ECC_CORRECTED, ECC_UNCORRECTED)
    )


CALLS: tuple[Call, ...] = (
    Call(
        ("busy_pct", "memory_busy_pct"),
        "nvmlDeviceGetUtilizationRates",
        _utilization,
        SECOND_NS,
    ),
    Call(("vram_used_bytes", "vram_total_bytes"), "nvmlDeviceGetMemoryInfo", _memory, on_mig=True),
    Call(
        ("sm_clock_mhz",),
        "nvmlDeviceGetClockInfo",
        lambda n, h: (n.nvmlDeviceGetClockInfo(h, CLOCK_SM),),
    ),
    Call(
        ("memory_clock_mhz",),
        "nvmlDeviceGetClockInfo",
        lambda n, h: (n.nvmlDeviceGetClockInfo(h, CLOCK_MEMORY),),
    ),
    Call(("throttle_reasons",), "nvmlDeviceGetCurrentClocksEventReasons", _event_reasons),
    Call(("temperature_celsius",), "nvmlDeviceGetTemperature", _temperature),
    Call(
        ("performance_state",),
        "nvmlDeviceGetPerformanceState",
        lambda n, h: (n.nvmlDeviceGetPerformanceState(h),),
        SECOND_NS,
    ),
    Call(
        ("power_limit_watts",),
        "nvmlDeviceGetEnforcedPowerLimit",
        lambda n, h: (n.nvmlDeviceGetEnforcedPowerLimit(h) / 1e3,),
        5 * SECOND_NS,
    ),
    Call(
        ("pcie_generation",),
        "nvmlDeviceGetCurrPcieLinkGeneration",
        lambda n, h: (n.nvmlDeviceGetCurrPcieLinkGeneration(h),),
        5 * SECOND_NS,
    ),
    Call(
        ("pcie_lanes",),
        "nvmlDeviceGetCurrPcieLinkWidth",
        lambda n, h: (n.nvmlDeviceGetCurrPcieLinkWidth(h),),
        5 * SECOND_NS,
    ),
    Call(
        ("encoder_pct",),
        "nvmlDeviceGetEncoderUtilization",
        lambda n, h: (n.nvmlDeviceGetEncoderUtilization(h)[0],),
        5 * SECOND_NS,
    ),
    Call(
        ("decoder_pct",),
        "nvmlDeviceGetDecoderUtilization",
        lambda n, h: (n.nvmlDeviceGetDecoderUtilization(h)[0],),
        5 * SECOND_NS,
    ),
    Call(
        ("jpeg_pct",),
        "nvmlDeviceGetJpgUtilization",
        lambda n, h: (n.nvmlDeviceGetJpgUtilization(h)[0],),
        5 * SECOND_NS,
    ),
    Call(
        ("ofa_pct",),
        "nvmlDeviceGetOfaUtilization",
        lambda n, h: (n.nvmlDeviceGetOfaUtilization(h)[0],),
        5 * SECOND_NS,
    ),
    Call(
        ("fan_pct",),
        "nvmlDeviceGetFanSpeed",
        lambda n, h: (n.nvmlDeviceGetFanSpeed(h),),
        5 * SECOND_NS,
    ),
    Call(("ecc_corrected", "ecc_uncorrected"), "nvmlDeviceGetTotalEccErrors", _ecc, 10 * SECOND_NS),
    Call(
        ("remapped_rows",),
        "nvmlDeviceGetRemappedRows",
        lambda n, h: (sum(n.nvmlDeviceGetRemappedRows(h)[:2]),),
        60 * SECOND_NS,
    ),
)

# What the GPU's own processor is asked for costs most: 3.4 ms of CPU for the energy counter and
# 1.2 ms for the throttle durations on an H200 VM with driver 580, 0.1 ms for the others together.
COUNTER_PERIOD_NS = 2 * SECOND_NS

# Field ids: NVML_FI_DEV_* of nvml.h. Those that are due are read in one call.
FIELDS: tuple[Field, ...] = (
    Field(
        "energy_joules",
        83,
        "delta",
        1e-3,
        fallback=lambda n, h: n.nvmlDeviceGetTotalEnergyConsumption(h),
        period_ns=COUNTER_PERIOD_NS,
    ),
    Field(
        "power_instant_watts",
        186,
        "instant",
        1e-3,
        fallback=lambda n, h: n.nvmlDeviceGetPowerUsage(h),
    ),
    Field("throttle_sw_power_cap_ns", 74, "delta", period_ns=COUNTER_PERIOD_NS),
    Field("throttle_sync_boost_ns", 76, "delta", period_ns=COUNTER_PERIOD_NS),
    Field("throttle_sw_thermal_ns", 269, "delta", period_ns=COUNTER_PERIOD_NS),
    Field("throttle_hw_thermal_ns", 270, "delta", period_ns=COUNTER_PERIOD_NS),
    Field("throttle_hw_power_brake_ns", 271, "delta", period_ns=COUNTER_PERIOD_NS),
    Field("memory_temperature_celsius", 82, "instant"),
)

# Asked only where GPM does not count the links.
LINK_FIELDS: tuple[Field, ...] = (
    Field("pcie_tx_bytes_per_s", 197, "rate", bits=32),
    Field("pcie_rx_bytes_per_s", 198, "rate", bits=32),
    Field("nvlink_tx_bytes_per_s", 138, "rate", 1024, scope=ALL_NVLINKS),
    Field("nvlink_rx_bytes_per_s", 139, "rate", 1024, scope=ALL_NVLINKS),
)

# Where a blank of NVML or DCGM starts: 0x7ffffff0 and 0x7ffffffffffffff0 stand for "no value"
# (dcgm_structs.h), all ones for NVML_VALUE_NOT_AVAILABLE.
BLANKS_32 = (0x7FFFFFF0, 0x7FFFFFFF)
NOT_AVAILABLE_32 = 0xFFFFFFFF
BLANK_64 = 0x7FFFFFFFFFFFFFF0
INTEGER_SUFFIXES = ("_ns", "_bytes", "_rows", "_reasons", "_state", "_lanes", "_generation")
INTEGER_COLUMNS = ("ecc_corrected", "ecc_uncorrected")
WIDE_SUFFIXES = ("_ns", "_bytes", "_bytes_per_s")
PCT_SLACK = 1.0  # counters of one interval read one after another may exceed 100 by rounding


def is_blank(value: Number, *, wide: bool) -> bool:
    """Return whether a raw reading means "no value"; ``wide`` where it may exceed 32 bits."""
    if isinstance(value, float) and not math.isfinite(value):
        return True
    if value >= BLANK_64:
        return True
    return not wide and (value == NOT_AVAILABLE_32 or BLANKS_32[0] <= value <= BLANKS_32[1])


def checked(column: str, value: Number) -> Number | None:
    """Return the value as its column wants it, None for NaN, a blank or an impossible share."""
    if is_blank(value, wide=column.endswith(WIDE_SUFFIXES)):
        return None
    if value < 0 and not column.endswith("_celsius"):
        return None
    if column.endswith("_pct"):
        return min(float(value), 100.0) if value <= 100.0 + PCT_SLACK else None
    if column.endswith(INTEGER_SUFFIXES) or column in INTEGER_COLUMNS:
        return int(value)
    return float(value)
