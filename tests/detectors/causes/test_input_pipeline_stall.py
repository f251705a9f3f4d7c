"""Threads that waited for their next batch."""

import pytest

from gnomon.detectors.causes.input_pipeline_stall import detect
from gnomon.enums import Severity
from tests.analysis.recordings import MS, SECOND, call
from tests.analysis.stays import waited
from tests.detectors.causes.proving import found_loss, proved
from tests.detectors.worlds import World

WORKER = {"waker_pid": 50, "waker_tid": 50, "waker_name": "pt_data_worker"}


@pytest.mark.parametrize(
    "known",
    [{"classes": True, "stacks": False}, {"classes": False, "stacks": True}],
    ids=["by who woke it", "by its stack"],
)
@pytest.mark.parametrize("kind", ["training", "batch_inference"])
def test_the_loss_is_the_time_until_the_batch_is_there(tmp_path, case_of, kind, known):
    world = World(3, kind, 6, follow="dispatch", **known).with_fault("input_pipeline_stall", 0.2)
    # Waits before the first call of the thread are no part of its activity.
    found_loss(case_of(world.record(tmp_path)), detect, world, 0.1)


def test_without_stacks_and_wakers_nothing_is_claimed(tmp_path, case_of):
    knobs = {"follow": "all", "classes": False, "stacks": False}
    world = World(3, "training", 6, **knobs).with_fault("input_pipeline_stall", 0.3)

    assert list(detect(case_of(world.record(tmp_path)))) == []


def fetching(case_with, waits):
    launches = [call(n * 10 * MS, MS, "cudaLaunchKernel") for n in range(601)]
    return case_with(host_calls=launches, off_cpu=waits)


def test_the_first_batch_alone_is_no_stall(case_with):
    short = [waited((1000 + 10 * n) * MS, MS // 20, **WORKER) for n in range(400)]
    case = fetching(case_with, [waited(2 * MS, SECOND, **WORKER), *short])

    assert list(detect(case)) == []


def test_waits_again_and_again_are(case_with):
    case = fetching(case_with, [waited((10 * n + 2) * MS, 4 * MS, **WORKER) for n in range(600)])
    (found,) = proved(case, detect(case))

    assert found.severity is Severity.CRITICAL
    assert found.lost_seconds == pytest.approx(2.4)
