"""The segment that is being written: an Arrow IPC stream that is readable at any moment."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gnomon.recording import _files, layout
from gnomon.recording._arrow_stream import END_OF_STREAM


class OpenSegment:
    """One table's open file. The process holds a lock on it for as long as it lives.

    The kernel drops the lock with the process, however it dies and in whatever pid namespace
    it lived: a file that can be locked has no writer any more (``adopt``).
    """

    def __init__(
        self,
        root: Path,
        identity: layout.Segment,
        schema: Any,
        opened_monotonic_ns: int = 0,
    ) -> None:
        """``opened_monotonic_ns``: since when its age counts, for who lets it end by age."""
        self.identity = identity
        self.path = identity.path(root, layout.OPEN_SUFFIX)
        self.opened_monotonic_ns = opened_monotonic_ns
        self.size_bytes = 0
        self._is_spoilt = False
        self._descriptor = _files.create_file(self.path)
        with contextlib.suppress(OSError):  # without locks, adopt goes by age alone
            fcntl.flock(self._descriptor, fcntl.LOCK_EX)
        try:
            self._write(schema.serialize())
        except OSError:
            self.release()
            self.path.unlink(missing_ok=True)
            raise

    def write(self, batch: Any) -> None:
        """Append one batch. After an OSError the file holds what it held before."""
        self._write(batch.serialize())

    def is_unusable(self) -> bool:
        """Tell whether rows written from now on would be lost.

        So it is where somebody removed the file under us, or where half a message is stuck at
        its end.
        """
        return self._is_spoilt or os.fstat(self._descriptor).st_nlink == 0

    def finish(self) -> None:
        """Write the end-of-stream mark; without room for it the file is as readable."""
        try:
            self._write(END_OF_STREAM)
        except OSError:
            return

    def release(self) -> None:
        """Give up the lock and the descriptor."""
        os.close(self._descriptor)

    def _write(self, message: Any) -> None:
        try:
            _files.write_all(self._descriptor, message)
        except OSError:
            # A half-written message would hide every later one from readers.
            self._is_spoilt = not self._cut_to(self.size_bytes)
            raise
        self.size_bytes += len(message)

    def _cut_to(self, size_bytes: int) -> bool:
        try:
            os.ftruncate(self._descriptor, size_bytes)
            os.lseek(self._descriptor, size_bytes, os.SEEK_SET)
        except OSError:
            return False
        return True


def has_writer(path: Path) -> bool:
    """Tell whether a living process writes this segment, as far as locks can tell."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return False


@contextlib.contextmanager
def adopt(path: Path, *, quiet_s: float = 5.0, lockless_quiet_s: float = 86_400) -> Iterator[bool]:
    """Take over an open segment whose writer is dead; yields whether it is ours now.

    The lock is held meanwhile, so that two recorders never adopt the same segment. A file
    younger than ``quiet_s`` counts as alive (its writer may be about to lock it), and so does
    one younger than ``lockless_quiet_s`` on a file system that knows no locks.
    """
    try:
        age_s = time.time() - path.stat().st_mtime
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        yield False
        return
    try:
        yield age_s >= quiet_s and _lock(descriptor, without=age_s > lockless_quiet_s)
    finally:
        os.close(descriptor)


def _lock(descriptor: int, *, without: bool) -> bool:
    """Try to lock a file; ``without`` is the answer where the file system has no locks."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return without
    # Whoever held it before may have converted and removed it.
    return os.fstat(descriptor).st_nlink > 0
