"""Memory that spilled."""

import pytest

from gnomon.detectors.causes.host_memory_spill import detect
from gnomon.enums import Severity
from tests.detectors.causes.proving import found_loss, proved
from tests.detectors.worlds import World


@pytest.mark.parametrize("stacks", [True, False], ids=["by stacks", "while swap grows"])
@pytest.mark.parametrize("kind", ["training", "decode_server"])
def test_the_loss_is_the_time_that_waited_for_pages(tmp_path, case_of, kind, stacks):
    knobs = {"follow": "all", "classes": True, "stacks": stacks, "ranks": 1}
    world = World(2, kind, 8, **knobs).with_fault("host_memory_spill", 0.2)
    # Whether swap grew in the first second is not known.
    (found,) = found_loss(case_of(world.record(tmp_path)), detect, world, 0.08 if stacks else 0.2)

    assert found.confidence == (0.9 if stacks else 0.6)


def test_managed_memory_beyond_the_gpu_speaks_for_itself(tmp_path, case_of):
    world = World(2, "training", 8, follow="none", ranks=1).with_fault("host_memory_spill", 0.2)
    case = case_of(world.record(tmp_path))
    (found,) = proved(case, detect(case))

    assert (found.severity, found.thread_seconds) == (Severity.WARNING, None)


def test_reading_a_disk_is_no_spill(tmp_path, case_of):
    world = World(2, "training", 8, follow="all").with_fault("io_wait", 0.2)

    assert list(detect(case_of(world.record(tmp_path)))) == []
