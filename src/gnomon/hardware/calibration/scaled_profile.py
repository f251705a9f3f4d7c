"""Measured roofs in the place of printed ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from gnomon.enums import Pipe
from gnomon.hardware._facts import positive
from gnomon.hardware.peaks import PIPE_OF_DTYPE
from gnomon.hardware.profile_types import HardwareProfile


def calibrated_profile(base: HardwareProfile, calibration: Mapping[str, Any]) -> HardwareProfile:
    """Scale a profile to what was measured on the device.

    ``calibration``: ``flops`` (dtype -> FLOP/s), ``pcie_bytes_per_s``, ``nvlink_bytes_per_s``.
    A pipe has one clock, so the best of its measured dtypes scales all of its peaks and its
    reference clock alike: pipe active x clock / reference clock x peak stays the FLOP/s done.
    DRAM keeps its peak, because the hardware's DRAM percentage is a share of the datasheet's.
    """
    factors = _pipe_factors(base, calibration.get("flops") or {})
    base = replace(
        base,
        pcie_bytes_per_s=positive(calibration, "pcie_bytes_per_s") or base.pcie_bytes_per_s,
        nvlink_bytes_per_s=positive(calibration, "nvlink_bytes_per_s") or base.nvlink_bytes_per_s,
    )
    if not factors:
        return base
    notes = tuple(
        f"calibrated on this device: the {pipe} pipe reaches {factor * 100:.1f} % of its "
        f"{base.peak_source} peak"
        for pipe, factor in factors.items()
    )
    peaks = {
        dtype: flops * factors.get(PIPE_OF_DTYPE[dtype], 1.0)
        for dtype, flops in base.peak_flops.items()
    }
    clocks = {
        pipe: clock_mhz * factors.get(pipe, 1.0)
        for pipe, clock_mhz in base.reference_clocks_mhz.items()
    }
    return replace(
        base,
        peak_source="calibrated",
        notes=(*base.notes, *notes),
        peak_flops=MappingProxyType(peaks),
        reference_clocks_mhz=MappingProxyType(clocks),
    )


def _pipe_factors(base: HardwareProfile, measured: Mapping[str, Any]) -> dict[Pipe, float]:
    factors: dict[Pipe, float] = {}
    for dtype in measured:
        flops, peak = positive(measured, dtype), base.flops(dtype)
        if flops is not None and peak:
            pipe = PIPE_OF_DTYPE[dtype]
            factors[pipe] = max(factors.get(pipe, 0.0), flops / peak)
    return factors
