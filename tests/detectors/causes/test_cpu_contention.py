"""Threads that wanted the CPU while another one had it."""

import pytest

from gnomon.detectors.causes.cpu_contention import detect
from gnomon.enums import Cause, Severity
from tests.analysis.recordings import BEGIN_NS, MS, SECOND, US, call
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


def with_preemptors(case_with, *preemptors, threads=()):
    """A thread that launches for a second, and is queued for a share of it behind each."""
    launches = [call(n * 10 * MS, MS, "cudaLaunchKernel") for n in range(101)]
    stays = []
    for place, who in enumerate(preemptors):
        length_ns = round(who.get("share", 0.1) * 10 * MS)
        more = {name: value for name, value in who.items() if name != "share"}
        begins = ((10 * n + 2 + 4 * place) * MS for n in range(100 if length_ns else 0))
        stays += [queued(begin_ns, length_ns, **more) for begin_ns in begins]
    return case_with(host_calls=launches, off_cpu=stays, threads=list(threads))


@pytest.mark.parametrize(
    ("share", "severity"),
    [(0.009, None), (0.02, Severity.INFO), (0.08, Severity.WARNING), (0.4, Severity.CRITICAL)],
)
def test_severity_is_by_the_share_of_the_active_time(case_with, share, severity):
    case = made_of(case_with, share)
    found = proved(case, detect(case))

    assert [one.severity for one in found] == ([severity] if severity else [])


def test_waking_up_on_a_cpu_that_idled_is_no_contention(case_with):
    case = made_of(case_with, 0.1, preemptor_tid=0, preemptor_name="swapper/3")

    assert list(detect(case)) == []


def test_a_cpu_that_idles_for_long_was_denied(case_with):
    case = made_of(case_with, 0.4, preemptor_tid=0, preemptor_name="swapper/3")
    (found,) = proved(case, detect(case))

    assert found.severity is Severity.CRITICAL
    assert "of it a CPU idled for 400 ms, and it was not let on: a quota (cpu.max) does that" in [
        one.text for one in found.evidence
    ]


@pytest.mark.parametrize(("waking", "told"), [(0.09, True), (0.01, False)])
def test_waking_up_is_told_beside_the_loss_where_it_is_much(case_with, waking, told):
    idle = {"preemptor_tid": 0, "preemptor_name": "swapper/3"}
    case = with_preemptors(case_with, {"preemptor_tid": 70}, idle | {"share": waking})
    (found,) = proved(case, detect(case))

    assert found.thread_seconds == pytest.approx(0.1)
    texts = [one.text for one in found.evidence if "wake up" in one.text]
    assert ["90 ms in all (not counted)" in one for one in texts] == [True] * told


OBSERVER = {"host": "host-1", "pid": 90, "tid": 91, "name": "gnomon-bpf", "role": "observer"}
BEHIND_IT = {"preemptor_tid": 91, "preemptor_name": "gnomon-bpf"}
BEHIND_A_HOG = {"preemptor_tid": 70, "preemptor_name": "hog"}


@pytest.mark.parametrize(
    ("observer", "hog", "severity", "is_named"),
    [
        (0.3, 0.0, Severity.INFO, False),
        (0.3, 0.2, Severity.INFO, False),
        (0.05, 0.06, Severity.WARNING, True),
        (0.03, 0.04, Severity.INFO, True),
    ],
)
def test_the_recorders_own_share_is_told_apart_and_not_blamed_on_the_host(
    case_with, observer, hog, severity, is_named
):
    rows = (BEHIND_IT | {"share": observer}, BEHIND_A_HOG | {"share": hog})
    case = with_preemptors(case_with, *rows, threads=[OBSERVER | {"ts_ns": BEGIN_NS}])
    (found,) = proved(case, detect(case))

    assert found.severity is severity
    assert found.thread_seconds == pytest.approx(observer + hog)
    (own,) = (one for one in found.evidence if one.text.startswith("of it gnomon itself: "))
    assert own.value == pytest.approx(observer * SECOND)
    assert any("with hog" in one.text for one in found.evidence) == is_named
    assert not any("with gnomon-bpf" in one.text for one in found.evidence)
    assert ("--trace" in found.remedy) != is_named


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
