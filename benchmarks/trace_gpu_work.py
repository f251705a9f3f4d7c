"""Work of a GPU that is traced or not: it notes its own progress until SIGTERM.

    python -m benchmarks.trace_gpu_work KIND PROGRESS_FILE [--gpu torch]

Kinds: ``launches`` asks for small kernels one by one, back to back; ``decode`` replays a step of
an 8B model as one CUDA graph; ``gemm`` keeps the GPU full. Every iteration waits for the GPU, as
programs do that look at their results. ``--gpu MODULE:FUNCTION`` names another GPU than PyTorch's
(``lab.scenarios.gpu``), which has a graph of one product for a model. The thread that asks for
work keeps to one processor: moving between them would cost more than what is to be measured.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType

from lab.activity import Activity, NotPossibleError
from lab.scenarios.gpu import Gpu, create

from benchmarks.workload import FLUSH_EVERY_S, POINT

KINDS = ("launches", "decode", "gemm")
LAUNCHES = 200  # of an iteration, of small kernels
ELEMENTS = 1 << 14
BATCH, CONTEXT = 1, 1024
GEMM = 4096
TORCH = "torch"


def build(kind: str, where: str) -> Callable[[], None]:
    """Return one iteration: some milliseconds of work, done when it returns."""
    gpu = create(where)
    launch = _lab(kind, gpu) if where == TORCH else _plain(kind, gpu)

    def iteration() -> None:
        launch()
        gpu.wait()

    return iteration


def _lab(kind: str, gpu: Gpu) -> Callable[[], object]:
    from lab import matrix

    if kind == "decode":
        return _decode().step
    if kind == "gemm":
        return matrix.gemm(GEMM, GEMM, GEMM).step
    return gpu.small_kernels(LAUNCHES, ELEMENTS)


def _decode() -> Activity:
    """A whole step of the model where transformers is, else its products and attention."""
    from benchmarks import ceiling_work
    from lab import llm

    try:
        return llm.graph_decode(BATCH, CONTEXT)
    except NotPossibleError as error:
        print(f"bare operators instead of a model: {error}", flush=True)
        return ceiling_work.chain(BATCH, CONTEXT)[0]


def _plain(kind: str, gpu: Gpu) -> Callable[[], object]:
    if kind == "decode":
        return gpu.graph(gpu.product(1000.0), 1)
    if kind == "gemm":
        return gpu.product(1000.0)
    return gpu.small_kernels(LAUNCHES, ELEMENTS)


def run(kind: str, path: Path, where: str) -> None:
    """Iterate until SIGTERM; points are those of ``benchmarks.workload``."""
    stopping = False

    def stop(_signal: int, _frame: FrameType | None) -> None:
        nonlocal stopping
        stopping = True

    signal.signal(signal.SIGTERM, stop)
    iterate = build(kind, where)
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    finished, flushed_s = 0, time.monotonic()
    with path.open("wb") as file:
        while not stopping:
            iterate()
            finished += 1
            file.write(POINT.pack(time.time_ns(), finished))
            if time.monotonic() - flushed_s > FLUSH_EVERY_S:
                file.flush()
                flushed_s = time.monotonic()


def main() -> int:
    parser = argparse.ArgumentParser(description="Work of a GPU that notes its own progress.")
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("progress", type=Path)
    parser.add_argument("--gpu", default=TORCH, metavar="MODULE:FUNCTION")
    options = parser.parse_args()
    run(options.kind, options.progress, options.gpu)
    return 0


if __name__ == "__main__":
    sys.exit(main())
