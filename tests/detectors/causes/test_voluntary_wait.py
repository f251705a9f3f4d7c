"""Threads that slept between their work, and threads that had none."""

import pytest

from gnomon.detectors.causes.voluntary_wait import detect
from gnomon.enums import Severity
from tests.analysis.recordings import MS, call
from tests.analysis.stays import waited
from tests.detectors.causes.proving import found_loss, proved
from tests.detectors.worlds import World


@pytest.mark.parametrize("stacks", [True, False])
@pytest.mark.parametrize("classes", [True, False])
@pytest.mark.parametrize("kind", ["training", "decode_server", "eager_small"])
def test_the_loss_is_the_time_asleep(tmp_path, case_of, kind, classes, stacks):
    knobs = {"follow": "all", "classes": classes, "stacks": stacks, "step_ns": 40 * MS}
    world = World(3, kind, 6, **knobs).with_fault("voluntary_wait", 0.2)

    severity = Severity.WARNING if stacks else Severity.INFO
    for found in found_loss(case_of(world.record(tmp_path)), detect, world, 0.05, severity):
        assert found.confidence == (0.95 if stacks else 0.75)


def test_a_published_thread_sleeps_50_ms_between_its_allocations(imported, case_of):
    case = case_of(imported["sample-gpu-node-02"])
    (found,) = proved(case, detect(case))

    assert (found.pid, found.tid, found.severity) == (4599, 4599, Severity.INFO)
    slept, longest = found.evidence
    assert longest.value == 50_077_951
    # 39 sleeps lie between the 40 allocations that the file still has, of 50.06 ms at the median.
    assert slept.value == pytest.approx(39 * 50_061_156, rel=0.001)


def test_polling_without_work_is_nobodys_fault(imported, case_of):
    """The API server's thread waits 100 ms again and again, and another one feeds the GPU."""
    assert list(detect(case_of(imported["vllm-37343-logprobs-amplification"]))) == []


@pytest.mark.parametrize("seed", range(3))
def test_an_idle_server_is_worth_knowing_and_no_more(tmp_path, case_of, seed):
    world = World(seed, "idle_server", 8, follow="all", classes=True)
    (found,) = proved(case := case_of(world.record(tmp_path)), detect(case))

    assert found.severity is Severity.INFO
    assert found.expected_gain is None
    assert any(one.text == "100 % of it was ended by APIServer" for one in found.evidence)


def test_waiting_for_another_thread_that_feeds_the_gpu_is_no_loss(case_with):
    """As PyTorch does: the backward pass is launched by a thread of its own."""
    forward = [call(n * 20 * MS, MS, "cudaLaunchKernel") for n in range(100)]
    backward = [call((20 * n + 8) * MS, MS, "cudaLaunchKernel", tid=2) for n in range(100)]
    woken = {"waker_pid": 1, "waker_tid": 2, "waker_name": "pt_autograd_0"}
    for more in (woken, {"run_queue_ns": None, "voluntary_ns": None, "io_ns": None}):
        stays = [waited((20 * n + 5) * MS, 10 * MS) | more for n in range(99)]
        case = case_with(host_calls=forward + backward, off_cpu=stays)

        assert list(detect(case)) == []
