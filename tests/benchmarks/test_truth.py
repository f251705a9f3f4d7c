"""Comparisons must pass on the truth and fail on anything else."""

from dataclasses import replace

import pytest
from benchmarks.truth import Clocks, Subject, clock_means, compare
from lab.announce import PhaseRecord

from gnomon.analysis.summary_types import ComputeLedger, GpuSummary
from gnomon.hardware import profile

H200 = profile({"name": "NVIDIA H200"})
CLOCKS = Clocks(cupti=1332.0, nvml=1458.0, clock64=1332.0)


def gemm(compute_sol_pct, name="gemm_bf16_8192", bound_by="compute", flops_share=0.68):
    record = PhaseRecord(
        name=name,
        from_ns=0,
        to_ns=2_000_000_000,
        iterations=100,
        model_flops=2 * flops_share * 989.4e12,
        flops_dtype="bf16",
        expected={"bounds": ["compute", "clock"]},
    )
    active = 93.8
    clock = active * (1 - 1332 / 1830)
    ledger = ComputeLedger(0.0, 0.0, 3.4, 100 - 3.4 - active, clock, None, active - clock)
    summary = GpuSummary(
        uuid="GPU-1",
        name="NVIDIA H200",
        from_ns=0,
        to_ns=1,
        samples=20,
        pipe="tensor",
        pipe_active_pct=active,
        reference_clock_mhz=1830.0,
        compute_sol_pct=compute_sol_pct,
        ledger=ledger,
        bound_by=bound_by,
    )
    return Subject(record, summary.to_json(), CLOCKS, H200.flops)


def failures(subject):
    return {check.quantity for check in compare(subject) if not check.passed}


def errors(subject):
    return {check.quantity: check.error for check in compare(subject)}


def test_the_truth_passes():
    assert failures(gemm(68.0)) == set()


@pytest.mark.parametrize("measured", [66.5, 69.5, None])
def test_compute_sol_beyond_2_percent_or_missing_fails(measured):
    assert failures(gemm(measured)) == {"compute SOL"}


def test_the_error_of_the_nvml_clock_is_shown_and_never_fails():
    subject = gemm(68.0)

    assert errors(subject)["compute SOL by NVML clock"] == pytest.approx(
        93.8 * 1458 / 1830 / 68.0 * 100 - 100
    )
    assert errors(subject)["clock by NVML"] == pytest.approx(1458 / 1332 * 100 - 100)


def test_phases_without_a_promise_are_shown_only():
    assert failures(gemm(80.0, name="prefill_8x2048")) == set()


def test_a_wrong_diagnosis_fails():
    assert failures(gemm(68.0, bound_by="memory")) == {"bound by"}


def test_a_clock_that_is_off_fails_and_takes_the_ledger_term_along():
    subject = replace(gemm(68.0), clocks=replace(CLOCKS, clock64=1450.0))

    assert failures(subject) == {"clock by CUPTI", "ledger clock"}


def test_a_ledger_that_does_not_sum_to_100_fails():
    subject = gemm(68.0)
    subject.summary["ledger"]["idle_pct"] = 5.0

    assert failures(subject) == {"ledger sum"}


def with_truths(name, ledger, expected, **fields):
    record = PhaseRecord(name, 0, 1_000_000_000, 1, expected={"bounds": ["host"], **expected})
    summary = GpuSummary(
        uuid="GPU-1",
        name="NVIDIA H200",
        from_ns=0,
        to_ns=1,
        samples=1,
        ledger=ledger,
        bound_by="host",
        **fields,
    )
    return Subject(record, summary.to_json(), Clocks(), H200.flops)


def test_idle_and_copying_are_held_against_the_program():
    ledger = ComputeLedger(49.0, 51.0, 0.0, 0.0, 0.0, None, 0.0)
    right = with_truths("transfer_h2d_half", ledger, {"copying_pct": 49.35, "idle_pct": 50.65})
    wrong = with_truths("transfer_h2d_half", ledger, {"copying_pct": 99.9, "idle_pct": 0.1})

    assert failures(right) == set()
    assert failures(wrong) == {"ledger idle", "ledger copying"}


def test_partial_grids_are_held_against_clock64_in_the_kernel():
    ledger = ComputeLedger(0.0, 0.0, 75.0, 1.0, 0.0, None, 24.0)
    fields = {"sm_active_pct": 25.0, "pipe_active_pct": 24.0, "reference_clock_mhz": 1980.0}
    subject = with_truths("quarter_of_sms", ledger, {"sm_active_pct": 24.96}, **fields)
    record = replace(subject.record, model_flops=0.24 * 66.9e12, flops_dtype="fp32")
    subject = replace(subject, record=record, clocks=Clocks(clock64=1980.0, cupti=1980.0))
    subject.summary["compute_sol_pct"] = 24.0

    assert failures(subject) == set()
    assert errors(subject)["ledger stalled"] == pytest.approx(1.0 - 0.96, abs=1e-6)

    subject.summary["ledger"] |= {"sm_empty_pct": 70.0, "stalled_pct": 6.0}
    assert failures(subject) == {"ledger sm_empty", "ledger stalled"}


def test_padding_is_held_against_rows_that_the_program_knows_to_be_padding():
    ledger = ComputeLedger(0.0, 0.0, 3.0, 3.0, 26.0, 34.0, 34.0)
    subject = with_truths("gemm_half_padding", ledger, {"padding_flops_per_s": 0.34 * 989.4e12})
    record = replace(subject.record, flops_dtype="bf16")

    assert "ledger padding" not in failures(replace(subject, record=record))
    subject.summary["ledger"]["padding_pct"] = 0.0
    assert "ledger padding" in failures(replace(subject, record=record))


def test_executed_flops_are_compared_where_tiles_execute_more_than_the_model_needs():
    subject = gemm(68.0, name="attention_causal", flops_share=0.66)
    subject.record.expected["executed_flops_per_s"] = 0.68 * 989.4e12

    assert failures(subject) == set()


def test_the_lie_of_one_thread_must_show():
    ledger = ComputeLedger(0.0, 0.0, 99.24, 0.76, 0.0, None, 0.0)
    fields = {"sm_active_pct": 0.76, "compute_sol_pct": 0.0}
    expected = {"sm_active_pct": 100 / 132}
    told = with_truths("one_thread_loop", ledger, expected, busy_pct=100.0, **fields)
    missed = with_truths("one_thread_loop", ledger, expected, busy_pct=None, **fields)

    assert failures(told) == set()
    assert failures(missed) == {"busy"}


def test_copies_are_held_to_1_percent_of_the_program_s_bytes():
    ledger = ComputeLedger(0.0, 0.0, 0.0, 100.0, 0.0, None, 0.0)
    subject = with_truths("copy_device", ledger, {}, dram_bytes_per_s=4.285e12)
    record = replace(subject.record, model_bytes=4.301e12)

    assert failures(replace(subject, record=record)) == set()
    subject.summary["dram_bytes_per_s"] = 4.36e12
    assert failures(replace(subject, record=record)) == {"DRAM bytes/s"}


def test_clock_means_take_whole_rows_inside_the_window_by_their_length():
    def row(ts_ns, duration_ns, source, mhz):
        return {
            "ts_ns": ts_ns,
            "duration_ns": duration_ns,
            "sm_clock_source": source,
            "sm_clock_mhz": mhz,
        }

    rows = [
        row(100, 100, "cupti", 1.0),
        row(200, 100, "cupti", 1000.0),
        row(500, 300, "cupti", 2000.0),
        row(600, 100, "cupti", 9.0),
        row(300, 0, "nvml", 1500.0),
        row(400, 0, "nvml", None),
    ]

    assert clock_means(rows, 100, 550) == {"cupti": 1750.0, "nvml": 1500.0}
