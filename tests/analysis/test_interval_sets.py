"""Sets of time, against sets of whole numbers."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from gnomon.analysis.interval_sets import (
    Covered,
    complement,
    crossed,
    intersection,
    total_ns,
    union,
)
from gnomon.analysis.intervals import Intervals

PAIRS = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 12)), max_size=12)


def intervals(pairs):
    begins = np.array([begin for begin, _ in pairs], dtype=np.int64)
    return Intervals(begins, begins + np.array([length for _, length in pairs], dtype=np.int64))


def moments(spans):
    """Every nanosecond of intervals."""
    pairs = zip(spans.start_ns.tolist(), spans.end_ns.tolist(), strict=True)
    return {moment for begin, end in pairs for moment in range(max(begin, -5), min(end, 99))}


@given(PAIRS, PAIRS)
def test_sets_are_those_of_their_nanoseconds(some, others):
    left, right = union(intervals(some)), union(intervals(others))

    assert moments(left) == moments(intervals(some))
    assert total_ns(left) == len(moments(left))
    assert (left.start_ns[1:] > left.end_ns[:-1]).all()
    assert moments(intersection(left, right)) == moments(left) & moments(right)
    assert moments(union(left, right)) == moments(left) | moments(right)
    assert moments(complement(left)) == set(range(-5, 99)) - moments(left)


@given(PAIRS, PAIRS)
def test_what_lies_inside_is_counted_however_intervals_lie(some, others):
    spans, within = intervals(some), union(intervals(others))
    expected = [
        len(set(range(begin, end)) & moments(within))
        for begin, end in zip(spans.start_ns.tolist(), spans.end_ns.tolist(), strict=True)
    ]

    assert Covered(within).inside(spans).tolist() == expected
    met = crossed(spans, within)
    assert np.bincount(met.left, met.ns, len(spans)).astype(int).tolist() == expected
