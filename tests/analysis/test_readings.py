"""A value that is read seldom covers the time since the one before it, and no more."""

import numpy as np
import pytest

from gnomon.analysis.intervals import Intervals
from gnomon.analysis.readings import LONGEST_NS, covered
from gnomon.analysis.tracks import SourceColumns, Track

SECOND_NS = 1_000_000_000
NAN = float("nan")


def every_second(values):
    ends = np.arange(1, len(values) + 1, dtype=np.int64) * SECOND_NS
    return Intervals(ends - SECOND_NS, ends), np.array(values)


def test_each_value_reaches_back_to_the_one_before():
    spans, values = covered(*every_second([NAN, 100.0, NAN, 200.0]))

    assert values.tolist() == [100.0, 200.0]
    assert (spans.start_ns // SECOND_NS).tolist() == [0, 2]
    assert (spans.end_ns // SECOND_NS).tolist() == [2, 4]


def test_a_long_silence_is_not_filled_in():
    spans, _ = covered(*every_second([100.0, *[NAN] * 20, 200.0]))

    assert spans.end_ns[1] - spans.start_ns[1] == LONGEST_NS


def test_nothing_stays_nothing_and_all_stays_all():
    for values in ([NAN, NAN], [1.0, 2.0]):
        spans, kept = covered(*every_second(values))

        assert len(kept) == len(values) == len(spans)


def test_energy_of_a_window_is_shared_out_in_proportion():
    spans, joules = every_second([NAN, 1400.0, NAN, 700.0])
    track = Track("GPU", None, {"nvml": SourceColumns(spans, {"energy_joules": joules}, None)})

    assert track.share_sum("energy_joules", 0, 4 * SECOND_NS) == pytest.approx(2100.0)
    assert track.share_sum("energy_joules", SECOND_NS, 3 * SECOND_NS) == pytest.approx(1050.0)


def test_the_newest_limit_may_be_older_than_the_window():
    spans, watts = every_second([700.0, NAN, NAN, 500.0])
    track = Track("GPU", None, {"nvml": SourceColumns(spans, {"power_limit_watts": watts}, None)})

    assert track.last("power_limit_watts", 3 * SECOND_NS) == 700.0
    assert track.last("power_limit_watts", 4 * SECOND_NS) == 500.0
