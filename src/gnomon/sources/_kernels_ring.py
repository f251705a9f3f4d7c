"""A process's ring in shared memory, read as numpy without a copy.

``native/gnomon_inject/layout.h`` has the layout. What a ring says is a program's word: it is
checked as far as this process depends on it, so that a damaged ring costs its rows alone.
"""

from __future__ import annotations

import contextlib
import mmap
import os
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

MAGIC = int.from_bytes(b"GNOMONKR", "little")
VERSION = 1
HEADER_BYTES = 4096
RECORD_BYTES = 104
NO_NAME = 0xFFFFFFFF
MOST_DEVICES = 32
DEVICES_AT = 512
LONGEST_NAME = 1 << 16

Records = npt.NDArray[np.void]


class State(IntEnum):
    """What the library is doing; ``layout.h``."""

    WAITING = 1
    OPEN = 2
    CLOSED = 3
    STEPPED_BACK = 4
    ENDED = 5


class Reason(IntEnum):
    """Why it is not recording; ``layout.h``."""

    NONE = 0
    NO_LIBRARY = 1
    LIBRARY = 2
    TOO_NEW = 3
    TOO_OLD = 4
    TAKEN = 5
    REPLACED = 6
    REFUSED = 7
    MEMORY = 8
    SPACE = 9
    DRIVER = 10


class Kind(IntEnum):
    """What a record is of; ``layout.h``."""

    KERNEL = 1
    COPY = 2
    FILL = 3
    SYNCHRONIZATION = 4
    MARKER = 5
    WINDOW = 6


def _layout(*fields: tuple[str, str, int] | tuple[str, str, int, int]) -> np.dtype[np.void]:
    """Return a record's type from names, types, offsets and, of arrays, lengths."""
    formats = [field[1] if len(field) == 3 else (field[1], field[3]) for field in fields]
    return np.dtype(
        {
            "names": [field[0] for field in fields],
            "formats": formats,
            "offsets": [field[2] for field in fields],
            "itemsize": RECORD_BYTES,
        }
    )


_PLACE = (
    ("start_ns", "<i8", 8),
    ("end_ns", "<i8", 16),
    ("device", "<u4", 24),
    ("context", "<u4", 28),
    ("stream", "<u4", 32),
    ("correlation", "<u4", 36),
    ("graph_node", "<u8", 40),
    ("graph", "<u4", 48),
)
COMMON = _layout(("kind", "<u2", 0))
# Picking rows of a type with gaps leaves what lies in them behind: records are picked as bytes.
RAW = np.dtype(f"V{RECORD_BYTES}")
KERNEL = _layout(
    ("name", "<u4", 4),
    *_PLACE,
    ("grid", "<i4", 56, 3),
    ("block", "<i4", 68, 3),
    ("cluster_blocks", "<u4", 80),
    ("registers", "<u4", 84),
    ("static_shared_bytes", "<i4", 88),
    ("dynamic_shared_bytes", "<i4", 92),
    ("local_bytes", "<u4", 96),
)
COPY = _layout(
    ("kind", "<u2", 0),
    ("direction", "u1", 2),
    ("source", "u1", 3),
    ("destination", "u1", 4),
    ("is_peer", "u1", 5),
    *_PLACE,
    ("bytes", "<u8", 56),
    ("source_device", "<u4", 64),
    ("destination_device", "<u4", 68),
)
SYNCHRONIZATION = _layout(("type", "<u4", 4), *_PLACE, ("event", "<u4", 56))
MARKER = _layout(
    ("name", "<u4", 4),
    ("at_ns", "<i8", 8),
    ("flags", "<u4", 16),
    ("id", "<u4", 20),
    ("domain", "<u4", 24),
    ("tid", "<u4", 28),
)
WINDOW = _layout(
    ("reason", "<u4", 4),
    ("start_ns", "<i8", 8),
    ("end_ns", "<i8", 16),
    ("opening_ns", "<i8", 24),
    ("closing_ns", "<i8", 32),
    ("records", "<u8", 40),
    ("lost", "<u8", 48),
    ("dropped", "<u8", 56),
    ("incomplete", "<u8", 64),
    ("overhead_ns", "<i8", 72),
)
HEADER = np.dtype(
    {
        "names": [
            *("magic", "version", "pid", "state", "start_ticks", "reason", "result"),
            *("cupti_version", "driver_cuda", "ring_records", "record_bytes", "names_offset"),
            *("names_bytes", "opened_ns", "head", "tail", "names_used"),
            *("lost", "dropped", "incomplete", "names_lost"),
        ],
        "formats": [
            *("<u8", "<u4", "<i4", "<u4", "<u8", "<u4", "<i4"),
            *("<u4", "<i4", "<u4", "<u4", "<u8"),
            *("<u4", "<i8", "<u8", "<u8", "<u8"),
            *("<u8", "<u8", "<u8", "<u8"),
        ],
        "offsets": [
            *(0, 8, 16, 20, 24, 32, 36),
            *(40, 44, 48, 52, 56),
            *(64, 72, 128, 192, 256),
            *(264, 272, 280, 288),
        ],
        "itemsize": HEADER_BYTES,
    }
)
DEVICE = np.dtype(
    [
        ("uuid", "u1", 16),
        ("mig_uuid", "u1", 16),
        ("is_known", "<u4"),
        ("is_mig", "<u4"),
        ("capability_major", "<i4"),
        ("capability_minor", "<i4"),
        ("multiprocessors", "<i4"),
        ("reserved", "<i4", 11),
    ]
)


@dataclass(frozen=True, slots=True)
class Device:
    """A GPU as one process sees it; uuids are spelled as NVML does."""

    uuid: str
    mig_uuid: str | None
    compute_capability: str
    multiprocessors: int


class Ring:
    """One process's ring. Raises ValueError for a file that is none (yet), OSError for no file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._parts: tuple[Records, ...] = ()
        self._names_read = 0
        self._memory = self._map(HEADER_BYTES)
        self._header: Any = np.frombuffer(self._memory, HEADER, 1)
        first = self._header[0]
        if int(first["magic"]) != MAGIC or int(first["version"]) != VERSION:
            self.close()
            raise ValueError(f"{path} is no ring of version {VERSION}")
        self.pid, self.start_ticks = int(first["pid"]), int(first["start_ticks"])

    @property
    def state(self) -> int:
        return int(self._header["state"][0])

    def told(self, field: str) -> int:
        """Return a number of the header, by its name in `HEADER`."""
        return int(self._header[field][0])

    def devices(self) -> dict[int, Device]:
        """Return the GPUs by the number that CUDA gives them in that process."""
        table = np.frombuffer(self._memory, DEVICE, MOST_DEVICES, DEVICES_AT)
        return {place: _device(one) for place, one in enumerate(table) if one["is_known"]}

    def peek(self) -> tuple[Records, ...]:
        """Return what has come, as up to two pieces of shared memory; valid until `commit`."""
        capacity = self.told("ring_records")
        if not capacity or not self._grow(capacity):
            return ()
        head, tail = self.told("head"), self.told("tail")
        count = head - tail
        if not 0 < count <= capacity:
            return ()
        ring = np.frombuffer(self._memory, RAW, capacity, HEADER_BYTES)
        first, end = tail % capacity, tail % capacity + count
        parts = (ring[first : min(end, capacity)], ring[: max(0, end - capacity)])
        self._parts = tuple(part for part in parts if len(part))
        return self._parts

    def commit(self) -> None:
        """Give the room of what `peek` returned back; its arrays must not be used any more."""
        count = sum(len(part) for part in self._parts)
        self._parts = ()
        if count:
            self._header["tail"][0] += count

    def new_names(self) -> list[bytes]:
        """Return the names that came since the last call; their numbers count from 0 on."""
        at, room = self.told("names_offset"), self.told("names_bytes")
        end = min(self.told("names_used"), room)
        if len(self._memory) < at + room:
            return []
        names = []
        while self._names_read + 4 <= end:
            start = at + self._names_read + 4
            length = int.from_bytes(self._memory[start - 4 : start], "little")
            if length > LONGEST_NAME:
                self._names_read = end
                break
            names.append(bytes(self._memory[start : start + length]))
            self._names_read += 4 + (length + 3) // 4 * 4
        return names

    def close(self) -> None:
        """Let go of the memory; the file stays."""
        self._parts = ()
        self._header = None
        _close(self._memory)

    def remove(self) -> None:
        """Let go of the memory and remove the file."""
        self.close()
        self.path.unlink(missing_ok=True)

    def _map(self, size: int) -> mmap.mmap:
        fd = os.open(self.path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            # Raises ValueError where the file is shorter: reading behind its end would be SIGBUS.
            return mmap.mmap(fd, size)
        finally:
            os.close(fd)

    def _grow(self, capacity: int) -> bool:
        """Map all of it, once its process has made room for records."""
        needed = HEADER_BYTES + capacity * RECORD_BYTES + self.told("names_bytes")
        if self.told("names_offset") != HEADER_BYTES + capacity * RECORD_BYTES:
            return False
        if len(self._memory) >= needed:
            return True
        try:
            memory = self._map(needed)
        except (OSError, ValueError):
            return False
        former, self._memory = self._memory, memory
        self._header = np.frombuffer(memory, HEADER, 1)
        _close(former)
        return True


def _close(memory: mmap.mmap) -> None:
    """Unmap it; while an array of it is in use it stays, and goes with the array."""
    with contextlib.suppress(BufferError):
        memory.close()


def _device(row: Any) -> Device:
    return Device(
        uuid=_spell("GPU", bytes(row["uuid"])),
        mig_uuid=_spell("MIG", bytes(row["mig_uuid"])) if row["is_mig"] else None,
        compute_capability=f"{row['capability_major']}.{row['capability_minor']}",
        multiprocessors=int(row["multiprocessors"]),
    )


def _spell(prefix: str, uuid: bytes) -> str:
    text = uuid.hex()
    return f"{prefix}-{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
