"""Old measurements shown as if they came in now: what ``demo`` and scrubbing look at."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from gnomon.recording.base import Measurements, Meta, SkippedSegment


class Replay:
    """``Measurements`` whose present moves: rows beyond ``now_ns`` are not there yet."""

    def __init__(
        self,
        measurements: Measurements,
        *,
        speed: float = 1.0,
        loop: bool = False,
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        """Start at the beginning. Raises ValueError where nothing is recorded."""
        bounds = measurements.bounds()
        if bounds is None:
            raise ValueError("nothing is recorded, so there is nothing to replay")
        self._measurements = measurements
        self._first_ns, self._last_ns = bounds
        self._speed = speed
        self._loop = loop
        self._clock = clock
        self._position_ns = self._first_ns
        self._running_since_ns: int | None = clock()

    @property
    def is_paused(self) -> bool:
        return self._running_since_ns is None

    def now_ns(self) -> int:
        """Return the present of the replay, Unix ns of the recording."""
        position_ns = self._position_ns
        if self._running_since_ns is not None:
            position_ns += round((self._clock() - self._running_since_ns) * self._speed)
        length_ns = self._last_ns - self._first_ns
        if self._loop and position_ns > self._last_ns and length_ns > 0:
            return self._first_ns + (position_ns - self._first_ns) % length_ns
        return min(position_ns, self._last_ns)

    def seek(self, now_ns: int) -> None:
        """Move the present; it stays inside the recording."""
        self._position_ns = min(max(now_ns, self._first_ns), self._last_ns)
        if self._running_since_ns is not None:
            self._running_since_ns = self._clock()

    def pause(self) -> None:
        self._position_ns = self.now_ns()
        self._running_since_ns = None

    def resume(self) -> None:
        if self._running_since_ns is None:
            self._running_since_ns = self._clock()

    def meta(self) -> Meta:
        return self._measurements.meta()

    def bounds(self) -> tuple[int, int] | None:
        """Return the start of the recording and the present."""
        return self._first_ns, self.now_ns()

    def whole_bounds(self) -> tuple[int, int]:
        """Return the bounds of the recording behind the replay."""
        return self._first_ns, self._last_ns

    def read(
        self,
        table: str,
        *,
        from_ns: int | None = None,
        to_ns: int | None = None,
        columns: Sequence[str] | None = None,
        encoded: bool = False,
    ) -> Any:
        """Return rows up to the present; see ``Measurements.read``."""
        return self._measurements.read(
            table, from_ns=from_ns, to_ns=self._until_ns(to_ns), columns=columns, encoded=encoded
        )

    def pieces(
        self,
        table: str,
        *,
        from_ns: int | None = None,
        to_ns: int | None = None,
        columns: Sequence[str],
    ) -> Sequence[Any]:
        """Return rows up to the present; see ``Measurements.pieces``."""
        return self._measurements.pieces(
            table, from_ns=from_ns, to_ns=self._until_ns(to_ns), columns=columns
        )

    def _until_ns(self, to_ns: int | None) -> int:
        now_ns = self.now_ns()
        return now_ns if to_ns is None else min(to_ns, now_ns)

    def cuts(self, table: str, from_ns: int, to_ns: int) -> Sequence[int]:
        return self._measurements.cuts(table, from_ns, to_ns)

    def skipped(self) -> Sequence[SkippedSegment]:
        return self._measurements.skipped()
