"""The last minutes of measurements, in memory: what a live screen shows without a recording."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Sequence
from typing import Any

from gnomon import tables
from gnomon.recording._times import cut, ordered
from gnomon.recording.base import Meta, SkippedSegment

TEN_MINUTES_NS = 600 * 1_000_000_000


class MemoryRecording:
    """A sink for a collector and ``Measurements`` for a surface, from any thread."""

    def __init__(self, max_age_ns: int = TEN_MINUTES_NS) -> None:
        """Keep batches whose newest row is younger than ``max_age_ns``."""
        self._max_age_ns = max_age_ns
        self._lock = threading.Lock()
        self._batches: dict[str, deque[tuple[int, Any]]] = {}
        self._meta = Meta(tables.SCHEMA_VERSION)

    def append(self, table: str, batch: Any) -> None:
        """Take a batch of ``tables.arrow_schema(table)``."""
        if batch.num_rows == 0:
            return
        newest_ns = max(batch.column("ts_ns").to_pylist())
        oldest_kept_ns = newest_ns - self._max_age_ns
        with self._lock:
            kept = self._batches.setdefault(table, deque())
            kept.append((newest_ns, batch))
            while kept[0][0] < oldest_kept_ns:
                kept.popleft()

    def flush(self) -> None:
        """Nothing to do: appended rows are visible at once."""

    def update_meta(self, meta: Meta) -> None:
        self._meta = meta

    def meta(self) -> Meta:
        return self._meta

    def bounds(self) -> tuple[int, int] | None:
        """Return the first interval's start and the last one's end over all tables."""
        import pyarrow.compute as pc  # noqa: PLC0415

        with self._lock:
            ends = [(kept[0][1], kept[-1][0]) for kept in self._batches.values() if kept]
        if not ends:
            return None
        starts = [
            pc.min(
                pc.subtract(batch.column("ts_ns"), pc.fill_null(batch.column("duration_ns"), 0))
            ).as_py()
            for batch, _ in ends
        ]
        return min(starts), max(newest_ns for _, newest_ns in ends)

    def read(
        self,
        table: str,
        *,
        from_ns: int | None = None,
        to_ns: int | None = None,
        columns: Sequence[str] | None = None,
    ) -> Any:
        """Return the rows of a table with from_ns < ts_ns <= to_ns; see ``Measurements.read``."""
        with self._lock:
            batches = [
                batch
                for newest_ns, batch in self._batches.get(table, ())
                if from_ns is None or newest_ns > from_ns
            ]
        found = ordered(cut(tables.concat(table, batches), from_ns, to_ns))
        return found.select(list(columns)) if columns is not None else found

    def skipped(self) -> Sequence[SkippedSegment]:
        return ()

    def now_ns(self) -> int:
        """Return the present: a live window ends now, not at its last row."""
        return time.time_ns()
