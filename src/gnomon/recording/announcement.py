"""A live recording makes itself known on its host, so that others attach instead of measuring.

The file ``current`` in the runtime directory names the directory being written and the process
that writes it. A dead process's announcement is ignored and removed.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from gnomon.recording import _files
from gnomon.sources._identity import start_ticks

FILE_NAME = "current"


@dataclass(frozen=True, slots=True)
class Announcement:
    """Who records, where. ``start_ticks`` tells a process from a later one with its pid."""

    pid: int
    start_ticks: int
    directory: str


@contextlib.contextmanager
def announce(runtime_directory: Path, directory: Path) -> Iterator[bool]:
    """Announce a recording while the context lasts; yields whether that was possible.

    Where a living recorder has already announced itself, or the runtime directory cannot be
    written, nothing is announced and recording goes on.
    """
    path = runtime_directory / FILE_NAME
    pid = os.getpid()
    mine = Announcement(pid, start_ticks(pid) or 0, str(directory.resolve()))
    announced = find_current(runtime_directory) is None and _write(path, mine)
    try:
        yield announced
    finally:
        if announced and _read(path) == mine:
            path.unlink(missing_ok=True)


def find_current(runtime_directory: Path) -> Path | None:
    """Return the directory of a living recorder on this host, or None."""
    path = runtime_directory / FILE_NAME
    found = _read(path)
    if found is None:
        return None
    if start_ticks(found.pid) != found.start_ticks:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)
        return None
    directory = Path(found.directory)
    return directory if directory.is_dir() else None


def _write(path: Path, announcement: Announcement) -> bool:
    try:
        _files.make_directory(path.parent, mode=0o700)
        _files.replace_file(path, json.dumps(asdict(announcement)).encode())
    except OSError:
        return False
    return True


def _read(path: Path) -> Announcement | None:
    try:
        return Announcement(**json.loads(path.read_bytes()))
    except (OSError, ValueError, TypeError):
        return None
