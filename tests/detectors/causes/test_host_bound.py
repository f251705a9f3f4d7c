"""Threads that are busy by themselves while the GPU waits."""

import pytest

from gnomon.detectors.causes.host_bound import detect
from gnomon.enums import Cause, Severity
from tests.analysis.recordings import BEGIN_NS, MS, SECOND, call
from tests.analysis.stays import queued
from tests.detectors.causes.proving import found_loss, proved
from tests.detectors.worlds import World

VLLM = "vllm-37343-logprobs-amplification"
BEGIN_OF_VLLM_NS = 1_774_099_485_937_549_222


@pytest.mark.parametrize("kind", ["training", "decode_server", "batch_inference"])
def test_the_loss_is_what_the_gpu_was_measured_to_wait(tmp_path, case_of, kind):
    knobs = {"follow": "all", "counters": True, "ranks": 1}
    world = World(2, kind, 6, **knobs).with_fault("host_bound", 0.2)
    # Healthy worlds have up to 2 % of own code in each step too.
    (found,) = found_loss(case_of(world.record(tmp_path)), detect, world, 0.15)

    assert found.lost_pct == pytest.approx(100 * found.lost_seconds / 6, rel=0.1)


def test_a_published_thread_is_busy_by_itself(imported, case_of):
    case = case_of(imported[VLLM])
    (found,) = proved(case, detect(case))

    assert (found.pid, found.tid, found.severity) == (72801, 72801, Severity.WARNING)
    # The facts: it is on the CPU from the 14th second on, before that it waits for requests.
    begin_s, end_s = ((at_ns - BEGIN_OF_VLLM_NS) / SECOND for at_ns in (found.from_ns, found.to_ns))
    assert 13 < begin_s < 18
    assert 37 < end_s < 39
    assert found.thread_seconds == pytest.approx(0.93 * (end_s - begin_s), rel=0.03)
    off_cpu, waited = found.ruled_out
    assert off_cpu.cause is Cause.CPU_CONTENTION
    # Of the whole: in cudaLaunchKernel and outermost cuLaunchKernel; in synchronisations.
    assert 0 < off_cpu.value < 5_296_514 + 583_275
    assert waited.value < 9_368_380 + 150_502


def test_a_published_thread_is_on_the_cpu_as_long_as_the_facts_say(imported, case_of):
    """The facts: 93.4 % of t = 14 to 39 s."""
    case = case_of(
        imported[VLLM],
        BEGIN_OF_VLLM_NS + 14 * SECOND,
        BEGIN_OF_VLLM_NS + 39 * SECOND,
    )
    (thread,) = case.dispatch_threads
    length_ns = thread.span.to_ns - thread.span.from_ns

    assert thread.on_cpu_ns / length_ns == pytest.approx(0.934, abs=0.01)


def test_many_small_waits_are_another_cause(tmp_path, case_of):
    knobs = {"follow": "all", "counters": True, "ranks": 1}
    world = World(2, "training", 6, **knobs).with_fault("synchronization", 0.3)

    assert list(detect(case_of(world.record(tmp_path)))) == []


def launching(own_ms, waiting_ms, *, seconds=2, **more):
    """Launches with so much own code between them, each followed by a synchronisation."""
    period_ns = (own_ms + waiting_ms + 1) * MS
    count = seconds * SECOND // period_ns
    calls = []
    for at_ns in range(0, count * period_ns, period_ns):
        calls.append(call(at_ns, MS, "cudaLaunchKernel", off_cpu_ns=0, **more))
        wait = call(at_ns + MS, waiting_ms * MS, "cudaStreamSynchronize", off_cpu_ns=0, **more)
        calls += [wait] if waiting_ms else []
    return calls


def polling(queries=100, **more):
    """Steps of 10 ms: a launch, then so many queries over 8 ms."""
    calls = []
    for at_ns in range(0, 2 * SECOND, 10 * MS):
        calls.append(call(at_ns, MS // 10, "cudaGraphLaunch", off_cpu_ns=0))
        for number in range(queries):
            begin_ns = at_ns + MS + number * 8 * MS // queries
            calls.append(call(begin_ns, 1_000, "cudaEventQuery", off_cpu_ns=0, **more))
    return calls


STAYS = [queued(n * 100 * MS + 3 * MS, MS // 10) for n in range(10)]


@pytest.mark.parametrize(
    ("calls", "severities"),
    [
        pytest.param(launching(9, 0), [Severity.WARNING], id="own code all the time"),
        # The GPU may work on one step while the thread prepares the next.
        pytest.param(launching(40, 4), [Severity.INFO], id="few waits"),
        pytest.param(launching(40, 8), [], id="waits for the GPU"),
        pytest.param(launching(9, 0, seconds=1)[:-10], [], id="not active for long"),
        pytest.param(launching(9, 0, weight=8.0, selection="uniform"), [], id="sampled"),
        pytest.param(polling(), [], id="asks all the time whether the GPU has done"),
        pytest.param(polling(return_code=0), [Severity.WARNING], id="asks, and it has"),
        pytest.param(polling(queries=1), [Severity.WARNING], id="asks once a step"),
        pytest.param([row | {"duration_ns": 0} for row in launching(9, 0)], [], id="no times"),
    ],
)
def test_without_counters_the_thread_must_hardly_wait(case_with, calls, severities):
    case = case_with(host_calls=calls, off_cpu=STAYS)
    found = proved(case, detect(case))

    assert [one.severity for one in found] == severities


@pytest.mark.parametrize("stays", [[], [row | {"selection": "biased"} for row in STAYS]])
def test_who_was_not_followed_is_not_known_to_be_on_the_cpu(case_with, stays):
    case = case_with(host_calls=launching(9, 0), off_cpu=stays)

    assert list(detect(case)) == []


@pytest.mark.parametrize(("counted_ns", "speaks"), [(None, True), (SECOND, False)])
def test_calls_that_were_counted_and_not_kept_are_no_own_code(case_with, counted_ns, speaks):
    histogram = {
        "ts_ns": BEGIN_NS + 2 * SECOND,
        "duration_ns": 2 * SECOND,
        "host": "host-1",
        "pid": 1,
        "layer": "cuda_runtime",
        "operation": "cudaLaunchKernel",
        "total_ns": counted_ns,
    }
    calls = launching(9, 0, selection="biased", weight=None)
    case = case_with(host_calls=calls, off_cpu=STAYS, call_histograms=[histogram])

    assert bool(list(detect(case))) == speaks


def test_a_thread_beside_one_that_launches_far_more_is_not_what_the_gpu_waits_for(case_with):
    others = [call(n * MS, MS // 2, "cudaLaunchKernel", tid=2, off_cpu_ns=0) for n in range(1900)]
    case = case_with(host_calls=launching(9, 0) + others, off_cpu=STAYS)

    assert list(detect(case)) == []


@pytest.mark.parametrize("counters", [True, False])
@pytest.mark.parametrize("polls", ["seldom", "evenly"])
@pytest.mark.parametrize("seed", range(4))
def test_a_loop_that_polls_for_requests_is_not_known_to_work(
    tmp_path, case_of, seed, polls, counters
):
    knobs = {"follow": "all", "counters": counters, "polls": polls, "sample_every": 1}
    world = World(seed, "idle_server", 12, stays_kept="all", **knobs)
    case = case_of(world.record(tmp_path))

    for one in proved(case, detect(case)):
        assert one.severity is Severity.INFO
        assert "may be polling" in one.confidence_reason
        assert one.confidence <= 0.3


def test_own_code_is_told_of_the_time_in_which_it_was(tmp_path, case_of):
    knobs = {"follow": "all", "counters": True, "ranks": 1, "step_ns": 60 * MS}
    world = World(7, "training", 14, **knobs).with_fault("host_bound", 0.6, from_s=8, to_s=11)
    (found,) = found_loss(case_of(world.record(tmp_path)), detect, world, 0.15)
    (truth,) = world.truth

    assert abs(found.from_ns - truth.from_ns) < 1.1 * SECOND
    assert abs(found.to_ns - truth.to_ns) < 1.1 * SECOND


def lost(table, rows):
    stamped = {"ts_ns": BEGIN_NS + SECOND, "duration_ns": SECOND, "reason": "buffer_full"}
    return [stamped | {"table": table, "rows": rows}]


@pytest.mark.parametrize(
    ("losses", "speaks"),
    [
        (lost("off_cpu", 90), False),
        (lost("host_calls", 60), False),
        (lost("off_cpu", None), False),
        (lost("host_calls", 1), True),
        (lost("gpu_counters", 900), True),
    ],
)
def test_rows_that_were_lost_are_no_own_code(case_with, losses, speaks):
    case = case_with(host_calls=launching(9, 0), off_cpu=STAYS, losses=losses)

    assert bool(list(detect(case))) == speaks


@pytest.mark.parametrize("step_ns", [3600 * SECOND, -3600 * SECOND, 1 << 60])
def test_a_clock_that_was_set_makes_no_own_code(case_with, step_ns):
    calls = launching(9, 0, seconds=4)
    moved = calls[:200] + [row | {"ts_ns": row["ts_ns"] + step_ns} for row in calls[200:]]
    case = case_with(host_calls=moved, off_cpu=STAYS)

    for one in proved(case, detect(case)):
        assert one.thread_seconds < 4


def test_a_gap_unlike_all_others_is_told_and_not_counted(case_with):
    calls = launching(9, 0, seconds=4)
    later = [row | {"ts_ns": row["ts_ns"] + 2 * SECOND} for row in calls[200:]]
    case = case_with(host_calls=calls[:200] + later, off_cpu=STAYS)
    (found,) = proved(case, detect(case))

    assert found.thread_seconds == pytest.approx(0.9 * 4, rel=0.02)
    assert found.evidence[-1].value == pytest.approx(2 * SECOND, rel=0.01)


def test_queries_that_were_counted_and_not_kept_may_have_been_all_it_did(case_with):
    histogram = {
        "ts_ns": BEGIN_NS + 2 * SECOND,
        "duration_ns": 2 * SECOND,
        "host": "host-1",
        "pid": 1,
        "layer": "cuda_runtime",
        "operation": "cudaEventQuery",
        "calls": 50_000,
        "total_ns": 50_000_000,
    }
    calls = launching(9, 0, selection="biased", weight=None)
    case = case_with(host_calls=calls, off_cpu=STAYS, call_histograms=[histogram])

    assert list(detect(case)) == []
