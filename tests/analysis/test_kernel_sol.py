"""Kernels of known values, mixed into samples, and told apart again."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gnomon.analysis.intervals import Intervals
from gnomon.analysis.kernel_overlap import Operations
from gnomon.analysis.kernel_sol import Ran, SampleSet, kernel_sol
from gnomon.analysis.kernel_sol_types import KernelKey
from gnomon.enums import BoundBy, Pipe
from tests.analysis.kernel_worlds import H200, US, moved, ran, sampled, sequence

COUNTERS = ("sm_active_pct", "tensor_active_pct", "dram_active_pct")
TOLD = {"sm_active_pct": "sm_active_pct", "tensor_active_pct": "tensor_pipe_pct"}
TRUTH = {
    "sm_active_pct": [97.0, 90.0, 40.0, 70.0],
    "tensor_active_pct": [93.0, 2.0, 30.0, 3.0],
    "dram_active_pct": [20.0, 85.0, 10.0, 40.0],
}


def world(seed=0, offset_ns=0, length_ns=(90 * US, 40 * US, 12 * US, 6 * US), **more):
    rng = np.random.default_rng(seed)
    spans, group = sequence(rng.integers(0, 4, 6000), length_ns, 15 * US, rng)
    return sampled(spans, group, TRUTH, 50 * US, rng, **more), ran(moved(spans, -offset_ns), group)


def by_name(answer):
    return {one.key.name: one for one in answer.kernels}


def test_kernels_longer_and_shorter_than_a_sample_are_told_within_a_point():
    samples, work = world(offset_ns=8 * US)

    answer = kernel_sol("GPU-1", [samples], work, H200)

    assert answer.offset.offset_ns == pytest.approx(8 * US, abs=2 * US)
    kernels = by_name(answer)
    for at in range(4):
        kernel = kernels[f"kernel {at}"]
        for counter, truth in TRUTH.items():
            told = kernel.values_pct[TOLD.get(counter, counter)]
            assert told == pytest.approx(truth[at], abs=1.0)
        assert kernel.alone_pct == pytest.approx(100)
        assert kernel.calls == np.count_nonzero(work.operations.group == at)


def test_sol_has_the_clock_of_each_sample_in_it():
    samples, work = world()
    reference_mhz = H200.reference_clock_mhz(Pipe.TENSOR)

    gemm = by_name(kernel_sol("GPU-1", [samples], work, H200))["kernel 0"]

    assert gemm.compute_sol_pct == pytest.approx(93.0 * 1464 / reference_mhz, abs=1.0)
    assert gemm.sm_clock_mhz == pytest.approx(1464)
    assert gemm.pipe == "tensor"
    assert gemm.ledger.clock_pct == pytest.approx(93.0 * (1 - 1464 / reference_mhz), abs=1.0)
    assert gemm.bound_by == BoundBy.CLOCK
    assert gemm.verdict == "tensor 93 %, clock-limited"


def test_a_throttled_half_is_averaged_by_sample_and_not_by_clock():
    samples, work = world()
    busy_half = samples.intervals.start_ns < np.median(samples.intervals.start_ns)
    samples.columns["sm_clock_mhz"][:] = np.where(busy_half, 1800.0, 900.0)
    reference_mhz = H200.reference_clock_mhz(Pipe.TENSOR)

    gemm = by_name(kernel_sol("GPU-1", [samples], work, H200))["kernel 0"]

    assert gemm.compute_sol_pct == pytest.approx(93.0 * 1350 / reference_mhz, abs=2.0)


def test_what_loses_most_comes_first():
    samples, work = world()

    kernels = kernel_sol("GPU-1", [samples], work, H200).kernels

    lost = [one.lost_pct for one in kernels]
    assert lost == sorted(lost, reverse=True)
    first = kernels[0]
    reached = max(first.compute_sol_pct, first.memory_sol_pct)
    assert first.lost_pct == pytest.approx(first.time_share_pct * (100 - reached) / 100)


@settings(max_examples=8)
@given(st.integers(0, 1000))
def test_values_are_within_bounds_and_ledgers_sum_to_100(seed):
    rng = np.random.default_rng(seed)
    spans, group = sequence(rng.integers(0, 5, 400), rng.uniform(2, 80, 5) * US, 10 * US, rng)
    truth = {name: rng.uniform(0, 100, 5) for name in COUNTERS}

    answer = kernel_sol(
        "GPU-1", [sampled(spans, group, truth, 50 * US, rng, noise=5)], ran(spans, group), H200
    )

    for kernel in answer.kernels:
        assert all(0 <= value <= 100 for value in kernel.values_pct.values())
        assert not set(kernel.values_pct) & set(kernel.unavailable)
        if kernel.ledger:
            terms = [kernel.ledger.sm_empty_pct, kernel.ledger.stalled_pct]
            terms += [kernel.ledger.clock_pct, kernel.ledger.achieved_pct]
            assert sum(terms) == pytest.approx(100)


def test_the_order_of_records_does_not_matter():
    samples, work = world()
    spans, group = work.operations.intervals, work.operations.group
    order = np.random.default_rng(6).permutation(len(group))
    shuffled = Ran(
        Operations(Intervals(spans.start_ns[order], spans.end_ns[order]), group[order], 4),
        work.keys,
        work.on_sms,
    )

    assert kernel_sol("GPU-1", [samples], shuffled, H200) == kernel_sol(
        "GPU-1", [samples], work, H200
    )


def alternating(every_ns):
    """Return two kernels of 9 us that always alternate."""
    rests_ns = np.arange(4000) // 400 * 3_000 * US  # to align by
    start_ns = 10**9 + np.arange(4000) * 10 * US + rests_ns
    spans, group = Intervals(start_ns, start_ns + 9 * US), np.arange(4000) % 2
    truth = {"sm_active_pct": [90, 50], "tensor_active_pct": [80, 0], "dram_active_pct": [20, 60]}
    samples = sampled(spans, group, truth, every_ns, np.random.default_rng(7), noise=2)
    return samples, ran(spans, group, ["one", "other"])


def test_kernels_that_always_alternate_within_a_sample_are_told_together():
    samples, work = alternating(200 * US)

    kernels = by_name(kernel_sol("GPU-1", [samples], work, H200))

    for name, other in (("one", "other"), ("other", "one")):
        kernel = kernels[name]
        assert kernel.compute_sol_pct is None
        assert f"tied with {other}" in kernel.unavailable["tensor_pipe_pct"]
        assert kernel.group.members == ("one", "other")
        assert kernel.group.values_pct["tensor_pipe_pct"] == pytest.approx(40, abs=3)
        assert kernel.group.values_pct["dram_active_pct"] == pytest.approx(40, abs=3)
        assert kernel.verdict.startswith("only known with 1 other: SMs ")


def test_the_same_pair_is_told_apart_by_short_samples():
    samples, work = alternating(8 * US)

    kernels = by_name(kernel_sol("GPU-1", [samples], work, H200))

    assert kernels["one"].values_pct["tensor_pipe_pct"] == pytest.approx(80, abs=5)
    assert kernels["other"].values_pct["tensor_pipe_pct"] == pytest.approx(0, abs=5)


def test_kernels_that_run_at_the_same_time_share_a_group():
    rng = np.random.default_rng(8)
    spans, group = sequence(rng.integers(0, 2, 2000), [80 * US, 60 * US], 40 * US, rng)
    below = np.flatnonzero(group == 1)
    both = Intervals(
        np.concatenate((spans.start_ns, spans.start_ns[below])),
        np.concatenate((spans.end_ns, spans.end_ns[below])),
    )
    groups = np.concatenate((group, np.full(len(below), 2)))
    truth = {
        "sm_active_pct": [95, 50, 30],
        "tensor_active_pct": [90, 0, 20],
        "dram_active_pct": [20, 40, 30],
    }
    samples = sampled(both, groups, truth, 50 * US, rng)

    kernels = by_name(kernel_sol("GPU-1", [samples], ran(both, groups, ["alone", "a", "b"]), H200))

    assert kernels["alone"].values_pct["dram_active_pct"] == pytest.approx(20, abs=1)
    for name in ("a", "b"):
        assert kernels[name].alone_pct == 0
        assert kernels[name].unavailable["dram_active_pct"] == "never ran by itself: a + b"
        assert kernels[name].group.values_pct["dram_active_pct"] == pytest.approx(70, abs=1)
        assert kernels[name].group.values_pct["sm_active_pct"] == pytest.approx(80, abs=1)


def test_a_kernel_of_a_few_samples_is_not_told():
    samples, work = world()
    rare = work.operations.group.copy()
    once = int(np.flatnonzero(rare == 3)[5])
    rare[once] = 4
    spans = work.operations.intervals

    answer = kernel_sol("GPU-1", [samples], ran(spans, rare), H200)

    kernel = by_name(answer)["kernel 4"]
    assert not kernel.values_pct
    assert "samples, at too few times" in kernel.unavailable["dram_active_pct"]


def test_work_of_others_is_noticed_and_what_an_empty_gpu_reads_is_taken_off():
    samples, work = world()
    empty = samples.columns["sm_active_pct"] == 0
    samples.columns["dram_active_pct"][:] = np.clip(samples.columns["dram_active_pct"], 1.0, 100)
    quiet = kernel_sol("GPU-1", [samples], work, H200)
    samples.columns["dram_active_pct"][np.flatnonzero(empty)[::3]] = 50.0
    shared = kernel_sol("GPU-1", [samples], work, H200)

    assert quiet.unrecorded_pct == 0
    assert not quiet.warnings
    assert shared.unrecorded_pct > 20
    assert "another process" in shared.warnings[0]


def test_without_a_clock_the_pipe_is_told_and_no_sol():
    samples, work = world()
    del samples.columns["sm_clock_mhz"]

    gemm = by_name(kernel_sol("GPU-1", [samples], work, H200))["kernel 0"]

    assert gemm.pipe_active_pct == pytest.approx(93, abs=1)
    assert gemm.compute_sol_pct is None
    assert gemm.ledger is None
    assert gemm.unavailable["compute_sol_pct"] == "the SM clock was not sampled"
    assert gemm.verdict == "tensor 93 %"


def test_a_sample_with_a_counter_missing_is_left_out():
    samples, work = world()
    holes = samples.columns["dram_active_pct"].copy()
    holes[::7] = np.nan
    partly = SampleSet(
        samples.name, samples.intervals, {**samples.columns, "dram_active_pct": holes}
    )

    answer = kernel_sol("GPU-1", [partly], work, H200)

    assert answer.samples == np.count_nonzero(~np.isnan(holes))
    assert by_name(answer)["kernel 1"].memory_sol_pct == pytest.approx(85, abs=1)


def test_a_second_set_of_counters_adds_its_own():
    samples, work = world()
    spans, group = work.operations.intervals, work.operations.group
    caches = sampled(
        spans, group, {"l2_active_pct": [30, 60, 5, 45]}, 50 * US, np.random.default_rng(9)
    )

    kernels = by_name(kernel_sol("GPU-1", [samples, caches], work, H200))

    assert kernels["kernel 1"].values_pct["l2_active_pct"] == pytest.approx(60, abs=1)
    assert kernels["kernel 1"].memory_sol_pct == pytest.approx(85, abs=1)


def test_copies_have_a_group_and_no_advice():
    rng = np.random.default_rng(10)
    spans, group = sequence(rng.integers(0, 2, 2000), [80 * US, 60 * US], 40 * US, rng)
    truth = {"sm_active_pct": [95, 100], "tensor_active_pct": [90, 0], "dram_active_pct": [20, 88]}
    work = ran(spans, group, ["gemm", "copy d2d"])
    keys = (work.keys[0], KernelKey("copy d2d"))

    answer = kernel_sol(
        "GPU-1",
        [sampled(spans, group, truth, 50 * US, rng)],
        Ran(work.operations, keys, (True, True)),
        H200,
    )

    copy = by_name(answer)["copy d2d"]
    assert copy.memory_sol_pct == pytest.approx(88, abs=1)
    assert copy.bound_by == BoundBy.MEMORY
    assert copy.verdict == "DRAM 88 %"


@pytest.mark.parametrize("missing", ["samples", "kernels"])
def test_without_samples_or_kernels_the_answer_says_which(missing):
    samples, work = world()
    nothing = np.zeros(0, dtype=np.int64)
    none = Ran(Operations(Intervals(nothing, nothing), nothing, 0), (), ())

    answer = (
        kernel_sol("GPU-1", [], work, H200)
        if missing == "samples"
        else kernel_sol("GPU-1", [samples], none, H200)
    )

    assert not answer.kernels
    assert ("counters were sampled" if missing == "samples" else "kernels") in answer.unavailable
