"""The table of kernels: by hand, over the measured recording, and as other analyses join it."""

import numpy as np
import pytest

from gnomon.analysis.kernel_types import By, Shape
from gnomon.analysis.kernels import kernel_gpus, kernel_table
from gnomon.analysis.questions import Span
from gnomon.recording.base import Meta
from gnomon.recording.reader import Recording
from tests.analysis.kernel_recordings import (
    BEGIN_NS,
    GPU_UUID,
    MS,
    SECOND,
    US,
    kernel,
    measured,
    meta,
    name_hash,
    named,
    record,
    window,
)

WHOLE = Span(BEGIN_NS - 1, BEGIN_NS + 100 * SECOND)
LAUNCH = {"grid_x": 132, "grid_y": 1, "grid_z": 1, "block_x": 384, "block_y": 1, "block_z": 1}
FILLING = {"registers_per_thread": 168, "static_shared_bytes": 0, "dynamic_shared_bytes": 1024}


def table(path, by=By.NAME, span=WHOLE, gpu=None, **rows_of):
    return kernel_table(Recording.open(record(path, **rows_of)), span, by, gpu)


def test_the_measured_recording(tmp_path):
    found = table(tmp_path, **measured())
    gemm, normal = found.rows
    durations = measured()["kernels"].column("duration_ns").to_numpy()
    mine = durations[measured()["kernels"].column("name_hash").to_numpy() == name_hash(gemm.name)]

    assert (gemm.count, normal.count) == (1991, 3)
    assert (gemm.family, normal.family) == ("gemm", "elementwise")
    assert gemm.total_ns == mine.sum()
    assert (gemm.p50_ns, gemm.max_ns) == (np.quantile(mine, 0.5, method="inverted_cdf"), mine.max())
    assert gemm.outliers == (mine > 2 * np.median(mine)).sum()
    assert gemm.grid is gemm.occupancy_pct is gemm.launch_delay_ns is None
    # They never overlap, and one window spans them all.
    assert found.gpus[0].busy_pct == pytest.approx(100 * durations.sum() / found.gpus[0].covered_ns)
    assert gemm.share_pct + normal.share_pct == pytest.approx(found.gpus[0].busy_pct)
    assert sum(row.gap_on_gpu_total_ns for row in found.rows) == (
        found.gpus[0].covered_ns - durations.sum()
    )


def test_share_is_of_windows_and_gaps_lie_within_them(tmp_path):
    kernels = [kernel(begin, 100 * US) for begin in (0, MS, 20 * SECOND, 20 * SECOND + MS)]
    windows = [window(0, 2 * MS), window(20 * SECOND, 20 * SECOND + 2 * MS)]
    found = table(tmp_path, kernels=kernels, kernel_windows=windows)
    (row,) = found.rows

    assert found.is_windowed
    assert found.gpus[0].covered_ns == 4 * MS
    assert row.share_pct == pytest.approx(10)
    assert row.gap_on_gpu_total_ns == 2 * 900 * US
    assert row.gap_on_stream_ns == row.gap_on_gpu_ns == 900 * US


def test_without_windows_the_whole_span_counts(tmp_path):
    span = Span(BEGIN_NS - 1, BEGIN_NS - 1 + 10 * MS)
    found = table(tmp_path, span=span, kernels=[kernel(0, MS), kernel(5 * MS, MS)])

    assert not found.is_windowed
    assert found.rows[0].share_pct == pytest.approx(20)
    assert found.rows[0].gap_on_gpu_total_ns == 4 * MS


def test_streams_wait_by_themselves_and_the_gpu_while_none_of_them_runs(tmp_path):
    kernels = [
        kernel(0, 10 * US, "first"),
        kernel(5 * US, 20 * US, "other", stream_id=8),
        kernel(30 * US, 10 * US, "second"),
    ]
    rows = {
        row.name: row
        for row in table(
            tmp_path, kernels=kernels, kernel_names=named("first", "other", "second")
        ).rows
    }

    assert rows["first"].gap_on_gpu_ns is rows["first"].gap_on_stream_ns is None
    assert (rows["other"].gap_on_stream_ns, rows["other"].gap_on_gpu_ns) == (None, 0)
    assert (rows["second"].gap_on_stream_ns, rows["second"].gap_on_gpu_ns) == (20 * US, 5 * US)


def test_a_window_of_one_process_says_nothing_of_another(tmp_path):
    other = {"process_id": "process-2", "pid": 2}
    kernels = [
        kernel(0, US),
        kernel(10 * SECOND, US),
        kernel(0, US, **other),
        kernel(10 * SECOND, US, **other),
    ]
    windows = [
        window(0, MS),
        window(10 * SECOND, 10 * SECOND + MS),
        window(0, 11 * SECOND, **other),
    ]
    (row,) = table(tmp_path, kernels=kernels, kernel_windows=windows).rows

    # Of the four, one alone has a kernel of its stream before it, in the same window.
    assert row.gap_on_stream_ns == 10 * SECOND - US


def test_shapes_are_kept_apart_where_asked_and_judged_apart_always(tmp_path):
    small = [kernel(place * MS, 10 * US, **LAUNCH) for place in range(20)]
    large = [
        kernel((20 + place) * MS, 500 * US, **LAUNCH | {"grid_x": 9000}) for place in range(20)
    ]
    by_name = table(tmp_path / "name", kernels=small + large).rows
    by_shape = table(tmp_path / "shape", By.SHAPE, kernels=small + large).rows

    assert [(row.shapes, row.count, row.outliers, row.variation_pct) for row in by_name] == [
        (2, 40, 0, 0)
    ]
    assert [(row.grid, row.p50_ns) for row in by_shape] == [
        ((9000, 1, 1), 500 * US),
        ((132, 1, 1), 10 * US),
    ]
    assert by_name[0].members == [
        (Shape(name_hash("gemm"), (9000, 1, 1), (384, 1, 1)), 10 * MS),
        (Shape(name_hash("gemm"), (132, 1, 1), (384, 1, 1)), 200 * US),
    ]


def test_the_same_kernel_100_times_longer_is_told_with_what_it_cost(tmp_path):
    kernels = [kernel(place * MS, 5 * US if place % 50 else 500 * US) for place in range(1000)]
    (row,) = table(tmp_path, kernels=kernels).rows

    assert (row.outliers, row.outlier_times) == (20, 100)
    assert row.outlier_excess_ns == 20 * 495 * US


def test_families_put_kernels_together(tmp_path):
    names = ("nvjet_tst_1", "ampere_bf16_s16816gemm_bf16_1", "ncclDevKernel_AllReduce_Sum")
    kernels = [kernel(place * MS, 10 * US, name) for place, name in enumerate(names * 2)]
    rows = table(tmp_path, By.FAMILY, kernels=kernels, kernel_names=named(*names)).rows

    assert [(row.name, row.count, row.shapes) for row in rows] == [
        ("gemm", 4, 2),
        ("collective", 2, 1),
    ]


def test_a_kernel_without_a_name_is_told_by_its_hash(tmp_path):
    (row,) = table(tmp_path, kernels=[kernel(0, US, name_hash=-1)]).rows

    assert row.name == "kernel ffffffffffffffff"


def test_occupancy_is_computed_where_the_recording_has_none(tmp_path):
    asked = kernel(0, US, **LAUNCH, **FILLING)
    known = kernel(
        0,
        US,
        "b",
        **LAUNCH,
        **FILLING,
        theoretical_occupancy_pct=50.0,
        waves=1.5,
        occupancy_limiter="blocks",
    )
    rows = {row.occupancy_limiter: row for row in table(tmp_path, kernels=[asked, known]).rows}

    # 12 of 64 warps by registers, and as many blocks as SMs.
    assert (rows["registers"].occupancy_pct, rows["registers"].waves) == (18.75, 1.0)
    assert rows["registers"].tail_pct == 0
    assert (rows["blocks"].occupancy_pct, rows["blocks"].tail_pct) == (50, 50)


def test_a_mig_instance_has_waves_of_its_own(tmp_path):
    facts = dict(meta().gpus[GPU_UUID]) | {"mig_instances": {"MIG-1": {"sm_count": 16}}}

    class Sliced(Recording):
        def meta(self):
            return Meta(1, gpus={GPU_UUID: facts})

    mine = {"mig_uuid": "MIG-1"} | LAUNCH | FILLING
    path = record(tmp_path, kernels=[kernel(0, US, **mine)])
    found = kernel_table(Sliced.open(path), WHOLE)

    assert found.rows[0].waves == pytest.approx(132 / 16)
    assert kernel_gpus(Recording.open(path)) == [(GPU_UUID, "MIG-1")]


def test_one_gpu_and_a_part_of_the_time_can_be_asked_for(tmp_path):
    kernels = [kernel(0, US), kernel(0, US, gpu_uuid="GPU-2"), kernel(SECOND, US, gpu_uuid="GPU-2")]
    recording = Recording.open(record(tmp_path, kernels=kernels))
    of_one = kernel_table(recording, WHOLE, gpu=("GPU-2", None))
    later = kernel_table(recording, Span(BEGIN_NS + MS, BEGIN_NS + 2 * SECOND))

    assert [(one.uuid, one.kernels) for one in of_one.gpus] == [("GPU-2", 2)]
    assert [row.count for row in later.rows] == [1]


def test_delay_is_from_the_call_to_the_start_where_an_import_knows_it(tmp_path):
    begun = BEGIN_NS + MS
    kernels = [kernel(MS, US, enqueued_ns=begun - delay) for delay in (2 * US, 4 * US)]

    assert table(tmp_path, kernels=kernels).rows[0].launch_delay_ns == 3 * US


def test_nothing_recorded_is_an_empty_table(tmp_path):
    found = table(tmp_path, kernel_windows=[window(0, MS, dropped=3)])

    assert (found.rows, found.gpus, found.dropped, found.is_windowed) == ((), (), 3, True)
