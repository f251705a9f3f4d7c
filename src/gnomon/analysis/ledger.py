"""The loss ledger: where 100 % of the peak went, in terms that sum to 100.

Compute side, in percent of the peak of the winning pipe, each term checkable on its own:

    copying    the engine is idle while PCIe or NVLink moves data
    idle       100 - engine active - copying: nothing ran, the host did not feed the GPU
    sm_empty   engine active - SM active: small grids, tails, gaps between short kernels
    stalled    SM active - pipe active: warps are resident, the pipe does not issue
    clock      pipe x (1 - SM clock / reference clock): throttled; negative when boosted
    padding    pipe x SM clock / reference clock - useful: work that was not the model's
    achieved   useful FLOP/s over the peak; without the model, the work really executed

Memory side, in percent of peak DRAM bandwidth, with U = max(engine active, DRAM):

    idle = 100 - U, not_requested = U - DRAM, clock = DRAM x (1 - memory clock / its maximum),
    achieved = the rest

Pure functions of window means; no I/O, no rounding.
"""

from __future__ import annotations

from dataclasses import dataclass

from gnomon.analysis.summary_types import ComputeLedger, MemoryLedger
from gnomon.enums import Pipe

# Counters of one interval are read one after the other; differences below this are noise.
NOISE_PCT = 1.0


@dataclass(frozen=True, slots=True)
class ComputeMeans:
    """Time-weighted means over one window, in percent; ``product_pct`` is pipe x clock / ref."""

    copying_pct: float
    engine_active_pct: float
    sm_empty_pct: float
    pipe: Pipe
    pipe_active_pct: float
    product_pct: float


def compute_ledger(means: ComputeMeans, useful_pct: float | None = None) -> ComputeLedger:
    """Return the compute ledger; its terms sum to 100 exactly up to float rounding.

    ``useful_pct`` is the model's own FLOP/s over the peak, where it is known; otherwise padding
    is None and part of achieved. ``stalled_pct`` takes the residual, counter noise included, so
    it can be slightly negative.
    """
    idle = 100.0 - means.engine_active_pct - means.copying_pct
    clock = means.pipe_active_pct - means.product_pct
    stalled = 100.0 - means.copying_pct - idle - means.sm_empty_pct - means.pipe_active_pct
    known = useful_pct is not None
    return ComputeLedger(
        copying_pct=means.copying_pct,
        idle_pct=idle,
        sm_empty_pct=means.sm_empty_pct,
        stalled_pct=stalled,
        clock_pct=clock,
        padding_pct=means.product_pct - useful_pct if useful_pct is not None else None,
        achieved_pct=useful_pct if known else means.product_pct,
    )


def memory_ledger(
    engine_active_pct: float | None, dram_pct: float, memory_clock_share: float | None
) -> MemoryLedger:
    """Return the memory ledger; ``memory_clock_share`` is memory clock over its maximum (0 to 1).

    Where the clock is not known its term is None and counted as none; where the engine is not
    known, idle and not_requested cannot be told apart and are None.
    """
    share = min(memory_clock_share, 1.0) if memory_clock_share is not None else None
    clock = dram_pct * (1.0 - share) if share is not None else None
    achieved = dram_pct - (clock or 0.0)
    if engine_active_pct is None:
        return MemoryLedger(clock_pct=clock, achieved_pct=achieved)
    used = max(engine_active_pct, dram_pct)
    return MemoryLedger(
        idle_pct=100.0 - used,
        not_requested_pct=used - dram_pct,
        clock_pct=clock,
        achieved_pct=achieved,
    )


def has_noise(ledger: ComputeLedger) -> bool:
    """Return whether the residual shows counters that disagree by more than noise."""
    return any(
        term is not None and term < -NOISE_PCT
        for term in (ledger.idle_pct, ledger.sm_empty_pct, ledger.stalled_pct)
    )
