"""The GPU as scenarios use it: products that last a known time, launched one by one or as a graph.

PyTorch is one way to it (``TorchGpu``). ``work --gpu MODULE:FUNCTION`` names another one, which is
how the runner is tested where there is neither.
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable
from typing import Any, Protocol

Launch = Callable[[], None]
# Of square bf16 products; an H200 takes 3 us for the smallest and 1.6 ms for the largest.
# A step up lasts at most 2.4 times as long.
SIZES = (256, 320, 384, 512, 640, 768, 1024, 1280, 1536, 2048, 2560, 3072, 4096, 5120, 6144, 8192)
TIMED = 50
# A launch that lasts this much longer than it takes to ask for leaves the GPU no gap.
KEEPS_BUSY = 1.6


class Gpu(Protocol):
    """What scenarios ask of a GPU. ``kernels`` counts what was launched."""

    kernels: int

    def product(self, lasting_us: float) -> Launch:
        """Return a launch of one kernel that lasts at least this long, and keeps the GPU busy."""
        ...

    def small_kernels(self, count: int, elements: int) -> Launch:
        """Return a launch of so many elementwise kernels, one after the other."""
        ...

    def graph(self, launch: Launch, kernels: int) -> Launch:
        """Return what launches the same kernels as one graph."""
        ...

    def copy_in(self, batch: Any) -> None:
        """Copy a numpy array to the GPU."""
        ...

    def wait(self) -> None:
        """Return when the GPU has done everything."""
        ...


def create(where: str) -> Gpu:
    """Return the GPU that ``MODULE:FUNCTION`` makes, or PyTorch's for ``torch``."""
    if where == "torch":
        return TorchGpu()
    module, _, function = where.partition(":")
    made: Gpu = getattr(importlib.import_module(module), function)()
    return made


class TorchGpu:
    """The first GPU that PyTorch sees."""

    def __init__(self) -> None:
        import torch

        self.torch = torch
        self.kernels = 0
        torch.cuda.init()

    def product(self, lasting_us: float) -> Launch:
        """The smallest of ``SIZES`` that lasts so long by the GPU's events."""
        for size in SIZES:
            launch = self._product(size)
            lasts_us, asking_us = self._timed(launch)
            if lasts_us >= max(lasting_us, KEEPS_BUSY * asking_us):
                break
        return launch

    def small_kernels(self, count: int, elements: int) -> Launch:
        values = self.torch.zeros(elements, device="cuda")

        def launch() -> None:
            for _ in range(count):
                values.add_(1.0)
            self.kernels += count

        return launch

    def graph(self, launch: Launch, kernels: int) -> Launch:
        from lab.decode_graph import warm_up

        warm_up(launch)
        captured = self.torch.cuda.CUDAGraph()
        with self.torch.cuda.graph(captured):
            launch()

        def replay() -> None:
            captured.replay()
            self.kernels += kernels

        return replay

    def copy_in(self, batch: Any) -> None:
        self.torch.as_tensor(batch).to("cuda", non_blocking=True)

    def wait(self) -> None:
        self.torch.cuda.synchronize()

    def _product(self, size: int) -> Launch:
        torch = self.torch
        left, right, out = (
            torch.randn(size, size, device="cuda").to(torch.bfloat16) for _ in range(3)
        )

        def launch() -> None:
            torch.mm(left, right, out=out)
            self.kernels += 1

        return launch

    def _timed(self, launch: Launch) -> tuple[float, float]:
        """Return how long a launch keeps the GPU and how long the thread, us.

        The GPU's time is the pace of a queue that never runs dry, or the thread's where it does.
        """
        for _ in range(TIMED):
            launch()
        self.wait()
        begin, end = (self.torch.cuda.Event(enable_timing=True) for _ in range(2))
        began = time.perf_counter()
        begin.record()
        for _ in range(TIMED):
            launch()
        end.record()
        asking_us = (time.perf_counter() - began) / TIMED * 1e6
        end.synchronize()
        return begin.elapsed_time(end) / TIMED * 1e3, asking_us
