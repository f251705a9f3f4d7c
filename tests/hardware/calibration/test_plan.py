"""The plan: what it must hold, for whatever GPU, and that it fits into the time allowed."""

import pytest

from gnomon.hardware.calibration import measuring, plan
from gnomon.hardware.calibration.points import Kind

BEST = {Kind.PREFILL: "flash", Kind.DECODE: "cudnn"}
H200_FREE_BYTES = 140 << 30


def test_a_whole_calibration_is_expected_to_end_in_time():
    bursts = plan.bursts(tuple(plan.ROWS), H200_FREE_BYTES)
    sustained = plan.sustained(tuple(plan.ROWS), H200_FREE_BYTES, BEST)
    expected_s = len(bursts) * measuring.BURST_S + len(sustained) * measuring.SUSTAINED_S

    assert len(sustained) == 12
    assert expected_s <= measuring.ALLOWED_S - 10


def test_every_sustained_point_has_a_burst_of_its_shape_or_dtype():
    bursts = plan.bursts(tuple(plan.ROWS), H200_FREE_BYTES)
    brief = {(task.kind, task.dtype, task.shape) for task in bursts}

    for task in plan.sustained(tuple(plan.ROWS), H200_FREE_BYTES, BEST):
        assert (task.kind, task.dtype, task.shape) in brief


@pytest.mark.parametrize("free_bytes", [1 << 28, 4 << 30, 20 << 30])
def test_nothing_is_planned_that_does_not_fit(free_bytes):
    for task in plan.bursts(("bf16",), free_bytes):
        assert 2 * task.moved_bytes < free_bytes


def test_no_dtype_is_measured_that_the_gpu_lacks():
    every = [
        *plan.bursts(("bf16", "tf32"), H200_FREE_BYTES),
        *plan.sustained(("bf16", "tf32"), H200_FREE_BYTES, {}),
    ]

    assert {task.dtype for task in every} == {"bf16", "tf32", ""}


def test_rows_and_names_are_distinct():
    names = [task.name for task in plan.bursts(tuple(plan.ROWS), H200_FREE_BYTES)]

    assert len(names) == len(set(names))
