"""Which files a process has in its memory, and how to open the very ones that it has."""

import os
import stat
from pathlib import Path
from typing import BinaryIO, NamedTuple

from gnomon._errors import TracingError


class Mapping(NamedTuple):
    """A piece of a process's memory: addresses from ``begin`` to before ``end``.

    ``offset`` is in bytes of the file. ``path`` is as the process sees it, "" for memory without
    a name, and in brackets for what the kernel made, such as [vdso] or [stack].
    """

    begin: int
    end: int
    offset: int
    device: str
    inode: int
    path: str
    is_executable: bool


def read_mappings(pid: int) -> list[Mapping]:
    """The mappings of a process by address. Raises TracingError where they cannot be read."""
    try:
        return parse_mappings(Path(f"/proc/{pid}/maps").read_bytes())
    except OSError as error:
        raise TracingError(
            f"cannot read the memory map of process {pid}: {error.strerror}",
            "run as root, or with CAP_SYS_PTRACE, to see other users' processes",
        ) from error


def parse_mappings(text: bytes) -> list[Mapping]:
    """The mappings in the text of /proc/PID/maps."""
    found = []
    for line in text.splitlines():
        addresses, permissions, offset, device, inode, *path = line.decode(
            errors="surrogateescape"
        ).split(None, 5)
        begin, _, end = addresses.partition("-")
        found.append(
            Mapping(
                *(int(begin, 16), int(end, 16), int(offset, 16), device, int(inode)),
                path="".join(path),
                is_executable="x" in permissions,
            )
        )
    return found


def open_mapped(pid: int, mapping: Mapping) -> BinaryIO:
    """Open the file of a mapping, even if it is deleted or in another mount namespace.

    Raises OSError where the process has ended or the file cannot be reached, FileNotFoundError
    where another file has taken its place.
    """
    try:
        # Needs CAP_CHECKPOINT_RESTORE or CAP_SYS_ADMIN.
        name = f"/proc/{pid}/map_files/{mapping.begin:x}-{mapping.end:x}"
        return _open_regular(name, mapping.inode)
    except OSError:
        return _open_regular(f"/proc/{pid}/root{mapping.path}", mapping.inode)


def _open_regular(name: str, inode: int) -> BinaryIO:
    # The process decides what lies there by now: opening a FIFO would otherwise wait for ever.
    descriptor = os.open(name, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    found = os.fstat(descriptor)
    # Devices are not compared: maps and stat name them differently on overlay file systems.
    if found.st_ino != inode or not stat.S_ISREG(found.st_mode):
        os.close(descriptor)
        raise FileNotFoundError(f"{name} is no longer the file that was mapped")
    return os.fdopen(descriptor, "rb")
