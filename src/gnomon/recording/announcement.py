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

from gnomon.proc.identity import start_ticks

FILE_NAME = "current"
# Where root's recorder announces itself, to everybody.
SYSTEM_DIRECTORY = Path("/run/gnomon")


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
    announced = _find(path) is None and _write(path, mine)
    try:
        yield announced
    finally:
        if announced and _read(path) == mine:
            path.unlink(missing_ok=True)


def find_current(runtime_directory: Path, system_directory: Path = SYSTEM_DIRECTORY) -> Path | None:
    """Return the directory of a living recorder on this host that we may read, or None.

    The user's own recorder comes first, then root's.
    """
    for place in dict.fromkeys((runtime_directory, system_directory)):
        directory = _find(place / FILE_NAME)
        if directory is not None:
            return directory
    return None


def _find(path: Path) -> Path | None:
    found = _read(path)
    if found is None:
        return None
    if start_ticks(found.pid) != found.start_ticks:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)
        return None
    directory = Path(found.directory)
    return directory if os.access(directory, os.R_OK | os.X_OK) else None


def _write(path: Path, announcement: Announcement) -> bool:
    try:
        # Not handed to the user behind sudo: what root follows, only root may write.
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
        temporary = path.with_name(f".{path.name}.{announcement.pid}")
        temporary.write_text(json.dumps(asdict(announcement)))
        temporary.chmod(0o644)  # whatever the umask: it is meant for everybody
        temporary.replace(path)
    except OSError:
        return False
    return True


def _read(path: Path) -> Announcement | None:
    """Read an announcement; one that a third user wrote is nobody's."""
    try:
        if path.stat().st_uid not in {0, os.geteuid()}:
            return None
        fields = json.loads(path.read_bytes())
        return Announcement(
            int(fields["pid"]), int(fields["start_ticks"]), str(fields["directory"])
        )
    except (OSError, ValueError, TypeError, KeyError):
        return None
