"""The sentence on a kernel."""

import pytest

from gnomon.analysis.kernel_sol_types import KernelKey, KernelSol
from gnomon.analysis.kernel_types import Shape
from gnomon.analysis.kernel_verdict import verdict
from gnomon.analysis.ledger import ComputeMeans, compute_ledger
from gnomon.enums import Pipe


def kernel(pipe_pct, product_pct, dram_pct, sm_pct, bound_by):
    means = ComputeMeans(0.0, 100.0, 100.0 - sm_pct, Pipe.TENSOR, pipe_pct, product_pct)
    return KernelSol(
        KernelKey("kernel", Shape(1, None, None)),
        calls=1,
        time_ns=1,
        time_share_pct=100,
        alone_pct=100,
        samples=100,
        pipe="tensor",
        pipe_active_pct=pipe_pct,
        compute_sol_pct=product_pct,
        memory_sol_pct=dram_pct,
        ledger=compute_ledger(means),
        bound_by=bound_by,
    )


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (kernel(94, 72, 21, 97, "clock"), "tensor 94 %, clock-limited"),
        (kernel(80, 79, 21, 97, "compute"), "tensor 80 %, compute-bound"),
        (kernel(1, 1, 61, 97, "memory"), "DRAM 61 %: fuse"),
        (
            kernel(1, 1, 86, 97, "memory"),
            "DRAM 86 %: at the memory's roof, fuse or shrink its data",
        ),
        (kernel(8, 8, 5, 12, "latency"), "tensor 8 %: 88 % of SMs empty, too small a grid"),
        (kernel(20, 20, 25, 90, "latency"), "DRAM 25 %: waits, under neither roof"),
    ],
)
def test_the_nearer_roof_is_named_and_what_to_do(given, said):
    assert verdict(given) == said


def test_what_is_not_known_says_why():
    bare = KernelSol(
        KernelKey("kernel", Shape(1, None, None)),
        1,
        1,
        1.0,
        100.0,
        2,
        unavailable={"x": "two samples"},
    )

    assert verdict(bare) == "not told: two samples"
