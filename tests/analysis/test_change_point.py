"""Levels of series whose true levels are known."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gnomon.analysis.change_point import SHORTEST_BINS, falls, segments, sigma


def series(*levels, noise=0.0, seed=0):
    """Levels given as (bins, level), with noise of that sigma."""
    values = np.concatenate([np.full(bins, float(level)) for bins, level in levels])
    return values + np.random.default_rng(seed).normal(0, noise, len(values))


@given(st.integers(0, 10_000), st.integers(6, 300), st.floats(0.1, 30))
@example(seed=493, bins=6, noise=5.0)
@settings(max_examples=150, deadline=None)
def test_noise_alone_is_no_fall(seed, bins, noise):
    assert falls(series((bins, 100), noise=noise, seed=seed)) == []


@given(
    seed=st.integers(0, 10_000),
    before=st.integers(10, 100),
    length=st.integers(SHORTEST_BINS + 2, 60),
    after=st.integers(10, 100),
    depth=st.floats(0.2, 1.0),
)
@settings(max_examples=150, deadline=None)
def test_a_fall_is_found_where_it_is_and_as_deep_as_it_is(seed, before, length, after, depth):
    noise = 100 * depth / 12
    values = series(
        (before, 100), (length, 100 - 100 * depth), (after, 100), noise=noise, seed=seed
    )
    (found,) = falls(values)

    assert abs(found.first - before) <= 1
    assert abs(found.end - before - length) <= 1
    assert found.depth == pytest.approx(depth, abs=0.15)
    assert found.after is not None


def test_what_does_not_come_back_lasts_until_the_end():
    (found,) = falls(series((30, 50), (20, 20), noise=1))

    assert (found.first, found.end, found.after) == (30, 50, None)


def test_a_start_that_is_low_is_no_fall():
    assert falls(series((20, 10), (30, 100), noise=2)) == []


def test_a_fall_in_two_stages_is_one():
    (found,) = falls(series((20, 100), (10, 60), (10, 30), (20, 100), noise=2))

    assert (found.first, found.end) == (20, 40)


def test_a_single_pause_is_not_a_level():
    values = series((60, 100), noise=1)
    values[[10, 30, 50]] = 0

    assert falls(values) == []


@pytest.mark.parametrize("count", range(6))
def test_a_series_too_short_to_judge_is_one_level(count):
    values = np.array([5.0, 1.0, 9.0, 2.0, 7.0][:count])

    assert [(one.first, one.end) for one in segments(values)] == ([(0, count)] if count else [])
    assert falls(values) == []


def test_sigma_is_that_of_the_noise_whatever_the_levels():
    values = series((500, 10), (500, 1000), (500, 300), noise=20)

    assert sigma(values) == pytest.approx(20, rel=0.1)


def test_work_that_stands_still_for_good_is_no_fall_of_itself():
    assert falls(np.zeros(50)) == []


def test_segments_follow_each_other_without_gap():
    found = segments(series((40, 10), (40, 30), (40, 5), noise=1))

    assert [one.first for one in found] == [0, *(one.end for one in found[:-1])]
    assert found[-1].end == 120
    assert [round(one.level) for one in found] == [10, 30, 5]
