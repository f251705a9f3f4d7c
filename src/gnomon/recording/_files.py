"""Small file operations that a crash cannot spoil, and ownership under sudo."""

from __future__ import annotations

import os
from pathlib import Path


def sudo_owner() -> tuple[int, int] | None:
    """Return (uid, gid) of the user behind sudo, or None when nobody is."""
    if os.geteuid() != 0:
        return None
    try:
        return int(os.environ["SUDO_UID"]), int(os.environ["SUDO_GID"])
    except (KeyError, ValueError):
        return None


def give_to_sudo_user(target: int | Path) -> None:
    """Hand a file (path or descriptor) to the user behind sudo; a refusal is harmless."""
    owner = sudo_owner()
    if owner is None:
        return
    try:
        os.chown(target, *owner)
    except OSError:
        return  # root-squashed or foreign file systems: the file stays readable as it is


def make_directory(path: Path, mode: int = 0o755) -> None:
    """Create a directory and its parents; those made here belong to the user behind sudo."""
    if path.is_dir():
        return
    make_directory(path.parent)
    try:
        path.mkdir(mode=mode)
    except FileExistsError:
        return
    give_to_sudo_user(path)


def create_file(path: Path) -> int:
    """Create a file that must not exist yet and return its descriptor, open for writing."""
    make_directory(path.parent)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    give_to_sudo_user(descriptor)
    return descriptor


def write_all(descriptor: int, data: bytes | memoryview) -> None:
    """Write every byte; ``os.write`` may stop half-way when the disk fills up."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def temporary_name(path: Path) -> Path:
    """Name of the file that becomes ``path``: hidden, so that no reader takes it for one."""
    return path.with_name(f".{path.name}.tmp")


def publish(temporary: Path, path: Path) -> None:
    """Make a finished temporary file durable under its real name."""
    descriptor = os.open(temporary, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    temporary.replace(path)
    sync_directory(path.parent)


def replace_file(path: Path, data: bytes) -> None:
    """Put ``data`` at ``path`` in one step: readers see the old content or the new, whole."""
    make_directory(path.parent)
    temporary = temporary_name(path)
    temporary.unlink(missing_ok=True)
    descriptor = create_file(temporary)
    try:
        write_all(descriptor, data)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    finally:
        os.close(descriptor)
    publish(temporary, path)


def sync_directory(path: Path) -> None:
    """Make names in a directory durable, where the file system can do that."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    except OSError:
        return  # some network file systems refuse; the rename itself has happened
    finally:
        os.close(descriptor)
