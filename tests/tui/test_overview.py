import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnomon.tui import overview
from gnomon.tui.process_table import SORTS
from tests.tui.standins import plain, snapshot


def drawn(gpus, width, height, selected=0, **changes):
    return overview.lines(snapshot(gpus, **changes), width - 1, height - 3, selected, SORTS[0])


@given(st.integers(1, 40), st.integers(5, 80))
def test_gpus_fit_the_screen_wherever_one_line_each_would(gpus, height):
    plan = overview.layout(gpus, height)
    extra = overview.COMPACT_EXTRA_LINES if plan.is_compact else int(not plan.has_host)

    assert plan.block_lines >= 1
    if gpus + overview.COMPACT_EXTRA_LINES <= height:
        assert gpus * plan.block_lines + extra <= height


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (200, 60)])
@pytest.mark.parametrize("gpus", [1, 2, 3, 4, 5, 8])
def test_every_gpu_and_its_verdict_are_on_one_screen(size, gpus):
    width, height = size

    lines = drawn(gpus, width, height)
    text = plain(lines)

    assert len(lines) <= height - 3
    assert max(line.cell_len for line in lines) < width
    assert text.count("compute-bound: tensor pipe at 56 %") >= gpus
    assert "host CPU 7 %" in text
    assert text.count("691/700") >= gpus
    assert len(re.findall(r"20(\.0)?/140", text)) >= gpus
    assert text.count("58") >= gpus


def test_eight_gpus_at_80x24_take_two_lines_each_and_spell_the_letters_out():
    text = plain(drawn(8, 80, 24))

    for word in ("achieved", "padding", "clock", "stalled", "SMs empty", "idle", "copying"):
        assert word in text
    assert "▸ 0" in text


def test_more_gpus_than_lines_are_all_there_to_scroll_to():
    assert len(drawn(56, 80, 24)) > 24


def test_room_that_is_left_goes_to_the_processes():
    text = plain(drawn(1, 120, 40))

    assert "train.py --rank 3" in text


def test_a_lone_gpu_on_a_tall_screen_has_a_second_chart_of_clock_and_power():
    assert "SM 50 MHz" in plain(drawn(1, 200, 60))
    assert "SM 50 MHz" not in plain(drawn(1, 80, 24))


def test_without_a_gpu_it_says_what_is_missing_and_what_to_do():
    text = plain(drawn(0, 80, 24))

    assert "No GPU" in text
    assert re.search(r"pm +— no CUPTI here", text)
    assert "install CUPTI" in text
    assert "gnomon doctor" in text


@given(st.integers(1, 40), st.integers(5, 60))
def test_the_place_of_a_gpu_is_where_it_is_drawn(gpus, height):
    at = gpus - 1
    lines = overview.lines(snapshot(gpus, processes=[]), 119, height, at, SORTS[0])
    first, count = overview.first_line_of(at, gpus, height)

    if gpus > 1:
        assert lines[first].plain.startswith("▸")
        assert first + count <= len(lines)
