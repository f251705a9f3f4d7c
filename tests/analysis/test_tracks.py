"""Every quantity comes from the best source that has it, on the intervals that it covers."""

import numpy as np
import pytest

from gnomon.analysis.tracks import load_tracks

from . import scenes as s


def track(*rows):
    """The track of one GPU; rows of any sources."""
    counters = sorted((row for some in rows for row in some), key=lambda row: row["ts_ns"])
    (found,) = load_tracks(s.memory(counters), None, None)
    return found


def at(ticks):
    return s.BEGIN_NS + round(ticks * s.TICK_NS)


def clocked(source, mhz, *, first=0, count=10, tensor_pct=93.0):
    """Rows with an SM clock; GPM's own are what the driver reports, CUPTI's the true ones."""
    names = {"gpm": "nvml", "pm": "cupti"}
    values = {"sm_clock_mhz": mhz, "sm_clock_source": names[source]}
    if source == "gpm":
        values |= {"sm_active_pct": 96.0, "tensor_active_pct": tensor_pct}
    return s.rows(source, values, first, count)


def test_the_best_source_that_has_a_column_answers_for_it():
    nvml = s.rows("nvml", {"power_watts": 500.0, "memory_clock_mhz": 2619.0})
    found = track(s.rows("gpm", {"memory_clock_mhz": 3201.0}), nvml)

    assert set(found.readings("memory_clock_mhz")[1]) == {3201.0}
    assert set(found.readings("power_watts")[1]) == {500.0}
    assert found.readings("busy_pct") is None


def test_the_last_reading_may_be_older_than_the_moment_asked_for():
    found = track(
        s.rows("nvml", {"power_limit_watts": 700.0}, count=1),
        s.rows("nvml", {"busy_pct": 1.0}, first=1, count=9),
        s.rows("nvml", {"power_limit_watts": 500.0}, first=10, count=1),
    )

    answers = [found.last("power_limit_watts", at(tick)) for tick in (0, 1, 10, 11, 99)]
    assert answers == [None, 700.0, 700.0, 500.0, 500.0]


@pytest.mark.parametrize(
    ("begin", "end", "joules"), [(0, 10, 100.0), (2.5, 10, 75.0), (0.5, 1, 5.0), (20, 30, None)]
)
def test_an_amount_is_shared_out_at_the_edges(begin, end, joules):
    found = track(s.rows("nvml", {"energy_joules": 10.0}))

    shared = found.share_sum("energy_joules", at(begin), at(end))
    assert shared == (None if joules is None else pytest.approx(joules))


def test_amounts_that_are_all_zero_sum_to_zero_not_to_nothing():
    found = track(s.rows("nvml", {"throttle_sw_thermal_ns": 0}))

    assert found.share_sum("throttle_sw_thermal_ns", at(0), at(10)) == 0.0


def test_the_true_clock_counts_where_it_was_measured_and_like_work_takes_its_ratio():
    """Five ticks true at 90 % of the reported clock; then the same work for 15 s."""
    clock = track(clocked("gpm", 1800.0, count=150), clocked("pm", 1620.0, count=5)).base_clock

    assert clock.is_true.tolist() == [True] * 5 + [False] * 145
    assert clock.mhz[:5] == pytest.approx(1620.0)
    # The samples' median time is the end of tick 3; what they say holds for 100 ticks from it.
    assert clock.is_estimated.tolist() == [False] * 5 + [True] * 98 + [False] * 47
    assert clock.mhz[clock.is_estimated] == pytest.approx(0.9 * 1800.0)
    assert clock.mhz[103:] == pytest.approx(1800.0)


def test_work_of_another_kind_takes_no_ratio():
    idle = clocked("gpm", 1980.0, first=5, count=5, tensor_pct=0.0)
    clock = track(clocked("gpm", 1800.0, count=5), idle, clocked("pm", 1620.0, count=5)).base_clock

    assert not clock.is_estimated.any()
    assert clock.mhz[5:] == pytest.approx(1980.0)


def test_a_clock_that_nobody_knows_is_not_a_number():
    found = track(s.rows("gpm", {"sm_active_pct": 96.0}))

    assert np.isnan(found.base_clock.mhz).all()
    assert found.true_clock_source is None
