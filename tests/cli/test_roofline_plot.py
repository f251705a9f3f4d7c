"""Where roofs and points come to lie on the screen."""

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnomon.analysis.roofline_points import roofline
from gnomon.cli import roofline_plot
from gnomon.cli.roofline_plot import AXIS_WIDTH, draw, frame_of
from gnomon.performance_model.ceiling import ceiling
from gnomon.performance_model.constants import DEFAULT
from gnomon.performance_model.parallelism import Layout
from gnomon.performance_model.phases import Decode, Prefill
from tests.performance_model.models import H200, bf16

LLAMA = bf16("Llama-3.1-8B")


def picture(phase=None):
    modelled = None if phase is None else (LLAMA, ceiling(LLAMA, H200, Layout(), phase))
    return roofline(H200, DEFAULT, modelled)


def plain(drawing):
    return [line.plain for line in drawing.lines]


@given(st.integers(40, 160), st.integers(8, 50), st.booleans())
def test_a_plot_has_the_size_asked_for(width, height, ascii_only):
    lines = plain(draw(picture(Decode(8, 512)), width, height, ascii_only=ascii_only))

    assert len(lines) == height
    assert max(map(len, lines)) <= width


@given(st.integers(1, 512), st.integers(1, 8192))
def test_every_point_lies_inside_the_plot(batch, context):
    answer = picture(Decode(batch, context))
    cells = roofline_plot.places(answer, frame_of(answer, 60, 12))

    assert sum(map(len, cells.values())) == len(answer.operators) + 1
    assert all(0 <= row < 12 and 0 <= column < 60 for row, column in cells)


def test_both_axes_are_logarithmic():
    frame = frame_of(picture(), 60, 12)

    columns = [frame.column(10.0 * 2**power) for power in range(5)]
    steps = {after - before for before, after in pairwise(columns)}
    assert max(steps) - min(steps) <= 1
    assert frame.intensity(0) == pytest.approx(10**frame.left)
    assert frame.intensity(119) == pytest.approx(10**frame.right)
    assert math.isclose(frame.level(10**frame.top), 1)


def test_a_point_stands_on_the_line_of_its_roof():
    """Operators at 92 % of the slope are drawn in the row of the slope, at their column."""
    answer = picture(Decode(32, 1024))
    drawing = draw(answer, 80, 14)
    row, column = next(
        cell for cell, points in drawing.cells.items() if points[0].name == "mlp_gate_up"
    )

    frame = frame_of(answer, 60, 12)
    assert abs(frame.row(answer.roofs[0].at(answer.operators[0].flop_per_byte)) - row) <= 1
    assert drawing.lines[row].plain[AXIS_WIDTH + column] == "a"


def test_ascii_has_no_other_character_and_shows_roof_ridge_and_marks():
    lines = plain(draw(picture(Prefill(1, 2048)), 80, 14, ascii_only=True))

    text = "\n".join(lines)
    assert text.isascii()
    assert "bf16 989 T" in text
    assert "^" in lines[-2]
    assert {"@", "a", "f"} <= set(text)


def test_roofs_of_each_dtype_are_named_at_their_right_end():
    text = "\n".join(plain(draw(picture(), 80, 20)))

    assert "fp8 1.98 P" in text
    assert "bf16 989 T" in text
