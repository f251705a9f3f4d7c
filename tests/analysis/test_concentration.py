"""The stretch of time that holds nearly all of a loss."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnomon.analysis.concentration import BIN_NS, LEFT_OUT, concentration, span_of
from gnomon.analysis.gpu_idle import Stretch
from gnomon.analysis.questions import Span


def seconds(*shares):
    """Return a stretch for each second: that share of it was lost, in its middle."""
    return [
        Stretch(number * BIN_NS + 1, number * BIN_NS + BIN_NS // 2, int(share * BIN_NS))
        for number, share in enumerate(shares)
    ]


@pytest.mark.parametrize(
    ("shares", "first", "end"),
    [
        pytest.param([0.2] * 30, 0, 30, id="an even loss is told from first to last"),
        pytest.param([0.005] * 16 + [0.2] * 6 + [0.005] * 8, 16, 22, id="a window"),
        pytest.param([0.2, 0, 0] * 8, 0, 22, id="every third second"),
        pytest.param([0.05] + [0] * 9 + [0.2] * 8 + [0] * 9 + [0.02], 10, 18, id="stray seconds"),
        pytest.param([0.2] * 3 + [0] * 40 + [0.2] * 3, 0, 46, id="two windows are one"),
        pytest.param([0] * 5 + [0.2] * 5 + [0.05], 5, 11, id="it may fade"),
        pytest.param([0, 0, 1e-6], 2, 3, id="a single one"),
        # It ends in the eighth second; before it, and after it, next to nothing was lost.
        pytest.param([0.01] * 7 + [7.5] + [0.01] * 9, 7, 8, id="a long wait"),
    ],
)
def test_what_is_thin_before_and_after_is_left_out(shares, first, end):
    found = concentration(seconds(*shares))

    assert found.bins == Span(first * BIN_NS, end * BIN_NS)
    assert found.is_all == (sum(map(bool, shares)) == len(found.stretches))


def test_nothing_lost_is_nowhere():
    assert concentration([]) is None
    assert concentration(seconds(0, 0)) is None


def test_a_loss_that_ends_with_a_second_is_of_that_second():
    (one,) = concentration([Stretch(0, BIN_NS, 9)]).stretches

    assert concentration([one]).bins == Span(0, BIN_NS)
    assert span_of([one, Stretch(-5, 3, 1)]) == Span(-5, BIN_NS)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=40).filter(any))
def test_little_is_left_out_but_what_is_background(shares):
    lost = np.array([one.lost_ns for one in seconds(*shares)], dtype=float)
    found = concentration(seconds(*shares))
    if found is None:  # less than a nanosecond
        return
    told = sum(one.lost_ns for one in found.stretches)
    usual = (lost**2).sum() / lost.sum()

    assert told >= (1 - LEFT_OUT) * lost[lost >= 0.1 * usual].sum() - 1
    assert all(found.bins.from_ns < one.to_ns <= found.bins.to_ns for one in found.stretches)
