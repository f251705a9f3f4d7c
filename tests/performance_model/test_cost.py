"""Money, energy and what a closed gap saves."""

import pytest

from gnomon._errors import ModelError
from gnomon.performance_model.cost import cost, gpus_needed, saving_pct


# Cost is proportional to 1 / MFU; that 10 points of MFU were 10 % of cost is often said and wrong.
@pytest.mark.parametrize(
    ("achieved", "reachable", "saved_pct"), [(20, 30, 33.3), (40, 50, 20), (100, 110, 9.1)]
)
def test_cost_falls_with_the_inverse_of_mfu(achieved, reachable, saved_pct):
    assert saving_pct(achieved, reachable) == pytest.approx(saved_pct, abs=0.05)
    needed = [gpus_needed(1e18, 989.4e12, mfu) for mfu in (achieved, reachable) if mfu <= 100]
    if len(needed) == 2:
        assert 100 * (1 - needed[1] / needed[0]) == pytest.approx(saved_pct, abs=0.05)


def test_a_million_tokens_cost_the_gpu_hours_they_take():
    found = cost(tokens_per_s=1000, gpus=8, gpu_hour_cost=3.0, watts_per_gpu=700)

    assert found.money_per_million_tokens == pytest.approx(1000 / 3600 * 8 * 3)
    assert found.joules_per_million_tokens == 1000 * 8 * 700


def test_what_is_not_given_is_not_told():
    found = cost(1000, 1)

    assert (found.money_per_million_tokens, found.joules_per_million_tokens) == (None, None)


@pytest.mark.parametrize(
    ("ask", "named"),
    [
        (lambda: cost(0, 1), "tokens per second"),
        (lambda: cost(1, 1, gpu_hour_cost=-2), "--gpu-hour-cost is -2"),
        (lambda: cost(1, 1, watts_per_gpu=-1), "power per GPU"),
        (lambda: saving_pct(0, 1), "achieved"),
        (lambda: gpus_needed(1, 1e12, 101), "MFU in percent"),
    ],
)
def test_numbers_without_sense_are_refused_by_name(ask, named):
    with pytest.raises(ModelError, match=named):
        ask()
