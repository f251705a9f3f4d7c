"""A loss is no longer than the GPU was idle, stretch by stretch."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnomon.analysis.gpu_idle import BIN_NS, GpuIdle, Stretch, gpu_idle
from gnomon.analysis.questions import Span
from tests.detectors.worlds import World

# Bins of 100 ms: busy, half idle, idle.
SHARES = (0.0, 0.5, 1.0)
IDLE = GpuIdle(np.arange(4) * BIN_NS, np.array(SHARES) * BIN_NS)


@pytest.mark.parametrize(
    ("from_share", "to_share", "idle_share"),
    [(0, 1, 0), (1, 2, 0.5), (2, 3, 1), (0, 3, 1.5), (1.6, 2, 0.4), (1.25, 2.5, 1.0), (3, 4, 0)],
)
def test_a_part_of_a_bin_may_be_all_of_its_idle_time(from_share, to_share, idle_share):
    found = IDLE.within(round(from_share * BIN_NS), round(to_share * BIN_NS))

    assert found == pytest.approx(idle_share * BIN_NS)


def test_what_was_lost_while_the_gpu_was_busy_does_not_count():
    assert IDLE.bounded_ns([Stretch(0, BIN_NS, BIN_NS)]) == 0
    assert IDLE.bounded_ns([Stretch(0, 3 * BIN_NS, 3 * BIN_NS)]) == 1.5 * BIN_NS


def test_a_short_loss_is_held_against_its_whole_bin():
    millisecond = BIN_NS // 100
    assert IDLE.bounded_ns([Stretch(BIN_NS, BIN_NS + millisecond, millisecond)]) == millisecond
    assert IDLE.bounded_ns([Stretch(5, 5 + millisecond, millisecond)]) == 0


stretches = st.lists(
    st.builds(
        lambda begin, length: Stretch(begin, begin + length, length),
        st.integers(0, 2 * BIN_NS),
        st.integers(1, BIN_NS),
    ),
    max_size=5,
)


@given(stretches)
def test_no_more_is_lost_than_was_measured(lost):
    assert 0 <= IDLE.bounded_ns(lost) <= sum(one.lost_ns for one in lost)


def test_idle_time_is_that_of_the_simulated_gpu(tmp_path):
    world = World(3, "training", 8, ranks=1, counters=True).with_fault("host_bound", 0.4)
    recording = world.record(tmp_path)
    (job,) = world.jobs
    idle = gpu_idle(recording, job.gpu.uuid, Span(world.begin_ns, world.end_ns))

    truth_ns = job.gpu.idle_ns_in([(world.begin_ns, world.end_ns)])
    assert idle.within(world.begin_ns, world.end_ns) == pytest.approx(truth_ns, rel=0.03)


def test_without_counters_nothing_is_known(tmp_path):
    recording = World(3, "training", 4, counters=False).record(tmp_path)

    assert gpu_idle(recording, "GPU-1", Span(*recording.bounds())) is None
