"""How much work was done over time: tokens, else steps, else launches; what is recorded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gnomon.analysis.activity import ThreadActivity
from gnomon.analysis.intervals import Floats, Ints
from gnomon.analysis.lanes import LAUNCHED, Grid, launches_per_s
from gnomon.analysis.operations import Kind, kind_of
from gnomon.analysis.questions import Span
from gnomon.analysis.steps import Steps
from gnomon.recording.base import Measurements, Session
from gnomon.recording.marks import Phase, phases

# Marks of whole runs say nothing of when in them the work was done.
FEWEST_PHASES = 5
# So many steps a bin at least: how many ends fall into a bin is else a matter of luck.
STEPS_A_BIN = 3


@dataclass(frozen=True, slots=True)
class Throughput:
    """``per_s``: ``metric`` (tokens, steps, launches) a second in each bin, shape (bins,).

    ``is_done``: counted when it was done; else when it was queued, which can run ahead of the GPU.
    ``until_ns``: when the last step or phase ended, where another one may have been under way, so
    that nobody knows what follows. None where so much follows that there was none.
    """

    metric: str
    grid: Grid
    per_s: Floats
    is_done: bool = False
    until_ns: int | None = None


def throughput(
    measurements: Measurements,
    session: Session,
    grid: Grid,
    steps: Steps | None,
    launched: str = LAUNCHED,
) -> Throughput | None:
    """Return the best measure of work that is recorded; None where there is none.

    ``steps``: those of the busiest thread that feeds a GPU, where it has any; ``launched``: see
    ``launches_per_s``.
    """
    tokens = tokens_per_s(measurements, grid)
    if tokens is not None:
        ends_ns = np.sort([one.to_ns for one in _with_tokens(measurements, grid)])
        return Throughput("tokens", grid, tokens, is_done=True, until_ns=_until(ends_ns, grid))
    if steps is not None:
        waits = kind_of(steps.mark.operation) is Kind.SYNCHRONIZATION
        per_s, until_ns = _steps_per_s(steps, grid), _until(steps.starts_ns, grid)
        return Throughput("steps", grid, per_s, is_done=waits, until_ns=until_ns)
    launches = counted_launches_per_s(session, grid, launched)
    return None if launches is None else Throughput("launches", grid, launches, is_done=False)


def counted_launches_per_s(session: Session, grid: Grid, launched: str = LAUNCHED) -> Floats | None:
    """Return launches a second in each bin; None where rows do not count them, or there is none."""
    launches = launches_per_s(session, grid, launched=launched, must_count=True)
    return None if launches is None else np.array(launches)


def tokens_per_s(
    measurements: Measurements, grid: Grid, fewest: int = FEWEST_PHASES
) -> Floats | None:
    """Return tokens a second in each bin, spread evenly over the phases that name them.

    None where fewer than ``fewest`` phases do.
    """
    inside = _with_tokens(measurements, grid)
    if len(inside) < fewest:
        return None
    edges = edges_s(grid)
    done = np.zeros(grid.bins + 1)
    for one in inside:
        begin, end = ((at - grid.span.from_ns) / 1e9 for at in (one.from_ns, one.to_ns))
        done += (one.tokens or 0.0) * np.clip((edges - begin) / (end - begin), 0, 1)
    return np.asarray(np.diff(done) / np.diff(edges))


def _with_tokens(measurements: Measurements, grid: Grid) -> Sequence[Phase]:
    known = [one for one in phases(measurements) if one.tokens and one.to_ns > one.from_ns]
    return [one for one in known if one.from_ns < grid.span.to_ns and one.to_ns > grid.span.from_ns]


def _until(ends_ns: Ints, grid: Grid) -> int | None:
    last_ns, usual_ns = int(ends_ns[-1]), float(np.median(np.diff(ends_ns)))
    return last_ns if grid.span.to_ns - last_ns <= STEPS_A_BIN * usual_ns else None


def active_grid(
    threads: Sequence[ThreadActivity], bin_ns: int, most_bins: int, steps: Steps | None = None
) -> Grid | None:
    """Return bins of ``bin_ns`` while threads fed GPUs.

    They are longer where there would be too many, or fewer than ``STEPS_A_BIN`` steps in each.
    None where nobody fed a GPU, or not for a whole bin.
    """
    feeding = [one.span for one in threads if one.feeds_gpu]
    if not feeding:
        return None
    begin, end = min(one.from_ns for one in feeding), max(one.to_ns for one in feeding)
    if steps is not None:
        bin_ns = max(bin_ns, STEPS_A_BIN * steps.p50_ns)
    bin_ns = max(bin_ns, -(-(end - begin) // most_bins))
    bins = (end - begin) // bin_ns
    return Grid(Span(begin, begin + bins * bin_ns), bins, bin_ns) if bins else None


def edges_s(grid: Grid) -> Floats:
    """Return the edges of bins in seconds after the begin of the grid; shape (bins + 1,)."""
    return np.asarray(np.arange(grid.bins + 1) * (grid.bin_ns / 1e9), dtype=np.float64)


def _steps_per_s(steps: Steps, grid: Grid) -> Floats:
    """Return steps a second, a step counting in each bin for the share of it that lies there."""
    starts = (steps.starts_ns - grid.span.from_ns) / 1e9
    edges = edges_s(grid)
    return np.asarray(np.diff(np.interp(edges, starts, np.arange(len(starts)))) / np.diff(edges))
