"""Threads that waited for their next batch."""

import pytest

from gnomon.detectors.causes.input_pipeline_stall import detect
from gnomon.enums import Severity
from tests.analysis.recordings import BEGIN_NS, MS, SECOND, call
from tests.analysis.stays import waited
from tests.detectors.causes.proving import found_loss, proved
from tests.detectors.worlds import World

FOLLOWED = {"follow": "all", "classes": True}


@pytest.mark.parametrize("mode", ["", "disk"])
@pytest.mark.parametrize("pinning", [False, True])
@pytest.mark.parametrize("names", ["usual", "plain"])
@pytest.mark.parametrize("stacks", [False, True])
def test_the_loss_is_the_time_until_the_batch_is_there(
    tmp_path, case_of, stacks, names, pinning, mode
):
    knobs = FOLLOWED | {"stacks": stacks, "names": names, "pinning": pinning}
    world = World(3, "training", 6, **knobs).with_fault("input_pipeline_stall", 0.2, mode=mode)
    # Waits before the first call of the thread are no part of its activity.
    for found in found_loss(case_of(world.record(tmp_path)), detect, world, 0.1):
        assert found.confidence == (0.9 if stacks and names == "usual" else 0.7)
        assert any("was at work for" in one.text for one in found.evidence)


@pytest.mark.parametrize("kind", ["decode_server", "batch_inference", "eager_small"])
def test_a_thread_that_reads_batches_is_a_loader_too(tmp_path, case_of, kind):
    world = World(3, kind, 6, **FOLLOWED, names="plain", stacks=False)
    world = world.with_fault("input_pipeline_stall", 0.2, mode="thread")

    found_loss(case_of(world.record(tmp_path)), detect, world, 0.1)


@pytest.mark.parametrize("stacks", [False, True])
def test_a_loader_that_nobody_followed_is_worth_knowing_at_most(tmp_path, case_of, stacks):
    knobs = {"follow": "dispatch", "classes": True, "stacks": stacks}
    world = World(3, "training", 6, **knobs).with_fault("input_pipeline_stall", 0.3)
    found = proved(case := case_of(world.record(tmp_path)), detect(case))

    assert [one.severity for one in found] == [Severity.INFO] * len(found)
    assert bool(found) is stacks


@pytest.mark.parametrize("cause", ["lock_contention", "voluntary_wait", "io_wait"])
@pytest.mark.parametrize("stacks", [False, True])
def test_what_is_called_like_a_loader_is_none(tmp_path, case_of, cause, stacks):
    knobs = FOLLOWED | {"stacks": stacks, "names": "treacherous", "api_server": True}
    case = case_of(World(4, "eager_small", 6, **knobs).with_fault(cause, 0.3).record(tmp_path))

    assert list(detect(case)) == []


@pytest.mark.parametrize("seed", range(4))
def test_requests_from_what_is_called_like_a_loader_are_no_input(tmp_path, case_of, seed):
    knobs = FOLLOWED | {"stacks": True, "names": "treacherous"}
    case = case_of(World(seed, "idle_server", 6, **knobs).record(tmp_path))

    assert list(detect(case)) == []


def test_without_stacks_and_wakers_nothing_is_claimed(tmp_path, case_of):
    knobs = {"follow": "all", "classes": False, "stacks": False}
    world = World(3, "training", 6, **knobs).with_fault("input_pipeline_stall", 0.3)

    assert list(detect(case_of(world.record(tmp_path)))) == []


WORKER = {"waker_pid": 50, "waker_tid": 50, "waker_name": "worker"}


def fetching(case_with, waits, *, asleep=False, host="host-1", parent_tid=1):
    """A loop that waits for process 50, which is at work or asleep meanwhile."""
    launches = [call(n * 10 * MS, MS, "cudaLaunchKernel") for n in range(601)]
    begins = [row["ts_ns"] - row["duration_ns"] - BEGIN_NS for row in waits]
    worker = {"host": host, "pid": 50, "tid": 50}
    stays = [
        waited(
            begin_ns if asleep else begin_ns - MS, row["duration_ns"] if asleep else MS, **worker
        )
        for begin_ns, row in zip(begins, waits, strict=True)
    ]
    started = {"ts_ns": BEGIN_NS + 7 * SECOND, "name": "data_loader", "parent_tid": parent_tid}
    return case_with(host_calls=launches, off_cpu=waits + stays, threads=[worker | started])


def test_the_first_batch_alone_is_no_stall(case_with):
    short = [waited((1000 + 10 * n) * MS, MS // 20, **WORKER) for n in range(400)]
    case = fetching(case_with, [waited(2 * MS, SECOND, **WORKER), *short])

    assert list(detect(case)) == []


@pytest.mark.parametrize(
    ("known", "severities"),
    [
        pytest.param({}, [Severity.CRITICAL], id="a child at work"),
        pytest.param({"asleep": True}, [], id="a child asleep"),
        pytest.param({"host": "host-2"}, [], id="the same numbers on another host"),
        pytest.param({"parent_tid": None}, [Severity.INFO], id="nobody saw who started it"),
        pytest.param({"parent_tid": 99}, [], id="another one's child"),
    ],
)
def test_waits_again_and_again_are_for_a_child_at_work(case_with, known, severities):
    waits = [waited((10 * n + 2) * MS, 4 * MS, **WORKER) for n in range(600)]
    case = fetching(case_with, waits, **known)
    found = proved(case, detect(case))

    assert [one.severity for one in found] == severities
    assert [one.thread_seconds for one in found] == [pytest.approx(2.4)] * len(severities)
