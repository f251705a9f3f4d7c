"""A data set whose samples cost what the scenario says: decoding, reading a disk, or waiting.

The code that waits is where a real loader's would be: in ``__getitem__``, under PyTorch's
``DataLoader``.
"""

from __future__ import annotations

import mmap
import os
import tempfile
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from lab.activity import NotPossibleError
from lab.scenarios.clocks import Stopwatch
from lab.scenarios.shared_counts import SharedCounts

COUNTED = ("samples", "decoded_cpu_ns", "read_ns", "read_bytes", "remote_ns")
SHAPE = (256, 256)
BLOCK_BYTES = 1 << 20
FILE_BYTES = 256 << 20
# A read that takes the CPU for more of its time than this came from memory, not from a disk.
MOST_CPU_SHARE = 0.5


class Samples:
    """A map-style data set without an end; each sample takes ``cost_ms`` in its ``variant``."""

    def __init__(self, variant: str, cost_ms: float, seed: int, *, is_cached: bool = False) -> None:
        """``is_cached``: files come from memory, as they do once a data set fits into it."""
        self.counts = SharedCounts(COUNTED)
        self.cost_ms = cost_ms
        self._make = {"decode": self._decode, "read": self._read, "remote": self._fetch}[variant]
        draw = np.random.default_rng(seed)
        self._packed = zlib.compress(draw.integers(0, 8, SHAPE, dtype=np.uint8).tobytes(), 6)
        self._times = 1
        self._file = open_file(is_cached=is_cached) if variant == "read" else None
        if variant != "remote":
            # Decoding by its CPU time: it is what decoding costs, whoever else wants the core.
            clock = time.thread_time_ns if variant == "decode" else time.monotonic_ns
            self._times = max(1, round(cost_ms * 1e6 / self._lasting_ns(clock)))

    def __len__(self) -> int:
        return 1 << 40

    def __getitem__(self, index: int) -> Any:
        row = worker_row()
        made = self._make(index, row)
        self.counts.add(row, samples=1)
        return made

    def close(self) -> None:
        if self._file is not None:
            os.close(self._file)

    def _decode(self, _index: int, row: int) -> Any:
        timed = Stopwatch(time.thread_time_ns)
        with timed:
            for _ in range(self._times):
                pixels = np.frombuffer(zlib.decompress(self._packed), dtype=np.uint8)
                made = (pixels.reshape(SHAPE).astype(np.float32) - 3.5) / 2.3
        self.counts.add(row, decoded_cpu_ns=timed.total_ns)
        return made

    def _read(self, index: int, row: int) -> Any:
        """Read blocks past the page cache, each from another place."""
        assert self._file is not None
        timed = Stopwatch()
        with mmap.mmap(-1, BLOCK_BYTES) as buffer, timed:
            for number in range(self._times):
                place = (index * self._times + number) * 37 * BLOCK_BYTES % FILE_BYTES
                os.preadv(self._file, [buffer], place)
        self.counts.add(row, read_ns=timed.total_ns, read_bytes=self._times * BLOCK_BYTES)
        return np.zeros(SHAPE, dtype=np.float32)

    def _fetch(self, _index: int, row: int) -> Any:
        """Wait for an object store, whose answer takes this long."""
        timed = Stopwatch()
        with timed:
            time.sleep(self.cost_ms / 1e3)
        self.counts.add(row, remote_ns=timed.total_ns)
        return np.zeros(SHAPE, dtype=np.float32)

    def _lasting_ns(self, clock: Callable[[], int], times: int = 8) -> float:
        """Return how long making the cheapest sample takes by a clock."""
        begin_ns = clock()
        for index in range(times):
            self._make(index, 0)
        return (clock() - begin_ns) / times


def worker_row() -> int:
    """Return which row of the counters is this process's: 0 is the training process."""
    from torch.utils.data import get_worker_info

    info = get_worker_info()
    return 0 if info is None else int(info.id) + 1


def open_file(*, is_cached: bool) -> int:
    """Write a file, and open it to be read past the page cache; it is gone once it is closed.

    Raises NotPossibleError where the file system answers such reads from memory. ``is_cached``:
    it is to be read from memory, and that is what happens.
    """
    number, name = tempfile.mkstemp(prefix="samples-", dir=os.environ.get("TMPDIR", "/var/tmp"))
    path = Path(name)
    try:
        block = os.urandom(BLOCK_BYTES)
        with os.fdopen(number, "wb") as file:
            for _ in range(FILE_BYTES // BLOCK_BYTES):
                file.write(block)
            file.flush()
            os.fsync(file.fileno())
        opened = os.open(path, os.O_RDONLY | (0 if is_cached else os.O_DIRECT))
        share = 0.0 if is_cached else cpu_share_of_reading(opened)
    except OSError as error:
        raise NotPossibleError(
            f"cannot read past the page cache in {path.parent}: {error}; set TMPDIR to a folder "
            "on a disk"
        ) from error
    finally:
        path.unlink()
    if share > MOST_CPU_SHARE:
        os.close(opened)
        raise NotPossibleError(
            f"reads in {path.parent} take the CPU for {100 * share:.0f} % of their time: they come "
            "from memory; set TMPDIR to a folder on a disk"
        )
    return opened


def cpu_share_of_reading(file: int, blocks: int = 16) -> float:
    """Return the share of the time of reads past the page cache in which the thread ran."""
    with mmap.mmap(-1, BLOCK_BYTES) as buffer:
        wall_ns, cpu_ns = time.monotonic_ns(), time.thread_time_ns()
        for number in range(blocks):
            os.preadv(file, [buffer], number * BLOCK_BYTES)
        wall_ns, cpu_ns = time.monotonic_ns() - wall_ns, time.thread_time_ns() - cpu_ns
    return cpu_ns / wall_ns
