"""Copies that are small, and many."""

import pytest

from gnomon.detectors.causes.transfer_size import detect
from tests.analysis.recordings import call
from tests.detectors.causes.proving import found_loss
from tests.detectors.worlds import World


@pytest.mark.parametrize("kind", ["training", "decode_server", "batch_inference", "eager_small"])
def test_the_loss_is_what_the_copies_took_beyond_their_bytes(tmp_path, case_of, kind):
    world = World(2, kind, 8, counters=kind == "training").with_fault("transfer_size", 0.2)
    found = found_loss(case_of(world.record(tmp_path)), detect, world, 0.05)

    for finding in found:
        assert (finding.lost_pct is None) == (kind != "training")


def test_below_a_hundredth_of_the_time_nothing_is_said(tmp_path, case_of):
    world = World(2, "training", 8).with_fault("transfer_size", 0.005)

    assert list(detect(case_of(world.record(tmp_path)))) == []


def test_copies_that_wait_for_the_gpu_are_not_small_copies(tmp_path, case_of):
    world = World(6, "batch_inference", 8, ahead=0, copy_bytes=4096)

    assert list(detect(case_of(world.record(tmp_path)))) == []


@pytest.mark.parametrize(("copies", "severities"), [(150, []), (5_000, ["critical"])])
def test_of_a_moment_nothing_is_said_whatever_its_share(case_with, copies, severities):
    """Copies of 4 us, and nothing else: 0.6 ms are no loss, 20 ms are."""
    rows = [
        call(n * 5_000, 4_000, "cudaMemcpyAsync", bytes=64, direction="h2d") for n in range(copies)
    ]
    launch = call(copies * 5_000, 4_000, "cudaLaunchKernel")

    found = detect(case_with(host_calls=[*rows, launch]))

    assert [one.severity for one in found] == severities
