"""Follows an open segment: looks only at what has been added, and keeps an index, not the rows."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gnomon.recording._arrow_stream import (
    Frame,
    TornStreamError,
    read_frames,
    read_schema,
)
from gnomon.recording._conform import conform
from gnomon.recording._open_segment import has_writer
from gnomon.recording.times import cut, first_start_ns


@dataclass(frozen=True, slots=True)
class _Message:
    """Where a whole batch lies in the file, and which times it spans."""

    offset: int
    first_ns: int
    last_ns: int


class Tail:
    """The whole batches of one open segment so far; ``torn`` says why a rest is not read."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.torn = ""
        self._schema: Any = None
        self._offset = 0
        self._messages: list[_Message] = []

    def refresh(self) -> None:
        """Index what has been added. Raises FileNotFoundError when the segment is closed now."""
        import pyarrow as pa  # noqa: PLC0415

        self.torn = ""
        with pa.OSFile(str(self.path), "rb") as source:
            try:
                if self._schema is None:
                    self._schema = read_schema(source)
                    self._offset = source.tell()
                source.seek(self._offset)
                for frame in read_frames(source, self._schema):
                    self._add(frame)
            except TornStreamError as torn:
                # A living writer in the middle of a message is no damage.
                if not has_writer(self.path):
                    self.torn = f"read up to byte {torn.offset} of {source.size()}: {torn}"

    def span(self) -> tuple[int, int] | None:
        """Return the smallest and the largest ts_ns; None where there are no rows."""
        if not self._messages:
            return None
        return (
            min(message.first_ns for message in self._messages),
            max(message.last_ns for message in self._messages),
        )

    def start_ns(self) -> int:
        """Return when the first interval began; the segment must have rows."""
        import pyarrow as pa  # noqa: PLC0415

        times = pa.schema({"ts_ns": pa.int64(), "duration_ns": pa.int64()})
        first_ns = min(message.first_ns for message in self._messages)
        return first_start_ns(self.table(None, first_ns, times))

    def table(self, from_ns: int | None, to_ns: int | None, schema: Any) -> Any:
        """Return the rows of (from_ns, to_ns] as a table of ``schema``.

        Missing columns are null and unknown ones left out. Raises FileNotFoundError as
        ``refresh`` does, and ValueError where a column has another type.
        """
        import pyarrow as pa  # noqa: PLC0415

        wanted = [
            message
            for message in self._messages
            if (from_ns is None or message.last_ns > from_ns)
            and (to_ns is None or message.first_ns <= to_ns)
        ]
        known = [name for name in schema.names if self._schema and name in self._schema.names]
        batches = []
        with pa.OSFile(str(self.path), "rb") as source:
            for message in wanted:
                source.seek(message.offset)
                whole = pa.ipc.read_record_batch(pa.ipc.read_message(source), self._schema)
                batches.append(whole.select(known))
        if not batches:
            return schema.empty_table()
        return cut(conform(pa.Table.from_batches(batches), schema), from_ns, to_ns)

    def _add(self, frame: Frame) -> None:
        import pyarrow.compute as pc  # noqa: PLC0415

        self._offset = frame.end
        if frame.batch.num_rows:
            span = pc.min_max(frame.batch.column("ts_ns")).as_py()
            self._messages.append(_Message(frame.offset, span["min"], span["max"]))
