"""How calls vary, against numpy's own statistics of each group."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnomon.analysis.kernel_sequence import Kernels
from gnomon.analysis.kernel_spread import LEAST_CALLS, NORMAL_MAD, QUANTILES, spread


def spread_of(*groups):
    """The spread of groups of durations, one call of each by turns."""
    pairs = [(number, one) for number, group in enumerate(groups) for one in group]
    pairs.sort(key=hash)
    number, duration = (np.array(column, dtype=np.int64) for column in zip(*pairs, strict=True))
    start = np.arange(len(pairs), dtype=np.int64)
    return spread(Kernels(start, start + duration, number, len(groups)), number, len(groups))


durations = st.lists(st.integers(0, 10**10), min_size=1, max_size=40)


@given(st.lists(durations, min_size=1, max_size=5))
def test_statistics_are_those_of_each_group_by_itself(groups):
    found = spread_of(*groups)

    for place, group in enumerate(groups):
        ranks = [np.quantile(group, share, method="inverted_cdf") for share in QUANTILES]
        assert found.quantiles_ns[:, place].tolist() == ranks
        assert (found.count[place], found.total_ns[place]) == (len(group), sum(group))
        assert found.longest_ns[place] == max(group)
        distances = np.abs(np.array(group) - ranks[0])
        mad = np.quantile(distances, 0.5, method="inverted_cdf")
        assert found.deviation_ns[place] == pytest.approx(NORMAL_MAD * mad)


def test_the_same_kernel_100_times_longer_is_found_and_counted():
    usual = np.random.default_rng(0).normal(5_000, 100, 10_000).astype(int).tolist()
    found = spread_of([*usual, *[500_000] * 7], usual)

    assert found.outliers.tolist() == [7, 0]
    assert found.outlier_ns.tolist() == [3_500_000, 0]
    assert found.deviation_ns == pytest.approx(100, rel=0.05)


def test_a_kernel_that_varies_widely_has_no_outliers():
    wide = np.random.default_rng(0).uniform(1_000, 100_000, 10_000).astype(int).tolist()

    assert spread_of(wide).outliers.tolist() == [0]


def test_calls_of_exactly_one_length_but_one_twice_as_long():
    assert spread_of([100] * 20 + [200] + [201]).outliers.tolist() == [1]


def test_of_few_calls_nobody_can_say_what_is_usual():
    assert spread_of([1] * (LEAST_CALLS - 2) + [100]).outliers.tolist() == [-1]


def test_a_kernel_of_years_is_no_other_groups():
    found = spread_of([1 << 60], *[[5]] * 1000)

    assert found.count.tolist() == [1] * 1001
    assert found.longest_ns[1:].tolist() == [5] * 1000
