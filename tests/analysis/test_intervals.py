"""Time-weighted means and resampling against sums done the slow way."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnomon.analysis.intervals import Intervals, Mean, intervals, resample

UNIX_NS = 1_795_202_080_000_000_000


def make(edges_ms, known):
    edges = UNIX_NS + np.array(edges_ms, dtype=np.int64) * 1_000_000
    spans = Intervals(edges[:-1], edges[1:])
    return spans, np.array(known, dtype=float)


def test_resample_weighs_by_overlap():
    spans, values = make([0, 100, 200], [10.0, 30.0])
    target = Intervals(spans.start_ns[:1] + 50_000_000, spans.start_ns[:1] + 150_000_000)

    mean, coverage = resample(spans, values, target)

    assert mean[0] == pytest.approx(20.0)
    assert coverage[0] == pytest.approx(1.0)


def test_resample_leaves_gaps_out_and_reports_coverage():
    spans, values = make([0, 100, 200], [10.0, np.nan])
    target = Intervals(spans.start_ns[:1], spans.end_ns[1:])

    mean, coverage = resample(spans, values, target)

    assert mean[0] == pytest.approx(10.0)
    assert coverage[0] == pytest.approx(0.5)


def test_resample_of_nothing_is_missing_not_zero():
    target, _ = make([0, 100], [1.0])
    none = Intervals(np.empty(0, np.int64), np.empty(0, np.int64))

    mean, coverage = resample(none, np.empty(0), target)

    assert np.isnan(mean[0])
    assert coverage[0] == 0


@given(
    st.lists(st.integers(1, 500), min_size=1, max_size=20),
    st.data(),
)
def test_resampling_to_one_interval_is_the_weighted_mean(lengths_ms, data):
    values = data.draw(
        st.lists(
            st.one_of(st.floats(0, 100), st.just(float("nan"))),
            min_size=len(lengths_ms),
            max_size=len(lengths_ms),
        )
    )
    spans, known = make(np.concatenate([[0], np.cumsum(lengths_ms)]), values)
    whole = Intervals(spans.start_ns[:1], spans.end_ns[-1:])

    mean, coverage = resample(spans, known, whole)

    weights = spans.weights(int(whole.start_ns[0]), int(whole.end_ns[0]))
    average = Mean()
    for piece in (slice(0, 3), slice(3, None)):
        average.add(known[piece], weights[piece])
    expected = average.value
    if expected is None:
        assert np.isnan(mean[0])
        assert coverage[0] == 0
    else:
        assert mean[0] == pytest.approx(expected, abs=1e-6)


def test_overlapping_readings_are_made_disjoint():
    ts_ns = np.array([100, 190, 300], dtype=np.int64)

    spans = intervals(ts_ns, np.array([100, 100, 100], dtype=np.int64))

    assert spans.start_ns.tolist() == [0, 100, 200]


def test_weights_are_clipped_to_the_window():
    spans, _ = make([0, 100, 200, 300], [1.0, 2.0, 3.0])
    begin = int(spans.start_ns[0])

    weights = spans.weights(begin + 50_000_000, begin + 250_000_000)

    assert weights.tolist() == pytest.approx([0.05, 0.1, 0.05])
    assert spans.inside(begin + 100_000_000, begin + 200_000_000) == slice(1, 2)
