"""A GPU without a GPU: the stand-in libcudart, and a queue that is as long as it was told."""

from __future__ import annotations

import ctypes
import os
import time
from pathlib import Path

from lab.scenarios.gpu import Launch

FOLDER = "GNOMON_LAB_STANDIN"
LAUNCH_NS = 3_000


class StandInGpu:
    """Launches take ``LAUNCH_NS``, waits spin until the queue would be empty."""

    def __init__(self, folder: Path) -> None:
        driver = ctypes.CDLL(str(folder / "libcuda.so.1"), ctypes.RTLD_GLOBAL)
        self._runtime = ctypes.CDLL(str(folder / "libcudart.so.13"))
        driver.standin_book.restype = ctypes.POINTER(ctypes.c_int64)
        self._burn_ns = driver.standin_book()  # the first word of its task
        self._free_at_ns = 0
        self.kernels = 0

    def product(self, lasting_us: float) -> Launch:
        def launch() -> None:
            self._call(self._runtime.cudaLaunchKernel, LAUNCH_NS)
            self._free_at_ns = max(self._free_at_ns, time.monotonic_ns()) + int(lasting_us * 1e3)
            self.kernels += 1

        return launch

    def small_kernels(self, count: int, elements: int) -> Launch:
        one = self.product(1.0)
        return lambda: [one() for _ in range(count)]

    def graph(self, launch: Launch, kernels: int) -> Launch:
        def replay() -> None:
            self._call(self._runtime.cudaGraphLaunch, LAUNCH_NS)
            self.kernels += kernels

        return replay

    def copy_in(self, batch: object) -> None:
        self._call(self._runtime.cudaMemcpyAsync, LAUNCH_NS)

    def wait(self) -> None:
        left_ns = max(0, self._free_at_ns - time.monotonic_ns())
        self._call(self._runtime.cudaDeviceSynchronize, left_ns)

    def _call(self, function: object, burn_ns: int) -> None:
        self._burn_ns[0] = burn_ns
        function(*(ctypes.c_uint64(0),) * 12)


def create() -> StandInGpu:
    return StandInGpu(Path(os.environ[FOLDER]))
