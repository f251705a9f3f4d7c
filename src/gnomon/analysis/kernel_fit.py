"""Values of kernels that counters of the whole GPU tell, and where they do not tell them.

The regression of ``kernel_regression`` over the columns of ``kernel_columns``. Its standard error
is joined by what the clock offset's own uncertainty does: the fit is made again with the kernels
moved to either side, and half the difference counts. What stays uncertain is merged with the
column whose error goes most against its own (what one gains the other loses), and the mean of
the merged ones over their time is told instead.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from gnomon.analysis.clock_offset import ClockOffset
from gnomon.analysis.collecting import Bools
from gnomon.analysis.intervals import Floats, Intervals, Ints
from gnomon.analysis.kernel_columns import Columns
from gnomon.analysis.kernel_overlap import Overlaps, Stretches, overlaps
from gnomon.analysis.kernel_regression import Equations, Groups, Solution, equations, solve

# Beyond this (percentage points, one standard error) a value is not told.
MOST_ERROR = 5.0
# Others explain 99 % of the column: its error is ten times what it would be alone, and rests on
# differences between samples that are as small as the joins between the clocks are exact.
MOST_INFLATION = 100.0
# With fewer samples neither errors nor ties can be judged.
LEAST_SAMPLES = 8
LEAST_BLOCKS = 2
# Errors that go against each other less than this share nothing worth merging.
LEAST_AGAINST = -0.1
ROUNDS = 8
# What moved clocks do to the values is judged on this many samples.
SIDE_SAMPLES = 200_000


@dataclass(frozen=True, slots=True)
class Responses:
    """Counters (n, k) of n samples by name, without gaps, and the most (k,) each can be."""

    names: tuple[str, ...]
    values: Floats
    bounds: Floats


@dataclass(frozen=True, slots=True)
class Fit:
    """Values and errors (m, k) of m columns, and why some are not to be used.

    ``samples`` (m,): in how many samples a column has a share. ``inflation`` (m,): see
    ``kernel_regression.Solution``. ``ties``: column -> what it had to be merged with.
    ``idle`` (k,): what counters read where nothing was recorded; ``idle_samples`` rest on it.
    """

    names: tuple[str, ...]
    values: Floats
    errors: Floats
    inflation: Floats
    samples: Ints
    blocks: Ints
    ties: Mapping[int, Tie]
    idle: Floats
    idle_samples: int
    clock_mhz: Floats


@dataclass(frozen=True, slots=True)
class Tie:
    """Columns merged, ascending, their mean values and errors (k,), and whether those hold."""

    columns: tuple[int, ...]
    values: Floats
    errors: Floats
    holds: bool


@dataclass(frozen=True, slots=True)
class _Solved:
    """A solution, what moving the clocks does to it (m, k), and the time of its columns (m,)."""

    solution: Solution
    moved: Floats
    time: Floats

    def groups(self, into: Ints) -> tuple[Groups, Floats]:
        """Return groups of columns, and their errors with what the clocks can do."""
        found = self.solution.of_groups(into, self.time)
        return found, np.hypot(found.errors, np.abs(found.means.T @ self.moved))


def fit(
    samples: Intervals,
    responses: Responses,
    clock_mhz: Floats | None,
    found: Stretches,
    columns: Columns,
    offset: ClockOffset,
    names: Sequence[str],
) -> Fit:
    """Estimate every column's value of every counter from n samples; ``names`` are of groups."""
    column = columns.of_set[found.which]
    shares = overlaps(samples, found.intervals, column, offset.offset_ns)
    idle, idle_samples = idle_level(shares, responses.values)
    weights = (samples.end_ns - samples.start_ns).astype(np.float64)
    at = _equations(shares, len(columns), weights, responses.values, idle)
    some = slice(None, None, -(-len(samples) // SIDE_SAMPLES))
    few = Intervals(samples.start_ns[some], samples.end_ns[some])
    before, after = (
        _equations(
            overlaps(few, found.intervals, column, offset.offset_ns + moved_ns),
            len(columns),
            weights[some],
            responses.values[some],
            idle,
        ).bounded(responses.bounds)
        for moved_ns in (-offset.uncertainty_ns, offset.uncertainty_ns)
    )
    time = columns.time_ns.astype(np.float64)
    solved = _Solved(solve(at, responses.bounds), (after - before) / 2, time)
    each, errors = solved.groups(np.arange(len(columns)))
    unsure = _unsure(errors, each.inflation, at.samples, at.blocks)
    return Fit(
        responses.names,
        each.values,
        errors,
        each.inflation,
        at.samples,
        at.blocks,
        _ties(solved, at, unsure, each.correlation, _kin(columns, names, unsure)),
        idle,
        idle_samples,
        _mean_by_column(shares, weights, clock_mhz, len(columns)),
    )


def idle_level(shares: Overlaps, values: Floats) -> tuple[Floats, int]:
    """Return the median (k,) of samples in which nothing was recorded, and their number.

    It is what an empty GPU reads: 0, or the little that refresh and polling cost. A median,
    because work that was not recorded can lie in some of them. A neighbour of a sample with work
    in it is left out, for the clocks may differ by part of one. Without such samples it is 0.
    """
    ran = np.zeros(len(values) + 2, dtype=bool)
    ran[shares.row + 1] = True
    empty = ~(ran[:-2] | ran[1:-1] | ran[2:])
    count = int(empty.sum())
    if count < LEAST_SAMPLES:
        return np.zeros(values.shape[1]), count
    return np.asarray(np.median(values[empty], axis=0)), count


def _equations(
    shares: Overlaps, columns: int, weights: Floats, values: Floats, idle: Floats
) -> Equations:
    ran = np.bincount(shares.row, shares.share, len(weights))
    above = values - np.clip(1.0 - ran, 0.0, None)[:, None] * idle
    return equations(shares, columns, weights, above)


def _unsure(errors: Floats, inflation: Floats, samples: Ints, blocks: Ints) -> Bools:
    return np.asarray(
        (errors.max(axis=1, initial=0.0) > MOST_ERROR)
        | (inflation > MOST_INFLATION)
        | (samples < LEAST_SAMPLES)
        | (blocks < LEAST_BLOCKS)
    )


def _kin(columns: Columns, names: Sequence[str], unsure: Bools) -> dict[int, int]:
    """Return, for each unsure kernel, the first unsure one of the same name and another shape."""
    first: dict[str, int] = {}
    kin = {}
    for column in np.flatnonzero(unsure).tolist():
        if columns.is_own(column):
            name = names[columns.sets[column][0][0]]
            if first.setdefault(name, column) != column:
                kin[column] = first[name]
    return kin


def _ties(
    solved: _Solved, given: Equations, unsure: Bools, correlation: Floats, kin: Mapping[int, int]
) -> dict[int, Tie]:
    """Merge what is unsure until it is sure, or nothing goes against it any more.

    Shapes of one kernel are merged first: they are what is most alike.
    """
    into = np.arange(len(unsure))
    first = np.flatnonzero(unsure)
    groups, errors = solved.groups(into)
    for _ in range(ROUNDS):
        partner = kin or _partners(unsure, correlation)
        kin = {}
        if not partner:
            break
        into = _joined(into, partner)
        groups, errors = solved.groups(into)
        correlation = groups.correlation
        samples, blocks = (np.bincount(into, one) for one in (given.samples, given.blocks))
        unsure = _unsure(errors, groups.inflation, samples, blocks)
    ties = {}
    for column in first:
        at = into[column]
        members = tuple(int(one) for one in np.flatnonzero(into == at))
        if len(members) > 1:
            ties[int(column)] = Tie(members, groups.values[at], errors[at], not unsure[at])
    return ties


def _partners(unsure: Bools, correlation: Floats) -> dict[int, int]:
    """Return, for each unsure column, the one whose error goes most against its own."""
    against = correlation.copy()
    np.fill_diagonal(against, 1.0)  # no column is its own partner
    partner = {}
    for column in np.flatnonzero(unsure):
        best = int(np.argmin(against[column]))
        if against[column, best] < LEAST_AGAINST:
            partner[int(column)] = best
    return partner


def _joined(into: Ints, partner: Mapping[int, int]) -> Ints:
    """Return the numbers (0, 1, ...) of columns after their merged ones joined in pairs."""
    label = np.arange(int(into.max()) + 1)
    for one, other in partner.items():
        label[label == label[other]] = label[one]
    return np.asarray(np.unique(label[into], return_inverse=True)[1])


def _mean_by_column(
    shares: Overlaps, weights: Floats, values: Floats | None, columns: int
) -> Floats:
    """Return the mean (m,) of something over each column's time; NaN where it is not known."""
    if values is None:
        return np.full(columns, np.nan)
    known = ~np.isnan(values[shares.row])
    row, column = shares.row[known], shares.column[known]
    weight = shares.share[known] * weights[row]
    time = np.bincount(column, weight, columns)
    total = np.bincount(column, weight * values[row], columns)
    mean = np.full(columns, np.nan)
    np.divide(total, time, out=mean, where=time > 0)
    return mean


def named(columns: Columns, members: Sequence[int], names: Sequence[str]) -> tuple[str, ...]:
    """Return the names of what ran in columns: a set's joined by "+"."""
    return tuple(
        " + ".join(names[group] for group in one) or "others at the same time"
        for at in members
        for one in columns.sets[at]
    )
