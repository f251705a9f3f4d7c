"""Steps of a GPU: found where they are, and made of what was placed in them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnomon import tables
from gnomon.analysis.gpu_gaps import gpu_gaps
from gnomon.analysis.gpu_parts import GpuParts, Instances
from gnomon.analysis.gpu_repeats import at_once, stream_times
from gnomon.analysis.gpu_steps import gpu_steps
from gnomon.analysis.gpu_work import CopyLabel, GpuWork, KernelLabel
from gnomon.analysis.interval_sets import total_ns, union
from gnomon.analysis.intervals import Intervals
from gnomon.analysis.kernel_period import sequence_steps
from gnomon.enums import KernelFamily
from tests.analysis import kernel_recordings
from tests.analysis.gpu_timelines import ALL_REDUCE, BEGIN_NS, MS, US, Timeline, trained
from tests.analysis.test_gpu_gaps import OPERATIONS, moments, ran


def told(line, path):
    with line.asked(path) as (recording, session, span):
        (found,) = gpu_steps(recording, session, span)
    return found


def parts_of(one):
    return one.compute_ns, one.collectives_exposed_ns, one.copies_exposed_ns, one.host_ns


@pytest.mark.parametrize("jitter", [0.0, 0.05, 0.3])
def test_steps_are_found_by_kernels_alone_and_made_of_what_was_placed(tmp_path, jitter):
    line, truth, edges = trained(80, jitter)

    found = told(line, tmp_path)

    steps = found.steps
    assert (found.basis, found.confidence) == ("sequence", 1.0)
    assert steps.name == "from copy h2d"
    assert steps.count == 79  # the last one has no begin of another behind it
    placed = np.diff(edges)[:-1]
    assert steps.total_ns == placed.sum()
    assert steps.p50_ns == np.quantile(placed, 0.5, method="inverted_cdf")
    assert sum(parts_of(steps)) == steps.total_ns
    expected = [truth[name] for name in ("compute", "collectives", "copies", "host")]
    assert parts_of(steps) == pytest.approx(np.array(expected) * 79 / 80, rel=0.02)
    assert steps.collectives_overlapped_ns == pytest.approx(truth["hidden"] * 79 / 80, rel=0.02)
    assert next(iter(steps.families)) == "gemm"
    assert {one.kind: (one.bytes, one.per_step) for one in found.repeated_copies} == {
        "copy h2d": (1 << 20, 1.0),
        "copy d2h": (4, 1.0),
    }
    assert all(one.exposed_ns == one.total_ns for one in found.repeated_copies)


def test_a_step_with_something_more_now_and_then_lowers_confidence(tmp_path):
    line, at = Timeline(), 0
    for step in range(100):
        more = ["eval_kernel"] * 30 if step in {3, 11, 12, 30, 47, 58, 66, 71, 90, 95} else []
        for name in ["first", *(f"layer_{one}" for one in "abcdefghijkl"), *more]:
            at = line.kernel(at, 10 * US, name) + 2 * US
        at += 100 * US
    line.window(0, at)

    found = sequence_steps(line.work(tmp_path))

    assert len(found.spans) == 99
    assert found.confidence == pytest.approx(0.9, abs=0.01)


def test_nothing_that_repeats_is_no_step(tmp_path):
    line, rng, at = Timeline(), np.random.default_rng(0), 0
    for number in rng.integers(0, 9, 600):
        at = line.kernel(at, 10 * US, f"kernel_{'abcdefghi'[number]}") + int(rng.integers(1, 9000))
    line.window(0, at)

    found = told(line, tmp_path)

    assert (found.basis, found.steps, found.confidence) == (None, None, 0.0)
    assert "sequence of kernels" in found.confidence_reason


def test_steps_do_not_reach_over_the_end_of_a_window(tmp_path):
    line, _, edges = trained(60, 0.0)
    half = int(edges[30]) + 100 * US
    line.kernel_windows.clear()
    line.window(0, half)
    line.window(half + 10 * US, int(edges[-1]))

    assert told(line, tmp_path).steps.count == 58


@pytest.mark.parametrize(
    ("name", "basis", "confidence"),
    [("ProfilerStep#{}", "ranges", 1.0), ("train_step", "ranges", 1.0), ("forward", "ranges", 0.6)],
)
def test_ranges_say_what_a_step_is(tmp_path, name, basis, confidence):
    line, _, edges = trained(20)
    for number, (begin, end) in enumerate(
        zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True)
    ):
        line.range(begin, end, name.format(number))
        line.range(begin, begin + 300 * US, "data")

    found = told(line, tmp_path)

    assert (found.basis, found.confidence) == (basis, confidence)
    assert found.steps.count == 20
    assert found.steps.total_ns == edges[-1]
    assert {one.name for one in found.ranges} == {name.format("N"), "data"}
    (data,) = (one for one in found.ranges if one.name == "data")
    assert (data.total_ns, data.by_launch) == (20 * 300 * US, False)
    assert sum(parts_of(data)) == data.total_ns


def test_marks_and_phases_say_it_too(tmp_path):
    line, _, edges = trained(12)
    for edge in edges.tolist():
        line.range(edge, edge, "step")
    assert told(line, tmp_path / "marks").basis == "marks"

    line.ranges.clear()
    line.others["phases"] = [
        {"ts_ns": BEGIN_NS + edge, "duration_ns": 0, "name": f"step {number}", "edge": "begin"}
        for number, edge in enumerate(edges.tolist())
    ]
    found = told(line, tmp_path / "phases")
    assert (found.basis, found.steps.name, found.steps.count) == ("phases", "step N", 12)


def test_a_range_is_when_its_work_ran_where_launches_are_known(tmp_path):
    """The host is done with a range before its kernels begin."""
    line = Timeline()
    for number in range(5):
        at = number * MS
        line.range(at, at + 20 * US, "forward")
        for place in range(3):
            begin = at + 100 * US + place * 60 * US
            line.kernel(begin, 50 * US, enqueued_ns=BEGIN_NS + at + 5 * US * (1 + place))
    line.range(900 * US, 950 * US, "nothing")
    line.window(0, 5 * MS)

    (forward,) = told(line, tmp_path).ranges

    assert (forward.by_launch, forward.count, forward.p50_ns) == (True, 5, 170 * US)
    assert (forward.compute_ns, forward.host_ns) == (5 * 150 * US, 5 * 20 * US)


def test_a_gpu_that_only_copies_has_neither_gaps_nor_steps(tmp_path):
    line = Timeline()
    line.copy(10 * US, 20 * US)
    line.window(0, 100 * US)

    found = told(line, tmp_path / "steps")
    assert (found.steps, found.streams, found.streams_never_overlap) == (None, [], False)
    with line.asked(tmp_path / "gaps") as (recording, session, span):
        (gaps,) = gpu_gaps(recording, session, span)
    assert (gaps.count, gaps.p50_ns, gaps.at_edges_ns) == (0, None, 100 * US)
    assert gaps.busy.copies_only_ns == 20 * US


@pytest.mark.parametrize("overlap", [False, True])
def test_streams_that_take_turns_are_told(tmp_path, overlap):
    line = Timeline()
    for number in range(10):
        line.kernel(number * 100 * US, 50 * US, stream=7)
        line.kernel(number * 100 * US + (40 if overlap else 50) * US, 40 * US, stream=13)
    line.window(0, MS)

    streams, never = stream_times(line.work(tmp_path))

    assert never is not overlap
    shared = 100 * US if overlap else 0
    assert [(one.stream_id, one.time_ns, one.overlapped_ns) for one in streams] == [
        (7, 500 * US, shared),
        (13, 400 * US, shared),
    ]


def sampled(line, end_ns, length_ns, sm_active, tensor):
    """Add PM samples of a GPU at its reference clock, an H200's tensor pipe at half of the SMs."""
    line.others["pm_samples"] = tables.batch(
        "pm_samples",
        [
            {
                "ts_ns": BEGIN_NS + at,
                "duration_ns": length_ns,
                "gpu_uuid": kernel_recordings.GPU_UUID,
                "counter_set": "throughput",
                "sm_clock_mhz": 1830.0,
                "sm_active_pct": sm_active(at - length_ns),
                "tensor_active_pct": tensor(at - length_ns),
                "dram_active_pct": 20.0,
            }
            for at in range(length_ns, end_ns + 1, length_ns)
        ],
    )


def test_a_step_has_its_ledger_where_samples_are_short_enough(tmp_path):
    line, at = Timeline(), 0
    for number in range(30):
        line.range(at, at + MS, f"step {number}")
        line.kernel(at, 400 * US)
        line.copy(at + 400 * US, 200 * US)
        at += MS
    line.window(0, at)
    sampled(line, at, 50 * US, *2 * [lambda at: 90.0 if at % MS < 400 * US else 0.0])

    counters = told(line, tmp_path / "short").steps.counters
    ledger = counters.ledger
    assert (counters.pipe, counters.compute_sol_pct) == ("tensor", pytest.approx(36, rel=1e-3))
    assert counters.memory_sol_pct == pytest.approx(20.0)
    assert (ledger.copying_pct, ledger.idle_pct) == pytest.approx((20.0, 40.0))
    assert (ledger.sm_empty_pct, ledger.achieved_pct) == pytest.approx((4, 36), rel=1e-3)

    sampled(line, at, 500 * US, *2 * [lambda at: 40.0])
    steps = told(line, tmp_path / "long").steps
    assert steps.counters is None
    assert "shorter than 10 samples of 500 us" in steps.no_counters

    sampled(line, at, 50 * US, *2 * [lambda at: 80.0])
    counters = told(line, tmp_path / "unrecorded").steps.counters
    assert counters.ledger is None
    assert "something else ran" in counters.no_ledger


def test_the_measured_h200_has_steps_of_four_gemms(tmp_path):
    """One kernel does all, so that only the gaps before them tell GEMMs apart."""
    found = told(Timeline(others=dict(kernel_recordings.measured())), tmp_path)

    assert (found.basis, found.steps.count) == ("gaps", 499)
    assert found.confidence > 0.99
    assert found.steps.p50_ns == pytest.approx(16.1 * MS, rel=0.01)
    # Four GEMMs of 1.38 ms.
    assert found.steps.compute_ns / found.steps.count == pytest.approx(4 * 1.38 * MS, rel=0.01)
    assert found.steps.families == {"gemm": found.steps.compute_ns}


@given(OPERATIONS, OPERATIONS, OPERATIONS)
def test_parts_are_those_of_every_nanosecond(kernels, copies, ranges):
    labels = [
        KernelLabel("gemm", "gemm", KernelFamily.GEMM),
        KernelLabel(ALL_REDUCE, ALL_REDUCE, KernelFamily.COLLECTIVE),
    ]
    work = GpuWork(
        *("GPU-1", None, (), union(ran(ranges).spans), 0, ()),
        *(ran(kernels), labels, ran(copies), [CopyLabel("memcpy", way, "", "") for way in "ab"]),
        np.zeros(len(copies)),
    )
    spans = union(ran(ranges).spans)
    if spans.is_empty:
        return
    inside = moments(spans)
    compute, collectives, copied = (
        moments(one) & inside
        for one in (
            work.of_families(KernelFamily.GEMM),
            work.of_families(KernelFamily.COLLECTIVE),
            work.copies.spans,
        )
    )

    (found,) = GpuParts(work).of([Instances("range", spans)])

    assert parts_of(found) == (
        len(compute),
        len(collectives - compute),
        len(copied - compute - collectives),
        len(inside - compute - collectives - copied),
    )
    assert found.collectives_overlapped_ns == len(collectives & compute)
    assert found.copies_overlapped_ns == len(copied & (compute | collectives))
    assert sum(parts_of(found)) == found.total_ns == len(inside)


@given(st.lists(OPERATIONS, max_size=4))
def test_what_ran_at_once_lies_in_two_sets_or_more(groups):
    sets = [union(ran(one).spans) for one in groups]
    every = [moment for one in sets for moment in moments(one)]

    found = at_once(sets)

    assert moments(found) == {moment for moment in every if every.count(moment) > 1}
    assert total_ns(found) == len(moments(found))
    assert isinstance(found, Intervals)
