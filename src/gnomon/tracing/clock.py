"""From the clock of the kernel's programs (CLOCK_MONOTONIC) to that of tables (Unix)."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

import numpy as np
import numpy.typing as npt

TRIES = 5

Times = TypeVar("Times", int, npt.NDArray[np.int64])


class Clock:
    """Unix time of moments on CLOCK_MONOTONIC; `set` it now and then, because NTP moves it."""

    def __init__(
        self,
        monotonic_ns: Callable[[], int] = time.monotonic_ns,
        unix_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._monotonic_ns, self._unix_ns = monotonic_ns, unix_ns
        self._offset_ns = 0
        self.set()

    def set(self) -> None:
        """Compare the clocks: of some tries the one in which least time passed."""
        tries = []
        for _ in range(TRIES):
            before_ns = self._monotonic_ns()
            unix_ns = self._unix_ns()
            after_ns = self._monotonic_ns()
            tries.append((after_ns - before_ns, unix_ns - (before_ns + after_ns) // 2))
        self._offset_ns = min(tries)[1]

    def unix(self, monotonic_ns: Times) -> Times:
        """Unix nanoseconds of one moment or of an array of them."""
        return monotonic_ns + self._offset_ns
