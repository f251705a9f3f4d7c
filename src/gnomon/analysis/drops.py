"""Drops of throughput: when, how deep, and what the threads that feed the GPU did instead.

A drop is told from the levels of throughput over time (``change_point``), in bins of several steps
each; what follows the last step, and may be a part of one, is not looked at. Where all that is
known is what was queued (launches, and steps without a wait), less of it is a drop only if the GPU
got idle, too (without counters: if its thread did not wait for it more): else each launch may do
more.
Where the threads mostly slept before, throughput is a matter of demand, and less of it no drop.

Causes are what took more nanoseconds of a thread's second in it than in the healthy stretches
beside it, most first: a measured difference of times, which says where the time went and not why.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from gnomon.analysis.activity import ThreadActivity
from gnomon.analysis.change_point import MOST_BINS, Fall, falls
from gnomon.analysis.intervals import Floats, Ints
from gnomon.analysis.lanes import (
    IN_CALLS,
    IO,
    LAUNCHED,
    OWN_CODE,
    RUN_QUEUE,
    WAITING,
    Grid,
    Lane,
    lanes,
)
from gnomon.analysis.questions import Span, ThreadKey
from gnomon.analysis.series import series
from gnomon.analysis.steps import Steps
from gnomon.analysis.throughput import Throughput, active_grid, throughput
from gnomon.recording.base import Measurements, Session

BIN_NS = 1_000_000_000
# What lies further away is another time of day.
BESIDE_BINS = 30
# A long drop is like its begin.
INSIDE_BINS = 120
MOST_DROPS = 20
# Of a second: less than this is no cause.
LEAST_NS_PER_S = 10_000_000
# What a thread does while it has something to do, and for how much of the time it must.
WORK = (RUN_QUEUE, IO, WAITING, IN_CALLS, OWN_CODE)
MOSTLY = 0.5
# A GPU that idles so much more, of what is missing, misses it for want of work.
IDLE_OF_DEPTH = 0.25
MOST_THREADS = 8
MOST_GPUS = 8
GPU_METRICS = ("busy_pct", "idle_pct", "compute_sol_pct", "memory_sol_pct", "sm_clock_mhz")


@dataclass(frozen=True, slots=True)
class Difference:
    """What a thread did more of in a drop: a part of ``lanes.PARTS``, ns of each second."""

    part: str
    host: str | None
    pid: int | None
    tid: int | None
    before_ns_per_s: float
    during_ns_per_s: float

    @property
    def more_ns_per_s(self) -> float:
        return self.during_ns_per_s - self.before_ns_per_s


@dataclass(frozen=True, slots=True)
class GpuDifference:
    """Means of a GPU's numbers beside a drop and in it; None where not measured."""

    uuid: str
    before: Mapping[str, float | None]
    during: Mapping[str, float | None]


@dataclass(frozen=True, slots=True)
class Drop:
    """Throughput fell from ``before_per_s`` to ``during_per_s`` for a while.

    ``metric``: tokens, steps or launches. ``is_over``: it came back; else it lasted until the
    work ended. ``causes``: most first; empty where nothing that was recorded differs.
    """

    from_ns: int
    to_ns: int
    metric: str
    before_per_s: float
    during_per_s: float
    depth_pct: float
    is_over: bool
    causes: Sequence[Difference]
    gpus: Sequence[GpuDifference]

    @property
    def is_gpu_as_busy(self) -> bool | None:
        """Whether no GPU idled more than before, as far as it matters; None where not measured."""
        idle = [(one.before["idle_pct"], one.during["idle_pct"]) for one in self.gpus]
        more = [
            during - before for before, during in idle if before is not None and during is not None
        ]
        return max(more) < IDLE_OF_DEPTH * self.depth_pct if more else None

    def to_json(self) -> dict[str, Any]:
        """Return plain data for ``json.dumps``."""
        return asdict(self)


def drops(
    measurements: Measurements,
    session: Session,
    threads: Sequence[ThreadActivity],
    steps: Steps | None,
    launched: str = LAUNCHED,
) -> Sequence[Drop]:
    """Return the drops while threads were active, in the order of time.

    ``threads``: who feeds GPUs, the busiest first; ``steps``: of the busiest, where it has any;
    ``launched``: see ``lanes.launches_per_s``.
    """
    if threads and threads[0].biased:
        steps = None  # calls that mark them may not have been kept
    grid = active_grid(threads, BIN_NS, MOST_BINS, steps)
    work = None if grid is None else throughput(measurements, session, grid, steps, launched)
    if work is None:
        return ()
    found = falls(_known(work))
    if not found:
        return ()
    worst = sorted(found, key=lambda one: -one.depth * (one.end - one.first))[:MOST_DROPS]
    feeding = [one.thread for one in threads if one.feeds_gpu][:MOST_THREADS]
    told = [
        _drop(measurements, session, feeding, work, fall)
        for fall in sorted(worst, key=lambda one: one.first)
    ]
    return [one for one in told if one is not None and (work.is_done or _starved(one))]


def _known(work: Throughput) -> Floats:
    """Return the bins of which is known what was done in them; shape (bins,)."""
    if work.until_ns is None:
        return work.per_s
    return work.per_s[: max(0, (work.until_ns - work.grid.span.from_ns) // work.grid.bin_ns)]


def _starved(drop: Drop) -> bool:
    """Tell whether less was queued because of the host, and not because each launch did more."""
    if drop.is_gpu_as_busy is not None:
        return not drop.is_gpu_as_busy
    return bool(drop.causes) and drop.causes[0].part not in {WAITING, IN_CALLS}


def _drop(
    measurements: Measurements,
    session: Session,
    feeding: Sequence[ThreadKey],
    work: Throughput,
    fall: Fall,
) -> Drop | None:
    """Return what a fall is; None where it is one of demand."""
    grid, inside, beside = _looked_at(work.grid, fall)
    did = lanes(session, grid, feeding)
    if not _worked(did, beside):
        return None
    begin_ns, bin_ns = work.grid.span.from_ns, work.grid.bin_ns
    return Drop(
        from_ns=begin_ns + fall.first * bin_ns,
        to_ns=begin_ns + fall.end * bin_ns,
        metric=work.metric,
        before_per_s=fall.before.level,
        during_per_s=fall.level,
        depth_pct=100 * fall.depth,
        is_over=fall.after is not None,
        causes=_causes(did, beside, inside),
        gpus=[
            _gpu(measurements, uuid, grid, beside, inside)
            for uuid in list(measurements.meta().gpus)[:MOST_GPUS]
        ],
    )


def _looked_at(grid: Grid, fall: Fall) -> tuple[Grid, Ints, Ints]:
    """Return the bins in and around a fall, and which of them are in it and beside it."""
    first = max(fall.before.first, fall.before.end - BESIDE_BINS)
    last = inside_end = min(fall.end, fall.first + INSIDE_BINS)
    if fall.after is not None and inside_end == fall.end:
        last = min(fall.after.end, fall.after.first + BESIDE_BINS)
    begin_ns, end_ns = (grid.span.from_ns + at * grid.bin_ns for at in (first, last))
    inside = np.arange(fall.first, inside_end)
    beside = np.concatenate([np.arange(first, fall.first), np.arange(inside_end, last)])
    looked = Grid(Span(begin_ns, end_ns), last - first, grid.bin_ns)
    return looked, inside - first, beside - first


def _worked(did: Sequence[Lane], beside: Ints) -> bool:
    """Tell whether the threads had something to do most of the time."""
    busy = [
        sum(float(np.array(lane.parts[part])[beside].mean()) for part in WORK if part in lane.parts)
        for lane in did
    ]
    return bool(busy) and max(busy) >= MOSTLY


def _gpu(
    measurements: Measurements, uuid: str, grid: Grid, beside: Ints, inside: Ints
) -> GpuDifference:
    shown = series(
        measurements, uuid, from_ns=grid.span.from_ns, to_ns=grid.span.to_ns, bins=grid.bins
    )
    values = {name: np.array(shown[name], dtype=np.float64) for name in GPU_METRICS}
    return GpuDifference(
        uuid,
        {name: _mean(of[beside]) for name, of in values.items()},
        {name: _mean(of[inside]) for name, of in values.items()},
    )


def _causes(did: Sequence[Lane], beside: Ints, inside: Ints) -> Sequence[Difference]:
    found = []
    for lane in did:
        for part, shares in lane.parts.items():
            values = np.array(shares)
            key: ThreadKey = lane.thread
            one = Difference(
                part,
                key.host,
                key.pid,
                key.tid,
                before_ns_per_s=float(values[beside].mean()) * 1e9,
                during_ns_per_s=float(values[inside].mean()) * 1e9,
            )
            if one.more_ns_per_s >= LEAST_NS_PER_S:
                found.append(one)
    return sorted(found, key=lambda one: -one.more_ns_per_s)


def _mean(values: Floats) -> float | None:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else None
