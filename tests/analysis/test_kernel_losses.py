"""Rows of the table and what is known of their shapes."""

import json

import pytest

from gnomon.analysis.kernel_losses import document, losses, points
from gnomon.analysis.kernel_sol_report import kernels_sol
from gnomon.analysis.kernel_types import By
from gnomon.analysis.kernels import kernel_table
from gnomon.analysis.questions import Span
from gnomon.recording.reader import Recording
from tests.analysis import kernel_recordings as recordings
from tests.analysis.kernel_recordings import BEGIN_NS, GPU_UUID, SECOND
from tests.analysis.kernel_worlds import H200
from tests.analysis.test_kernel_sol_report import VALUES, operations, rows


@pytest.fixture(scope="module")
def asked(tmp_path_factory):
    """Return a recording of two shapes of a GEMM, and how long each ran."""
    ran = operations()
    directory = recordings.record(tmp_path_factory.mktemp("run"), **rows(ran))
    times = {kind: sum(length for one, _, length in ran if one == kind) for kind in VALUES}
    return Recording.open(directory), times


def joined(recording, by):
    table = kernel_table(recording, Span(BEGIN_NS - 1, BEGIN_NS + SECOND), by)
    return losses(table.rows, kernels_sol(recording), {GPU_UUID: H200})


def test_a_row_of_several_shapes_has_their_mean_over_time(asked):
    recording, times = asked
    weights = [times["gemm"], times["gemm small"]]
    expected = (90 * weights[0] + 40 * weights[1]) / sum(weights)

    (row,) = joined(recording, By.NAME)

    assert row.sol.pipe_active_pct == pytest.approx(expected, abs=1.5)
    assert row.known_pct == 100
    reached = max(row.sol.compute_sol_pct, row.sol.memory_sol_pct)
    assert row.lost_pct == pytest.approx(row.row.share_pct * (100 - reached) / 100)


def test_rows_come_in_the_order_of_what_they_lose(asked):
    found = joined(asked[0], By.SHAPE)

    assert len(found) == 2
    assert found[0].lost_pct >= found[1].lost_pct > 0
    assert {one.row.grid[0]: round(one.sol.pipe_active_pct, -1) for one in found} == {
        128: 90,
        16: 40,
    }


def test_without_counters_rows_keep_the_order_of_their_time(asked):
    table = kernel_table(asked[0], Span(BEGIN_NS - 1, BEGIN_NS + SECOND), By.SHAPE)

    found = losses(table.rows, [], {})

    assert [one.row for one in found] == list(table.rows)
    assert {(one.sol, one.lost_pct) for one in found} == {(None, None)}


def test_roofline_points_are_flops_and_bytes_of_the_peaks(asked):
    recording, _ = asked
    found = joined(recording, By.SHAPE)

    placed = {one.name: one for one in points(found, GPU_UUID, recording.meta()).points}

    gemm = placed["gemm <128x1x1, 256x1x1>"]
    assert len(placed) == 2
    assert gemm.flops_per_s == pytest.approx(gemm.compute_sol_pct / 100 * H200.peak_flops["bf16"])
    assert gemm.dram_bytes_per_s == pytest.approx(gemm.memory_sol_pct / 100 * H200.dram_bytes_per_s)


def test_the_document_has_speed_of_light_in_every_row_and_copies_by_gpu(asked):
    recording, _ = asked
    table = kernel_table(recording, Span(BEGIN_NS - 1, BEGIN_NS + SECOND), By.SHAPE)
    found = kernels_sol(recording)

    told = document(
        table, losses(table.rows, found, {GPU_UUID: H200}), found, recording.meta(), limit=1
    )

    told = json.loads(json.dumps(told, allow_nan=False))
    (row,) = told["kernels"]
    assert told["left_out"] == 1
    assert row["sol"]["roofline"]["flops_per_s"] > 0
    assert row["sol"]["ledger"]["achieved_pct"] == row["sol"]["compute_sol_pct"]
    (gpu,) = told["speed_of_light"]
    assert gpu["offset"]["uncertainty_ns"] < 5000
    assert gpu["copies"][0]["memory_sol_pct"] == pytest.approx(88, abs=1.5)
