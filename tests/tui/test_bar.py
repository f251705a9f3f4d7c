import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnomon.analysis.summary_types import ComputeLedger, MemoryLedger
from gnomon.tui import bar, palette

percents = st.floats(min_value=0, max_value=100)
terms = st.one_of(st.none(), st.floats(min_value=-20, max_value=120))
ledgers = st.builds(ComputeLedger, *[terms] * 7)


@given(st.lists(percents, min_size=1, max_size=8), st.integers(1, 300))
def test_cells_sum_to_the_width_and_stay_within_one_of_their_share(values, width):
    cells = bar.cells(values, width)

    total = sum(values)
    if total == 0:
        assert cells == [0] * len(values)
        return
    assert sum(cells) == width
    for value, count in zip(values, cells, strict=True):
        assert abs(count - value / total * width) < 1


@given(ledgers, st.integers(1, 300))
def test_a_bar_is_exactly_as_wide_as_asked_whatever_the_ledger(ledger, width):
    assert bar.stacked(ledger, width).cell_len == width


@given(st.one_of(st.none(), st.floats(-10, 200)), st.integers(1, 300))
def test_busy_is_exactly_as_wide_as_asked(value, width):
    assert bar.busy(value, width).cell_len == width


def test_parts_are_drawn_in_proportion_with_letter_and_number():
    ledger = ComputeLedger(
        idle_pct=25.0, copying_pct=0.0, sm_empty_pct=0.0, stalled_pct=0.0, achieved_pct=75.0
    )

    drawn = bar.stacked(ledger, 40)

    assert drawn.plain == "A 75".ljust(30) + "I 25".ljust(10)
    first, second = drawn.spans
    assert palette.COMPUTE_TERMS[0].colour in str(first.style)
    assert (first.end, second.end) == (30, 40)


def test_every_letter_and_colour_of_a_ledger_is_its_own():
    for of_ledger in (palette.COMPUTE_TERMS, palette.MEMORY_TERMS):
        assert len({term.letter for term in of_ledger}) == len(of_ledger)
        assert len({term.colour for term in of_ledger}) == len(of_ledger)


def _luminance(colour):
    """Relative luminance of WCAG 2.2, 0 to 1."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _contrast(first, second):
    light, dark = sorted((_luminance(first), _luminance(second)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("terms", [palette.COMPUTE_TERMS, palette.MEMORY_TERMS])
def test_neighbours_differ_in_lightness_so_that_no_hue_is_needed(terms):
    """Clock and padding are often absent: then what stands around them must differ too."""
    seldom = {"padding_pct", "clock_pct", "sm_empty_pct"}
    usual = [term for term in terms if term.field not in seldom]
    for row in (terms, usual):
        for left, right in itertools.pairwise(row):
            assert _contrast(left.colour, right.colour) >= 1.5, (left.label, right.label)


@pytest.mark.parametrize("term", [*palette.COMPUTE_TERMS, *palette.MEMORY_TERMS])
def test_letters_are_legible_on_their_colour(term):
    assert _contrast(term.ink, term.colour) >= 4.5  # WCAG AA for text


def test_a_ledger_without_terms_says_so_and_draws_no_part():
    drawn = bar.stacked(ComputeLedger(), 40)

    assert drawn.plain.strip("·") == "not measured"


def test_what_known_terms_leave_of_100_is_drawn_as_unknown():
    drawn = bar.stacked(MemoryLedger(achieved_pct=30.0, clock_pct=0.0), 10)

    assert drawn.plain == "A  ? 70   "


def test_a_boosted_clock_takes_no_cells_and_is_named_in_the_legend():
    ledger = ComputeLedger(0.0, 50.0, 0.0, 20.0, -2.0, None, 32.0)

    assert "C" not in bar.stacked(ledger, 60).plain
    assert "C boost 2.0" in bar.legend(ledger, 80).plain


def test_the_legend_fits_and_never_drops_a_part_that_counts():
    ledger = ComputeLedger(0.0, 10.0, 20.0, 30.0, 5.0, 5.0, 30.0)
    letters = [term.letter for term in palette.COMPUTE_TERMS if term.letter != "X"]

    legend = bar.legend(ledger, 100)

    assert legend.cell_len <= 100
    assert all(f"{letter} " in legend.plain for letter in letters)
