"""Waits in a loop, and the gaps that they leave."""

import pytest

from gnomon.detectors.causes.synchronization import detect
from gnomon.enums import Severity
from tests.analysis.recordings import BEGIN_NS, US, call
from tests.detectors.causes.proving import found_loss, proved
from tests.detectors.worlds import World


@pytest.mark.parametrize("kind", ["training", "decode_server", "batch_inference", "eager_small"])
@pytest.mark.parametrize("follow", ["all", "none"])
def test_the_loss_is_the_time_until_the_gpu_had_work_again(tmp_path, case_of, kind, follow):
    knobs = {"sample_every": 1, "follow": follow, "ranks": 1}
    world = World(2, kind, 8, **knobs).with_fault("synchronization", 0.2)

    found_loss(case_of(world.record(tmp_path)), detect, world, 0.08)


def test_one_wait_a_step_is_no_fault(tmp_path, case_of):
    world = World(5, "eager_small", 8, sample_every=1, python_pct=8.0, step_ns=10_000_000)
    case = case_of(world.record(tmp_path))

    assert all(one.severity is Severity.INFO for one in proved(case, detect(case)))


def test_sampled_launches_say_nothing_of_what_followed_a_wait(tmp_path, case_of):
    world = World(2, "training", 8, sample_every=4).with_fault("synchronization", 0.2)

    assert list(detect(case_of(world.record(tmp_path)))) == []


def test_lost_rows_say_nothing_of_what_followed_a_wait(tmp_path, case_of):
    world = World(2, "training", 8, sample_every=1).with_fault("synchronization", 0.2)
    world = world.with_fault("data_loss", 0.2)

    assert list(detect(case_of(world.record(tmp_path)))) == []


def test_time_off_the_cpu_is_left_to_other_causes(case_with):
    """400 rounds of 1 ms: launch, wait, and 300 us of which 200 us are off the CPU."""
    calls, stays = [], []
    for number in range(400):
        at = number * 1000 * US
        calls.append(call(at, 5 * US, "cudaLaunchKernel", address=number))
        calls.append(call(at + 100 * US, 600 * US, "cudaStreamSynchronize"))
        stay = {"ts_ns": BEGIN_NS + at + 950 * US, "duration_ns": 200 * US, "selection": "all"}
        stays.append(stay | {"host": "host-1", "pid": 1, "tid": 1, "weight": 1.0})
    case = case_with(host_calls=calls, off_cpu=stays)
    (found,) = proved(case, detect(case))

    # Of 305 us until the end of the next launch, less 200 us.
    assert found.thread_seconds == pytest.approx(399 * 105e-6)
