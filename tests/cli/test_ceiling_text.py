"""Tables and lines of ``gnomon ceiling``: aligned, within the width, nothing lost."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.text import Text

from gnomon.cli.ceiling_text import Table, fact, print_lines, time_text
from gnomon.cli.rendering import console

names = st.from_regex(r"[a-z]{1,9}(_[a-z]{1,9}){0,3}", fullmatch=True)


def test_numbers_stand_to_the_right_and_no_line_ends_in_blanks():
    table = Table("model", "tokens/s>", "fits")
    table.add_row("long-name", "7", "no")
    table.add_row("x", "12,345", "")

    assert list(table.lines(80)) == [
        "model     tokens/s fits",
        "long-name        7 no",
        "x           12,345",
    ]


def test_a_column_in_which_nothing_is_known_is_left_out():
    table = Table("a>", "TTFT>", "b")
    table.add_row("1", "-", "-")
    table.add_row("2", "-", "x")

    assert list(table.lines(80)) == ["a b", "1 -", "2 x"]


@given(st.lists(st.tuples(names, names), min_size=1, max_size=5), st.integers(28, 60))
def test_a_wide_table_is_folded_within_its_width_and_loses_no_letter(rows, width):
    table = Table("operator", "FLOP>", "bound by")
    for name, bound in rows:
        table.add_row(name, "1", bound[:13])
    lines = list(table.lines(width))
    told = "".join("".join(lines).split())

    assert max(map(len, lines)) <= max(width, 12 + 1 + 4 + 1 + 13)
    assert sorted(told) == sorted("operatorFLOPboundby" + "".join(f"{n}1{b[:13]}" for n, b in rows))


def test_the_rest_of_a_long_line_goes_on_below_its_remark():
    out = console(io.StringIO())
    print_lines([fact("bytes", "1 GB", "much " * 20), Text("short")], out, hang=27)
    first, second, third, *_ = out.file.getvalue().splitlines()

    assert first.startswith("  bytes                1 GB  much much")
    assert second.startswith(" " * 29 + "much")
    assert third == "  short"


@pytest.mark.parametrize(
    ("seconds", "told"),
    [(None, "-"), (2.5, "2.5 s"), (0.01424, "14.2 ms"), (7e-6, "7 us"), (2e-9, "2 ns")],
)
def test_times_have_three_digits_in_a_unit_that_needs_no_zeros(seconds, told):
    assert time_text(seconds) == told
