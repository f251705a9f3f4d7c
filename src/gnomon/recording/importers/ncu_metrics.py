"""Which metrics of Nsight Compute we have a column for, and how it writes numbers."""

from __future__ import annotations

import re
from dataclasses import dataclass

NO_VALUE = frozenset({"", "n/a", "nan", "inf", "-nan", "no data"})
# Thousands in groups, as every ncu of an English or C locale writes.
NUMBER = re.compile(r"[+-]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?:[eE][+-]?\d+)?", re.ASCII)
# A comma before one, two, or more than three digits, or points in groups: another locale.
COMMA_DECIMAL = re.compile(r"[+-]?\d+(?:\.\d{3})*,(?:\d{1,2}|\d{4,})|[+-]?\d{1,3}(?:\.\d{3}){2,}")

NANOSECONDS = {
    **dict.fromkeys(("ns", "nsecond"), 1.0),
    **dict.fromkeys(("us", "usecond"), 1e3),
    **dict.fromkeys(("ms", "msecond"), 1e6),
    **dict.fromkeys(("s", "sec", "second"), 1e9),
}
# ncu's prefixes are powers of ten.
BYTES = {
    f"{prefix}byte{per}": factor
    for prefix, factor in (("", 1.0), ("K", 1e3), ("M", 1e6), ("G", 1e9))
    for per in ("", "/block", "/thread")
}
PERCENT = {"%": 1.0, "": 1.0}
COUNT = dict.fromkeys(("", "register/thread", "warp", "block", "thread"), 1.0)


@dataclass(frozen=True, slots=True)
class Metric:
    """A column of ``kernels``, and what a value in each unit is multiplied with."""

    column: str
    units: dict[str, float]
    is_whole: bool = False


_DURATION = Metric("duration_ns", NANOSECONDS, is_whole=True)
_REGISTERS = Metric("registers_per_thread", COUNT, is_whole=True)
_STATIC = Metric("static_shared_bytes", BYTES, is_whole=True)
_DYNAMIC = Metric("dynamic_shared_bytes", BYTES, is_whole=True)
_OCCUPANCY = Metric("theoretical_occupancy_pct", PERCENT)
_WAVES = Metric("waves", COUNT)
_COMPUTE = Metric("ncu_compute_sol_pct", PERCENT)
_MEMORY = Metric("ncu_memory_sol_pct", PERCENT)
_DRAM = Metric("ncu_dram_pct", PERCENT)
_TENSOR = Metric("ncu_tensor_pct", PERCENT)

OF_PEAK = "avg.pct_of_peak_sustained_elapsed"
# Names of the raw page and of --metrics, then those of the details page, older ones after newer.
METRICS = {
    "gpu__time_duration.sum": _DURATION,
    "gpu__time_duration.avg": _DURATION,
    "Duration": _DURATION,
    "launch__registers_per_thread": _REGISTERS,
    "Registers Per Thread": _REGISTERS,
    "launch__shared_mem_per_block_static": _STATIC,
    "Static Shared Memory Per Block": _STATIC,
    "launch__shared_mem_per_block_dynamic": _DYNAMIC,
    "Dynamic Shared Memory Per Block": _DYNAMIC,
    "sm__maximum_warps_per_active_cycle_pct": _OCCUPANCY,
    "Theoretical Occupancy": _OCCUPANCY,
    "launch__waves_per_multiprocessor": _WAVES,
    "Waves Per SM": _WAVES,
    f"sm__throughput.{OF_PEAK}": _COMPUTE,
    "Compute (SM) Throughput": _COMPUTE,
    "SOL SM": _COMPUTE,
    f"gpu__compute_memory_throughput.{OF_PEAK}": _MEMORY,
    "Memory Throughput": _MEMORY,
    "SOL Memory": _MEMORY,
    f"gpu__dram_throughput.{OF_PEAK}": _DRAM,
    f"dram__throughput.{OF_PEAK}": _DRAM,
    "DRAM Throughput": _DRAM,
    f"sm__pipe_tensor_cycles_active.{OF_PEAK}": _TENSOR,
}


def value_of(metric: Metric, text: str, unit: str) -> float | int | None:
    """Return a value in the unit of the metric's column; None for no value, or another unit.

    The details page has names that stand for two metrics, told apart by the unit alone ("Memory
    Throughput" in % and in byte/second). Raises ValueError for what is no number.
    """
    text = text.strip()
    factor = metric.units.get(unit.strip())
    if text.lower() in NO_VALUE or factor is None:
        return None
    if not NUMBER.fullmatch(text):
        raise ValueError(f"{text[:40]!r} is not a number ({metric.column})")
    value = float(text.replace(",", "")) * factor
    return round(value) if metric.is_whole else value


def has_comma_decimals(text: str) -> bool:
    """Tell whether a number is written with a comma before its decimals."""
    return COMMA_DECIMAL.fullmatch(text.strip()) is not None
