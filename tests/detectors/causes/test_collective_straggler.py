"""Stragglers of known cost, and skews that cost nothing."""

import pytest

from gnomon.detectors.causes import first_use_loading
from gnomon.detectors.causes.collective_straggler import detect
from gnomon.enums import Cause, Severity
from gnomon.recording.together import Together
from tests.analysis.recordings import BEGIN_NS, MS, call
from tests.detectors.causes.proving import proved
from tests.detectors.worlds import World

KNOWN = {"step_ns": 50_000_000, "follow": "all", "classes": True}


@pytest.mark.parametrize("counters", [True, False])
@pytest.mark.parametrize("hosts", [1, 4])
@pytest.mark.parametrize("share", [0.1, 0.3])
def test_a_late_rank_is_named_with_what_the_others_waited(
    tmp_path, case_of, counters, hosts, share
):
    world = World(13, "training", 10, counters=counters, hosts=hosts, **KNOWN)
    world = world.with_fault("collective_straggler", share, rank=2)
    recordings = world.record_each(tmp_path)
    case = case_of(recordings[0] if hosts == 1 else Together(recordings))
    (found,) = detect(case)
    (truth,) = world.truth

    assert (found.rank, found.tid, found.host) == (2, truth.tid, truth.host)
    assert found.thread_seconds == pytest.approx(truth.lost_seconds, rel=0.1)
    assert found.severity is (Severity.CRITICAL if share > 0.25 else Severity.WARNING)
    assert (found.lost_pct is not None) is (found.lost_seconds is not None) is counters
    for one in found.evidence:
        assert case.value(one.sql) == one.value


def test_a_rank_that_comes_seconds_late_once_is_told_in_full(tmp_path, case_of):
    world = World(13, "training", 10, counters=True, ranks=4, **KNOWN)
    world = world.with_fault("cold_start", 0.3, rank=1)
    found = [one for one in detect(case_of(world.record(tmp_path))) if one.rank == 1]

    assert sum(one.thread_seconds for one in found) == pytest.approx(3 * 3.0, rel=0.1)


def test_one_recording_of_several_hosts_is_enough(tmp_path, case_of):
    world = World(13, "training", 8, hosts=4, **KNOWN).with_fault("collective_straggler", 0.3)
    (found,) = detect(case_of(world.record(tmp_path)))

    assert found.thread_seconds == pytest.approx(world.truth[0].lost_seconds, rel=0.1)


@pytest.mark.parametrize("counters", [True, False])
def test_a_rank_that_comes_late_while_its_gpu_has_work_costs_next_to_nothing(
    tmp_path, case_of, counters
):
    # Steps are kept in flight: the GPU still works on the last one when its host is late.
    world = World(13, "training", 8, counters=counters, **KNOWN, ahead=1)
    world = world.with_fault("collective_straggler", 0.2)

    for one in detect(case_of(world.record(tmp_path))):
        # What its GPU idles in any case is all that can be held against it.
        assert one.severity is Severity.INFO
        assert one.cost_seconds / 3 / 8 < 0.03


def test_a_rank_slow_on_its_gpu_alone_is_not_guessed_at(tmp_path, case_of):
    world = World(13, "training", 8, **KNOWN).with_fault("collective_straggler", 0.2, mode="gpu")

    assert list(detect(case_of(world.record(tmp_path)))) == []


@pytest.mark.parametrize("counters", [True, False])
@pytest.mark.parametrize("hosts", [1, 4])
def test_ranks_that_load_kernels_at_different_steps_are_no_stragglers(
    tmp_path, case_of, counters, hosts
):
    world = World(13, "training", 10, counters=counters, hosts=hosts, ranks=4, **KNOWN)
    for rank in range(4):
        world = world.with_fault(
            "first_use_loading", 0.5, from_s=2 * rank + 1, to_s=2 * rank + 3, rank=rank
        )
    recordings = world.record_each(tmp_path)
    case = case_of(recordings[0] if hosts == 1 else Together(recordings))

    assert [one.rank for one in detect(case) if one.severity is not Severity.INFO] == []
    loading = {one.rank for one in first_use_loading.detect(case) if one.thread_seconds > 0.5}
    assert loading == {0, 1, 2, 3}


def test_a_rank_that_loads_kernels_and_is_slow_besides_is_told_without_the_loading(
    tmp_path, case_of
):
    world = World(13, "training", 10, counters=True, ranks=4, **KNOWN)
    world = world.with_fault("first_use_loading", 0.4, from_s=1, to_s=3, rank=1)
    world = world.with_fault("collective_straggler", 0.3, rank=1)
    (found,) = [one for one in detect(case_of(world.record(tmp_path))) if one.rank == 1]
    straggling = world.truth[-1]
    (loading,) = [one for one in found.ruled_out if one.cause is Cause.FIRST_USE_LOADING]

    # While it loads it is late by both, and which came first in a second is not known.
    assert found.thread_seconds == pytest.approx(straggling.lost_seconds, rel=0.2)
    assert loading.value == pytest.approx(0.4 * 2e9, rel=0.3)


@pytest.mark.parametrize(
    ("kept", "confidence", "severity"),
    [
        ({"selection": "all", "weight": 1.0}, 0.6, Severity.CRITICAL),
        ({"selection": "uniform", "weight": 4.0}, 0.4, Severity.CRITICAL),
        ({"selection": "biased", "weight": None}, 0.4, Severity.INFO),
    ],
)
def test_where_launches_were_kept_in_part_less_is_certain(case_with, kept, confidence, severity):
    rows = collectives(30, range(30))
    rows["host_calls"] = [row | kept for row in rows["host_calls"]]
    (found,) = [one for one in detect(case_with(**rows)) if one.rank == 1]

    assert (found.confidence, found.severity) == (confidence, severity)


def test_a_lateness_below_the_limit_is_silence(tmp_path, case_of):
    world = World(13, "training", 8, **KNOWN).with_fault("collective_straggler", 0.004)

    assert list(detect(case_of(world.record(tmp_path)))) == []


@pytest.mark.parametrize("kind", ["decode_server", "idle_server"])
def test_without_collectives_there_is_silence(tmp_path, case_of, kind):
    assert list(detect(case_of(World(3, kind, 3).record(tmp_path)))) == []


def collectives(count, late, *, late_ns=100_000_000):
    """Two ranks enter ``count`` collectives, 200 ms apart; rank 1 comes late to those in ``late``.

    To the others rank 0 comes a microsecond after it.
    """
    rows, calls = [], []
    for number in range(count):
        at_ns = BEGIN_NS + number * 200 * MS
        for rank in (0, 1):
            entered_ns = at_ns + (late_ns if number in late else -1_000) * rank
            row = {"host": "host-1", "pid": 1 + rank, "tid": 1 + rank, "duration_ns": 1_000}
            rows.append(
                row
                | {
                    "ts_ns": entered_ns + 1_000,
                    "communicator": "0x5",
                    "sequence": number,
                    "rank": rank,
                }
            )
        wait, launch = ("cudaStreamSynchronize", at_ns - 50 * MS), ("cudaLaunchKernel", at_ns)
        calls += [
            call(begin_ns - BEGIN_NS + shift * (name == "cudaLaunchKernel"), MS, name, pid=2, tid=2)
            for name, begin_ns in (wait, launch)
            for shift in [late_ns if number in late else 0]
        ]
    return {"nccl_calls": rows, "host_calls": calls}


@pytest.mark.parametrize(
    ("count", "late", "severities"),
    [
        pytest.param(30, range(30), [Severity.CRITICAL], id="always"),
        pytest.param(9, range(9), [Severity.INFO], id="too few"),
        pytest.param(30, range(0, 30, 3), [Severity.INFO], id="one in three"),
        pytest.param(1, [0], [Severity.INFO], id="once"),
    ],
)
def test_who_is_late_now_and_then_is_worth_knowing_at_most(case_with, count, late, severities):
    case = case_with(**collectives(count, late))
    found = [one for one in proved(case, detect(case)) if one.rank == 1]

    assert [one.severity for one in found] == severities
