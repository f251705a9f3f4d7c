"""FLOPs and bytes of a point against numbers written out by hand."""

import pytest

from gnomon.hardware.calibration.points import Conditions, Kind, Point, Task
from lab import known_work


@pytest.mark.parametrize(
    ("task", "flops", "moved_bytes"),
    [
        (Task(Kind.GEMM, (2, 3, 5), "bf16"), 60, 2 * (10 + 15 + 6)),
        (Task(Kind.GEMM, (2, 3, 5), "fp8"), 60, 10 + 15 + 2 * 6),
        (Task(Kind.GEMM, (2, 3, 5), "int8"), 60, 10 + 15 + 4 * 6),
        # One sequence, 2 heads over 1, 3 tokens of 4 numbers: 6 pairs, 4 FLOPs a number and head.
        (Task(Kind.PREFILL, (1, 2, 1, 3, 4), "bf16"), 4 * 2 * 6 * 4, 2 * (2 * 2 + 2) * 3 * 4),
        (Task(Kind.DECODE, (1, 2, 1, 3, 4), "bf16"), 4 * 2 * 3 * 4, 2 * (2 * 2 + 2 * 3) * 4),
        (Task(Kind.READ, (100,)), 0, 100),
        (Task(Kind.COPY, (100,)), 0, 200),
        (Task(Kind.H2D, (100,)), 0, 100),
        (Task(Kind.ALL_REDUCE, (100, 2), "bf16"), 0, 100),
        (Task(Kind.ALL_REDUCE, (100, 8), "bf16"), 0, 175),
        (Task(Kind.LAUNCH), 0, 0),
    ],
)
def test_work_of_a_task(task, flops, moved_bytes):
    assert (task.flops, task.moved_bytes) == (flops, moved_bytes)


def test_the_lab_counts_the_same():
    prefill = Task(Kind.PREFILL, (4, 32, 32, 4096, 128), "bf16")
    product = Task(Kind.GEMM, (128, 256, 512), "bf16")
    known = known_work.causal_attention(4, 32, 4096, 128)

    assert (prefill.flops, prefill.moved_bytes) == (known.flops, known.dram_bytes)
    assert product.moved_bytes == known_work.gemm(128, 256, 512, "bf16").dram_bytes


def test_a_point_tells_all_of_itself():
    task = Task(Kind.GEMM, (2, 3, 5), "bf16", is_sustained=True)
    told = Point(task, 2.0, Conditions(1346.0, "cupti", 700.0)).to_json()

    assert task.name == "gemm bf16 m 2 n 3 k 5 sustained"
    assert told["shape"] == {"m": 2, "n": 3, "k": 5}
    assert (told["flops_per_s"], told["bytes_per_s"]) == (30.0, 31.0)
    assert (told["sm_clock_mhz"], told["sm_clock_source"], told["power_watts"]) == (
        1346.0,
        "cupti",
        700.0,
    )
