"""The bytes of what runs: closed forms against tiles counted one by one, and against an H200."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
from benchmarks.ceiling_points import WORKLOADS, expect
from benchmarks.ceiling_traffic import executed_bytes, product_reads
from hypothesis import given
from hypothesis import strategies as st
from lab.known_work import BYTES_OF_DTYPE

from gnomon.hardware import profile, sku_facts
from gnomon.performance_model.constants import DEFAULT

H200 = profile(sku_facts("H200-SXM-141GB"))
ACCURACY = (Path(__file__).parents[2] / "docs" / "measurements" / "accuracy.md").read_text()
SIZES = st.integers(1, 1 << 15)


def counted_reads(rows, columns, inner, side):
    """Reads of a product by square waves of the output, each wave counted by itself."""
    left = right = 0
    for _top in range(0, rows, side):
        for _first in range(0, columns, side):
            left += side * inner
            right += side * inner
    return left, right


@pytest.mark.parametrize(("rows", "columns"), [(4096, 8192), (2048, 2048), (6144, 4096)])
def test_waves_read_the_rows_and_columns_that_they_cover(rows, columns):
    # 128 SMs with a tile of 128 x 256 each make 2048 x 2048 of the output at a time.
    assert product_reads(rows, columns, 512, 128) == counted_reads(rows, columns, 512, 2048)


@given(rows=SIZES, columns=SIZES, inner=SIZES)
def test_no_operand_is_read_less_than_once(rows, columns, inner):
    left, right = product_reads(rows, columns, inner, 132)

    assert left >= rows * inner * (1 - 1e-9)
    assert right >= inner * columns * (1 - 1e-9)


# Rows, columns, inner size, dtype, dtype of the output.
BARE = {
    "gemm_bf16_8192": (8192, 8192, 8192, "bf16", "bf16"),
    "gemm_bf16_4096": (4096, 4096, 4096, "bf16", "bf16"),
    "gemm_bf16_16384x14336x4096": (16384, 14336, 4096, "bf16", "bf16"),
    "gemm_bf16_128x8192x8192": (128, 8192, 8192, "bf16", "bf16"),
    "gemm_fp8_8192": (8192, 8192, 8192, "fp8", "bf16"),
    "gemm_tf32_8192": (8192, 8192, 8192, "tf32", "tf32"),
}


@pytest.mark.parametrize("name", BARE)
def test_bare_products_read_on_an_h200_what_waves_do_and_up_to_a_sixth_more(name):
    rows, columns, inner, dtype, output = BARE[name]
    memory_sol_pct, once_gb_per_s = re.search(
        rf"^\| {name} \|.*\| ([\d.]+) \| [^|]*, ([\d,]+) GB/s \|$", ACCURACY, re.MULTILINE
    ).groups()
    measured = float(memory_sol_pct) / 100 * 4800 / float(once_gb_per_s.replace(",", ""))
    operands = (rows * inner + inner * columns) * BYTES_OF_DTYPE[dtype]
    written = rows * columns * BYTES_OF_DTYPE[output]
    read = sum(product_reads(rows, columns, inner, 132)) * BYTES_OF_DTYPE[dtype]
    by_waves = (read + written) / (operands + written)

    assert 0.995 <= measured / by_waves <= 1.16


@pytest.mark.parametrize("workload", WORKLOADS, ids=lambda workload: workload.name)
def test_what_runs_moves_more_than_fused_kernels_must(workload):
    ran, fused = executed_bytes(workload, H200), expect(workload, H200, DEFAULT).dram_bytes
    # 512 tokens leave their activations in the L2, where the model has them in DRAM.
    fits_the_l2 = workload.name == "prefill_1x512"

    assert (ran < fused) is fits_the_l2


def test_without_the_size_of_the_l2_nothing_is_claimed():
    assert executed_bytes(WORKLOADS[0], replace(H200, spec=None)) is None
