"""What a chart of a span shows: what the GPUs reached, above what the threads did meanwhile."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np

from gnomon.analysis.lanes import Grid, Lane, lanes
from gnomon.analysis.questions import Span, ThreadKey
from gnomon.analysis.series import series
from gnomon.analysis.silence import silences
from gnomon.analysis.throughput import Throughput
from gnomon.detectors.case import Case
from gnomon.detectors.work import work_of

# More would be a pattern, not a chart; findings name the thread in any case.
MOST_LANES = 8
MOST_GPUS = 8
# About a pixel and a half each on a wide screen.
BINS = 600
SOL_METRICS = ("compute_sol_pct", "memory_sol_pct")
# The longest ones: others are narrower than a pixel.
MOST_SILENCES = 500

Values = Sequence[float | None]


@dataclass(frozen=True, slots=True)
class GpuTrack:
    """A GPU's numbers: metric -> percent in equal bins, None where it was not measured."""

    uuid: str
    series: Mapping[str, Values]
    idle_pct: Values


@dataclass(frozen=True, slots=True)
class Picture:
    """Series and lanes over one grid of bins.

    ``idle_pct``: how long GPUs had nothing to do, their mean (``is_idle_measured``), else how long
    no CUDA call was under way, of those that were kept (``are_all_kept``: that is all of them);
    ``silences``: the longest stretches of next to nothing but that.
    ``work``: None where none is recorded. ``names``: of threads.
    """

    grid: Grid
    gpus: Sequence[GpuTrack]
    work: Throughput | None
    lanes: Sequence[Lane]
    names: Mapping[ThreadKey, str | None]
    idle_pct: Values
    silences: Sequence[Span]
    is_idle_measured: bool
    are_all_kept: bool = True


def picture(case: Case) -> Picture:
    """Return the chart of a case: of the threads whose waits matter, the busiest ones."""
    grid = Grid(case.span, BINS)
    threads = [one.thread for one in case.workers][:MOST_LANES]
    gpus = [_track(case, grid, uuid) for uuid in _uuids(case)]
    measured = _mean([one.idle_pct for one in gpus])
    found = silences(case.measurements, case.session, case.scope)
    silent = () if found is None else found.longest(MOST_SILENCES)
    return Picture(
        grid=grid,
        gpus=gpus,
        work=work_of(case, grid),
        lanes=lanes(case.session, grid, threads),
        names={thread: case.name_of(thread) for thread in threads},
        idle_pct=_covered(grid, silent) if measured is None else measured,
        silences=silent,
        is_idle_measured=measured is not None,
        are_all_kept=found is None or found.are_all_kept,
    )


def _mean(idle_pct: Sequence[Values]) -> Values | None:
    """Return the mean of those GPUs that were measured in a bin; None where none ever was."""
    known = [[one for one in bin_ if one is not None] for bin_ in zip(*idle_pct, strict=True)]
    return [fmean(bin_) if bin_ else None for bin_ in known] if any(known) else None


def _covered(grid: Grid, stretches: Sequence[Span]) -> Values:
    """Return how much of each bin lies in stretches that do not overlap, percent."""
    edges = np.arange(grid.bins + 1) * grid.bin_ns
    passed = np.zeros(grid.bins + 1)
    for one in stretches:
        begin_ns, end_ns = (at_ns - grid.span.from_ns for at_ns in (one.from_ns, one.to_ns))
        passed += np.clip(edges, begin_ns, end_ns) - begin_ns
    return [float(of) for of in 100 * np.diff(passed) / grid.bin_ns]


def _uuids(case: Case) -> Sequence[str]:
    return list(dict.fromkeys(one.uuid for one in case.gpus))[:MOST_GPUS]


def _track(case: Case, grid: Grid, uuid: str) -> GpuTrack:
    fine = _series(case, grid, uuid)
    # Busy is read for a moment each second: finer bins would have holes.
    coarse = _series(case, Grid(case.span, min(BINS, max(1, round(case.span.seconds)))), uuid)
    shown = {"busy_pct": coarse["busy_pct"]} | {name: fine[name] for name in SOL_METRICS}
    return GpuTrack(
        uuid,
        {name: of for name, of in shown.items() if any(one is not None for one in of)},
        fine["idle_pct"],
    )


def _series(case: Case, grid: Grid, uuid: str) -> dict[str, list[float | None]]:
    end_ns = grid.span.from_ns + grid.bins * grid.bin_ns
    return series(case.measurements, uuid, from_ns=grid.span.from_ns, to_ns=end_ns, bins=grid.bins)
