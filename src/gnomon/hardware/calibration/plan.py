"""Which points a calibration measures: bursts first, on a rested GPU, what heats it up last.

Shapes are those of transformers between 1B and 70B parameters. In all some 130 bursts of a tenth
of a second and twelve sustained points of four.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import product

from gnomon.hardware.calibration.points import Kind, Task

GIB = 1 << 30
KIB, MIB = 1 << 10, 1 << 20

# (n, k) of weights: 8 MB to 235 MB in bf16, so that a fit can tell the floor from the slope.
WEIGHTS = ((2048, 2048), (4096, 4096), (4096, 14336), (28672, 4096))
LARGE_M = (2048, 4096, 8192)
ROWS = {
    "bf16": (1, 8, 32, 64, 128, 256, 512, 1024, *LARGE_M),
    "fp8": (8, 32, 64, 512, *LARGE_M),
    "fp16": (32, *LARGE_M),
    "tf32": (32, *LARGE_M),
    "int8": (32, *LARGE_M),  # torch._int_mm takes more than 16 rows
}
# Products below this many rows are bound by memory on every GPU of the table.
SMALL_M = 64
SQUARE = (8192, 8192, 8192)
SUSTAINED_GEMMS = (
    ("bf16", SQUARE),
    ("bf16", (8192, 28672, 4096)),
    ("bf16", (8192, 4096, 14336)),
    ("fp8", SQUARE),
    ("fp8", (8192, 28672, 4096)),
    ("tf32", SQUARE),
    ("fp16", SQUARE),
    ("int8", SQUARE),
)
ATTENTION_KERNELS = ("flash", "cudnn")
HEADS, KV_HEADS, HEAD_DIM = 32, 8, 128
PREFILL_TOKENS = 16384
PREFILL_LENGTHS = (512, 2048, 4096, 8192, 16384)
SUSTAINED_PREFILL = 8192
DECODE_LENGTH = 4096
# Caches of 0.13, 1.1 and 4.3 GB.
DECODE_BATCHES = (8, 64, 256)
STREAM_BYTES = 2 * GIB
HOST_BYTES = GIB // 4
ALL_REDUCE_BYTES = (8 * KIB, 64 * KIB, 512 * KIB, 4 * MIB, 32 * MIB, 256 * MIB)


def bursts(dtypes: Iterable[str], free_bytes: int) -> list[Task]:
    """Return the short points of a GPU with these dtypes and so much free memory."""
    gemms = [
        Task(Kind.GEMM, (m, n, k), dtype)
        for dtype in dtypes
        for (n, k), m in product(WEIGHTS, ROWS[dtype])
    ]
    squares = [Task(Kind.GEMM, shape, dtype) for dtype, shape in SUSTAINED_GEMMS if shape == SQUARE]
    size_bytes = min(STREAM_BYTES, free_bytes // 8)
    return [
        Task(Kind.LAUNCH),
        *(Task(kind, (size_bytes,)) for kind in (Kind.READ, Kind.COPY)),
        *(Task(kind, (min(HOST_BYTES, free_bytes // 8),)) for kind in (Kind.H2D, Kind.D2H)),
        *_fitting([*gemms, *(task for task in squares if task.dtype in dtypes)], free_bytes),
        *_fitting(_attention(), free_bytes),
    ]


def _attention() -> list[Task]:
    prefills = [
        Task(Kind.PREFILL, prefill_shape(length), "bf16", kernel)
        for length, kernel in product(PREFILL_LENGTHS, ATTENTION_KERNELS)
    ]
    decodes = [
        Task(Kind.DECODE, decode_shape(batch), "bf16", kernel)
        for batch, kernel in product(DECODE_BATCHES, ATTENTION_KERNELS)
    ]
    return [*prefills, *decodes]


def sustained(dtypes: Iterable[str], free_bytes: int, best_kernels: dict[Kind, str]) -> list[Task]:
    """Return the points of some seconds each, the most important first.

    ``best_kernels``: which attention kernel was the fastest in bursts; none is measured without.
    """
    gemms = [Task(Kind.GEMM, s, d, is_sustained=True) for d, s in SUSTAINED_GEMMS if d in dtypes]
    size_bytes = min(STREAM_BYTES, free_bytes // 8)
    streams = [Task(kind, (size_bytes,), is_sustained=True) for kind in (Kind.READ, Kind.COPY)]
    shapes = {
        Kind.PREFILL: prefill_shape(SUSTAINED_PREFILL),
        Kind.DECODE: decode_shape(DECODE_BATCHES[-1]),
    }
    attention = [
        Task(kind, shapes[kind], "bf16", kernel, is_sustained=True)
        for kind, kernel in best_kernels.items()
    ]
    return _fitting([*gemms[:2], *streams, *attention, *gemms[2:]], free_bytes)


def all_reduces(gpus: int) -> list[Task]:
    """Return the points of the link between GPUs."""
    return [Task(Kind.ALL_REDUCE, (size, gpus), "bf16") for size in ALL_REDUCE_BYTES]


def prefill_shape(length: int) -> tuple[int, ...]:
    """Return causal attention over prompts of this length, 16k tokens in all."""
    return (max(1, PREFILL_TOKENS // length), HEADS, KV_HEADS, length, HEAD_DIM)


def decode_shape(batch: int) -> tuple[int, ...]:
    """Return one new token for each of ``batch`` sequences of 4k tokens."""
    return (batch, HEADS, KV_HEADS, DECODE_LENGTH, HEAD_DIM)


def _fitting(tasks: Iterable[Task], free_bytes: int) -> list[Task]:
    """Return those whose matrices, in the wider type they are made in, fit into memory."""
    return [task for task in tasks if 4 * task.moved_bytes < free_bytes]
