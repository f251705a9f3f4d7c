"""The segment that is being written: an Arrow IPC stream that is readable at any moment."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from pathlib import Path
from typing import Any

from gnomon.recording import _files, layout
from gnomon.recording._arrow_stream import END_OF_STREAM


class OpenSegment:
    """One table's open file. The process holds a lock on it for as long as it lives.

    The kernel drops the lock with the process, however it dies and in whatever pid namespace
    it lived: a file that can be locked has no writer any more (``is_abandoned``).
    """

    def __init__(self, root: Path, identity: layout.Segment, schema: Any) -> None:
        self.identity = identity
        self.path = identity.path(root, layout.OPEN_SUFFIX)
        self.opened_monotonic_ns = time.monotonic_ns()
        self.size_bytes = 0
        self._descriptor = _files.create_file(self.path)
        with contextlib.suppress(OSError):  # without locks is_abandoned goes by age alone
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

    def is_deleted(self) -> bool:
        """Tell whether somebody removed the file under us: writing on would lose rows."""
        return os.fstat(self._descriptor).st_nlink == 0

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
            os.ftruncate(self._descriptor, self.size_bytes)
            os.lseek(self._descriptor, self.size_bytes, os.SEEK_SET)
            raise
        self.size_bytes += len(message)


def is_abandoned(path: Path, *, quiet_s: float = 5.0, lockless_quiet_s: float = 86_400) -> bool:
    """Tell whether the writer of an open segment is dead.

    A file younger than ``quiet_s`` counts as alive (its writer may be about to lock it), and
    so does one younger than ``lockless_quiet_s`` on a file system that knows no locks.
    """
    try:
        age_s = time.time() - path.stat().st_mtime
        if age_s < quiet_s:
            return False
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return age_s > lockless_quiet_s
    finally:
        os.close(descriptor)
    return True
