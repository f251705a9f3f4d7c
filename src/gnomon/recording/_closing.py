"""Turns full segments into Parquet beside the writing: that takes a second, and an fsync more."""

from __future__ import annotations

import threading
from collections import deque
from pathlib import Path

from gnomon._errors import RecordingError
from gnomon.recording._convert import convert
from gnomon.recording._open_segment import OpenSegment


class Closer:
    """A thread that ends when it has nothing to do, and comes back with the next segment."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._lock = threading.Lock()
        self._segments: deque[OpenSegment] = deque()
        self._thread: threading.Thread | None = None

    def add(self, segment: OpenSegment) -> None:
        """Close a segment soon; its file stays locked, and readable, until then."""
        with self._lock:
            self._segments.append(segment)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="gnomon-closer")
                self._thread.start()

    def finish(self) -> None:
        """Wait until every segment is closed."""
        thread = self._thread
        if thread is not None:
            thread.join()

    def _run(self) -> None:
        while True:
            with self._lock:
                if not self._segments:
                    self._thread = None
                    return
                segment = self._segments.popleft()
            try:
                convert(self._root, segment.identity)
            except (OSError, RecordingError):
                pass  # the open form is as readable; retention converts it when there is room
            finally:
                segment.release()
