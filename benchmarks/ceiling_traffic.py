"""DRAM bytes of a step as it is run here: kernels that are not fused, products made of tiles.

The model counts what perfectly fused kernels must move, each operand once. This counts what the
kernels of ``benchmarks.ceiling_work`` do move, from their tensors' shapes alone; nothing in it is
fitted. Three rules:

- what a kernel writes gets to DRAM once, for weights stream through the L2 and push it out;
- activations are read from the L2 where a layer's widest tensor fits into it, else from DRAM;
- products of prompts read their operands wave by wave: at a time each SM makes one tile of the
  output, the wave of tiles is as square as the output allows, and needs the rows and columns that
  it covers. Nothing is kept from one wave to the next. Real orders of tiles are cuBLAS's secret,
  some better and some worse.

A decode step's rows fit one wave, so its weights are read once.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from lab.known_work import BYTES_OF_DTYPE, LlamaShape, decode_step

from benchmarks.ceiling_points import DTYPE, Workload
from gnomon.hardware import HardwareProfile

SHAPE = LlamaShape()
SIZE_BYTES = BYTES_OF_DTYPE[DTYPE]
# Rows x columns of the output of one thread block in Hopper's large kernels (CUTLASS, cuBLAS):
# as fp32 sums they fill half of an SM's 256 KB of registers.
TILE = (128, 256)

_HIDDEN, _WIDE = SHAPE.hidden, SHAPE.intermediate
_QUERY, _KEY = SHAPE.heads * SHAPE.head_dim, SHAPE.kv_heads * SHAPE.head_dim
# (outputs, inputs) of a layer's products; transformers has none of them joined.
PRODUCTS = (
    (_QUERY, _HIDDEN),
    (_KEY, _HIDDEN),
    (_KEY, _HIDDEN),
    (_HIDDEN, _QUERY),
    (_WIDE, _HIDDEN),
    (_WIDE, _HIDDEN),
    (_HIDDEN, _WIDE),
)
_PRODUCED = sum(outputs for outputs, _ in PRODUCTS)


@dataclass(frozen=True, slots=True)
class Moved:
    """Numbers a token that kernels read and write as activations; an fp32 one counts as two."""

    read: int
    written: int


# Eager RMSNorm, kernel by kernel: to fp32, squared, mean, times its root, back, times weights.
_EAGER_NORM = Moved(10 * _HIDDEN, 8 * _HIDDEN)

_COMPILED_LAYER = (
    Moved(_HIDDEN, _HIDDEN),  # norm
    Moved(_QUERY + _KEY, _QUERY + _KEY),  # rope
    Moved(_QUERY + 2 * _KEY, _QUERY),  # attention
    Moved(2 * _HIDDEN, _HIDDEN),  # residual, and the norm of it
    Moved(2 * _WIDE, _WIDE),  # activation, times up
    Moved(3 * _HIDDEN, _HIDDEN),  # both residuals: the first sum is not kept
)
_PROMPT_ENDS = (Moved(0, _HIDDEN), _EAGER_NORM)  # embedding, last norm; logits of one token only

_EAGER_LAYER_WRITES = (
    2 * _EAGER_NORM.written
    + _PRODUCED
    # Rope: half negated, joined, times sine, times cosine, summed. Its keys' write to the cache
    # is the model's, and so is that of the values.
    + (9 * (_QUERY + _KEY)) // 2
    + _QUERY  # attention
    + 2 * _WIDE  # activation; times up
    + 2 * _HIDDEN  # residuals
)
_EAGER_ENDS = _HIDDEN + _EAGER_NORM.written + SHAPE.vocabulary
_CHAIN_LAYER_WRITES = SHAPE.qkv_width + _QUERY + _HIDDEN + 2 * _WIDE + _HIDDEN


def executed_bytes(workload: Workload, gpu: HardwareProfile) -> float | None:
    """Return the DRAM bytes of one step as it runs; None where the GPU's L2 or SMs are unknown."""
    l2_bytes = gpu.spec.l2_bytes if gpu.spec else None
    if l2_bytes is None or gpu.sm_count is None:
        return None
    if workload.kind == "prefill":
        return SIZE_BYTES * _prompt_numbers(workload, l2_bytes, gpu.sm_count)
    fused = decode_step(SHAPE, workload.batch, workload.length).dram_bytes or 0.0
    layer, ends = (
        (_EAGER_LAYER_WRITES, _EAGER_ENDS)
        if workload.kind == "decode"
        else (_CHAIN_LAYER_WRITES, SHAPE.vocabulary)
    )
    return fused + SIZE_BYTES * workload.tokens * (SHAPE.layers * layer + ends)


def _prompt_numbers(workload: Workload, l2_bytes: float, sm_count: int) -> float:
    tokens, layers = workload.tokens, SHAPE.layers
    from_dram = tokens * _WIDE * SIZE_BYTES > l2_bytes
    weights = activations = 0.0
    for outputs, inputs in PRODUCTS:
        left, right = product_reads(tokens, outputs, inputs, sm_count)
        activations += left
        weights += right
    read = layers * (activations + tokens * sum(one.read for one in _COMPILED_LAYER))
    read += tokens * sum(one.read for one in _PROMPT_ENDS)
    written = layers * (_PRODUCED + sum(one.written for one in _COMPILED_LAYER))
    written += sum(one.written for one in _PROMPT_ENDS)
    logits = SHAPE.head_parameters + workload.batch * SHAPE.vocabulary
    embedded = tokens * _HIDDEN
    always = layers * weights + tokens * written + logits + embedded
    return always + read if from_dram else always


def product_reads(rows: int, columns: int, inner: int, sm_count: int) -> tuple[float, float]:
    """Return how many numbers a product reads of its left and its right operand.

    Shapes (rows, inner) and (inner, columns). A wave covers sm_count tiles of the output, r rows by
    c columns of it; the left operand is read once for every c columns, the right one for every r
    rows: rows x inner x columns ÷ c, and inner x columns x rows ÷ r. Of all r x c of that area the
    square reads least, where the output is that large.
    """
    area = sm_count * math.prod(TILE)
    covered_rows = min(rows, math.sqrt(area))
    covered_columns = min(columns, area / covered_rows)
    covered_rows = min(rows, area / covered_columns)
    left = rows * inner * columns / covered_columns
    right = inner * columns * rows / covered_rows
    return left, right
