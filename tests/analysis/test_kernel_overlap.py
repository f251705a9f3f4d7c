"""Overlaps and sets, against a ruler that looks at every nanosecond."""

from collections import Counter, defaultdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnomon.analysis.intervals import Intervals
from gnomon.analysis.kernel_overlap import Operations, busy, overlaps, stretches

operations = st.lists(
    st.tuples(st.integers(0, 60), st.integers(0, 25), st.integers(0, 3)), max_size=12
)


def taken(rows):
    start, length, group = (np.array([row[at] for row in rows], dtype=np.int64) for at in range(3))
    return Operations(Intervals(start, start + length), group, 4)


def by_the_nanosecond(rows):
    """Return nanosecond -> the groups that ran in it."""
    ran = defaultdict(list)
    for start, length, group in rows:
        for at in range(start, start + length):
            ran[at].append(group)
    return {at: tuple(sorted(groups)) for at, groups in ran.items()}


@given(operations)
def test_every_nanosecond_has_the_set_that_ran_in_it(rows):
    found = stretches(taken(rows))

    spans = zip(found.intervals.start_ns, found.intervals.end_ns, found.which, strict=True)
    told = {at: found.sets[which] for begin, end, which in spans for at in range(begin, end)}
    truth = by_the_nanosecond(rows)
    assert told == truth
    times = dict(zip(found.sets, found.set_ns.tolist(), strict=True))
    assert times == Counter(truth.values())


@given(operations, st.randoms(use_true_random=False))
def test_the_order_of_operations_does_not_matter(rows, random):
    shuffled = random.sample(rows, len(rows))

    one, other = stretches(taken(rows)), stretches(taken(shuffled))

    assert one.sets == other.sets
    assert np.array_equal(one.which, other.which)
    assert np.array_equal(one.intervals.start_ns, other.intervals.start_ns)


@given(operations, st.lists(st.integers(1, 15), min_size=1, max_size=8), st.integers(-20, 20))
def test_shares_of_samples_are_those_counted_one_by_one(rows, lengths, offset):
    edges = np.cumsum([0, *lengths])
    samples = Intervals(edges[:-1], edges[1:])
    found = stretches(taken(rows))

    shares = overlaps(samples, found.intervals, found.which, offset)

    told = defaultdict(float)
    for row, column, share in zip(shares.row, shares.column, shares.share, strict=True):
        told[int(row), found.sets[column]] += share * lengths[row]
    truth = Counter()
    for at, groups in by_the_nanosecond(rows).items():
        row = int(np.searchsorted(edges, at + offset, side="right")) - 1
        if 0 <= row < len(lengths):
            truth[row, groups] += 1
    assert told == pytest.approx(dict(truth))
    assert np.all(np.diff(shares.row) >= 0)


@given(operations)
def test_the_union_is_disjoint_and_covers_what_ran(rows):
    rows = [row for row in rows if row[1] > 0]
    union = busy(taken(rows).intervals)

    assert np.all(union.start_ns[1:] > union.end_ns[:-1])
    covered = [at for b, e in zip(union.start_ns, union.end_ns, strict=True) for at in range(b, e)]
    assert covered == sorted(by_the_nanosecond(rows))


def test_sets_beyond_the_longest_are_one_without_names(monkeypatch):
    monkeypatch.setattr("gnomon.analysis.kernel_overlap.MOST_NAMED", 1)
    rows = [(0, 100, 0), (10, 80, 1), (20, 10, 2), (40, 10, 3)]

    found = stretches(taken(rows))

    times = dict(zip(found.sets, found.set_ns.tolist(), strict=True))
    assert times == {(): 20, (0,): 20, (0, 1): 60}
