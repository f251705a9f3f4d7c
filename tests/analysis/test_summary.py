"""From measurements to a summary: the arithmetic, and what is said where something is missing."""

import pytest

from gnomon.analysis.summary import summarize
from gnomon.analysis.summary_types import doubt
from gnomon.recording.base import Unavailable

from . import scenes as s


def only(measurements, **range_):
    [summary] = summarize(measurements, **range_)
    return summary


def terms(ledger):
    return [value for value in ledger.values() if value is not None]


def test_compute_sol_is_pipe_times_clock_over_reference():
    summary = only(s.memory(s.rows("gpm", s.GEMM)))

    assert summary.pipe == "tensor"
    assert summary.compute_sol_pct == pytest.approx(93.0 * 1489 / 1829.94, rel=1e-4)
    assert summary.pipe_active_pct * summary.sm_clock_mhz / summary.reference_clock_mhz == (
        pytest.approx(summary.compute_sol_pct)
    )
    assert (summary.sm_clock_source, summary.at_most) == ("nvml", True)
    assert summary.samples == 10


def test_the_true_clock_of_pm_samples_replaces_nvmls():
    pm = s.rows("pm", {"sm_clock_mhz": 1346.0, "sm_clock_source": "cupti", "sm_active_pct": 96.0})

    summary = only(s.memory(s.rows("gpm", s.GEMM) + pm))

    assert (summary.sm_clock_source, summary.at_most) == ("cupti", False)
    assert summary.compute_sol_pct == pytest.approx(93.0 * 1346 / 1829.94, rel=1e-4)
    assert summary.ledger.clock_pct == pytest.approx(93.0 * (1 - 1346 / 1829.94), rel=1e-3)
    assert summary.bound_by == "clock"


PM_SECOND = {"sm_clock_mhz": 1346.0, "sm_clock_source": "cupti"}


def test_between_two_samples_of_the_true_clock_nvmls_is_corrected_by_their_ratio():
    faster = s.GEMM | {"sm_clock_mhz": 1600.0}
    gpm = s.rows("gpm", s.GEMM, count=5, length_ns=s.SECOND_NS)
    gpm += s.rows("gpm", faster, first=5, count=5, length_ns=s.SECOND_NS)
    pm = s.rows("pm", PM_SECOND, first=4, count=1, length_ns=s.SECOND_NS)

    summary = only(s.memory(gpm + pm))

    assert (summary.sm_clock_source, summary.at_most) == ("cupti", False)
    assert summary.sm_clock_measured_pct == pytest.approx(10.0)
    assert not summary.sm_clock_estimated
    mean_mhz = (1489 + 1600) / 2 * 1346 / 1489
    assert summary.compute_sol_pct == pytest.approx(93.0 * mean_mhz / 1829.94, rel=1e-4)


def test_a_sample_of_the_true_clock_speaks_for_work_of_its_own_kind_only():
    idle = s.IDLE | {"sm_clock_mhz": 500.0}
    gpm = s.rows("gpm", idle, count=5, length_ns=s.SECOND_NS)
    gpm += s.rows("gpm", s.GEMM, first=5, count=5, length_ns=s.SECOND_NS)
    slow = PM_SECOND | {"sm_clock_mhz": 250.0}
    pm = s.rows("pm", slow, first=4, count=1, length_ns=s.SECOND_NS)

    summary = only(s.memory(gpm + pm))

    assert (summary.sm_clock_source, summary.at_most) == ("nvml", True)
    assert summary.sm_clock_mhz == pytest.approx(1489.0)


def test_a_window_without_a_sample_of_its_own_is_said_to_be_estimated():
    gpm = s.rows("gpm", s.GEMM, count=10, length_ns=s.SECOND_NS)
    pm = s.rows("pm", PM_SECOND, count=1, length_ns=s.SECOND_NS)
    measurements = s.memory(gpm + pm)

    own, late = summarize(measurements, by=5 * s.SECOND_NS)

    assert (own.sm_clock_estimated, late.sm_clock_estimated) == (False, True)
    assert doubt(late) == "~"
    assert "about 25 % of peak" in late.verdict
    assert late.compute_sol_pct == pytest.approx(own.compute_sol_pct)


def test_an_idle_gpu_has_no_doubtful_clock():
    summary = only(s.memory(s.rows("gpm", s.IDLE)))

    assert (summary.sm_clock_source, summary.at_most) == ("nvml", False)


def test_one_odd_sample_of_a_turn_does_not_decide():
    gpm = s.rows("gpm", s.GEMM, count=60)
    pm = s.rows("pm", PM_SECOND, count=9) + s.rows(
        "pm", PM_SECOND | {"sm_clock_mhz": 1250.0}, first=9, count=1
    )

    late = summarize(s.memory(gpm + pm), from_ns=s.BEGIN_NS + s.SECOND_NS)[0]

    assert late.sm_clock_mhz == pytest.approx(1346.0)


def test_time_without_work_needs_no_true_clock():
    gpm = s.rows("gpm", s.IDLE, count=5, length_ns=s.SECOND_NS)
    gpm += s.rows("gpm", s.GEMM, first=5, count=5, length_ns=s.SECOND_NS)
    pm = s.rows("pm", PM_SECOND, first=5, count=1, length_ns=s.SECOND_NS)

    summary = only(s.memory(gpm + pm))

    assert (summary.sm_clock_source, summary.at_most) == ("cupti", False)


@pytest.mark.parametrize(("seconds", "source"), [(30, "nvml"), (12, "cupti")])
def test_a_sample_of_the_true_clock_says_nothing_of_work_long_before_or_after(seconds, source):
    gpm = s.rows("gpm", s.GEMM, count=seconds, length_ns=s.SECOND_NS)
    pm = s.rows("pm", PM_SECOND, count=1, length_ns=s.SECOND_NS)

    summary = only(s.memory(gpm + pm))

    assert (summary.sm_clock_source, summary.at_most) == (source, True)
    if source == "cupti":
        assert "in a part of this window only" in summary.unavailable["true SM clock"]


def test_both_ledgers_sum_to_100_over_a_mixed_window():
    mixed = s.rows("gpm", s.GEMM) + s.rows("gpm", s.IDLE, first=10)

    summary = only(s.memory(mixed))

    for ledger in (summary.to_json()["ledger"], summary.to_json()["memory_ledger"]):
        assert sum(terms(ledger)) == pytest.approx(100.0, abs=1e-9)
    assert summary.ledger.idle_pct == pytest.approx(50.1)
    assert summary.memory_sol_pct == pytest.approx(8.5)
    assert summary.dram_bytes_per_s == pytest.approx(0.085 * 4.8e12)


def test_windows_are_cut_at_their_edges_not_at_rows():
    mixed = s.rows("gpm", s.GEMM) + s.rows("gpm", s.IDLE, first=10)
    edge_ns = s.BEGIN_NS + 10 * s.TICK_NS

    summary = only(s.memory(mixed), from_ns=edge_ns - 50_000_000, to_ns=edge_ns + 150_000_000)

    assert summary.engine_active_pct == pytest.approx(99.8 / 4)


def test_periods_and_phases_split_the_range():
    edges = [
        {"ts_ns": s.BEGIN_NS, "duration_ns": 0, "name": "gemm", "edge": "begin", "pid": 1},
        {
            "ts_ns": s.BEGIN_NS + s.SECOND_NS,
            "duration_ns": 0,
            "name": "gemm",
            "edge": "end",
            "pid": 1,
            "model_flops": 600e12,
            "flops_dtype": "bf16",
        },
    ]
    measurements = s.memory(s.rows("gpm", s.GEMM) + s.rows("gpm", s.IDLE, first=10), phases=edges)

    [phase] = summarize(measurements, by="phase")
    periods = summarize(measurements, by=s.SECOND_NS)

    assert phase.phase == "gemm"
    assert phase.achieved_basis == "model"
    assert phase.tflops == pytest.approx(600.0)
    assert phase.ledger.achieved_pct == pytest.approx(600e12 / 989.4e12 * 100)
    assert phase.ledger.padding_pct == pytest.approx(
        phase.compute_sol_pct - phase.ledger.achieved_pct
    )
    assert [round(period.engine_active_pct, 1) for period in periods] == [99.8, 0.0]


def test_fp64_tensor_work_is_not_mistaken_for_tensor_work():
    """ANY_TENSOR counts DMMA too; its peak holds at another clock."""
    dmma = s.GEMM | {"tensor_active_pct": 94.0, "tensor_dfma_active_pct": 94.0}

    summary = only(s.memory(s.rows("gpm", dmma)))

    assert summary.pipe == "fp64_tensor"
    assert summary.reference_clock_mhz == pytest.approx(1980, rel=1e-3)
    assert summary.at_most is False


def test_without_counters_the_reason_is_given_and_nothing_is_zero():
    reason = Unavailable("gpm", "GPU 0 is older than Hopper", "see the pm source", "gpm")
    busy = s.rows("nvml", {"busy_pct": 97.0})

    summary = only(s.memory(busy, unavailable=[reason]))

    assert summary.compute_sol_pct is None
    assert summary.bound_by is None
    assert terms(summary.to_json()["ledger"]) == []
    assert summary.unavailable["compute_sol_pct"].startswith("GPU 0 is older than Hopper")
    assert summary.verdict.startswith("busy 97 %, but how close to peak is unknown")


def test_intervals_that_lack_a_counter_do_not_count():
    holes = s.rows("gpm", s.GEMM | {"engine_active_pct": None}, count=5)

    summary = only(s.memory(holes + s.rows("gpm", s.GEMM, first=5, count=5)))

    assert summary.ledger.idle_pct == pytest.approx(0.2)


def test_pinned_copies_are_copying_not_idle():
    transfer = s.IDLE | {"pcie_rx_bytes_per_s": 59.5e9}

    summary = only(s.memory(s.rows("gpm", transfer)))

    assert summary.ledger.copying_pct == pytest.approx(100.0, abs=0.5)
    assert summary.bound_by == "copy"
    assert "59.5 GB/s in" in summary.verdict


def test_launch_traffic_is_not_copying():
    summary = only(s.memory(s.rows("gpm", s.IDLE | {"pcie_rx_bytes_per_s": 130e6})))

    assert summary.ledger.copying_pct == 0.0


def test_power_energy_and_host_stand_beside_the_gpu():
    nvml = s.rows("nvml", {"power_watts": 700.0, "energy_joules": 70.0, "power_limit_watts": 700.0})
    host = [
        {"ts_ns": s.BEGIN_NS + s.SECOND_NS, "duration_ns": s.SECOND_NS, "cpu_pct": 12.0},
    ]
    threads = [
        {
            "ts_ns": s.BEGIN_NS + s.SECOND_NS,
            "duration_ns": s.SECOND_NS,
            "pid": 7,
            "busiest_thread_cpu_pct": 99.0,
        }
    ]

    summary = only(
        s.memory(s.rows("gpm", s.GEMM) + nvml, host_samples=host, process_samples=threads)
    )

    assert (summary.power_watts, summary.power_limit_watts) == (pytest.approx(700.0), 700.0)
    assert summary.energy_joules == pytest.approx(700.0)
    assert (summary.cpu_pct, summary.busiest_thread_cpu_pct) == (12.0, 99.0)


def test_an_unknown_gpu_says_that_its_peaks_are_computed():
    unknown = s.H200 | {"name": "NVIDIA H999", "memory_bus_bits": 6144}

    summary = only(s.memory(s.rows("gpm", s.GEMM), gpus={s.GPU: unknown}))

    assert summary.peak_source == "computed"
    assert summary.warnings


def test_losses_are_counted_and_shown():
    lost = [
        {
            "ts_ns": s.BEGIN_NS + s.SECOND_NS,
            "duration_ns": 0,
            "source": "gpm",
            "table": "gpu_counters",
            "rows": 3,
            "reason": "queue_full",
        }
    ]

    assert only(s.memory(s.rows("gpm", s.GEMM), losses=lost)).losses == {"samples_lost": 3}


def test_nothing_recorded_is_an_empty_list():
    assert summarize(s.memory()) == []


def test_links_that_are_not_there_are_missing_not_zero():
    """GPM answers 0 for NVLink on an H200 without links, where NVML counts none."""
    still = s.GEMM | {"nvlink_rx_bytes_per_s": 0.0, "nvlink_tx_bytes_per_s": 0.0}
    linked = {s.GPU: s.H200 | {"nvlink_count": 18}}

    without = only(s.memory(s.rows("gpm", still)))
    idle = only(s.memory(s.rows("gpm", still), gpus=linked))

    assert (without.nvlink_rx_bytes_per_s, without.nvlink_sol_pct) == (None, None)
    assert "no NVLink" in without.unavailable["nvlink_rx_bytes_per_s"]
    assert idle.nvlink_rx_bytes_per_s == 0.0
