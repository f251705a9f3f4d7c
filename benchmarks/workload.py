"""One long steady workload that notes its own progress, to be slowed down by observers.

    python -m benchmarks.workload KIND PROGRESS_FILE

Appends pairs of little-endian int64 (Unix ns, iterations finished) and ends on SIGTERM. Kinds:
``gemm`` keeps the GPU full; ``small`` is bound by the host's launches, so that it feels any CPU
that an observer takes; ``mixed`` does both in turn. Needs PyTorch.
"""

from __future__ import annotations

import signal
import struct
import sys
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from types import FrameType

from benchmarks.paired_ratios import Progress

KINDS = ("gemm", "small", "mixed")
POINT = struct.Struct("<qq")
SMALL_OPERATIONS = 100
PRODUCTS = 10
ITERATIONS_IN_FLIGHT = 2
FLUSH_EVERY_S = 0.2


def build(kind: str) -> Callable[[], None]:
    """Return one iteration: some milliseconds of work, only enqueued."""
    import torch

    a, b = (torch.randn(4096, 4096, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    product = torch.empty_like(a)
    small = torch.randn(256, 256, device="cuda")

    def iteration() -> None:
        if kind in ("gemm", "mixed"):
            for _ in range(PRODUCTS):
                torch.mm(a, b, out=product)
        if kind in ("small", "mixed"):
            for _ in range(SMALL_OPERATIONS):
                small.mul_(0.999).add_(0.001)
        if kind == "mixed":
            torch.cuda.synchronize()  # neither half hides the other

    return iteration


def run(kind: str, path: Path) -> None:
    """Iterate until SIGTERM."""
    import torch

    stopping = False

    def stop(_signal: int, _frame: FrameType | None) -> None:
        nonlocal stopping
        stopping = True

    signal.signal(signal.SIGTERM, stop)
    iterate = build(kind)
    in_flight: deque[torch.cuda.Event] = deque()
    finished, flushed = 0, time.monotonic()
    with path.open("wb") as file:
        while not stopping:
            iterate()
            event = torch.cuda.Event(blocking=False)
            event.record()
            in_flight.append(event)
            if len(in_flight) >= ITERATIONS_IN_FLIGHT:
                in_flight.popleft().synchronize()
                finished += 1
                file.write(POINT.pack(time.time_ns(), finished))
            if time.monotonic() - flushed > FLUSH_EVERY_S:
                file.flush()
                flushed = time.monotonic()


def read_progress(path: Path) -> Progress:
    """Read what ``run`` has written so far; a torn last point is left out."""
    data = path.read_bytes()
    points = list(POINT.iter_unpack(data[: len(data) // POINT.size * POINT.size]))
    return Progress([ts_ns for ts_ns, _ in points], [done for _, done in points])


def main() -> int:
    if len(sys.argv) != 3 or sys.argv[1] not in KINDS:
        print(f"usage: python -m benchmarks.workload {'|'.join(KINDS)} PROGRESS_FILE")
        return 2
    run(sys.argv[1], Path(sys.argv[2]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
