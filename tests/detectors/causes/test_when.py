"""A finding says when: its bounds are those of the fault, and so is what it counts."""

import importlib

import pytest

from tests.detectors.causes.proving import proved
from tests.detectors.worlds import World

SECOND = 1_000_000_000
CAUSES = (
    "cpu_contention",
    "first_use_loading",
    "io_wait",
    "voluntary_wait",
    "input_pipeline_stall",
    "lock_contention",
    "synchronization",
    "collective_straggler",
    "allocator_thrash",
    "transfer_size",
    "transfer_rate",
    "host_memory_spill",
)


@pytest.mark.parametrize("cause", CAUSES)
def test_a_fault_in_a_window_is_told_of_that_window(tmp_path, case_of, cause):
    knobs = {"follow": "all", "classes": True, "stacks": True, "sample_every": 1, "counters": False}
    world = World(7, "training", 14, **knobs)
    world = world.with_fault(cause, share=0.3, from_s=8, to_s=11)
    case = case_of(world.record(tmp_path))
    truth = max(world.truth, key=lambda one: one.lost_seconds)
    detect = importlib.import_module(f"gnomon.detectors.causes.{cause}").detect
    found = [
        one for one in proved(case, detect(case)) if (one.pid, one.tid) == (truth.pid, truth.tid)
    ]

    assert found
    assert abs(found[0].from_ns - truth.from_ns) < 1.1 * SECOND
    assert abs(found[0].to_ns - truth.to_ns) < 1.1 * SECOND
    assert found[0].thread_seconds == pytest.approx(truth.lost_seconds, rel=0.15)
