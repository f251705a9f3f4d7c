"""Processes that start up."""

import pytest

from gnomon.detectors.causes.cold_start import detect
from gnomon.enums import Severity
from tests.analysis.recordings import MS, call
from tests.detectors.causes.proving import found_loss, proved
from tests.detectors.worlds import World


@pytest.mark.parametrize("kind", ["training", "decode_server"])
def test_the_loss_is_the_time_of_the_first_call(tmp_path, case_of, kind):
    world = World(2, kind, 8).with_fault("cold_start", 0.2)

    # The world's healthy start takes 120 ms of its own.
    found_loss(case_of(world.record(tmp_path)), detect, world, 0.1)


def test_a_start_that_costs_little_is_worth_knowing(tmp_path, case_of):
    case = case_of(World(3, "training", 20, from_start=True, ranks=1).record(tmp_path))
    (found,) = proved(case, detect(case))

    assert found.severity is Severity.INFO
    assert found.lost_seconds == pytest.approx(0.12, rel=0.2)


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
