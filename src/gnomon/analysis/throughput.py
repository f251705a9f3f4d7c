"""How much work was done over time: tokens, else steps, else launches; what is recorded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gnomon.analysis.activity import ThreadActivity
from gnomon.analysis.intervals import Floats
from gnomon.analysis.lanes import Grid, launches_per_s
from gnomon.analysis.operations import Kind, condition, kind_of
from gnomon.analysis.questions import Scope, Span
from gnomon.analysis.steps import Steps
from gnomon.recording.base import Measurements, Session
from gnomon.recording.marks import phases

# Marks of whole runs say nothing of when in them the work was done.
FEWEST_PHASES = 5

# Rows kept for being slow do not count calls; nor do those of unknown weight.
COUNTED_SQL = """\
SELECT coalesce(bool_and(selection IS NOT NULL AND selection <> 'biased' AND weight IS NOT NULL),
  FALSE)
  AS counted FROM host_calls WHERE {where} AND {launched}"""


@dataclass(frozen=True, slots=True)
class Throughput:
    """``per_s``: ``metric`` (tokens, steps, launches) a second in each bin, shape (bins,).

    ``is_done``: counted when it was done; else when it was queued, which can run ahead of the GPU.
    """

    metric: str
    grid: Grid
    per_s: Floats
    is_done: bool = False


def throughput(
    measurements: Measurements, session: Session, scope: Scope, grid: Grid, steps: Steps | None
) -> Throughput | None:
    """Return the best measure of work that is recorded; None where there is none.

    ``steps``: those of the busiest thread that feeds a GPU, where it has any.
    """
    tokens = tokens_per_s(measurements, grid)
    if tokens is not None:
        return Throughput("tokens", grid, tokens, is_done=True)
    if steps is not None:
        waits = kind_of(steps.mark.operation) is Kind.SYNCHRONIZATION
        return Throughput("steps", grid, _steps_per_s(steps, grid), is_done=waits)
    launches = counted_launches_per_s(session, scope, grid)
    return None if launches is None else Throughput("launches", grid, launches, is_done=False)


def counted_launches_per_s(session: Session, scope: Scope, grid: Grid) -> Floats | None:
    """Return launches a second in each bin; None where rows do not count them, or there is none."""
    launched = condition(Kind.LAUNCH, Kind.GRAPH_LAUNCH)
    (row,) = session.rows(COUNTED_SQL.format(where=scope.condition, launched=launched))
    launches = launches_per_s(session, grid) if row["counted"] else None
    return None if launches is None else np.array(launches)


def tokens_per_s(
    measurements: Measurements, grid: Grid, fewest: int = FEWEST_PHASES
) -> Floats | None:
    """Return tokens a second in each bin, spread evenly over the phases that name them.

    None where fewer than ``fewest`` phases do.
    """
    known = [one for one in phases(measurements) if one.tokens and one.to_ns > one.from_ns]
    inside = [
        one for one in known if one.from_ns < grid.span.to_ns and one.to_ns > grid.span.from_ns
    ]
    if len(inside) < fewest:
        return None
    edges = edges_s(grid)
    done = np.zeros(grid.bins + 1)
    for one in inside:
        begin, end = ((at - grid.span.from_ns) / 1e9 for at in (one.from_ns, one.to_ns))
        done += (one.tokens or 0.0) * np.clip((edges - begin) / (end - begin), 0, 1)
    return np.asarray(np.diff(done) / np.diff(edges))


def active_grid(threads: Sequence[ThreadActivity], bin_ns: int, most_bins: int) -> Grid | None:
    """Return bins of ``bin_ns`` (longer where there would be too many) while threads fed GPUs.

    None where nobody did, or not for a whole bin.
    """
    feeding = [one.span for one in threads if one.feeds_gpu]
    if not feeding:
        return None
    begin, end = min(one.from_ns for one in feeding), max(one.to_ns for one in feeding)
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
