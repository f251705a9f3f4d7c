"""Limits and windows in closed form: what is kept stays within the budget, and is unbiased."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnomon.tracing.budget import (
    KEEP_ALL,
    WHOLE_CHANCE,
    EventBudget,
    LaunchBudget,
    fair_share,
    limit_for,
)
from gnomon.tracing.launch_windows import LaunchWindows, Mode
from gnomon.tracing.layouts import BUCKETS
from gnomon.tracing.slots import bucket_edges_ns

RATES = st.lists(st.floats(0, 1e6), min_size=1, max_size=20).map(np.array)
BY_BUCKET = st.dictionaries(st.integers(8, BUCKETS - 1), st.floats(0.1, 1e6), max_size=12)


def rates_of(by_bucket):
    rates = np.zeros(BUCKETS)
    for bucket, rate in by_bucket.items():
        rates[bucket] = rate
    return rates


def kept_a_second(rates, limit):
    if limit == KEEP_ALL:
        return rates.sum()
    is_kept = bucket_edges_ns()[:-1].astype(float) >= limit.threshold_ns
    return rates[is_kept].sum() + rates[~is_kept].sum() * limit.sample / WHOLE_CHANCE


@given(RATES, st.floats(1, 1e5))
def test_the_budget_is_used_up_and_nobody_gets_more_who_has_not_less_rows_to_give(rates, budget):
    level = fair_share(rates, budget)

    assert np.minimum(rates, level).sum() == pytest.approx(min(budget, rates.sum()))


@given(BY_BUCKET, st.floats(1, 1e5))
def test_what_a_limit_keeps_is_its_share(by_bucket, share):
    rates = rates_of(by_bucket)
    limit = limit_for(rates, share)

    assert kept_a_second(rates, limit) == pytest.approx(min(share, rates.sum()), rel=1e-6, abs=1e-2)


@given(BY_BUCKET, st.floats(1, 1e5))
def test_the_longest_calls_are_all_kept_up_to_half_of_the_share(by_bucket, share):
    rates = rates_of(by_bucket)
    limit = limit_for(rates, share)
    longer = rates[bucket_edges_ns()[:-1].astype(float) >= limit.threshold_ns].sum()

    assert limit == KEEP_ALL or longer <= share / 2


def test_limits_of_all_kinds_together_stay_within_the_budget():
    counts = np.zeros((3, BUCKETS), np.int64)
    counts[0, 40], counts[0, 80], counts[1, 60], counts[2, 50] = 1_000_000, 20, 500, 40_000
    limits = EventBudget(3, 2000).update(counts, np.full(3, 2.0))
    kept = [kept_a_second(counts[kind] / 2, limit) for kind, limit in enumerate(limits)]

    assert sum(kept) == pytest.approx(2000)
    assert limits[1] == KEEP_ALL
    assert kept[0] == pytest.approx(875)  # (2000 - 250) / 2
    assert limits[0].threshold_ns <= bucket_edges_ns()[80]


def test_a_burst_is_limited_at_once_and_forgotten_slowly():
    budget = EventBudget(1, 100)
    burst, quiet = np.zeros((1, BUCKETS), np.int64), np.zeros((1, BUCKETS), np.int64)
    burst[0, 40] = 10_000
    second = np.ones(1)

    (limit,) = budget.update(burst, second)
    assert limit.sample == pytest.approx(WHOLE_CHANCE / 100, rel=0.01)
    (limit,) = budget.update(quiet, second)
    assert limit.sample == pytest.approx(WHOLE_CHANCE / 70, rel=0.01)
    for _ in range(40):
        (limit,) = budget.update(quiet, second)
    assert limit == KEEP_ALL


def test_kinds_that_were_not_looked_at_keep_their_limits():
    budget = EventBudget(1, 100)
    burst = np.zeros((1, BUCKETS), np.int64)
    burst[0, 40] = 10_000
    before = budget.update(burst, np.ones(1))

    assert budget.update(np.zeros_like(burst), np.zeros(1)) == before


@given(st.floats(1, 1e7), st.floats(1e6, 1e9))
def test_windows_cost_their_share(calls_a_second, on_ns):
    budget = LaunchBudget()
    period_ns = budget.period_ns(calls_a_second, on_ns)

    assert period_ns >= math.floor(on_ns)
    if budget.is_over(calls_a_second) and period_ns < 60e9:
        cost = budget.cost(calls_a_second) * on_ns / period_ns
        assert cost == pytest.approx(budget.share, rel=1e-3)


def test_launches_beyond_24_thousand_a_second_are_over_the_budget():
    assert LaunchBudget().is_over(24_000)
    assert not LaunchBudget().is_over(23_000)


class Machine:
    """A clock, and probes that take 10 ms to attach and 70 ms to detach."""

    def __init__(self):
        self.now_ns, self.on, self.on_ns = 10**12, True, 0

    def clock(self):
        return self.now_ns

    def switch(self, on):
        self.pass_ns(10_000_000 if on else 70_000_000, on=True)
        self.on = on

    def pass_ns(self, ns, *, on=None):
        self.now_ns += ns
        self.on_ns += ns if (self.on if on is None else on) else 0


def test_a_thread_that_launches_a_lot_pays_its_share_in_the_long_run():
    machine = Machine()
    windows = LaunchWindows(machine.switch, LaunchBudget(), machine.clock)
    rate = 200_000.0
    assert windows.look(rate)
    machine.on_ns, begun_ns = 0, machine.now_ns
    for _ in range(200):
        machine.pass_ns(max(0, windows.due_ns - machine.now_ns))
        if windows.mode is Mode.CLOSED:
            windows.open()
        else:
            windows.close(rate)

    share = LaunchBudget().cost(rate) * machine.on_ns / (machine.now_ns - begun_ns)
    assert share == pytest.approx(0.02, rel=0.02)


def test_launches_that_become_few_are_traced_all_the_time_again():
    machine = Machine()
    windows = LaunchWindows(machine.switch, LaunchBudget(), machine.clock)
    assert not windows.look(1000.0)
    assert windows.look(100_000.0)
    assert (windows.mode, machine.on) == (Mode.CLOSED, False)

    windows.open()
    windows.close(1000.0)

    assert (windows.mode, windows.due_ns, machine.on) == (Mode.ALWAYS, None, True)
