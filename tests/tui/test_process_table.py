import pytest

from gnomon.recording.base import Meta, Unavailable
from gnomon.tui.process_table import SORTS, ordered, table
from tests.tui.standins import plain, process, snapshot

VRAM, SM, CPU = SORTS


@pytest.mark.parametrize(
    ("sort", "expected"), [(VRAM, [3, 2, 1]), (SM, [2, 1, 3]), (CPU, [1, 2, 3])]
)
def test_largest_first_and_what_was_not_measured_last(sort, expected):
    rows = [
        process(1, vram_used_bytes=None, sm_pct=10.0, cpu_pct=90.0),
        process(2, vram_used_bytes=1, sm_pct=20.0, cpu_pct=0.0),
        process(3, vram_used_bytes=2, sm_pct=0.0, cpu_pct=None),
    ]

    assert [row.pid for row in ordered(rows, sort)] == expected


def test_the_table_marks_the_order_it_is_in():
    assert "▼SM %" in table(snapshot(), SM, 120)[0].plain
    assert "▼VRAM GiB" in table(snapshot(), VRAM, 120)[0].plain


def test_a_missing_value_is_a_dash():
    missing = process(7, vram_used_bytes=None, sm_pct=None, cpu_pct=None, user=None)

    line = table(snapshot(processes=[missing]), VRAM, 120)[1].plain

    assert line.split("train.py")[0].count("—") == 4


def test_without_processes_it_says_why():
    refused = Meta(1, unavailable=[Unavailable("gpu_processes", "refused in this container")])

    assert "no process" in plain(table(snapshot(processes=[]), VRAM, 80))
    assert "refused in this container" in plain(
        table(snapshot(processes=[], meta=refused), VRAM, 80)
    )


@pytest.mark.parametrize("width", [40, 79, 119, 199])
def test_lines_are_cut_to_the_width(width):
    long = process(1, command_line="x" * 500, container_id="0123456789abcdef")

    assert {line.cell_len for line in table(snapshot(processes=[long]), VRAM, width)} == {width}
