"""Throttle reasons: by the driver's durations where it has them, else by its instants."""

from gnomon.analysis.summary import summarize

from . import scenes as s


def reasons(values, **more):
    [summary] = summarize(s.memory(s.rows("nvml", values, **more)))
    return summary.throttle_reasons


def test_durations_decide_where_there_are_any():
    assert reasons({"throttle_sw_power_cap_ns": s.TICK_NS // 2}) == ("sw_power_cap",)
    assert reasons({"throttle_sw_power_cap_ns": 0, "throttle_reasons": 0x4}) == ()


def test_instants_decide_where_there_are_none():
    assert reasons({"throttle_reasons": 0x4 | 0x40}) == ("sw_power_cap", "hw_thermal")


def test_an_idle_clock_is_no_throttling():
    assert reasons({"throttle_reasons": 0x1}) == ()


def test_the_longest_comes_first():
    found = reasons({"throttle_sw_power_cap_ns": 10_000_000, "throttle_hw_thermal_ns": 50_000_000})

    assert found == ("hw_thermal", "sw_power_cap")
