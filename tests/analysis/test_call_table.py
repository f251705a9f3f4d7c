"""The table of a trace, against brute force and by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnomon import tables
from gnomon.analysis.call_table import call_table, quantiles
from gnomon.recording.memory import MemoryRecording
from gnomon.tracing.slots import bucket_edges_ns

SECOND = 1_000_000_000
STAY = {"ts_ns": SECOND, "duration_ns": SECOND, "pid": 1, "tid": 1}
COUNT = STAY | {"layer": "cuda_driver"}


def told(**rows_of):
    memory = MemoryRecording()
    for table, rows in rows_of.items():
        memory.append(table, tables.batch(table, rows))
    return call_table(memory, 0, 10 * SECOND)


def counted(operation, buckets, **sums):
    rows = [
        COUNT | {"operation": operation, "shortest_ns": low, "longest_ns": high, "calls": calls}
        for low, high, calls in buckets
    ]
    return [*rows, COUNT | {"operation": operation, "calls": 0, **sums}]


@given(st.lists(st.integers(4, 10**11), min_size=1, max_size=300))
def test_percentiles_from_buckets_lie_in_the_bucket_of_the_true_one(durations):
    edges = bucket_edges_ns()
    counts = np.histogram(durations, edges)[0]
    used = np.flatnonzero(counts)
    bounds = edges[used].astype(float), edges[used + 1].astype(float) - 1
    found = quantiles(*bounds, counts[used].astype(float), (0.5, 0.95, 0.99))

    for share, value in zip((0.5, 0.95, 0.99), found, strict=True):
        true = np.quantile(durations, share, method="inverted_cdf")
        bucket = np.searchsorted(edges, true, "right") - 1
        assert edges[bucket] <= value <= edges[bucket + 1]


def test_a_bucket_that_comes_twice_is_one_bucket():
    low, high = [float(1 << 20)] * 2, [1_310_719.0] * 2
    once = quantiles(np.array(low[:1]), np.array(high[:1]), np.array([100.0]), (0.5, 0.95, 0.99))
    twice = quantiles(np.array(low), np.array(high), np.array([52.0, 48.0]), (0.5, 0.95, 0.99))

    assert list(twice) == list(once) == sorted(once)


def test_sums_are_taken_once_and_shares_are_of_all_calls():
    sums = {
        "total_ns": 900,
        "failures": 1,
        "calls_interrupted": 2,
        "off_cpu_ns": 100,
        "run_queue_ns": 40,
        "io_ns": 10,
        "voluntary_ns": 20,
    }
    (row,) = told(call_histograms=counted("cuLaunchKernel", [(8, 9, 6), (16, 19, 2)], **sums))

    assert (row.calls, row.calls_per_s, row.total_ns, row.failures) == (8, 8, 900, 1)
    assert row.covered_pct == 100
    assert row.interrupted_pct == pytest.approx(25)
    assert (row.run_queue_ns, row.io_ns, row.voluntary_ns) == (40, 10, 20)
    assert row.other_off_cpu_ns == 30
    assert row.longest_ns == 19


def test_a_window_stands_for_the_time_around_it():
    rows = [
        row | {"covered_ns": SECOND // 20}
        for row in counted("cuLaunchKernel", [(8, 9, 50)], total_ns=450)
    ]
    (row,) = told(call_histograms=rows)

    assert (row.calls, row.total_ns, row.covered_pct) == (1000, 9000, 5)


def test_what_was_not_recorded_is_not_known():
    (row,) = told(call_histograms=counted("cuMemAlloc", [(8, 9, 1)], total_ns=9))

    assert row.interrupted_pct is row.run_queue_ns is row.other_off_cpu_ns is None


def test_the_longest_is_that_of_the_rows_that_were_kept():
    kept = COUNT | {"operation": "cuMemAlloc", "duration_ns": 8, "selection": "weighted"}
    (row,) = told(call_histograms=counted("cuMemAlloc", [(8, 9, 1)], total_ns=8), host_calls=[kept])

    assert row.longest_ns == row.p99_ns == 8


def test_who_had_the_cpu_and_who_woke_count_by_weight_and_the_idle_task_is_nobody():
    stay = STAY | {"operation": "cuMemAlloc", "weight": 1.0}
    stays = [
        stay | {"run_queue_ns": 100, "preemptor_tid": 7, "preemptor_name": "hog", "weight": 3.0},
        stay | {"run_queue_ns": 100, "preemptor_tid": 0, "preemptor_name": "swapper/1"},
        stay | {"voluntary_ns": 50, "io_ns": 0, "waker_name": "feeder", "preemptor_tid": 0},
        stay | {"voluntary_ns": 150},
        STAY | {"run_queue_ns": 10**9, "preemptor_tid": 8, "preemptor_name": "outside"},
    ]
    (row,) = told(call_histograms=counted("cuMemAlloc", [(8, 9, 1)], total_ns=8), off_cpu=stays)

    assert [(one.name, one.ns, one.share_pct) for one in row.preemptors] == [("hog", 300, 75)]
    assert [(one.name, one.ns, one.share_pct) for one in row.wakers] == [("feeder", 50, 25)]


def test_nothing_counted_is_an_empty_table():
    assert told() == ()
