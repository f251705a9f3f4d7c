"""What a recording lacks is said with its numbers, and what is as good as complete is not."""

from dataclasses import fields, replace

import pytest

from gnomon.analysis.recorded import Recorded
from gnomon.detectors.needs import Need, lacking

NOTHING = Recorded(**{field.name: 0 for field in fields(Recorded)})
ALL = Recorded(
    threads=2,
    calls=1000,
    calls_made=1000,
    calls_followed=1000,
    calls_off_cpu=100,
    calls_unclassed=0,
    calls_biased=0,
    calls_order_known=1000,
    stays=500,
    stays_made=500,
    stays_unclassed=0,
    stays_unexplained=0,
    gpus=1,
    collectives=3,
    vram_readings=9,
    rss_readings=9,
    host_readings=9,
    calls_lost=0,
    stays_lost=0,
    losses_uncounted=0,
)


def test_a_complete_recording_lacks_nothing():
    assert lacking(ALL) == {}


def test_of_an_empty_recording_whole_tables_are_missing_and_no_parts_of_them():
    assert set(lacking(NOTHING)) == {
        Need.CALLS,
        Need.SCHEDULING,
        Need.COUNTERS,
        Need.COLLECTIVES,
        Need.MEMORY_READINGS,
        Need.HOST_READINGS,
    }


def test_a_part_is_told_by_how_much_it_is():
    found = lacking(replace(ALL, stays_unclassed=400, calls_biased=20, calls_order_known=900))

    assert set(found) == {Need.CLASSES, Need.ALL_CALLS, Need.CALL_ORDER}
    assert found[Need.CLASSES].startswith("400 of 500 recorded stays")
    assert found[Need.ALL_CALLS].startswith("20 of 1,000 recorded CUDA calls")
    assert found[Need.CALL_ORDER].startswith("100 of 1,000 recorded CUDA calls")


def test_one_row_in_a_hundred_is_not_worth_a_word():
    assert lacking(replace(ALL, stays_unclassed=5, calls_biased=10)) == {}


def test_calls_tell_of_scheduling_where_no_stays_are_recorded():
    found = lacking(replace(ALL, stays=0, calls_unclassed=100))

    assert Need.SCHEDULING not in found
    assert found[Need.CLASSES].startswith("100 of 100 recorded calls off the CPU")


@pytest.mark.parametrize(
    ("lost", "said"),
    [
        ({"stays_lost": 500}, "500 of 1,000 rows of stays off the CPU were lost"),
        ({"calls_lost": 250}, "250 of 1,250 rows of CUDA calls were lost"),
        ({"losses_uncounted": 1}, "nobody counted"),
    ],
)
def test_rows_that_were_lost_are_told(lost, said):
    assert said in lacking(replace(ALL, **lost))[Need.ALL_ROWS]
    assert lacking(replace(ALL, calls_lost=5, stays_lost=3)) == {}
