"""Verdicts are plain sentences that carry the numbers they rest on."""

from dataclasses import replace

from gnomon.analysis.summary_types import ComputeLedger, GpuSummary
from gnomon.analysis.verdict import verdict

BASE = GpuSummary(uuid="GPU-1", name="NVIDIA H200", from_ns=0, to_ns=10**9, samples=10)


def of(bound, ledger=None, **values):
    return verdict(replace(BASE, bound_by=bound, ledger=ledger or ComputeLedger(), **values))


def test_memory_bound_gives_the_rate():
    text = of("memory", memory_sol_pct=88.4, dram_bytes_per_s=4245e9)

    assert text == "memory-bound: DRAM at 88 % of peak, 4,245 GB/s; compute waits for memory"


def test_starved_says_for_how_long_and_what_the_host_did():
    ledger = ComputeLedger(idle_pct=68.2)

    assert of("host", ledger) == "starved: the GPU had nothing to run 68 % of the time"
    assert "at 99 % of a core" in of("host", ledger, busiest_thread_cpu_pct=99.1)
    assert "no host thread is short of CPU" in of("host", ledger, busiest_thread_cpu_pct=12.0)


def test_throttling_names_the_reason_the_clock_and_its_price():
    text = of(
        "clock",
        ComputeLedger(clock_pct=24.6),
        pipe="tensor",
        pipe_active_pct=93.1,
        sm_clock_mhz=1346.0,
        reference_clock_mhz=1830.0,
        throttle_reasons=("sw_power_cap",),
    )

    assert text == (
        "throttled: the power cap holds the SM clock at 1,346 of 1,830 MHz and costs 25 % of "
        "peak; the tensor pipe is active 93 % of cycles"
    )


def test_at_most_is_said_where_the_clock_is_not_the_true_one():
    ledger = ComputeLedger(stalled_pct=31.0, clock_pct=4.0)

    text = of("compute", ledger, pipe="tensor", compute_sol_pct=55.5, at_most=True)

    assert text == "compute-bound: tensor pipe no more than 56 % of peak; lost to stalls 31 %"


def test_one_thread_on_a_busy_gpu():
    text = of("latency", ComputeLedger(sm_empty_pct=99.2, stalled_pct=0.8), busy_pct=100.0)

    assert text.startswith("underfilled: busy 100 %, yet SMs stand empty 99 % of the time")


def test_without_counters_the_reason_stands_in_for_the_number():
    text = of(
        None, busy_pct=97.0, unavailable={"compute_sol_pct": "GPM needs Hopper; use a newer GPU"}
    )

    assert text == (
        "busy 97 %, but how close to peak is unknown: GPM needs Hopper; use a newer GPU"
    )


def test_no_samples_is_not_idle():
    assert verdict(replace(BASE, samples=0)) == "no samples in this window"
