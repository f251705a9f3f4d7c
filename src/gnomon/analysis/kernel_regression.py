"""What each column of a design is worth, from many samples that mix them: bounded least squares.

    sample i:  y_i = sum over columns of share_ij x value_j + rest,   0 <= value_j <= bound

The samples are summed into normal equations (G = A'WA, h = A'Wy), block by block of neighbouring
samples, so that a million samples fit; W is their length. Bounded least squares on G and h is
solved by coordinate descent (Franc, Hlavac and Navara 2005, for the non-negative case), which
takes all counters at once. Errors come from a block bootstrap (Kuensch 1989): blocks are drawn
again with replacement, and the spread of the answers counts. Neighbouring samples see the same
calls, so single samples must not be drawn.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from gnomon.analysis.intervals import Floats, Ints
from gnomon.analysis.kernel_overlap import Overlaps

# Normal equations of all blocks are held at once: 128 MB of them.
HELD_NUMBERS = 16_000_000
LEAST_BLOCKS, MOST_BLOCKS = 32, 256
# A pair of pieces costs about as much as this many cells of a dense row.
SPARSE = 4
REPLICATES = 50
SEED = 22
# A share of a column's own weight that ties a solution to the first: only directions that the
# samples say nothing of feel it.
RIDGE = 1e-7
SWEEPS = 300
SETTLED = 1e-4  # percentage points


@dataclass(frozen=True, slots=True)
class Equations:
    """Normal equations of n samples, m columns and k counters, by block of samples.

    ``gram`` (blocks, m, m), ``moment`` (blocks, m, k), ``square`` (k,): the weighted sum of y^2.
    ``samples`` and ``blocks`` (m,): in how many of them each column has a share.
    """

    gram: Floats
    moment: Floats
    square: Floats
    rows: int
    samples: Ints
    blocks: Ints

    def bounded(self, bounds: Floats) -> Floats:
        """Return the values (m, k) of all samples in [0, bounds]."""
        return bounded(self.gram.sum(axis=0), self.moment.sum(axis=0), bounds)


@dataclass(frozen=True, slots=True)
class Solution:
    """Values (m, k) of all columns, and what is known of their errors.

    ``gram`` (m, m) is that of all blocks, ``covariance`` its inverse; times ``scatter`` (k,)
    squared, the standard deviation of a sample of unit weight, it is the covariance of the
    errors if samples erred one by one. ``draws`` (replicates, m, k) are the values, unbounded, of
    blocks drawn again. ``bounds`` (k,): the most that values can be.
    """

    values: Floats
    gram: Floats
    covariance: Floats
    scatter: Floats
    draws: Floats
    bounds: Floats

    def of_groups(self, into: Ints, time: Floats) -> Groups:
        """Return the means over time of groups of columns: column j is in group ``into[j]``.

        ``time`` (m,) is that of each column. What two columns cannot be told apart by cancels in
        their mean, so that it can be certain where they are not.
        """
        joins = np.zeros((len(into), int(into.max(initial=-1)) + 1))
        joins[np.arange(len(into)), into] = 1.0
        means = joins * np.maximum(time, 1e-9)[:, None]
        means /= means.sum(axis=0)
        variance = means.T @ self.covariance @ means
        own = np.maximum(np.diag(variance), 0.0)
        drawn = np.clip(np.matmul(means.T, self.draws), 0.0, self.bounds)
        plain = np.sqrt(own)[:, None] * self.scatter
        spread = np.sqrt(np.maximum(own, 1e-300))
        return Groups(
            means,
            means.T @ self.values,
            np.maximum(plain, drawn.std(axis=0)),
            own * ((self.gram @ joins) * joins).sum(axis=0),
            variance / np.outer(spread, spread),
        )


@dataclass(frozen=True, slots=True)
class Groups:
    """Mean values (g, k) of g groups of columns, and their standard errors.

    ``means`` (m, g) makes means of groups out of values of columns. ``inflation`` (g,) is 1 / (1
    - R^2) of a group by all others, 1 where it is alone; ``correlation`` (g, g) is that of the
    errors.
    """

    means: Floats
    values: Floats
    errors: Floats
    inflation: Floats
    correlation: Floats


def equations(found: Overlaps, columns: int, weights: Floats, counters: Floats) -> Equations:
    """Sum samples into normal equations.

    ``found.row`` counts samples, whose ``weights`` have shape (n,) and ``counters`` (n, k).
    Samples without a share in any column say nothing and are left out.
    """
    used, row = np.unique(found.row, return_inverse=True)
    weights, counters = weights[used], counters[used]
    weights = weights / max(weights.mean(), 1e-300) if len(weights) else weights
    blocks = int(np.clip(HELD_NUMBERS // max(columns, 1) ** 2, LEAST_BLOCKS, MOST_BLOCKS))
    blocks = max(min(blocks, len(used)), 1)
    width = counters.shape[1]
    gram, moment = np.zeros((blocks, columns, columns)), np.zeros((blocks, columns, width))
    samples, seen = np.zeros(columns, dtype=np.int64), np.zeros(columns, dtype=np.int64)
    for at, (rows, pieces) in enumerate(_blocks(row, len(used), blocks)):
        here, local = np.unique(found.column[pieces], return_inverse=True)
        part = _Part(row[pieces] - rows.start, local, found.share[pieces], len(here), weights[rows])
        gram[at][np.ix_(here, here)] = part.gram()
        moment[at][here] = part.moment(counters[rows])
        samples[here] += part.samples()
        seen[here] += 1
    square = np.asarray(weights @ counters**2)
    return Equations(gram, moment, square, len(used), samples, seen)


@dataclass(frozen=True, slots=True)
class _Part:
    """The pieces (p,) of one block of samples: sample, column and share; weights of samples."""

    row: Ints
    column: Ints
    share: Floats
    columns: int
    weights: Floats

    def samples(self) -> Ints:
        """Return in how many samples each column has a share."""
        cells = np.sort(self.row * self.columns + self.column)
        fresh = cells[np.flatnonzero(np.diff(cells, prepend=-1))]
        return np.bincount(fresh % self.columns, minlength=self.columns).astype(np.int64)

    def gram(self) -> Floats:
        """Return A'WA, by pairs of pieces in a sample where these are few, else by rows."""
        per_row = np.bincount(self.row, minlength=len(self.weights))
        pairs = int((per_row**2).sum())
        if pairs * SPARSE > len(self.weights) * self.columns:
            size = len(self.weights) * self.columns
            dense = np.bincount(self.row * self.columns + self.column, self.share, size)
            dense = dense.reshape(-1, self.columns)
            return np.asarray(dense.T @ (dense * self.weights[:, None]))
        partners = per_row[self.row]
        one = np.repeat(np.arange(len(self.row)), partners)
        first = np.cumsum(per_row) - per_row
        begin = np.cumsum(partners) - partners
        other = np.arange(pairs) - np.repeat(begin - first[self.row], partners)
        cell = self.column[one] * self.columns + self.column[other]
        weighted = (self.share * self.weights[self.row])[one] * self.share[other]
        sums = np.bincount(cell, weighted, self.columns**2)
        return np.asarray(sums, dtype=np.float64).reshape(self.columns, -1)

    def moment(self, counters: Floats) -> Floats:
        """Return A'Wy of counters (samples, k)."""
        weighted = self.share * self.weights[self.row]
        sums = [
            np.bincount(self.column, weighted * counter[self.row], self.columns)
            for counter in counters.T
        ]
        return np.stack(sums, axis=1) if sums else np.zeros((self.columns, 0))


def _blocks(row: Ints, rows: int, blocks: int) -> Iterator[tuple[slice, slice]]:
    """Yield the samples of each block, and the pieces of overlap that lie in them."""
    edges = np.linspace(0, rows, blocks + 1).astype(np.int64)
    pieces = np.searchsorted(row, edges)
    for at in range(blocks):
        yield slice(int(edges[at]), int(edges[at + 1])), slice(int(pieces[at]), int(pieces[at + 1]))


def solve(given: Equations, bounds: Floats) -> Solution:
    """Solve for all counters; ``bounds`` (k,) is the most that each can be, 0 the least."""
    gram, moment = given.gram.sum(axis=0), given.moment.sum(axis=0)
    values = bounded(gram, moment, bounds)
    scale = np.sqrt(np.maximum(np.diag(gram), 1e-300))
    alike = gram / np.outer(scale, scale)
    covariance = np.linalg.inv(alike + RIDGE * np.eye(len(alike))) / np.outer(scale, scale)
    left = np.maximum(given.square - 2 * (values * moment).sum(0) + _quadratic(gram, values), 0.0)
    freedom = max(given.rows - len(gram), 1)
    draws = _drawn(given, gram, values)
    return Solution(values, gram, covariance, np.sqrt(left / freedom), draws, bounds)


def _quadratic(gram: Floats, values: Floats) -> Floats:
    return np.asarray((values * (gram @ values)).sum(axis=0))


def bounded(gram: Floats, moment: Floats, bounds: Floats) -> Floats:
    """Return the values (m, k) in [0, bounds] that minimise v'Gv - 2v'h, counter by counter."""
    scale = np.sqrt(np.diag(gram))
    known = np.flatnonzero(scale > 0)
    ridge = RIDGE * np.diag(np.diag(gram)[known])
    inner, right = gram[np.ix_(known, known)] + ridge, moment[known]
    found = np.clip(np.linalg.solve(inner, right), 0.0, bounds)
    slope = inner @ found - right
    diagonal = np.diag(inner)
    for _ in range(SWEEPS):
        largest = 0.0
        for at in range(len(known)):
            new = np.clip(found[at] - slope[at] / diagonal[at], 0.0, bounds)
            change = new - found[at]
            step = float(np.abs(change).max())
            if step > 0.0:
                found[at] = new
                slope += inner[:, at, None] * change
                largest = max(largest, step)
        if largest < SETTLED:
            break
    values = np.zeros(moment.shape)
    values[known] = found
    return values


def _drawn(given: Equations, gram: Floats, values: Floats) -> Floats:
    """Return the values (replicates, m, k) over blocks drawn again.

    They are free of bounds: at a bound they still vary, where a bounded one would look certain.
    """
    blocks, columns, width = given.moment.shape
    draws = np.random.default_rng(SEED).multinomial(blocks, [1 / blocks] * blocks, REPLICATES)
    prior = RIDGE * np.diag(np.maximum(np.diag(gram), 1e-300))
    found = np.empty((REPLICATES, columns, width))
    flat_gram, flat_moment = given.gram.reshape(blocks, -1), given.moment.reshape(blocks, -1)
    for at, draw in enumerate(draws.astype(np.float64)):
        drawn = (draw @ flat_gram).reshape(columns, columns)
        right = (draw @ flat_moment).reshape(columns, width)
        found[at] = values + np.linalg.solve(drawn + prior, right - drawn @ values)
    return found
