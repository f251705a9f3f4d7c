"""Allocations and releases in the loop."""

import pytest

from gnomon.detectors.causes.allocator_thrash import WARM_UP, detect
from tests.analysis.recordings import MS
from tests.detectors.causes.proving import found_loss
from tests.detectors.worlds import World


@pytest.mark.parametrize("kind", ["training", "decode_server", "batch_inference", "eager_small"])
def test_the_loss_is_the_time_in_these_calls_after_the_start(tmp_path, case_of, kind):
    knobs = {"counters": kind == "training", "step_ns": 50 * MS}
    world = World(2, kind, 8, **knobs).with_fault("allocator_thrash", 0.2)

    found_loss(case_of(world.record(tmp_path)), detect, world, WARM_UP + 0.03)


@pytest.mark.parametrize("stretch", [(0.0, 0.8), (6.0, 7.0)], ids=["at the start", "once"])
def test_a_burst_is_healthy(tmp_path, case_of, stretch):
    world = World(2, "training", 20).with_fault("allocator_thrash", 0.5, *stretch)

    assert list(detect(case_of(world.record(tmp_path)))) == []


def test_a_start_that_allocates_much_is_healthy(tmp_path, case_of):
    world = World(4, "training", 8, from_start=True)

    assert list(detect(case_of(world.record(tmp_path)))) == []
