"""The last minutes of measurements, in memory: what a live screen shows without a recording."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gnomon import tables
from gnomon.recording.base import Meta, SkippedSegment
from gnomon.recording.times import cut, first_start_ns, ordered

TEN_MINUTES_NS = 600 * 1_000_000_000
MAX_BYTES = 64 << 20
# Reading a table of thousands of one-row batches costs more in bookkeeping than in data.
JOINED_BATCHES = 64


@dataclass(frozen=True, slots=True)
class _Piece:
    """A batch with the earliest begin, the smallest and the largest ts_ns of its rows."""

    start_ns: int
    first_ns: int
    last_ns: int
    batch: Any

    @property
    def bytes(self) -> int:
        # Not ``nbytes``, which looks at every column: 0.1 ms a batch.
        return int(self.batch.get_total_buffer_size())

    @classmethod
    def of(cls, batch: Any) -> _Piece:
        times = batch.column("ts_ns").to_numpy()
        return cls(first_start_ns(batch), int(times.min()), int(times.max()), batch)


class _Shelf:
    """The pieces of one table, oldest first: many small ones are joined into a large one."""

    def __init__(self) -> None:
        self.bytes = 0
        self._joined: deque[_Piece] = deque()
        self._loose: list[_Piece] = []

    def add(self, piece: _Piece) -> None:
        import pyarrow as pa  # noqa: PLC0415

        self._loose.append(piece)
        self.bytes += piece.bytes
        if len(self._loose) >= JOINED_BATCHES:
            joined = _Piece.of(pa.concat_batches([one.batch for one in self._loose]))
            self.bytes += joined.bytes - sum(one.bytes for one in self._loose)
            self._joined.append(joined)
            self._loose = []

    def drop_before(self, oldest_ns: int) -> None:
        while self._oldest().last_ns < oldest_ns:
            self.drop_oldest()

    def drop_oldest(self) -> None:
        piece = self._joined.popleft() if self._joined else self._loose.pop(0)
        self.bytes -= piece.bytes

    def pieces(self) -> list[_Piece]:
        return [*self._joined, *self._loose]

    def _oldest(self) -> _Piece:
        return self._joined[0] if self._joined else self._loose[0]


class MemoryRecording:
    """A sink for a collector and ``Measurements`` for a surface, from any thread."""

    def __init__(self, max_age_ns: int = TEN_MINUTES_NS, max_bytes: int = MAX_BYTES) -> None:
        """Keep what is younger than ``max_age_ns``, and no more than about ``max_bytes``."""
        self._max_age_ns = max_age_ns
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._shelves: dict[str, _Shelf] = {}
        self._meta = Meta(tables.SCHEMA_VERSION)

    def append(self, table: str, batch: Any) -> None:
        """Take a batch of ``tables.arrow_schema(table)``."""
        if batch.num_rows == 0:
            return
        piece = _Piece.of(batch)
        with self._lock:
            shelf = self._shelves.setdefault(table, _Shelf())
            shelf.add(piece)
            shelf.drop_before(piece.last_ns - self._max_age_ns)
            while sum(one.bytes for one in self._shelves.values()) > self._max_bytes:
                max(self._shelves.values(), key=lambda one: one.bytes).drop_oldest()

    def flush(self) -> None:
        """Nothing to do: appended rows are visible at once."""

    def update_meta(self, meta: Meta) -> None:
        self._meta = meta

    def meta(self) -> Meta:
        return self._meta

    def bounds(self) -> tuple[int, int] | None:
        """Return the first interval's start and the last one's end over all tables."""
        with self._lock:
            pieces = [piece for shelf in self._shelves.values() for piece in shelf.pieces()]
        if not pieces:
            return None
        return min(piece.start_ns for piece in pieces), max(piece.last_ns for piece in pieces)

    def read(
        self,
        table: str,
        *,
        from_ns: int | None = None,
        to_ns: int | None = None,
        columns: Sequence[str] | None = None,
        encoded: bool = False,
    ) -> Any:
        """Return the rows of a table with from_ns < ts_ns <= to_ns; see ``Measurements.read``."""
        import pyarrow as pa  # noqa: PLC0415

        full = tables.arrow_schema(table)
        wanted = list(columns) if columns is not None else full.names
        needed = list(dict.fromkeys(["ts_ns", *wanted]))
        with self._lock:
            shelf = self._shelves.get(table)
            pieces = shelf.pieces() if shelf is not None else []
        batches = [
            piece.batch.select(needed)
            for piece in pieces
            if (from_ns is None or piece.last_ns > from_ns)
            and (to_ns is None or piece.first_ns <= to_ns)
        ]
        found = pa.Table.from_batches(batches, schema=tables.pick(full, needed))
        rows = ordered(cut(found, from_ns, to_ns)).select(wanted)
        return (
            rows.cast(tables.pick(tables.arrow_schema(table, encoded=True), wanted))
            if encoded
            else rows
        )

    def pieces(
        self,
        table: str,
        *,
        from_ns: int | None = None,
        to_ns: int | None = None,
        columns: Sequence[str],
    ) -> Sequence[Any]:
        """Return all rows in one piece; see ``Measurements.pieces``."""
        return [self.read(table, from_ns=from_ns, to_ns=to_ns, columns=columns, encoded=True)]

    def cuts(self, table: str, from_ns: int, to_ns: int) -> Sequence[int]:  # noqa: ARG002
        """Return nothing: all of it is in memory already."""
        return ()

    def skipped(self) -> Sequence[SkippedSegment]:
        return ()

    def now_ns(self) -> int:
        """Return the present: a live window ends now, not at its last row."""
        return time.time_ns()
