"""Roofs and ridges against datasheets, points against what a workload counted itself."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnomon._errors import ModelError
from gnomon.analysis.roofline_points import (
    measured_points,
    of_kind,
    operator_points,
    profiles_of,
    roofline,
    roofs_of,
    step_point,
)
from gnomon.analysis.roofline_types import DATASHEET, MEASURED_CLOCK, SUSTAINED, MeasuredClock
from gnomon.analysis.summary import summarize
from gnomon.analysis.summary_types import GpuSummary
from gnomon.cli.commands.demo import bundled_directory
from gnomon.hardware import HardwareProfile, profile, sku_facts
from gnomon.performance_model import huggingface
from gnomon.performance_model.ceiling import ceiling
from gnomon.performance_model.constants import DEFAULT, from_calibration
from gnomon.performance_model.parallelism import Layout
from gnomon.performance_model.phases import Decode, Prefill
from gnomon.recording.base import Meta
from gnomon.recording.reader import Recording
from tests.analysis.scenes import H200

GPU = profile(H200)
LLAMA = huggingface.read("Llama-3.1-8B").architecture
META = Meta(1, gpus={"GPU-1": H200, "GPU-2": {**H200, "index": 1}})
SECOND_NS = 10**9


def summary(uuid="GPU-1", at_s=0, **values):
    given = {
        "pipe": "tensor",
        "compute_sol_pct": 50.0,
        "memory_sol_pct": 25.0,
        "sm_clock_mhz": 1464.0,
        "sm_clock_source": "cupti",
    }
    times = {"from_ns": at_s * SECOND_NS, "to_ns": (at_s + 1) * SECOND_NS, "samples": 10}
    return GpuSummary(uuid=uuid, name="NVIDIA H200", **times, **{**given, **values})


@pytest.mark.parametrize(
    ("sku", "dtype", "ridge"),
    [
        ("H200-SXM-141GB", "bf16", 206),
        ("H100-SXM5-80GB", "bf16", 295),
        ("A100-SXM4-80GB", "bf16", 153),
    ],
)
def test_ridges_are_those_of_the_datasheets(sku, dtype, ridge):
    (roof,) = roofs_of(profile(sku_facts(sku)), [dtype], DEFAULT)

    assert roof.kind == DATASHEET
    assert roof.ridge_flop_per_byte == pytest.approx(ridge, abs=0.6)


def test_the_ridge_moves_with_the_measured_clock_and_the_slope_does_not():
    datasheet, moved = roofs_of(GPU, ["bf16"], DEFAULT, MeasuredClock(1830 / 2, ("gpm",), False))

    assert moved.kind == MEASURED_CLOCK
    assert moved.ridge_flop_per_byte == pytest.approx(datasheet.ridge_flop_per_byte / 2, rel=1e-3)
    assert moved.at(10) == datasheet.at(10)


def test_a_sustained_roof_stands_where_the_device_was_calibrated():
    found = {
        "flops": {"bf16": {"sustained": 650e12, "burst": 788e12}},
        "memory_bytes_per_s": 4.3e12,
    }

    bf16, sustained, fp8 = roofs_of(GPU, ["bf16", "fp8"], from_calibration(found, GPU))

    assert (bf16.kind, fp8.kind) == (DATASHEET, DATASHEET)
    assert (sustained.dtype, sustained.kind) == ("bf16", SUSTAINED)
    assert sustained.flops_per_s == pytest.approx(650e12)
    assert sustained.dram_bytes_per_s == pytest.approx(4.3e12)


@given(st.floats(1e-3, 1e6))
def test_no_operator_lies_above_its_roof(scale):
    answer = ceiling(LLAMA, GPU, Layout(), Decode(max(1, round(scale) % 512), 1024))
    roof = {one.dtype: one for one in roofs_of(GPU, answer.flops_by_dtype, DEFAULT)}

    for point in (*operator_points(answer.operators)[0], step_point(answer)):
        assert point.flops_per_s <= roof[point.dtype].at(point.flop_per_byte)


def test_operators_come_by_their_time_and_those_without_flops_keep_their_share():
    answer = ceiling(LLAMA, GPU, Layout(), Prefill(1, 2048))

    points, unplaced = operator_points(answer.operators)

    assert [one.mark for one in points] == list("abcdef")
    assert points[0].name == "mlp_gate_up"
    assert {"norm", "sampling"} <= unplaced.keys()
    assert sum(one.share_pct for one in points) + sum(unplaced.values()) == pytest.approx(100)


def test_a_measured_point_is_the_counters_share_of_each_peak():
    (point,) = measured_points([summary()], META).points

    assert point.flops_per_s == pytest.approx(989.4e12 / 2, rel=1e-3)
    assert point.dram_bytes_per_s == pytest.approx(1.2e12)
    assert point.flop_per_byte == pytest.approx(412.25, rel=1e-3)
    assert point.roof_pct == pytest.approx(50)
    assert point.ridge_flop_per_byte == pytest.approx(206.1 * 1464 / 1830, rel=1e-3)


def test_the_model_says_in_which_dtype_the_tensor_pipe_ran_and_no_other_pipe():
    windows = [summary(), summary(pipe="fp32", at_s=1)]

    tensor, fp32 = measured_points(windows, META, "fp8").points

    assert (tensor.dtype, fp32.dtype) == ("fp8", "fp32")
    assert fp32.flops_per_s == pytest.approx(66.9e12 / 2, rel=1e-3)


def test_measured_flops_are_those_that_the_workload_counted():
    """A bf16 GEMM on an H200 counts its own FLOPs; the counters' may not differ by 3 %."""
    recording = Recording.open(bundled_directory())
    summaries = summarize(recording, by="phase")
    told = {one.phase: one.tflops for one in summaries}

    found = {one.name: one for one in measured_points(summaries, recording.meta()).points}

    for phase in ("gemm_bf16_8192", "prefill_8x2048"):
        assert found[phase].flops_per_s / 1e12 == pytest.approx(told[phase], rel=0.03)


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"compute_sol_pct": 0.0}, "next to no arithmetic"),
        ({"memory_sol_pct": 0.001}, "next to no DRAM traffic"),
        ({"compute_sol_pct": None, "unavailable": {"compute_sol_pct": "no GPM"}}, "no GPM"),
        ({"memory_sol_pct": None}, "memory_sol_pct was not measured"),
    ],
)
def test_a_window_without_a_place_is_left_out_with_its_reason(values, reason):
    measured = measured_points([summary(phase="p", **values)], META)

    assert measured.points == ()
    assert measured.clock is None
    assert [(one.name, one.reason) for one in measured.left_out] == [("p", reason)]


@given(st.lists(st.tuples(st.floats(300, 2000), st.floats(1, 100)), min_size=1, max_size=5))
def test_the_mean_clock_lies_between_those_of_the_windows(windows):
    summaries = [
        summary(sm_clock_mhz=clock, compute_sol_pct=sol, at_s=at)
        for at, (clock, sol) in enumerate(windows)
    ]

    mhz = measured_points(summaries, META).clock.mhz

    clocks = [clock for clock, _ in windows]
    assert min(clocks) - 1e-6 <= mhz <= max(clocks) + 1e-6


def test_the_mean_clock_counts_the_time_in_which_the_pipes_issued():
    """60 % active at 1,000 MHz and 20 % at 1,800: (0.6 x 1000 + 0.2 x 1800) / 0.8."""
    windows = [(1000.0, 60.0), (1800.0, 20.0)]
    summaries = [
        summary(sm_clock_mhz=clock, compute_sol_pct=active * clock / 1830, at_s=at)
        for at, (clock, active) in enumerate(windows)
    ]

    assert measured_points(summaries, META).clock.mhz == pytest.approx(1200)


def test_windows_are_named_by_phase_or_time_and_by_gpu_where_there_are_several():
    alone = measured_points([summary(), summary(at_s=10)], META)
    two = measured_points([summary(phase="p"), summary("GPU-2", phase="p")], META)

    assert [one.name for one in alone.points] == ["from 0 s", "from 10 s"]
    assert [one.name for one in two.points] == ["GPU 0 p", "GPU 1 p"]
    assert measured_points([summary()], META).points[0].name == "all of it"


def test_gpus_of_another_kind_are_told_apart():
    other = sku_facts("H100-SXM5-80GB")
    meta = replace(META, gpus={"GPU-1": H200, "GPU-2": other})
    summaries = [summary(), summary("GPU-2")]

    kept, others = of_kind(summaries, profiles_of(summaries, meta), GPU)

    assert [one.uuid for one in kept] == ["GPU-1"]
    assert others == ["NVIDIA H100 80GB HBM3"]


def test_without_a_model_the_roofs_are_those_that_most_run():
    assert [one.dtype for one in roofline(GPU, DEFAULT).roofs] == ["fp8", "bf16"]
    assert [one.dtype for one in roofline(profile(sku_facts("V100-SXM2-32GB")), DEFAULT).roofs] == [
        "fp16"
    ]


def test_a_gpu_without_known_peaks_is_refused_by_name():
    with pytest.raises(ModelError, match="--gpu odd: its peaks are not known"):
        roofline(HardwareProfile("odd", None, "computed"), DEFAULT)
