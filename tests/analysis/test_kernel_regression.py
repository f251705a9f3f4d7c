"""Bounded least squares against its optimality conditions, and errors against what they err."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnomon.analysis.kernel_overlap import Overlaps
from gnomon.analysis.kernel_regression import bounded, equations, solve


def mixed(rng, rows, columns):
    """Return a design (rows, columns) of shares that sum to at most 1, and its pieces."""
    design = rng.dirichlet(np.full(columns + 1, 0.5), rows)[:, :columns]
    design[design < 0.05] = 0.0
    row, column = np.nonzero(design)
    return design, Overlaps(row, column, design[row, column])


@given(st.integers(0, 10**6), st.integers(1, 6), st.integers(1, 3))
def test_the_bounded_answer_cannot_be_improved(seed, columns, counters):
    rng = np.random.default_rng(seed)
    design = rng.random((40, columns))
    moment = design.T @ (design @ rng.uniform(-50, 150, (columns, counters)))
    gram = design.T @ design

    found = bounded(gram, moment, np.full(counters, 100.0))

    slope = gram @ found - moment
    small = 0.02 * np.diag(gram)[:, None] + 1e-3
    assert np.all((found >= 0) & (found <= 100))
    assert np.all(slope[found == 0] >= -np.broadcast_to(small, slope.shape)[found == 0])
    assert np.all(slope[found == 100] <= np.broadcast_to(small, slope.shape)[found == 100])
    inside = (found > 0) & (found < 100)
    assert np.all(np.abs(slope[inside]) <= np.broadcast_to(small, slope.shape)[inside])


@pytest.mark.parametrize("columns", [3, 60])
def test_equations_are_those_of_the_whole_design(columns):
    rng = np.random.default_rng(4)
    design, pieces = mixed(rng, 500, columns)
    weights, counters = rng.uniform(1, 2, 500), rng.uniform(0, 100, (500, 2))
    used = design.any(axis=1)
    scaled = weights / weights[used].mean()

    found = equations(pieces, columns, weights, counters)

    assert found.gram.sum(axis=0) == pytest.approx(design.T @ (design * scaled[:, None]))
    assert found.moment.sum(axis=0) == pytest.approx(design.T @ (counters * scaled[:, None]))
    assert np.array_equal(found.samples, np.count_nonzero(design, axis=0))
    assert found.rows == np.count_nonzero(used)


def test_errors_say_how_far_values_are_off():
    truth = np.array([[10.0], [50.0], [90.0]])
    off = []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        design, pieces = mixed(rng, 600, 3)
        counters = design @ truth + rng.normal(0, 5, (600, 1))
        answer = solve(equations(pieces, 3, np.ones(600), counters), np.array([100.0]))
        off.append((answer.values - truth) / answer.of_groups(np.arange(3), np.ones(3)).errors)

    assert 0.7 < np.sqrt(np.mean(np.square(off))) < 1.3


def test_columns_that_always_come_together_inflate_and_their_errors_go_against_each_other():
    rng = np.random.default_rng(5)
    share = rng.uniform(0, 0.5, 400)
    row = np.repeat(np.arange(400), 2)
    pieces = Overlaps(row, np.tile([0, 1], 400), np.repeat(share, 2))
    counters = (share * 100)[:, None] + rng.normal(0, 1, (400, 1))

    answer = solve(equations(pieces, 2, np.ones(400), counters), np.array([100.0]))
    apart = answer.of_groups(np.array([0, 1]), np.ones(2))
    together = answer.of_groups(np.array([0, 0]), np.ones(2))

    assert np.all(apart.inflation > 1e5)
    assert apart.correlation[0, 1] == pytest.approx(-1.0, abs=1e-3)
    assert together.values[0, 0] == pytest.approx(50.0, abs=1.0)
    assert together.errors[0, 0] < 1.0
    assert together.inflation[0] == pytest.approx(1.0, abs=1e-3)
