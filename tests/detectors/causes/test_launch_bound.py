"""Threads that launch short kernels more slowly than the GPU runs them."""

from random import Random

import pytest

from gnomon.detectors.causes._launching import launching
from gnomon.detectors.causes.launch_bound import detect
from gnomon.enums import Cause, Severity
from tests.analysis.recordings import BEGIN_NS, MS, SECOND, THREAD, US, call
from tests.analysis.stays import queued
from tests.detectors.causes.proving import found_loss, proved
from tests.detectors.worlds import World

KNOWN = {"follow": "all", "counters": True, "ranks": 1, "graph": False, "from_start": False}


@pytest.mark.parametrize("sample_every", [1, 10])
def test_the_loss_is_the_time_in_launches_and_between_them(tmp_path, case_of, sample_every):
    knobs = KNOWN | {"sample_every": sample_every, "step_ns": 50 * MS, "launches": 20}
    world = World(3, "training", 2, **knobs).with_fault("launch_bound", 0.8)
    case = case_of(world.record(tmp_path))
    (found,) = found_loss(case, detect, world, 0.1, Severity.CRITICAL)
    (truth,) = world.truth

    assert found.lost_seconds == pytest.approx(truth.gpu_idle_seconds, rel=0.1)
    assert found.operation == "cudaLaunchKernel"


@pytest.mark.parametrize(
    "cause", ["host_bound", "synchronization", "cpu_contention", "io_wait", "voluntary_wait"]
)
def test_other_faults_are_not_called_launching(tmp_path, case_of, cause):
    world = World(4, "training", 4, **KNOWN).with_fault(cause, 0.5)

    assert list(detect(case_of(world.record(tmp_path)))) == []


@pytest.mark.parametrize("knobs", [{"counters": False}, {"graph": True, "launches": 1}])
def test_nothing_is_said_without_counters_and_where_graphs_are_launched(tmp_path, case_of, knobs):
    world = World(5, "decode_server", 2, **(KNOWN | knobs))
    if "counters" in knobs:
        world = world.with_fault("launch_bound", 0.8)

    assert list(detect(case_of(world.record(tmp_path)))) == []


def counters(idle_pct, seconds=2):
    """Readings of one GPU, ten a second."""
    return [
        {
            "ts_ns": BEGIN_NS + (tick + 1) * 100 * MS,
            "duration_ns": 100 * MS,
            "gpu_uuid": "GPU-0",
            "source": "gpm",
            "engine_active_pct": 100.0 - idle_pct,
            "busy_pct": 100.0,
        }
        for tick in range(10 * seconds)
    ]


def chain(pitch_us=20, launch_us=6, *, seconds=2, **more):
    """Launches one after the other."""
    count = seconds * SECOND // (pitch_us * US)
    begins = range(0, count * pitch_us * US, pitch_us * US)
    return [call(at, launch_us * US, "cudaLaunchKernel", off_cpu_ns=0, **more) for at in begins]


STAYS = [queued(n * 100 * MS + 7 * US, 5 * US) for n in range(10)]


@pytest.mark.parametrize(
    ("calls", "idle_pct", "severities"),
    [
        pytest.param(chain(), 70.0, [Severity.CRITICAL], id="the GPU waits"),
        pytest.param(chain(), 8.0, [Severity.WARNING], id="it hardly does"),
        pytest.param(chain(), 0.5, [], id="it does not"),
        pytest.param(chain(pitch_us=70), 90.0, [], id="own code between launches"),
        pytest.param(chain(pitch_us=150), 90.0, [], id="more than a pause between launches"),
        pytest.param(
            chain(selection="biased", weight=None), 70.0, [], id="nobody knows how many there were"
        ),
        pytest.param(
            chain(pitch_us=200, selection="uniform", weight=10.0),
            70.0,
            [Severity.CRITICAL],
            id="one in ten was kept",
        ),
    ],
)
def test_the_gpu_must_have_waited_for_short_kernels(case_with, calls, idle_pct, severities):
    case = case_with(host_calls=calls, off_cpu=STAYS, gpu_counters=counters(idle_pct))
    found = proved(case, detect(case))

    assert [one.severity for one in found] == severities
    for one in found:
        assert one.cause is Cause.LAUNCH_BOUND
        assert one.thread_seconds == pytest.approx(2, rel=0.02)
        assert one.lost_seconds == pytest.approx(2 * idle_pct / 100, rel=0.02)


def test_pauses_between_chains_belong_to_another_cause(case_with):
    # 100 launches of 20 us, then 1 ms of something else.
    period_ns = 3 * MS
    calls = [
        call(step * period_ns + at * 20 * US, 6 * US, "cudaLaunchKernel", off_cpu_ns=0)
        for step in range(600)
        for at in range(100)
    ]
    case = case_with(host_calls=calls, off_cpu=STAYS, gpu_counters=counters(80.0))
    (found,) = proved(case, detect(case))
    pauses, _ = found.ruled_out

    assert found.thread_seconds == pytest.approx(600 * 99 * 20e-6, rel=0.02)
    assert pauses.cause is Cause.HOST_BOUND
    assert pauses.value == pytest.approx(599 * 1.02 * MS, rel=0.01)


def windows(period_ns, on_ns, count):
    """Histograms of launches that were followed at the end of every period."""
    return [
        {
            "ts_ns": BEGIN_NS + (number + 1) * period_ns,
            "duration_ns": period_ns,
            "covered_ns": on_ns,
            "host": THREAD.host,
            "pid": THREAD.pid,
            "tid": THREAD.tid,
            "layer": "cuda_runtime",
            "operation": "cudaLaunchKernel",
            "calls": on_ns // (20 * US),
            "total_ns": on_ns * 6 // 20,
        }
        for number in range(count)
    ]


@pytest.mark.parametrize("period_ms", [250, 1500])
def test_what_is_seen_in_windows_stands_for_the_whole_time(case_with, period_ms):
    """Launches are followed for 50 ms at the end of every period."""
    period_ns, on_ns, seconds = period_ms * MS, 50 * MS, 6
    in_period = [(row, (row["ts_ns"] - BEGIN_NS) % period_ns) for row in chain(seconds=seconds)]
    calls = [
        row | {"weight": period_ns / on_ns, "selection": "uniform"}
        for row, at_ns in in_period
        if at_ns > period_ns - on_ns
    ]
    histograms = windows(period_ns, on_ns, seconds * SECOND // period_ns)
    case = case_with(
        host_calls=calls,
        off_cpu=STAYS,
        gpu_counters=counters(70.0, seconds),
        call_histograms=histograms,
    )
    (found,) = proved(case, detect(case))

    assert found.thread_seconds == pytest.approx(seconds, rel=0.03)
    assert found.lost_seconds == pytest.approx(0.7 * seconds, rel=0.05)
    assert found.ruled_out[0].value == 0  # of pauses: between windows is none


def test_distances_of_rows_kept_by_chance_are_no_pauses_however_chances_change(case_with):
    """A chance for each interval; launches kept for their length come in bunches, with weight 1."""
    random = Random(7)
    calls = []
    for number, row in enumerate(chain(seconds=6)):
        # Every interval but the third is sampled more thinly than what is usual in that one.
        chance = 0.5 if (row["ts_ns"] - BEGIN_NS) // SECOND == 2 else 0.02
        is_long = number % 1_000 < 20
        if is_long or random.random() < chance:
            calls.append(row | {"weight": 1.0 if is_long else 1 / chance, "selection": "weighted"})
    case = case_with(
        host_calls=calls,
        off_cpu=STAYS,
        gpu_counters=counters(70.0, 6),
        call_histograms=windows(SECOND, SECOND, 6),
    )
    (found,) = proved(case, detect(case))

    assert found.thread_seconds == pytest.approx(6, rel=0.02)


def test_stays_off_the_cpu_are_not_launching(case_with):
    stays = [queued(n * 10 * MS + 7 * US, 4 * MS) for n in range(200)]
    calls = [row for row in chain() if (row["ts_ns"] - BEGIN_NS) % (10 * MS) > 4 * MS]
    case = case_with(host_calls=calls, off_cpu=stays, gpu_counters=counters(80.0))
    (found,) = proved(case, detect(case))

    assert found.thread_seconds == pytest.approx(2 * 0.6, rel=0.02)
    assert found.lost_seconds == pytest.approx(2 * (0.8 - 0.4), rel=0.05)


@pytest.mark.parametrize(
    ("table", "rows", "speaks"),
    [
        ("off_cpu", 5, False),
        ("host_calls", 5_000, False),
        ("host_calls", None, False),
        # One in ten of 100,000 was kept, so that 500 are not many.
        ("host_calls", 500, True),
    ],
)
def test_rows_that_were_lost_are_not_launching(case_with, table, rows, speaks):
    calls = chain(pitch_us=200, selection="weighted", weight=10.0)
    stamped = {"ts_ns": BEGIN_NS + SECOND, "duration_ns": SECOND, "reason": "ring_full"}
    losses = [stamped | {"table": table, "rows": rows}]
    case = case_with(host_calls=calls, off_cpu=STAYS, gpu_counters=counters(70.0), losses=losses)

    assert bool(list(detect(case))) == speaks


def test_a_burst_in_a_long_time_is_not_worth_a_word(case_with):
    burst = chain()[: 30 * MS // (20 * US)]
    case = case_with(host_calls=burst, off_cpu=STAYS[:1], gpu_counters=counters(95.0, seconds=30))

    assert list(detect(case)) == []


def test_between_launches_is_what_is_not_inside(case_with):
    case = case_with(host_calls=chain(), off_cpu=STAYS, gpu_counters=counters(70.0))
    found = launching(case, case.dispatch_threads[0])

    assert found.between_ns == pytest.approx(2 * SECOND * 14 / 20, rel=0.02)
    assert case.value(found.between_sql) == found.between_ns
