"""The directory in shared memory over which the injected library is told when to record.

``native/gnomon_inject/layout.h`` has the layout. Each recorder makes a directory of its own, for
its user alone (0700): it holds the names of kernels and ranges, and whoever may write there could
end both sides by cutting a file short. A target of another user leaves it and runs on unseen.
"""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import os
import platform
import shutil
import time
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from gnomon._errors import SourceError
from gnomon.proc.identity import start_ticks

SHARED_MEMORY = Path("/dev/shm")  # noqa: S108  the directory's own mode keeps others out
DIRECTORY_VARIABLE = "GNOMON_KERNELS_DIR"
LIBRARY_VARIABLE = "GNOMON_LIBCUPTI"
PREFIX = "gnomon-kernels-"
FILE_NAME = "control"
CONTROL_BYTES = 4096
MAGIC = int.from_bytes(b"GNOMONKC", "little")
VERSION = 1
# 0.4 s of the 300,000 kernels a second that a launch-bound program makes at most; rings are read
# four times a second.
RING_RECORDS = 1 << 17
NAMES_BYTES = 4 << 20
# CUPTI's records take some 200 bytes, and its manual asks for 1 to 10 MB.
BUFFER_BYTES = 2 << 20

KINDS = MappingProxyType(
    {"kernels": 1, "copies": 2, "fills": 4, "synchronizations": 8, "ranges": 16, "overhead": 32}
)
FINALIZE = 1
# What the library counts where a process cannot even say why it does not record.
REFUSALS = MappingProxyType(
    {
        1: "its file in shared memory could not be made (another user, or no such directory)",
        2: "shared memory is full",
        3: "no thread could be started",
        4: "it was forked from a process in which CUPTI had been loaded",
    }
)
CONTROL = np.dtype(
    [
        ("magic", "<u8"),
        ("version", "<u4"),
        ("word", "<u4"),
        ("deadline_ns", "<i8"),
        ("kinds", "<u4"),
        ("flags", "<u4"),
        ("ring_records", "<u4"),
        ("names_bytes", "<u4"),
        ("buffer_bytes", "<u4"),
        ("recorder_pid", "<u4"),
        ("reserved", "<i8"),
        ("window", "<u8"),
        ("refusals", "<u4", 16),
    ]
)
FUTEX_WAKE = 1
FUTEX_SYSCALLS = MappingProxyType({"x86_64": 202, "aarch64": 98})
EVERYBODY = 2**31 - 1


class Control:
    """The recorder's words to the library, of a directory that `make_directory` made."""

    def __init__(self, directory: Path) -> None:
        """Map them. Raises SourceError where the directory is not there any more."""
        try:
            with (directory / FILE_NAME).open("r+b") as file:
                self._memory = mmap.mmap(file.fileno(), CONTROL_BYTES)
        except (OSError, ValueError) as error:
            raise SourceError(
                f"{directory} in shared memory cannot be opened: {error}", "start gnomon again"
            ) from error
        self._words: Any = np.frombuffer(self._memory, CONTROL, 1)
        self.directory = directory

    def open_window(self, duration_ns: int) -> None:
        """Have every process record, until the time is over or `end_window` comes."""
        self._words["window"][0] += 1
        self.extend_window(duration_ns)
        self._wake()

    def extend_window(self, duration_ns: int) -> None:
        """Let the window last this long from now on; without, it ends by itself."""
        self._words["deadline_ns"][0] = time.monotonic_ns() + duration_ns

    def renew_window(self) -> None:
        """Let processes that left the open window, or came late, try again."""
        self._words["window"][0] += 1
        self._wake()

    def end_window(self) -> None:
        self._words["deadline_ns"][0] = 0
        self._wake()

    def refusals(self) -> dict[int, int]:
        """Return how many processes could not record at all, by the number of the reason."""
        return {place: int(number) for place, number in enumerate(self._words["refusals"][0])}

    def close(self) -> None:
        del self._words
        self._memory.close()

    def _wake(self) -> None:
        self._words["word"][0] += 1
        number = FUTEX_SYSCALLS.get(platform.machine())
        if number is not None:
            address = self._words["word"].ctypes.data
            ctypes.CDLL(None).syscall(
                number, ctypes.c_void_p(address), FUTEX_WAKE, EVERYBODY, None, None, 0
            )


def make_directory(
    kinds: int,
    *,
    root: Path = SHARED_MEMORY,
    ring_records: int = RING_RECORDS,
    finalize: bool = False,
) -> Path:
    """Make the directory of this process, its window closed; those of dead recorders are removed.

    ``kinds`` are bits of `KINDS`. Raises SourceError where shared memory cannot be written.
    """
    remove_abandoned(root)
    pid = os.getpid()
    directory = root / f"{PREFIX}{pid}-{start_ticks(pid) or 0}-{time.monotonic_ns()}"
    words: Any = np.zeros(1, CONTROL)
    words["magic"], words["version"], words["kinds"] = MAGIC, VERSION, kinds
    words["flags"] = FINALIZE if finalize else 0
    words["ring_records"], words["names_bytes"] = ring_records, NAMES_BYTES
    words["buffer_bytes"], words["recorder_pid"] = BUFFER_BYTES, pid
    try:
        directory.mkdir(mode=0o700)
        path = directory / FILE_NAME
        path.write_bytes(words.tobytes().ljust(CONTROL_BYTES, b"\0"))
        path.chmod(0o600)
        _give_to_caller(directory, path)
    except OSError as error:
        raise SourceError(
            f"cannot write to shared memory in {root}: {error}",
            "make room there, or give the container more of it (docker run --shm-size=1g)",
        ) from error
    return directory


def remove_directory(directory: Path) -> None:
    """Remove a directory with all rings; programs that have them mapped go on with their copy."""
    shutil.rmtree(directory, ignore_errors=True)


def remove_abandoned(root: Path = SHARED_MEMORY) -> None:
    """Remove what recorders left that were killed."""
    for directory in root.glob(f"{PREFIX}*-*-*"):
        pid, ticks = directory.name.removeprefix(PREFIX).split("-")[:2]
        if pid.isdigit() and ticks.isdigit() and start_ticks(int(pid)) != int(ticks):
            remove_directory(directory)


def _give_to_caller(*paths: Path) -> None:
    """Under sudo, files belong to the user who called: so does, often, the program."""
    with contextlib.suppress(KeyError, ValueError):
        owner = int(os.environ["SUDO_UID"]), int(os.environ["SUDO_GID"])
        for path in paths:
            os.chown(path, *owner)
