"""From the tables of a recording to every kernel's speed of light."""

import json

import numpy as np
import pytest

from gnomon.analysis.kernel_sol_report import kernels_sol
from gnomon.analysis.kernel_types import Shape
from tests.analysis import kernel_recordings as recordings
from tests.analysis.kernel_recordings import BEGIN_NS, GPU_UUID, MS, US, kernel, window

SHAPES = {"grid_x": 128, "grid_y": 1, "grid_z": 1, "block_x": 256, "block_y": 1, "block_z": 1}
# Kernel or copy -> SM, tensor, DRAM in percent.
VALUES = {"gemm": (96, 90, 20), "gemm small": (50, 40, 10), "copy": (100, 0, 88)}


@pytest.fixture(scope="module")
def measured():
    """Return the GPU of the measured H200: GEMMs, copies without records, and rest."""
    (gpu,) = kernels_sol(recordings.in_memory(**recordings.measured()))
    return gpu


def test_the_offset_of_the_measured_h200_is_found(measured):
    assert measured.offset.reason is None
    assert abs(measured.offset.offset_ns) == pytest.approx(10 * US, abs=5 * US)
    assert measured.offset.correlation == pytest.approx(0.989, abs=0.005)


def test_the_gemm_of_the_measured_h200_is_told_as_it_read_by_itself(measured):
    gemm = next(one for one in measured.kernels if one.key.name.startswith("nvjet"))

    assert gemm.calls == 1991
    assert gemm.values_pct["sm_active_pct"] == pytest.approx(96.5, abs=1)
    assert gemm.values_pct["tensor_pipe_pct"] == pytest.approx(93.6, abs=1)
    assert gemm.values_pct["dram_active_pct"] == pytest.approx(20.6, abs=1)
    assert max(gemm.errors_pct.values()) < 1


def test_the_measured_h200_did_work_without_records(measured):
    assert measured.unrecorded_pct == pytest.approx(38, abs=2)
    assert "were not recorded" in measured.warnings[0]


def test_kernels_that_ran_before_sampling_are_not_told(measured):
    setup = next(one for one in measured.kernels if "distribution" in one.key.name)

    assert setup.calls == 3
    assert set(setup.unavailable.values()) == {"it was met in 0 samples, at too few times"}
    json.dumps(measured.to_json(), allow_nan=False)


def operations(count=600):
    """Return (kind, begin, length) in ns after the beginning, with pauses between them."""
    rng = np.random.default_rng(11)
    kinds = rng.choice(list(VALUES), count)
    length = rng.integers(20 * US, 120 * US, count)
    begin = np.cumsum(length + rng.integers(5 * US, 200 * US, count)) - length
    return [*zip(kinds, begin.tolist(), length.tolist(), strict=True)]


def rows(ran, every_ns=50 * US):
    """Return the tables of operations, sampled by the microsecond."""
    end_us = (ran[-1][1] + ran[-1][2]) // US + 200
    level = np.zeros((end_us, 3))
    for kind, begin, length in ran:
        level[begin // US : (begin + length) // US] = VALUES[kind]
    many = end_us * US // every_ns
    means = level[: many * every_ns // US].reshape(many, -1, 3).mean(axis=1)
    samples = [
        {
            "ts_ns": BEGIN_NS + (at + 1) * every_ns,
            "duration_ns": every_ns,
            "gpu_uuid": GPU_UUID,
            "counter_set": "throughput",
            "sm_clock_mhz": 1500.0,
            "sm_active_pct": sm,
            "tensor_active_pct": tensor,
            "dram_active_pct": dram,
        }
        for at, (sm, tensor, dram) in enumerate(means.tolist())
    ]
    kernels = [
        kernel(begin, length, "gemm", **SHAPES | {"grid_x": 128 if kind == "gemm" else 16})
        for kind, begin, length in ran
        if kind != "copy"
    ]
    copies = [
        {
            **recordings.PLACE,
            "ts_ns": BEGIN_NS + begin + length,
            "duration_ns": length,
            "operation": "memcpy",
            "direction": "d2d",
        }
        for kind, begin, length in ran
        if kind == "copy"
    ]
    return {
        "kernels": kernels,
        "copies": copies,
        "kernel_names": recordings.named("gemm"),
        "kernel_windows": [window(0, end_us * US)],
        "pm_samples": samples,
    }


def test_shapes_of_a_kernel_and_copies_are_told_apart(tmp_path):
    tables = rows(operations())
    live = kernels_sol(recordings.in_memory(**tables))

    from gnomon.recording.reader import Recording

    (replayed,) = kernels_sol(Recording.open(recordings.record(tmp_path, **tables)))

    assert live == [replayed]
    found = replayed.by_shape()
    number = recordings.name_hash("gemm")
    assert found[Shape(number, (128, 1, 1), (256, 1, 1))].pipe_active_pct == pytest.approx(
        90, abs=1.5
    )
    assert found[Shape(number, (16, 1, 1), (256, 1, 1))].pipe_active_pct == pytest.approx(
        40, abs=1.5
    )
    (copy,) = (one for one in replayed.kernels if not one.key.is_kernel)
    assert copy.key.name == "copy d2d"
    assert copy.memory_sol_pct == pytest.approx(88, abs=1.5)


def test_samples_outside_of_windows_do_not_count():
    tables = rows(operations())
    half = tables["pm_samples"][-1]["ts_ns"] // 2 - BEGIN_NS // 2
    tables["kernel_windows"] = [window(0, half)]
    tables["kernels"] = [one for one in tables["kernels"] if one["ts_ns"] <= BEGIN_NS + half]
    tables["copies"] = [one for one in tables["copies"] if one["ts_ns"] <= BEGIN_NS + half]

    (gpu,) = kernels_sol(recordings.in_memory(**tables))

    assert gpu.samples == pytest.approx(half // (50 * US), abs=10)
    assert gpu.unrecorded_pct == pytest.approx(0, abs=1)


def test_a_gpu_without_samples_says_so():
    tables = rows(operations(60))
    elsewhere = kernel(0, MS, gpu_uuid="GPU-9")

    (*_, gpu) = kernels_sol(recordings.in_memory(**tables | {"kernels": [elsewhere]}))

    assert gpu.gpu_uuid == "GPU-9"
    assert "no counters were sampled" in gpu.unavailable


def test_without_samples_there_is_nothing_to_tell():
    assert kernels_sol(recordings.in_memory(kernels=[kernel(0, MS)])) == []


def test_a_recording_without_kernels_has_no_gpu():
    assert kernels_sol(recordings.in_memory(pm_samples=rows(operations(60))["pm_samples"])) == []


def test_of_too_many_samples_those_of_evenly_spread_windows_are_read(monkeypatch):
    tables = rows(operations())
    end = tables["pm_samples"][-1]["ts_ns"] - BEGIN_NS
    tables["kernel_windows"] = [
        window(at * end // 10, (at + 1) * end // 10 - 300 * US) for at in range(10)
    ]
    monkeypatch.setattr("gnomon.analysis.kernel_sol_report.MOST_SAMPLES", end // (50 * US) // 2)

    (gpu,) = kernels_sol(recordings.in_memory(**tables))

    assert gpu.samples == pytest.approx(end // (50 * US) / 2, rel=0.15)
    gemm = gpu.by_shape()[Shape(recordings.name_hash("gemm"), (128, 1, 1), (256, 1, 1))]
    assert gemm.pipe_active_pct == pytest.approx(90, abs=2)


def test_a_range_that_ends_within_a_window_is_told_of():
    memory = recordings.in_memory(**rows(operations()))

    (gpu,) = kernels_sol(memory, to_ns=BEGIN_NS + 40 * MS)

    assert gpu.samples == pytest.approx(40 * MS // (50 * US), abs=10)
