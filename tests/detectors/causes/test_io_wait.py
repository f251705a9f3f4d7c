"""Threads that waited for a disk."""

import pytest

from gnomon.detectors.causes.host_memory_spill import detect as detect_spill
from gnomon.detectors.causes.io_wait import detect
from gnomon.enums import Severity
from tests.analysis.recordings import BEGIN_NS, MS, SECOND, call
from tests.analysis.stays import read, stack, stay
from tests.detectors.causes.proving import found_loss, proved
from tests.detectors.worlds import World


@pytest.mark.parametrize("kind", ["training", "decode_server", "batch_inference", "eager_small"])
def test_the_loss_is_the_time_in_which_the_disk_was_waited_for(tmp_path, case_of, kind):
    knobs = {"follow": "all", "classes": True, "step_ns": 40 * MS}
    world = World(5, kind, 6, **knobs).with_fault("io_wait", 0.2)
    (found, *_) = found_loss(case_of(world.record(tmp_path)), detect, world, 0.05)

    assert any("block requests" in one.text for one in found.evidence)


def test_a_published_thread_waits_for_its_own_reads(imported, case_of):
    """Of its time off the CPU 98.12 % is covered by its own block reads, facts say."""
    case = case_of(imported["sample-gpu-node-01"])
    (found,) = proved(case, detect(case))

    assert (found.pid, found.tid, found.severity) == (1887, 1887, Severity.WARNING)
    waited_ns = found.evidence[0].value
    (other,) = found.ruled_out
    assert waited_ns == pytest.approx(73_728_367, rel=1e-4)
    assert waited_ns / (waited_ns + other.value) == pytest.approx(0.9812, abs=0.001)


@pytest.mark.parametrize(("tid", "severity"), [(1, Severity.WARNING), (2, Severity.INFO)])
def test_of_threads_without_calls_little_is_claimed(case_with, tid, severity):
    case = case_with(off_cpu=[read(n * 10 * MS, 5 * MS, tid=tid) for n in range(50)])
    (found,) = proved(case, detect(case))

    assert found.severity is severity
    assert "not recorded" in found.confidence_reason


def test_a_thread_that_reads_beside_one_that_feeds_the_gpu_is_not_looked_at(case_with):
    launches = [call(n * 10 * MS, MS, "cudaLaunchKernel", tid=3) for n in range(50)]
    case = case_with(
        host_calls=launches, off_cpu=[read(n * 10 * MS, 5 * MS, tid=2) for n in range(50)]
    )

    assert list(detect(case)) == []


@pytest.mark.parametrize(
    ("frames", "told"), [(1, ["100 % of it in f0"]), (3, ["34 % of it in f0"]), (9, [])]
)
def test_a_frame_is_told_with_its_share_and_not_for_a_small_one(case_with, frames, told):
    rows = [read(n * 10 * MS, 5 * MS, stack_hash=n % (frames)) for n in range(50)]
    stacks = [one for number in range(frames) for one in stack(number, f"f{number}")]
    case = case_with(off_cpu=rows, stacks=stacks)
    (found,) = proved(case, detect(case))

    assert [one.text for one in found.evidence if " of it in " in one.text] == told


def test_of_sampled_waits_the_rest_of_each_counts_as_often_as_the_wait(case_with):
    """Waits of 5 ms, 4 of them for the disk, each standing for three."""
    parts = {"run_queue_ns": MS, "io_ns": 4 * MS, "voluntary_ns": 0}
    sampled = {"weight": 3.0, "selection": "uniform"}
    rows = [stay(n * 10 * MS, 5 * MS, **parts, **sampled) for n in range(20)]
    case = case_with(off_cpu=rows)
    (found,) = proved(case, detect(case))

    assert found.ruled_out[0].value == 20 * 3 * MS


def test_pages_from_swap_are_another_cause(case_with):
    rows = [read(n * 10 * MS, 5 * MS, stack_hash=1) for n in range(50)]
    case = case_with(off_cpu=rows, stacks=stack(1, "do_swap_page"))

    assert list(detect(case)) == []


def test_no_nanosecond_is_claimed_for_a_disk_and_for_swap(case_with):
    """Swap grows in the third second; one stay there has a stack, and that reads a file.

    The last stay comes after the last call, when the thread was not active any more.
    """
    launches = [call(n * 10 * MS, MS, "cudaLaunchKernel") for n in range(400)]
    stays = [read((10 * n + 2) * MS, 2 * MS) for n in range(400)]
    stays[250] |= {"stack_hash": 1}
    samples = [
        {
            "ts_ns": BEGIN_NS + second * SECOND,
            "duration_ns": SECOND,
            "swap_used_bytes": (second >= 3) << 30,
        }
        for second in range(1, 5)
    ]
    case = case_with(
        host_calls=launches, off_cpu=stays, host_samples=samples, stacks=stack(1, "vfs_read")
    )
    (disk,), (spill,) = proved(case, detect(case)), proved(case, detect_spill(case))

    assert disk.thread_seconds == pytest.approx(300 * 2e-3)
    assert spill.thread_seconds == pytest.approx(99 * 2e-3)
