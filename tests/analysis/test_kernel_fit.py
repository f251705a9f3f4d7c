"""What the fit makes of kernels that are too rare, and of a GPU that nothing runs on."""

import numpy as np
import pytest

from gnomon.analysis.kernel_fit import LEAST_SAMPLES, idle_level
from gnomon.analysis.kernel_overlap import Overlaps
from gnomon.analysis.kernel_sol import Ran, kernel_sol
from gnomon.analysis.kernel_sol_types import KernelKey
from gnomon.analysis.kernel_types import Shape
from tests.analysis.kernel_worlds import H200, US, ran, sampled, sequence


def shares_of(*rows):
    row = np.array(rows, dtype=np.int64)
    return Overlaps(row, np.zeros(len(row), dtype=np.int64), np.ones(len(row)))


def test_an_empty_gpu_reads_the_median_of_samples_away_from_work():
    values = np.full((30, 1), 0.5)
    values[10:15] = 90.0  # work
    values[[9, 15]] = 40.0  # its edges
    values[20] = 70.0  # somebody else's

    level, samples = idle_level(shares_of(*range(10, 15)), values)

    assert level.tolist() == [0.5]
    assert samples == 23


def test_a_gpu_that_is_never_empty_is_taken_to_read_0():
    level, samples = idle_level(shares_of(*range(0, 30, 2)), np.full((30, 2), 50.0))

    assert level.tolist() == [0.0, 0.0]
    assert samples < LEAST_SAMPLES


def test_shapes_too_rare_to_be_told_are_pooled_by_their_name():
    rng = np.random.default_rng(12)
    order = rng.integers(0, 2, 3000)
    rare = rng.choice(3000, 40, replace=False)
    order[rare] = 2 + np.arange(40) // 2  # twenty shapes of two calls each
    lengths = np.concatenate(([60 * US, 30 * US], np.full(20, 20 * US)))
    spans, group = sequence(order, lengths, 20 * US, rng)
    truth = {
        "sm_active_pct": np.concatenate(([90, 60], np.full(20, 40))),
        "dram_active_pct": np.concatenate(([20, 80], np.full(20, 50))),
    }
    samples = sampled(spans, group, truth, 50 * US, rng)
    names = ["gemm", "norm", *["softmax"] * 20]
    work = ran(spans, group)
    keys = tuple(KernelKey(name, Shape(0, (at, 1, 1), (32, 1, 1))) for at, name in enumerate(names))

    answer = kernel_sol("GPU-1", [samples], Ran(work.operations, keys, work.on_sms), H200)

    softmax = [one for one in answer.kernels if one.key.name == "softmax"]
    assert len(softmax) == 20
    for one in softmax:
        assert "too few times" in one.unavailable["dram_active_pct"]
        assert one.group.values_pct["dram_active_pct"] == pytest.approx(50, abs=3)
        assert one.group.values_pct["sm_active_pct"] == pytest.approx(40, abs=3)
        assert len(one.group.members) == 20
