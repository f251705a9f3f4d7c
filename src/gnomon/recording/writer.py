"""Writes a recording: an open Arrow stream a table, turned into Parquet when it is full.

Rows wait in memory until ``flush`` (twice a second by the collector), so that a stream of small
readings becomes one message a second, and a killed process loses at most that second.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Self

from gnomon import tables
from gnomon._errors import RecordingError
from gnomon.enums import EventKind, Severity
from gnomon.recording import _files, layout
from gnomon.recording._closing import Closer
from gnomon.recording._open_segment import OpenSegment
from gnomon.recording.base import Meta
from gnomon.recording.times import ordered

HOUR_NS = 3_600_000_000_000
# Rows of one message: keeps what a reader must hold at once small, also in imports of a day.
MESSAGE_ROWS = 16_384
# Where each source fills columns of its own, a segment holds rows of one source: half-null columns
# take half as long again to read.
TABLES_BY_SOURCE = frozenset({"gpu_counters"})

SegmentKey = tuple[str, str | None]  # table, and source where it has segments of its own


@dataclass(frozen=True, slots=True)
class SegmentLimits:
    """When an open segment is closed: hourly Parquet is the smallest and fastest to query."""

    age_ns: int = HOUR_NS
    size_bytes: int = 64 << 20


class RecordingWriter:
    """One writer of a recording directory; any number of others may write beside it.

    Errors of the disk raise RecordingError from ``flush``, once the rows that could not be
    kept are counted; the writer can be used on, and says so in ``losses`` when there is room
    again.
    """

    def __init__(self, path: Path, host_id: str, limits: SegmentLimits = SegmentLimits()) -> None:
        """Create the directory where it is missing. Raises RecordingError where that fails."""
        self.path = Path(path)
        self.writer_id = layout.new_writer_id()
        self._host_id = layout.safe_host_id(host_id)
        self._limits = limits
        self._pending: dict[str, list[Any]] = {}
        self._open: dict[SegmentKey, OpenSegment] = {}
        self._flushed_monotonic_ns = 0
        self._sequences: dict[str, int] = {}
        self._lost: dict[str, int] = {}
        self._lost_since_ns = 0
        self._closer = Closer(self.path)
        self.update_meta(Meta(tables.SCHEMA_VERSION))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def append(self, table: str, batch: Any) -> None:
        """Take a batch of ``tables.arrow_schema(table)``; it is on disk after ``flush``.

        Raises RecordingError for any other columns: they would spoil the segment.
        """
        if not batch.schema.equals(tables.arrow_schema(table)):
            raise RecordingError(f"these are not the columns of table {table!r}: {batch.schema}")
        if batch.num_rows:
            self._pending.setdefault(table, []).append(batch)

    def flush(self) -> None:
        """Write what is pending. Raises RecordingError where the disk refuses."""
        pending, self._pending = self._pending, {}
        # One time for all: what opens together closes together, so that files end together.
        self._flushed_monotonic_ns = time.monotonic_ns()
        refused: OSError | None = None
        for (table, source), batches in _by_segment(pending).items():
            for batch in _messages(batches):
                try:
                    self._segment(table, batch, source).write(batch)
                except OSError as error:
                    refused = error
                    self._lost_since_ns = self._lost_since_ns or time.time_ns()
                    self._lost[table] = self._lost.get(table, 0) + batch.num_rows
        if refused is None and self._lost:
            refused = self._tell_losses()
        if refused is not None:
            raise RecordingError(self._why(refused)) from refused

    def update_meta(self, meta: Meta) -> None:
        """Put what is true of the recording as a whole on disk, in one step."""
        document = asdict(meta) | {"writer": self.writer_id, "host_id": self._host_id}
        data = json.dumps(document, indent=1, default=str).encode()
        try:
            _files.replace_file(layout.meta_path(self.path, self.writer_id), data)
        except OSError as error:
            raise RecordingError(self._why(error)) from error

    def close(self) -> None:
        """Flush and turn every open segment into Parquet; the writer may be used on.

        Raises RecordingError where the disk refuses; what is in an open segment stays readable.
        """
        try:
            self.flush()
        finally:
            for key in list(self._open):
                self._close_segment(key)
            self._closer.finish()

    def _segment(self, table: str, batch: Any, source: str | None = None) -> OpenSegment:
        """Return the segment that a batch belongs to, rolling over where it is time."""
        day = layout.utc_date(batch.column("ts_ns")[0].as_py())
        key = (table, source)
        segment = self._open.get(key)
        if segment is not None and self._is_full(segment, day):
            self._close_segment(key)
            segment = None
        if segment is None:
            sequence = self._sequences.get(table, -1) + 1
            identity = layout.Segment(table, day, self._host_id, self.writer_id, sequence)
            segment = OpenSegment(self.path, identity, batch.schema, self._flushed_monotonic_ns)
            self._sequences[table] = sequence
            self._open[key] = segment
        return segment

    def _is_full(self, segment: OpenSegment, day: str) -> bool:
        age_ns = self._flushed_monotonic_ns - segment.opened_monotonic_ns
        return (
            segment.identity.date != day
            or age_ns >= self._limits.age_ns
            or segment.size_bytes >= self._limits.size_bytes
            or segment.is_unusable()
        )

    def _close_segment(self, key: SegmentKey) -> None:
        segment = self._open.pop(key)
        segment.finish()
        self._closer.add(segment)

    def _tell_losses(self) -> OSError | None:
        """Put into ``losses`` and ``events`` what was lost while the disk refused."""
        now_ns = time.time_ns()
        stamp = {"ts_ns": now_ns, "duration_ns": now_ns - self._lost_since_ns, "source": "writer"}
        losses = [
            stamp | {"table": table, "rows": count, "reason": "disk_full"}
            for table, count in self._lost.items()
        ]
        event = stamp | {
            "kind": EventKind.DISK_FULL.value,
            "severity": Severity.CRITICAL.value,
            "message": f"{sum(self._lost.values())} rows could not be written in this interval",
        }
        try:
            for table, rows in (("losses", losses), ("events", [event])):
                batch = tables.batch(table, rows)
                self._segment(table, batch).write(batch)
        except OSError as error:
            return error
        self._lost, self._lost_since_ns = {}, 0
        return None

    def _why(self, error: OSError) -> str:
        lost = sum(self._lost.values())
        count = f"; {lost} rows could not be kept" if lost else ""
        return (
            f"cannot write the recording in {self.path}: {error.strerror or error}{count}; "
            "make room or choose another directory with -o"
        )


def _by_segment(pending: Mapping[str, Sequence[Any]]) -> dict[SegmentKey, list[Any]]:
    """Return the pending batches by the segment that they belong to."""
    found: dict[SegmentKey, list[Any]] = {}
    for table, batches in pending.items():
        for batch in batches:
            parts = _by_source(batch) if table in TABLES_BY_SOURCE else {None: batch}
            for source, part in parts.items():
                found.setdefault((table, source), []).append(part)
    return found


def _by_source(batch: Any) -> dict[str | None, Any]:
    """Return the rows of each source, in their order; as a rule a batch is of one."""
    import pyarrow as pa  # noqa: PLC0415

    sources = batch.column("source").to_pylist()
    names = dict.fromkeys(sources)
    if len(names) == 1:
        return {sources[0]: batch}
    return {name: batch.filter(pa.array([one == name for one in sources])) for name in names}


def _messages(batches: Sequence[Any]) -> Iterator[Any]:
    """Join batches of one table, nearly in the order of time, and cut them where a UTC day begins.

    Sources write in turns: put in order here, a day of rows is nearly sorted when it is read.
    """
    import numpy as np  # noqa: PLC0415
    import pyarrow as pa  # noqa: PLC0415

    in_turn = sorted(batches, key=_first_ts_ns)
    joined = pa.concat_batches(in_turn) if len(in_turn) > 1 else in_turn[0]
    days = joined.column("ts_ns").to_numpy() // layout.DAY_NS
    edges = [0, len(days)]
    if days.min() != days.max():
        joined = ordered(joined)
        days.sort()
        edges = [0, *(np.flatnonzero(np.diff(days)) + 1).tolist(), len(days)]
    for begin, end in pairwise(edges):
        for first in range(begin, end, MESSAGE_ROWS):
            yield joined.slice(first, min(MESSAGE_ROWS, end - first))


def _first_ts_ns(batch: Any) -> int:
    return int(batch.column("ts_ns")[0].as_py())
