"""Threads that wanted the CPU while another one had it."""

import pytest

from gnomon.detectors.causes.cpu_contention import detect
from gnomon.enums import Cause, Severity
from tests.analysis.recordings import MS, US, call
from tests.analysis.stays import queued, read
from tests.detectors.causes.proving import found_loss, proved
from tests.detectors.worlds import World

FOLLOWED = {"follow": "all", "classes": True}


@pytest.mark.parametrize("kind", ["training", "decode_server", "batch_inference", "eager_small"])
@pytest.mark.parametrize("follow", ["all", "dispatch"])
def test_the_loss_is_the_time_runnable_without_a_cpu(tmp_path, case_of, kind, follow):
    world = World(2, kind, 6, classes=True, follow=follow).with_fault("cpu_contention", 0.2)
    (found, *_) = found_loss(case_of(world.record(tmp_path)), detect, world, 0.03)

    assert any("backup.sh" in one.text for one in found.evidence)


def test_a_recorder_that_cannot_tell_classes_blames_nobody(tmp_path, case_of):
    world = World(2, "training", 6, follow="all", classes=False).with_fault("cpu_contention", 0.3)

    assert list(detect(case_of(world.record(tmp_path)))) == []


def test_a_thread_that_runs_ahead_of_a_busy_gpu_loses_nothing(tmp_path, case_of):
    knobs = FOLLOWED | {"ranks": 1, "step_ns": 400 * MS, "ahead": 1, "graph": True}
    world = World(2, "training", 6, counters=True, **knobs).with_fault("cpu_contention", 0.1)
    recording = world.record(tmp_path)
    (truth,) = world.truth

    assert truth.lost_seconds > 0.5
    assert truth.gpu_idle_seconds < 0.05
    assert all(one.severity is Severity.INFO for one in detect(case_of(recording)))


def made_of(case_with, share, **more):
    """A thread that launches for a second, and is queued for a share of it."""
    launches = [call(n * 10 * MS, MS, "cudaLaunchKernel") for n in range(101)]
    stays = [queued((10 * n + 2) * MS, round(share * 10 * MS), **more) for n in range(100)]
    return case_with(host_calls=launches, off_cpu=stays)


@pytest.mark.parametrize(
    ("share", "severity"),
    [(0.009, None), (0.02, Severity.INFO), (0.08, Severity.WARNING), (0.4, Severity.CRITICAL)],
)
def test_severity_is_by_the_share_of_the_active_time(case_with, share, severity):
    case = made_of(case_with, share)
    found = proved(case, detect(case))

    assert [one.severity for one in found] == ([severity] if severity else [])


def test_the_idle_task_is_no_culprit(case_with):
    case = made_of(case_with, 0.1, preemptor_tid=0, preemptor_name="swapper/3")
    (found,) = proved(case, detect(case))

    assert not any("swapper" in one.text for one in found.evidence)


def test_calls_alone_can_tell_it(case_with):
    row = {"off_cpu_ns": MS, "run_queue_ns": MS, "io_ns": 0, "voluntary_ns": 0}
    rows = [call(n * 10 * MS, 2 * MS, "cudaLaunchKernel", **row) for n in range(100)]
    case = case_with(host_calls=rows)
    (found,) = proved(case, detect(case))

    assert found.thread_seconds == pytest.approx(0.1)
    assert found.lost_pct is None


@pytest.mark.parametrize(("tid", "severity"), [(1, Severity.WARNING), (2, Severity.INFO)])
def test_where_nobody_is_known_to_feed_a_gpu_less_is_claimed(case_with, tid, severity):
    stays = [queued(10 * n * MS, 5 * MS, tid=tid) for n in range(50)]
    case = case_with(off_cpu=stays)
    (found,) = proved(case, detect(case))

    assert found.severity is severity
    assert "feeds a GPU was not recorded" in found.confidence_reason
    assert found.confidence <= 0.8


def test_calls_that_are_all_within_others_feed_no_gpu(case_with):
    launches = [call(n * 10 * MS, MS, "cuLaunchKernel", depth=1) for n in range(101)]
    stays = [queued((10 * n + 2) * MS, 5 * MS) for n in range(100)]
    case = case_with(host_calls=launches, off_cpu=stays)
    (found,) = proved(case, detect(case))

    assert found.severity is Severity.WARNING
    assert "feeds a GPU was not recorded" in found.confidence_reason


@pytest.mark.parametrize(("others", "shares"), [(0, [100]), (2, [34]), (9, [])])
def test_who_had_the_cpu_is_named_with_the_share_and_not_for_a_small_one(case_with, others, shares):
    launches = [call(n * 10 * MS, MS, "cudaLaunchKernel") for n in range(101)]
    who = [{"preemptor_tid": 70 + n % (1 + others), "preemptor_name": "x"} for n in range(100)]
    stays = [queued((10 * n + 2) * MS, MS, **who[n]) for n in range(100)]
    case = case_with(host_calls=launches, off_cpu=stays)
    (found,) = proved(case, detect(case))

    told = [one.text for one in found.evidence if "the CPU was meanwhile" in one.text]
    assert told == [f"the CPU was meanwhile, for {share} % of it, with x" for share in shares]


def test_what_looks_alike_is_ruled_out_with_its_number(case_with):
    launches = [call(n * 10 * MS, MS, "cudaLaunchKernel") for n in range(101)]
    stays = [queued((10 * n + 2) * MS, MS) for n in range(100)]
    case = case_with(host_calls=launches, off_cpu=[*stays, read(5 * MS, 30 * US)])
    (found,) = proved(case, detect(case))

    assert [(one.cause, one.value) for one in found.ruled_out] == [(Cause.IO_WAIT, 30 * US)]


def test_the_scheduler_is_not_blamed_where_nothing_shows_it(imported, case_of):
    for recording in imported.values():
        assert list(detect(case_of(recording))) == []
