"""Threads that waited for a lock."""

import pytest

from gnomon.detectors.causes import input_pipeline_stall, voluntary_wait
from gnomon.detectors.causes.lock_contention import detect
from gnomon.enums import Severity
from tests.detectors.causes.proving import found_loss
from tests.detectors.worlds import World


@pytest.mark.parametrize(
    ("known", "confidence"),
    [
        ({"classes": True, "stacks": False, "follow": "all"}, 0.7),
        ({"classes": False, "stacks": True, "follow": "dispatch"}, 0.9),
    ],
    ids=["by who ran meanwhile", "by its stack"],
)
@pytest.mark.parametrize("kind", ["training", "decode_server", "eager_small"])
def test_the_loss_is_the_time_that_another_thread_held_the_lock(
    tmp_path, case_of, kind, known, confidence
):
    world = World(3, kind, 6, **known).with_fault("lock_contention", 0.2)
    for found in found_loss(case_of(world.record(tmp_path)), detect, world, 0.05):
        assert found.confidence == confidence


def test_where_the_holder_was_not_followed_the_wait_is_told_without_a_cause(tmp_path, case_of):
    knobs = {"classes": True, "stacks": False, "follow": "dispatch", "ranks": 1}
    world = World(3, "training", 6, **knobs).with_fault("lock_contention", 0.3)
    case = case_of(world.record(tmp_path))

    assert list(detect(case)) == []
    (told,) = voluntary_wait.detect(case)
    assert told.severity is Severity.INFO
    assert any("asyncio_0" in one.text for one in told.evidence)


def test_no_nanosecond_is_claimed_twice(tmp_path, case_of):
    knobs = {"classes": True, "stacks": False, "follow": "all", "ranks": 1}
    world = World(4, "eager_small", 6, **knobs)
    world = world.with_fault("input_pipeline_stall", 0.15).with_fault("lock_contention", 0.15)
    case = case_of(world.record(tmp_path))
    claimed = {}
    for cause in (input_pipeline_stall, voluntary_wait):
        claimed |= {one.cause: one.thread_seconds for one in cause.detect(case)}
    claimed |= {one.cause: one.thread_seconds for one in detect(case)}

    assert claimed == {one.cause: pytest.approx(one.lost_seconds, rel=0.03) for one in world.truth}
