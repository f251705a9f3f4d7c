"""Gaps between kernels against a timeline that is painted by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnomon.analysis import kernel_sequence
from gnomon.analysis.kernel_sequence import Kernels, gaps

LENGTH = 60


def kernels_of(rows):
    start, length, shape, track = (
        np.array(column, dtype=np.int64) for column in zip(*rows, strict=True)
    )
    return Kernels(start, start + length, shape.astype(np.int32), 3), track.astype(np.int32)


def painted(rows, begins):
    """Sum and number of known gaps by shape: each is counted back, a tick at a time."""
    total, known = np.zeros(3), np.zeros(3, dtype=int)
    order = sorted(range(len(rows)), key=lambda place: (rows[place][3], rows[place][0]))
    for rank, place in enumerate(order):
        start, _, shape, track = rows[place]
        earlier = [rows[one] for one in order[:rank] if rows[one][3] == track]
        since = max((begin for begin in begins if begin <= start), default=start)
        at = start
        while at > since and not any(one[0] < at <= one[0] + one[1] for one in earlier):
            at -= 1
        reached = any(one[0] + one[1] >= at for one in earlier)
        if reached:
            total[shape] += start - at
            known[shape] += 1
    return total, known


rows = st.lists(
    st.tuples(st.integers(0, LENGTH), st.integers(1, 9), st.integers(0, 2), st.integers(0, 1)),
    min_size=1,
    max_size=25,
    unique_by=lambda row: (row[0], row[3]),
)


@pytest.mark.parametrize("tracks", [2, kernel_sequence.FEW_TRACKS + 1])
@given(rows, st.lists(st.integers(0, LENGTH), max_size=4, unique=True).map(sorted))
def test_gaps_are_those_of_a_timeline_painted_by_hand(tracks, some, begins):
    kernels, track = kernels_of(some)
    found = gaps(kernels, track, [np.array(begins, dtype=np.int64)] * tracks)
    total, known = painted(some, begins)

    assert found.total_ns.tolist() == total.tolist()
    assert found.known.tolist() == known.tolist()


@given(rows)
def test_pieces_and_the_order_of_rows_change_nothing(some):
    kernels, track = kernels_of(some)
    whole = gaps(kernels, track, [None] * 2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kernel_sequence, "AT_ONCE", 3)
        again = gaps(*kernels_of(some[::-1]), [None] * 2)

    assert (again.total_ns.tolist(), again.known.tolist(), again.busy_ns) == (
        whole.total_ns.tolist(),
        whole.known.tolist(),
        whole.busy_ns,
    )


@given(rows)
def test_busy_is_the_union(some):
    kernels, track = kernels_of(some)
    ticks = [
        {
            tick
            for start, length, _, mine in some
            if mine == one
            for tick in range(start, start + length)
        }
        for one in range(2)
    ]

    assert gaps(kernels, track, [None] * 2).busy_ns == tuple(map(len, ticks))


def test_a_long_kernel_covers_what_comes_beside_it():
    # The second begins and ends within the first; the third comes 5 after the first ends.
    kernels, track = kernels_of([(0, 100, 0, 0), (10, 10, 1, 0), (105, 10, 2, 0)])
    found = gaps(kernels, track, [None])

    assert found.total_ns.tolist() == [0, 0, 5]
    assert found.known.tolist() == [0, 1, 1]
    assert np.isnan(found.mean_ns[0])


def test_what_lies_between_windows_is_no_gap():
    kernels, track = kernels_of([(10, 5, 0, 0), (20, 5, 0, 0), (1000, 5, 0, 0), (1010, 5, 0, 0)])
    begins = np.array([0, 990])

    assert gaps(kernels, track, [begins]).total_ns[0] == 10
    assert gaps(kernels, track, [begins]).known[0] == 2
    assert gaps(kernels, track, [None]).total_ns[0] == 985
