"""Speed of light: how much of the hardware's peak the arithmetic pipes reached.

    SOL(pipe) = pipe active x SM clock / reference clock of the pipe

A counter's "pipe active" is a share of *elapsed cycles*: a chip throttled to half its clock can
read 100 %. The datasheet's peak holds at one clock, the reference clock, which differs by pipe
(``hardware/peaks.py``); the product of active share and true clock over it is the share of the
peak. Measured on an H200 the product is the program's FLOP/s within 1.5 % on nine kernels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from gnomon.analysis.collecting import Bools
from gnomon.analysis.intervals import Floats, Intervals
from gnomon.analysis.tracks import SourceColumns, Track
from gnomon.enums import Pipe
from gnomon.hardware import HardwareProfile

# Link traffic below this share of the line rate is what launches and polling cost, not a copy:
# eager decode on an H200 moves up to 0.2 % of PCIe 5 x16.
LINK_NOISE_PCT = 1.0

# The most of a link's line rate that large copies reach: pinned host-to-device copies on an H200
# move 55.5 GB/s by the program and 59.5 GB/s by GPM, which counts packet headers, of 63.0 GB/s.
LINK_ATTAINABLE = 0.944

# Tensor work is where the clock that NVML reports is wrong (8 to 12 % high on an H200);
# on fp32, fp64 and copies it reads true.
PIPES_WITH_WRONG_NVML_CLOCK = frozenset({Pipe.TENSOR})


@dataclass(frozen=True, slots=True)
class SolRows:
    """Everything the ledger needs, on n base intervals; arrays of shape (n,), % unless named.

    ``pipes`` and ``products`` map a pipe to its active share and to its SOL. ``usable`` marks
    the intervals in which every term is known: only those count.
    """

    intervals: Intervals
    engine_active: Floats
    sm_active: Floats
    copying: Floats
    clock_mhz: Floats
    clock_is_true: Bools
    clock_is_estimated: Bools
    pipes: Mapping[Pipe, Floats]
    products: Mapping[Pipe, Floats]
    usable: Bools


def sol_rows(track: Track, profile: HardwareProfile) -> SolRows | None:
    """Compute SOL on every base interval of a track; None where it has no SM counters."""
    base = track.base
    if base is None:
        return None
    clock = track.base_clock
    empty = np.full(len(base.intervals), np.nan)
    pipes = pipe_shares(base.columns)
    products = {}
    for pipe, active in pipes.items():
        reference_mhz = profile.reference_clock_mhz(pipe)
        if reference_mhz:
            products[pipe] = active * clock.mhz / reference_mhz
    engine = base.columns.get("engine_active_pct", empty)
    sm_active = base.columns["sm_active_pct"]
    copying = _copying(track, base, profile, engine)
    usable = ~np.isnan(engine) & ~np.isnan(sm_active) & ~np.isnan(clock.mhz)
    for active in pipes.values():
        usable &= ~np.isnan(active)
    return SolRows(
        base.intervals,
        engine,
        sm_active,
        copying,
        clock.mhz,
        clock.is_true,
        clock.is_estimated,
        pipes,
        products,
        usable,
    )


def pipe_shares(columns: Mapping[str, Floats]) -> dict[Pipe, Floats]:
    """Return the active share (n,) of each arithmetic pipe from columns of ``gpu_counters`` (n,).

    ANY_TENSOR counts fp64 tensor instructions too; they have a peak and a reference clock of
    their own, so they are taken out of ``tensor``. Integer work has no FLOP peak and does not
    compete.
    """
    fp64_tensor = [
        np.nan_to_num(columns[name])
        for name in ("tensor_dfma_active_pct", "tensor_dmma_active_pct")
        if name in columns
    ]
    fp64_share = np.max(fp64_tensor, axis=0) if fp64_tensor else None
    shares: dict[Pipe, Floats] = {}  # the first wins where all are 0
    if "tensor_active_pct" in columns:
        other = 0.0 if fp64_share is None else fp64_share
        shares[Pipe.TENSOR] = np.maximum(columns["tensor_active_pct"] - other, 0.0)
    if fp64_share is not None:
        shares[Pipe.FP64_TENSOR] = fp64_share
    for pipe, name in (
        (Pipe.FP64, "fp64_active_pct"),
        (Pipe.FP32, "fp32_active_pct"),
        (Pipe.FP16, "fp16_active_pct"),
    ):
        if name in columns:
            shares[pipe] = columns[name]
    return shares


def _copying(
    track: Track, base: SourceColumns, profile: HardwareProfile, engine_active: Floats
) -> Floats:
    """Share of time in which a link moved data while the engine had nothing to run.

    Two lower bounds, of which the larger counts. PM samples see single stretches in which a
    link moved data and no SM held a warp (``link_only_pct``), but not those shorter than a
    sample. The bytes over the attainable rate are the least time the transfers can have taken.
    """
    idle = np.clip(100.0 - engine_active, 0.0, None)
    measured = track.sampled("link_only_pct", base)
    estimate = np.zeros(len(base.intervals))
    for column, bytes_per_s in (
        ("pcie_rx_bytes_per_s", profile.pcie_bytes_per_s),
        ("pcie_tx_bytes_per_s", profile.pcie_bytes_per_s),
        ("nvlink_rx_bytes_per_s", profile.nvlink_bytes_per_s),
        ("nvlink_tx_bytes_per_s", profile.nvlink_bytes_per_s),
    ):
        rate = track.sampled(column, base)
        if rate is None or not bytes_per_s:
            continue
        share = np.nan_to_num(rate) / bytes_per_s * 100.0
        share = np.where(share < LINK_NOISE_PCT, 0.0, share / LINK_ATTAINABLE)
        estimate = np.maximum(estimate, share)
    if measured is not None:
        estimate = np.fmax(estimate, measured)
    return np.minimum(idle, estimate)
