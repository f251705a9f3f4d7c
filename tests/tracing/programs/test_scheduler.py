"""Time off the processor, against schedstat, rusage and the stand-ins' own clocks."""

import os
from pathlib import Path

import numpy as np
import pytest

from gnomon.tracing.layouts import RecordKind, StayClass, Waker
from gnomon.tracing.requirements import SINCE
from tests.tracing.programs.conftest import attempted
from tests.tracing.programs.tracer import NEEDS_PROGRAMS, NEVER_NS, needs_linux, of_thread

pytestmark = NEEDS_PROGRAMS

MILLISECOND_NS = 1_000_000
SHARED_PROCESSOR = 1
# Others who use this machine get next to nothing beside what runs under it: neither in its group
# (nice) nor as a group of their own (the session's, where the kernel makes those).
BEFORE_OTHERS = (
    *("setsid", "nice", "-n", "-20", "sh", "-c"),
    '[ ! -e /proc/$$/autogroup ] || echo -20 > /proc/$$/autogroup; exec "$0"',
)


def away_ns(thread):
    names = ("run_queue_ns", "io_ns", "voluntary_ns", "uninterruptible_ns")
    return sum(int(thread[name]) for name in names)


def blocked_truth_ns(true):
    """What is left of the time is neither running nor waiting for a processor."""
    return true["wall_ns"] - true["cpu_ns"] - true["run_delay_ns"]


def test_under_a_hog_the_run_queue_delay_is_schedstats_and_the_hog_is_named(trace):
    def scenario():
        tracer, taken, truth = trace(
            "call cudaLaunchKernel 100 2000000 0 0",
            processor=SHARED_PROCESSOR,
            hog=True,
            under=BEFORE_OTHERS,
        )
        true = truth.thread()
        thread, cells = of_thread(taken, true["tid"])
        stays = tracer.records(RecordKind.STAY, true["tid"])
        preempted = stays[stays["stay_class"] == StayClass.RUNNABLE]
        by_hog = preempted[preempted["preemptor_tid"] == truth.all["hog_pid"]]

        assert true["run_delay_ns"] > 100 * MILLISECOND_NS
        assert thread["run_queue_ns"] == pytest.approx(true["run_delay_ns"], rel=0.02)
        in_calls_ns = cells["cudaLaunchKernel"]["run_queue_ns"]
        assert 0.95 * true["run_delay_ns"] <= in_calls_ns <= thread["run_queue_ns"]
        assert thread["preempted_switches"] == pytest.approx(true["preempted_switches"], abs=3)
        assert set(by_hog["preemptor_name"]) == {b"hog"}
        assert not set(preempted["preemptor_tid"]) & {0, true["tid"]}
        # Others take the processor, too, but for moments.
        assert by_hog["duration_ns"].sum() >= 0.99 * preempted["duration_ns"].sum()

    attempted(scenario, times=6)


def test_sleep_is_voluntary_to_2_percent_and_ended_by_an_interrupt(trace):
    def scenario():
        tracer, taken, truth = trace("call cudaStreamSynchronize 60 100000 8000000 0")
        true = truth.thread()
        thread, _ = of_thread(taken, true["tid"])
        stays = tracer.records(RecordKind.STAY, true["tid"])
        slept = stays[stays["stay_class"] == StayClass.VOLUNTARY]

        blocked_ns = int(thread["voluntary_ns"]) + int(thread["waking_ns"])
        assert blocked_ns == pytest.approx(blocked_truth_ns(true), rel=0.02)
        assert 60 * 8 * MILLISECOND_NS <= thread["voluntary_ns"] <= true["slept_ns"]
        assert np.mean(slept["woken"] == Waker.BY_INTERRUPT) > 0.9
        assert not slept["waker_tid"][slept["woken"] == Waker.BY_INTERRUPT].any()

    attempted(scenario)


def test_a_futex_wait_names_who_ended_it_and_where_it_slept(trace):
    def keep(tracer):
        tracer.keep_stays(2 * MILLISECOND_NS)
        tracer.settings["waker_stack_threshold_ns"] = MILLISECOND_NS

    def scenario():
        tracer, taken, truth = trace("futex cudaEventSynchronize 50 5000000", prepare=keep)
        true = truth.thread()
        _, cells = of_thread(taken, true["tid"])
        stays = tracer.records(RecordKind.STAY, true["tid"])
        stays = stays[stays["stay_class"] == StayClass.VOLUNTARY]

        waits = cells["cudaEventSynchronize"]
        assert len(stays) == 50
        assert set(stays["waker_tid"]) == {true["waker_tid"]}
        assert set(stays["waker_name"]) == {b"waker"}
        assert set(stays["operation"]) == {waits["operation"]}
        waited_ns = int(waits["voluntary_ns"]) + int(waits["run_queue_ns"])
        assert waited_ns == pytest.approx(true["waited_ns"], rel=0.02)
        assert "futex_wait" in _symbols(tracer, stays[0]["stack"])
        assert "futex_wake" in _symbols(tracer, stays[0]["waker_stack"])

    attempted(scenario)


def _symbols(tracer, key):
    """The functions of a kernel stack in one string."""
    found = tracer.maps["stacks"].lookup(int(key).to_bytes(8, "little"))
    addresses = np.frombuffer(found, np.uint64)
    table = [line.split()[:3] for line in Path("/proc/kallsyms").read_text().splitlines()]
    starts = np.array([int(address, 16) for address, _, _ in table], np.uint64)
    if not starts.any():
        pytest.skip("/proc/kallsyms hides its addresses")
    order = np.argsort(starts, kind="stable")
    places = np.searchsorted(starts[order], addresses[addresses > 0], side="right") - 1
    return " ".join(table[order[place]][2] for place in places)


@needs_linux(SINCE["block"], "tracepoints of block requests")
def test_reads_past_the_page_cache_are_io_and_their_requests_belong_to_the_call(trace, tmp_path):
    path = tmp_path / "data"
    path.write_bytes(os.urandom(1 << 20) * 64)
    os.sync()
    try:
        os.close(os.open(path, os.O_RDONLY | os.O_DIRECT))
    except OSError:
        pytest.skip(f"O_DIRECT does not work on {path}")

    def scenario():
        tracer, taken, truth = trace(f"read cudaMemcpy 64 1048576 {path}")
        true = truth.thread()
        thread, cells = of_thread(taken, true["tid"])
        requests = tracer.records(RecordKind.BLOCK, true["tid"])

        blocked_ns = int(thread["io_ns"]) + int(thread["waking_ns"])
        assert blocked_ns == pytest.approx(blocked_truth_ns(true), rel=0.02)
        assert cells["cudaMemcpy"]["io_ns"] == pytest.approx(int(thread["io_ns"]), rel=0.02)
        assert thread["block_bytes"] == 64 << 20
        assert requests["bytes"].sum() == 64 << 20
        assert len(requests) == thread["block_requests"]
        assert set(requests["operation"]) == {cells["cudaMemcpy"]["operation"]}
        assert set(requests["block_operation"]) == {0}
        assert set(requests["device"]) == {_kernel_device(path)}

    attempted(scenario)


def _kernel_device(path):
    device = path.stat().st_dev
    return os.major(device) << 20 | os.minor(device)


def test_running_and_the_classes_add_up_to_the_time_that_passed(trace):
    def scenario():
        _, taken, truth = trace(
            "call cudaLaunchKernel 50 1000000 1000000 0",
            "futex cudaStreamSynchronize 20 2000000",
            processor=SHARED_PROCESSOR,
            hog=True,
        )
        true = truth.thread()
        thread, _ = of_thread(taken, true["tid"])

        assert away_ns(thread) + true["cpu_ns"] == pytest.approx(true["wall_ns"], rel=0.02)

    attempted(scenario)


def test_only_stays_as_long_as_the_threshold_become_records_and_totals_have_all(trace):
    tracer, taken, truth = trace(
        "call cudaLaunchKernel 20 0 1000000 0 ",
        "call cudaLaunchKernel 3 0 50000000 0",
        prepare=lambda tracer: tracer.keep_stays(40 * MILLISECOND_NS),
    )
    tid = truth.thread()["tid"]
    stays = tracer.records(RecordKind.STAY, tid)
    thread, _ = of_thread(taken, tid)

    assert np.all(stays["duration_ns"] >= 40 * MILLISECOND_NS)
    assert np.sum(stays["stay_class"] == StayClass.VOLUNTARY) >= 3
    assert thread["blocked_switches"] >= 23
    assert thread["blocked_histogram"].sum() == thread["blocked_switches"]


def test_page_faults_are_counted(trace):
    def scenario():
        _, taken, truth = trace("call cudaLaunchKernel 23 0 0 0")
        thread, _ = of_thread(taken, truth.thread()["tid"])

        # Some more before and after the truth is taken.
        assert 0 <= int(thread["page_faults"]) - truth.thread()["page_faults"] < 30

    attempted(scenario)


def test_pages_that_had_to_be_read_are_told_apart_by_call(trace, tmp_path):
    path = tmp_path / "pages"
    path.write_bytes(os.urandom(64 * 4096))
    os.sync()

    def scenario():
        tracer, taken, truth = trace(f"touch cudaMemcpy 64 {path}", "call cudaLaunchKernel 1 0 0 0")
        true = truth.thread()
        copy, launch = tracer.records(RecordKind.CALL, true["tid"])
        if not true["major_faults"]:
            pytest.skip(f"reads of {path} do not fault")

        assert copy["major_faults"] == true["major_faults"]
        assert launch["major_faults"] == 0
        assert of_thread(taken, true["tid"])[0]["major_faults"] == true["major_faults"]

    attempted(scenario)


def test_nothing_is_kept_where_nothing_is_asked_for(trace):
    def keep_nothing(tracer):
        tracer.keep_calls(NEVER_NS)
        tracer.keep_stays(NEVER_NS)

    tracer, _, truth = trace("call cudaLaunchKernel 23 0 1000000 0", prepare=keep_nothing)
    tid = truth.thread()["tid"]

    assert not len(tracer.records(RecordKind.CALL, tid))
    assert not len(tracer.records(RecordKind.STAY, tid))
