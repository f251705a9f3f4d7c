"""Gaps between kernels: how long, and why, on timelines of which everything is known."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gnomon.analysis.gap_patterns import find_gaps, period_of
from gnomon.analysis.gpu_busy import RanTime, busy_time
from gnomon.analysis.gpu_gaps import gpu_gaps, split
from gnomon.analysis.gpu_work import CopyLabel, GpuWork, KernelLabel, Ran
from gnomon.analysis.interval_sets import union
from gnomon.analysis.intervals import Intervals
from gnomon.enums import KernelFamily
from tests.analysis import kernel_recordings, stays
from tests.analysis.gpu_timelines import ALL_REDUCE, BEGIN_NS, MS, US, Timeline
from tests.analysis.recordings import call
from tests.analysis.scenes import rows as counter_rows

NOTHING = np.zeros(0, dtype=np.int64)


def told(line, path):
    with line.asked(path) as (recording, session, span):
        (found,) = gpu_gaps(recording, session, span)
    return found


def pair(begin_ns=100 * US, length_ns=50 * US, first="gemm", **after):
    """Two kernels with a gap between them, in a window that ends with the second."""
    line = Timeline()
    line.kernel(0, begin_ns, first)
    end_ns = line.kernel(begin_ns + length_ns, 10 * US, "next", **after)
    line.window(0, end_ns)
    return line


def test_the_reason_of_a_gap_is_what_surrounds_it(tmp_path):
    lines = {"unknown": pair(), "after_collective": pair(first=ALL_REDUCE)}
    lines["launch_bound"] = pair(enqueued_ns=BEGIN_NS + 120 * US)
    lines["queued"] = pair(enqueued_ns=BEGIN_NS + 90 * US)
    lines["after_synchronization"] = pair(enqueued_ns=BEGIN_NS + 130 * US)
    lines["after_synchronization"].waited(20 * US, 85 * US)
    lines["after_copy_to_host"] = pair()
    lines["after_copy_to_host"].copy(90 * US, 20 * US, "d2h")

    for reason, line in lines.items():
        found = told(line, tmp_path / reason)
        assert found.total_ns == 50 * US
        copied = 10 * US if reason == "after_copy_to_host" else 0
        assert found.reasons[reason] == 50 * US - copied
        assert found.reasons.get("copying", 0) == copied


def test_a_streams_wait_is_no_threads(tmp_path):
    line = pair()
    line.waited(20 * US, 85 * US, "stream_wait")

    assert told(line, tmp_path).reasons == {"unknown": 50 * US}


def test_what_follows_sooner_than_a_launch_takes_was_queued(tmp_path):
    assert told(pair(length_ns=2 * US), tmp_path).reasons == {"queued": 2 * US}


def test_nothing_is_claimed_outside_of_windows(tmp_path):
    line = Timeline()
    for begin_ns in (10 * US, 30 * US, 300 * US, 330 * US):
        line.kernel(begin_ns, 10 * US)
    line.window(0, 100 * US)
    line.window(290 * US, 400 * US)

    found = told(line, tmp_path)

    assert (found.count, found.total_ns) == (2, 10 * US + 20 * US)
    assert found.busy.known_ns == 210 * US
    assert found.busy.kernels_only_ns == 40 * US
    assert found.at_edges_ns == 210 * US - 40 * US - found.total_ns
    assert found.longest_ns == 20 * US


def test_gaps_that_come_again_and_again_are_periodic(tmp_path):
    line, at = Timeline(), 0
    for number in range(60):
        at = line.kernel(at, 100 * US) + (1 * MS if number % 4 == 3 else 5 * US)
    line.window(0, at)

    found = told(line, tmp_path)

    assert found.reasons == {"periodic": 14 * MS, "unknown": 45 * 5 * US}
    assert found.pairs[0].period_ns == 1 * MS + 400 * US + 15 * US


def test_irregular_gaps_have_no_period():
    begins = np.cumsum(np.random.default_rng(0).integers(1, 1000, 50))

    assert period_of(begins, np.full(50, 7)) is None
    assert period_of(np.arange(5), np.full(5, 7)) is None
    assert period_of(NOTHING, NOTHING) is None


def test_the_thread_that_fed_the_next_kernel_tells_what_it_did(tmp_path):
    """In the gap from 1 to 2 ms: 0.1 in a synchronization, 0.3 own code, 0.4 a lock, 0.1 for a CPU,
    0.1 a launch; in that from 3 to 4 ms all of it a copy's call."""  # fmt: skip
    line = Timeline()
    for begin_ns in (0, 2 * MS, 4 * MS):
        line.kernel(begin_ns, 1 * MS)
    line.window(0, 5 * MS)
    step = 100 * US
    shift = BEGIN_NS - stays.BEGIN_NS
    thread = {"pid": kernel_recordings.PID, "tid": 1, "host": "host-1"}
    calls = [call(shift, step, "cudaLaunchKernel", **thread)]
    calls += [
        call(shift + at * step, ns, operation, **thread)
        for at, ns, operation in (
            (5, 6 * step, "cudaStreamSynchronize"),
            (19, step, "cudaLaunchKernel"),
            (25, 16 * step, "cudaMemcpy"),
            *((43 + number, step // 2, "cudaLaunchKernel") for number in range(8)),
        )
    ]
    waits = [
        stays.waited(shift + 12 * step, 4 * step, stack_hash=1, **thread),
        stays.queued(shift + 17 * step, step, **thread),
    ]
    line.others = {
        "host_calls": calls,
        "off_cpu": waits,
        "stacks": stays.stack(1, "pthread_mutex_lock"),
    }

    found = told(line, tmp_path)

    assert found.threads == 1
    assert found.total_ns == 2 * MS
    assert found.reasons == {
        "copy_call": 10 * step,
        "lock": 4 * step,
        "own_code": 3 * step,
        "synchronizing": step,
        "run_queue": step,
        "launching": step,
    }


def test_of_a_thread_whose_calls_were_not_all_kept_own_code_is_not_claimed(tmp_path):
    line = pair()
    shift = BEGIN_NS - stays.BEGIN_NS
    thread = {"pid": kernel_recordings.PID, "tid": 1, "host": "host-1", "weight": 5.0}
    line.others["host_calls"] = [
        call(shift + number * 16 * US, 2 * US, "cudaLaunchKernel", **thread) for number in range(12)
    ]

    found = told(line, tmp_path)

    assert found.reasons == {"unknown": 44 * US, "launching": 6 * US}


def test_the_union_settles_what_counters_say(tmp_path):
    """Kernels run 40 % of each interval, copies to the host 20 more: busy at 72 is wrong."""
    line = Timeline()
    for number in range(10):
        line.kernel(number * 100 * MS, 40 * MS)
        line.copy(number * 100 * MS + 50 * MS, 20 * MS, "d2h")
    line.window(0, 1000 * MS)
    readings = {"busy_pct": 72.0, "engine_active_pct": 40.0}
    shift = {"gpu": kernel_recordings.GPU_UUID, "count": 12}
    line.others["gpu_counters"] = [
        row | {"ts_ns": BEGIN_NS + (number + 1) * 100 * MS}
        for number, row in enumerate(counter_rows("gpm", readings, **shift))
    ]

    found = told(line, tmp_path)

    told_of = {one.counter: (one.ran_pct, one.difference_pct, one.seconds) for one in found.checks}
    assert told_of["busy_pct"] == pytest.approx((60.0, 12.0, 1.0))
    assert told_of["engine_active_pct"] == pytest.approx((40.0, 0.0, 1.0))
    assert found.busy.copies_only_ns == 200 * MS
    assert found.busy.neither_ns == 400 * MS


def test_the_measured_h200_runs_four_gemms_every_sixteen_ms(tmp_path):
    measured = kernel_recordings.measured()
    starts = measured["kernels"]["ts_ns"].to_numpy() - measured["kernels"]["duration_ns"].to_numpy()
    line = Timeline(others=dict(measured))
    with line.asked(tmp_path) as (recording, session, span):
        (found,) = gpu_gaps(recording, session, span)

    assert found.count == len(starts) - 1 == 1993  # one stream: no two overlap
    assert found.busy.known_ns == found.busy.kernels_only_ns + found.total_ns
    assert found.share_pct("periodic") > 98
    assert found.pairs[0].period_ns == pytest.approx(np.median(np.diff(starts[6::4])), rel=0.01)
    (check,) = found.checks
    # Copies within the device were not recorded, and they keep SMs active, too.
    assert check.difference_pct == pytest.approx(23, abs=1)


OPERATIONS = st.lists(
    st.tuples(st.integers(0, 60), st.integers(0, 9), st.integers(0, 1)), min_size=1, max_size=12
)


def ran(operations):
    begins, lengths, labels = np.array(sorted(operations), dtype=np.int64).T
    return Ran(Intervals(begins, begins + lengths), labels, labels, np.zeros(len(begins), np.int64))


def moments(spans):
    pairs = zip(spans.start_ns.tolist(), spans.end_ns.tolist(), strict=True)
    return {moment for begin, end in pairs for moment in range(begin, end)}


@settings(max_examples=200)
@given(OPERATIONS, OPERATIONS, OPERATIONS)
def test_every_nanosecond_has_one_place_and_one_reason(kernels, copies, windows):
    known = union(ran([(begin, 4 * length, 0) for begin, length, _ in windows]).spans)
    labels = [KernelLabel(name, name, KernelFamily.OTHER) for name in "ab"]
    copied = [CopyLabel("memcpy", way, "", "") for way in ("h2d", "d2h")]
    work = GpuWork(
        *("GPU-1", None, (), known, 0, ()),
        *(ran(kernels), labels, ran(copies), copied, np.zeros(len(copies))),
    )
    at = {"known": moments(known)}
    at |= {"kernels": moments(work.kernels.spans), "copies": moments(work.copies.spans)}

    busy = busy_time(work, RanTime.of(work))
    gaps = find_gaps(work.kernels, known)
    parts = split(gaps, work, NOTHING, ())

    assert busy.known_ns == len(at["known"])
    assert busy.kernels_ns == len(at["known"] & at["kernels"])
    assert busy.both_ns == len(at["known"] & at["kernels"] & at["copies"])
    assert busy.neither_ns == len(at["known"] - at["kernels"] - at["copies"])
    assert moments(gaps.spans) <= at["known"] - at["kernels"]
    assert np.bincount(parts.gap, parts.ns, len(gaps.spans)).tolist() == gaps.ns.tolist()
    for begin, end, before in zip(gaps.spans.start_ns, gaps.spans.end_ns, gaps.before, strict=True):
        spans = work.kernels.spans
        assert begin in spans.end_ns[work.kernels.label == before]
        assert end in spans.start_ns
