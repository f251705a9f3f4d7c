"""The one NVML session of this process, shared by every source that reads NVML.

``nvmlInit`` counts its callers inside the library, so after a driver reload a source alone
cannot bring it back: all must let go at once. The session therefore owns init and shutdown;
a source enters ``reading()`` around its calls and compares ``generation`` to notice that its
handles are of an earlier life.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from gnomon._errors import SourceError
from gnomon.sources import _nvml_errors as errors

# nvmlInit can take seconds on a host whose driver is broken or without persistence mode.
RESTART_INTERVAL_NS = 5 * 10**9


def binding() -> Any:
    """Return the pynvml module (7 ms to import: only where NVML is used)."""
    import pynvml  # noqa: PLC0415

    return pynvml


class Session:
    """Reference-counted NVML with a restart that waits until nobody reads.

    ``restart_interval_ns`` is the least time between two restarts.
    """

    def __init__(self) -> None:
        self.generation = 0
        self.restart_reason = ""
        self.restart_interval_ns = RESTART_INTERVAL_NS
        self._lock = threading.Lock()
        self._users = 0
        self._up = False
        self._readers = 0
        self._restarted_at_ns: int | None = None

    def acquire(self) -> None:
        """Start NVML for a further user. Raises SourceError with the remedy."""
        with self._lock:
            if not self._up:
                self._init()
            self._users += 1

    def release(self) -> None:
        with self._lock:
            self._users -= 1
            if self._users == 0:
                self._shutdown()

    @contextmanager
    def reading(self) -> Iterator[int]:
        """Keep the session alive for some calls; yields its generation."""
        with self._lock:
            self._readers += 1
            generation = self.generation
        try:
            yield generation
        finally:
            with self._lock:
                self._readers -= 1

    def restart(self, reason: str) -> bool:
        """Shut NVML down and start it again; False where it must wait or does not start."""
        now_ns = time.monotonic_ns()
        with self._lock:
            last_ns = self._restarted_at_ns
            too_soon = last_ns is not None and now_ns - last_ns < self.restart_interval_ns
            if self._readers or too_soon:
                return False
            self._restarted_at_ns = now_ns
            self._shutdown()
            try:
                self._init()
            except SourceError:
                return False
            self.generation += 1
            self.restart_reason = reason
            return True

    def _init(self) -> None:
        nvml = binding()
        try:
            nvml.nvmlInit()
        except nvml.NVMLError as error:
            raise SourceError(*errors.library_reason(errors.code_of(error))) from error
        self._up = True

    def _shutdown(self) -> None:
        nvml = binding()
        self._up = False
        try:
            nvml.nvmlShutdown()
        except nvml.NVMLError:
            return  # it was down already: the driver went away


SESSION = Session()
