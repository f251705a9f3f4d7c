"""A sample counts where every process that was there was being recorded."""

import numpy as np

from gnomon.analysis.intervals import Intervals
from gnomon.analysis.kernel_recorded import between_records, recorded_throughout


def spans(*pairs):
    begin, end = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
    return Intervals(begin, end)


def inside(samples, *windows):
    return recorded_throughout(spans(*samples), [spans(*one) for one in windows]).tolist()


def test_a_sample_has_to_lie_in_a_window_as_a_whole():
    samples = [(0, 10), (10, 20), (15, 25), (30, 40)]

    assert inside(samples, [(5, 20)]) == [False, True, False, False]


def test_windows_that_touch_are_one():
    assert inside([(15, 25)], [(10, 20), (20, 30)]) == [True]


def test_two_processes_have_to_be_recorded_at_once():
    samples = [(0, 10), (20, 30), (40, 50)]

    assert inside(samples, [(0, 30), (40, 50)], [(0, 10), (40, 50)]) == [True, False, True]


def test_a_process_that_came_later_does_not_spoil_what_was_before():
    assert inside([(0, 10), (100, 110)], [(0, 10)], [(100, 120)]) == [True, True]


def test_without_windows_nothing_counts():
    assert inside([(0, 10)]) == [False]


def test_a_window_is_trusted_from_its_first_record_to_its_last():
    start_ns, end_ns = np.array([3, 8, 55, 12, 300]), np.array([7, 9, 60, 20, 310])

    found = between_records(spans((0, 15), (50, 100), (150, 200)), start_ns, end_ns)

    assert found.start_ns.tolist() == [3, 55]
    assert found.end_ns.tolist() == [9, 60]
