import re
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gnomon.analysis.budget_types import Budget, Side
from gnomon.tui.gpu_block import block, compact_heading
from tests.tui.standins import plain, summary, unmeasured, view


@settings(max_examples=60)
@given(st.integers(20, 220), st.integers(1, 40), st.booleans(), st.booleans())
def test_a_block_never_outgrows_its_place(width, height, measured, selected):
    shown = view(summary=summary() if measured else unmeasured())

    lines = block(shown, width, height, selected=selected)

    assert 1 <= len(lines) <= height
    assert max(line.cell_len for line in lines) <= width


@pytest.mark.parametrize("height", [2, 3, 4, 5, 6, 7, 8, 11, 20])
def test_busy_both_sols_and_the_verdict_are_in_every_size_from_two_lines(height):
    text = plain(block(view(), 120, height))

    assert re.search(r"\b(99\.6|100)\b", text)
    assert re.search(r"≤(55\.5|56)", text)
    assert re.search(r"\b(26\.6|27)\b", text)
    assert "compute-bound: tensor pipe" in text


def test_a_full_block_tells_power_heat_clock_memory_links_and_host():
    text = plain(block(view(thread_name="python3"), 120, 20))

    for fact in (
        "power 691/700 W",
        "temp 58 °C",
        "clock 1,541/1,830 MHz (nvml, at most)  power cap",
        "VRAM 20.0/140 GiB",
        "PCIe in 74.7 out 11.1 MB/s",
        "NVLink in 1.5 out 2.5 GB/s",
        "host CPU 7 %",
        "busiest thread 99 % of a core (python3)",
        "busy (smi)",
    ):
        assert fact in text


def test_with_a_true_clock_nothing_is_at_most():
    text = plain(block(view(summary=summary(at_most=False, sm_clock_source="cupti")), 120, 20))

    assert "≤" not in text
    assert "at most" not in text
    assert "(cupti)" in text


@pytest.mark.parametrize("height", [1, 2, 4, 7, 20])
def test_what_was_not_measured_is_a_dash_and_never_0(height):
    text = plain(block(view(summary=unmeasured(), series=None), 120, height))

    assert "—" in text
    assert not re.search(r"\b0(\.0)?\b", text.replace(" 0 ", " ", 1))  # but GPU 0's own name


def test_a_limit_that_was_not_read_lately_comes_from_the_facts():
    text = plain(block(view(summary=summary(power_limit_watts=None)), 120, 20))

    assert "power 691/700 W" in text


@pytest.mark.parametrize("height", [2, 4, 20])
def test_a_stale_block_says_so(height):
    text = plain(block(view(stale="stale: last values are from 12 s ago"), 120, height))

    assert "stale: last values are from 12 s ago" in text


def test_warnings_are_named_where_there_is_room_and_counted_where_not():
    shown = view(summary=summary(warnings=("it is far hotter than its peers", "and slower")))

    assert "▲ it is far hotter than its peers (and 1 more)" in plain(block(shown, 120, 20))
    assert "▲ 2" in plain(block(shown, 40, 20))


def test_idle_clocks_are_no_alarm_but_a_cap_is():
    idle = block(view(summary=summary(throttle_reasons=("gpu_idle",))), 120, 20)

    assert "idle clocks" in plain(idle)
    assert "hot_new_reason" in plain(
        block(view(summary=summary(throttle_reasons=("hot_new_reason",))), 120, 20)
    )


@pytest.mark.parametrize("width", [60, 79, 119])
def test_the_compact_heading_stands_over_its_columns(width):
    heading, row = compact_heading(width).plain, block(view(), width, 1)[0].plain

    assert heading.index("°C") + 2 == row.index("58") + 2
    assert len(heading.rstrip()) == len(row.rstrip())


@pytest.mark.parametrize("height", [4, 8, 20])
def test_a_ceiling_stands_beside_what_was_reached(height):
    side = Side("compute", attainable_pct=73.4, achieved_pct=55.5, budget_pct=17.9)
    memory = Side("memory", attainable_pct=30.0)
    budget = Budget(
        "Llama-3.1-8B", "prefill", "8 prompts", 1, "default", "compute", 5e4, side, memory
    )

    text = plain(block(view(summary=replace(summary(), budget=budget)), 120, height))

    assert "attainable compute 73 %, budget 18" in text
