"""Processes that start up."""

import pytest

from gnomon.detectors.causes.cold_start import detect
from gnomon.enums import Severity
from tests.analysis.recordings import MS, call
from tests.detectors.causes.proving import found_loss, proved
from tests.detectors.worlds import World


@pytest.mark.parametrize("kind", ["training", "decode_server"])
def test_the_loss_is_the_time_of_the_first_call(tmp_path, case_of, kind):
    world = World(2, kind, 12).with_fault("cold_start", 0.2)

    # The world's healthy start takes 120 ms of its own.
    found_loss(case_of(world.record(tmp_path)), detect, world, 0.1)


def test_a_start_that_costs_little_is_worth_knowing(tmp_path, case_of):
    case = case_of(World(3, "training", 20, from_start=True, ranks=1).record(tmp_path))
    (found,) = proved(case, detect(case))

    assert found.severity is Severity.INFO
    assert found.thread_seconds == pytest.approx(0.12, rel=0.2)


FIRST = {"first_call": 1, "bytes": 4}


@pytest.mark.parametrize(
    ("row", "speaks"),
    [
        (call(50 * MS, 200 * MS, "cudaMalloc", **FIRST), True),
        (call(50 * MS, 200 * MS, "cudaMemcpyAsync", **FIRST), False),
        (call(0, 200 * MS, "cudaMemcpyAsync", **FIRST), True),
        (call(0, 200 * MS, "cudaMemcpyAsync", first_call=1, bytes=1 << 30), False),
        (call(50 * MS, 200 * MS, "cudaFree", first_call=1, bytes=0), True),
        (call(50 * MS, 200 * MS, "cudaFree", **FIRST), False),
        (call(50 * MS, 200 * MS, "cudaStreamSynchronize", first_call=1), False),
        (call(50 * MS, 200 * MS, "cudaMalloc", first_call=None, bytes=4), False),
        (call(50 * MS, 90 * MS, "cudaMalloc", **FIRST), False),
    ],
)
def test_what_may_have_waited_for_work_is_no_start(case_with, row, speaks):
    launch = call(10 * MS, MS, "cudaLaunchKernel", first_call=1)
    case = case_with(host_calls=[launch, row, call(400 * MS, 5, "cudaMalloc", first_call=0)])

    assert bool(proved(case, detect(case))) == speaks


def test_a_file_without_its_begin_says_nothing(imported, case_of):
    for name in ("sample-gpu-node-01", "sample-gpu-node-02"):
        assert list(detect(case_of(imported[name]))) == []


@pytest.mark.parametrize(
    ("seconds", "severity"), [(0.2, Severity.INFO), (9.9, Severity.INFO), (11, Severity.WARNING)]
)
def test_a_short_window_makes_no_start_severe(case_with, seconds, severity):
    start = call(0, round(seconds * 500 * MS), "cudaMalloc", **FIRST)
    end = call(round(seconds * 1000 * MS), 5, "cudaMalloc", first_call=0)
    (found,) = detect(case_with(host_calls=[start, end]))

    assert found.severity is severity


def test_a_place_for_a_value_in_a_name_stays_as_it_is(case_with):
    start = call(0, 200 * MS, "cuda{value}", first_call=1)
    (found,) = proved(case := case_with(host_calls=[start, call(300 * MS, 5, "x")]), detect(case))

    assert found.evidence[1].text == "the longest of them took 200 ms: cuda{value}"
