"""Peaks of a GPU that the table does not have, from what the device says of itself."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from gnomon.enums import Pipe
from gnomon.hardware import links
from gnomon.hardware._facts import name_of, positive, sm_count
from gnomon.hardware.matching import is_mig, mig_memory_eighths
from gnomon.hardware.peaks import PIPE_OF_DTYPE
from gnomon.hardware.profile_types import HardwareProfile
from gnomon.hardware.specs import Rates, load_rates


def computed_profile(facts: Mapping[str, Any]) -> HardwareProfile:
    """Compute SMs x FLOP per clock and SM x highest clock, and DRAM from clock and bus width.

    Without compute capability, SM count or clock the FLOP peaks are unknown, and a note says so.
    """
    name = name_of(facts)
    rates = _rates_of(str(facts.get("compute_capability") or ""), name)
    peaks, clocks, note = _peaks(facts, name, rates)
    return HardwareProfile(
        name=name,
        sku=None,
        peak_source="computed",
        notes=(note,),
        sm_count=sm_count(facts),
        dram_bytes_per_s=_dram_bytes_per_s(facts),
        pcie_bytes_per_s=links.pcie_bytes_per_s(facts),
        nvlink_bytes_per_s=links.nvlink_bytes_per_s(facts, rates),
        tdp_watts=positive(facts, "power_limit_default_watts"),
        max_memory_clock_mhz=positive(facts, "max_memory_clock_mhz"),
        peak_flops=MappingProxyType(peaks),
        reference_clocks_mhz=MappingProxyType(clocks),
    )


def _dram_bytes_per_s(facts: Mapping[str, Any]) -> float | None:
    whole = links.dram_bytes_per_s(facts)
    eighths = mig_memory_eighths(facts, None) if is_mig(facts) else 8
    return whole * eighths / 8 if whole and eighths else None


def _peaks(
    facts: Mapping[str, Any], name: str, rates: Rates | None
) -> tuple[dict[str, float], dict[Pipe, float], str]:
    sms, clock_mhz = sm_count(facts), positive(facts, "max_sm_clock_mhz")
    if rates is None:
        capability = facts.get("compute_capability") or "unknown"
        lacks = f"the rates of compute capability {capability} are not known"
        return {}, {}, f"{name} is not in the GPU table and {lacks}: no FLOP peaks"
    if sms is None or clock_mhz is None:
        absent = "SM count" if sms is None else "highest SM clock"
        lacks = f"the driver does not tell its {absent}"
        return {}, {}, f"{name} is not in the GPU table and {lacks}: no FLOP peaks"
    per_sm = rates.flop_per_clock_per_sm
    note = (
        f"{name} is not in the GPU table: peaks are computed from {sms} SMs x the rates of "
        f"{rates.name} x its highest clock of {clock_mhz:.0f} MHz, which may lie above the clock "
        "at which the datasheet's peaks hold"
    )
    return (
        {dtype: rate * sms * clock_mhz * 1e6 for dtype, rate in per_sm.items()},
        {PIPE_OF_DTYPE[dtype]: clock_mhz for dtype in per_sm},
        note,
    )


def _rates_of(compute_capability: str, name: str) -> Rates | None:
    line = "geforce" if "geforce" in name.casefold() else "professional"
    for rates in load_rates().values():
        if rates.compute_capability == compute_capability and rates.product_line in {line, "any"}:
            return rates
    return None
