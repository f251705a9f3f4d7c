"""When a GPU had nothing to run: the bound of what its host can have lost.

A thread that is kept from its work while the GPU still has work queued loses nothing. Idle time is
the ledger's (neither the engine was active nor a link moved data), in bins of ``BIN_NS``; where the
GPU has no such counters, what the engine's activity leaves, else what NVML's busy share does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gnomon.analysis.intervals import Floats, Ints
from gnomon.analysis.questions import Span
from gnomon.analysis.series import series
from gnomon.recording.base import Measurements

BIN_NS = 100_000_000  # counters are read ten times a second
MOST_BINS = 36_000


@dataclass(frozen=True, slots=True)
class Stretch:
    """``lost_ns`` of a cause, somewhere in a stretch of time.

    Losses that are shorter than a bin are told together for each bin in which they end.
    """

    from_ns: int
    to_ns: int
    lost_ns: int


@dataclass(frozen=True, slots=True)
class GpuIdle:
    """Idle nanoseconds of each bin; shape (bins,), between edges of shape (bins + 1,).

    Bins without readings count as idle: nothing is known that would bound a loss.
    """

    edges_ns: Ints
    idle_ns: Floats

    def within(self, from_ns: int, to_ns: int) -> float:
        """Return the nanoseconds in a stretch of time in which the GPU can have been idle.

        When in a bin it was idle is not known; a part of a bin may be all of its idle time.
        """
        first = max(0, int(np.searchsorted(self.edges_ns, from_ns, side="right")) - 1)
        last = int(np.searchsorted(self.edges_ns, to_ns, side="left"))
        begins, ends = self.edges_ns[:-1][first:last], self.edges_ns[1:][first:last]
        overlap_ns = np.minimum(ends, to_ns) - np.maximum(begins, from_ns)
        return float(np.minimum(np.maximum(overlap_ns, 0), self.idle_ns[first:last]).sum())

    def bounded_ns(self, stretches: Sequence[Stretch]) -> int:
        """Return what was lost in all stretches, in each no more than the GPU was idle.

        The GPU may run dry only after a short loss, so that one is held against its whole bin.
        """
        return round(sum(min(one.lost_ns, self.within(*_around(one))) for one in stretches))


def _around(one: Stretch) -> tuple[int, int]:
    if one.to_ns - one.from_ns >= BIN_NS:
        return one.from_ns, one.to_ns
    bin_ns = (one.to_ns - 1) // BIN_NS * BIN_NS
    return min(one.from_ns, bin_ns), bin_ns + BIN_NS


def gpu_idle(measurements: Measurements, gpu_uuid: str, span: Span) -> GpuIdle | None:
    """Return a GPU's idle time in a span; None where its counters do not tell it."""
    bins = min(MOST_BINS, max(1, round((span.to_ns - span.from_ns) / BIN_NS)))
    shown = series(measurements, gpu_uuid, from_ns=span.from_ns, to_ns=span.to_ns, bins=bins)
    ledger, engine, busy = (
        np.array(shown[name], dtype=np.float64)  # None becomes NaN
        for name in ("idle_pct", "engine_active_pct", "busy_pct")
    )
    told = (pct for pct in (ledger, 100.0 - engine, 100.0 - busy) if not np.isnan(pct).all())
    idle_pct = next(told, None)
    if idle_pct is None:
        return None
    edges_ns = np.linspace(span.from_ns, span.to_ns, bins + 1).astype(np.int64)
    idle_ns = np.clip(np.nan_to_num(idle_pct, nan=100.0), 0, 100) / 100 * np.diff(edges_ns)
    return GpuIdle(edges_ns, idle_ns)
