"""Follows an open segment: looks only at what has been added, and keeps an index, not the rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gnomon.recording._arrow_stream import (
    Frame,
    TornStreamError,
    read_frames,
    read_schema,
)
from gnomon.recording._conform import conform, unfit
from gnomon.recording._open_segment import has_writer
from gnomon.recording._validity import judged, valid
from gnomon.recording.times import cut, first_start_ns

# Looking at a batch of a few rows costs as much as looking at thousands.
JUDGED_FRAMES = 512


@dataclass(frozen=True, slots=True)
class _Message:
    """Where a whole batch lies in the file, and which times it spans.

    ``is_valid``: which of its rows can be measurements; None for all of them.
    """

    offset: int
    first_ns: int
    last_ns: int
    is_valid: Any


class Tail:
    """The whole batches of one open segment so far; ``torn`` says why a rest is not read.

    ``set_aside`` counts rows that cannot be measurements, by their reason.
    """

    def __init__(self, path: Path, table_name: str) -> None:
        self.path = path
        self.torn = ""
        self.set_aside = Counter[str]()
        self.table_name = table_name
        self._schema: Any = None
        self._offset = 0
        self._messages: list[_Message] = []

    def refresh(self) -> None:
        """Index what has been added. Raises FileNotFoundError when the segment is closed now.

        Raises ValueError where the columns are not those of the table.
        """
        import pyarrow as pa  # noqa: PLC0415

        self.torn = ""
        with pa.OSFile(str(self.path), "rb") as source:
            try:
                if self._schema is None:
                    schema = read_schema(source)
                    if (reason := unfit(schema, self.table_name)) is not None:
                        raise ValueError(reason)
                    self._schema, self._offset = schema, source.tell()
                source.seek(self._offset)
                self._add_all(read_frames(source, self._schema))
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
                rows = whole.select(known)
                batches.append(rows if message.is_valid is None else rows.filter(message.is_valid))
        if not batches:
            return schema.empty_table()
        return cut(conform(pa.Table.from_batches(batches), schema), from_ns, to_ns)

    def _add_all(self, frames: Iterator[Frame]) -> None:
        """Index frames, ``JUDGED_FRAMES`` at once; what lies before a torn one too."""
        judged_together: list[Frame] = []
        try:
            for frame in frames:
                judged_together.append(frame)
                if len(judged_together) == JUDGED_FRAMES:
                    self._add(judged_together)
                    judged_together = []
        finally:
            self._add(judged_together)

    def _add(self, frames: Sequence[Frame]) -> None:
        import pyarrow as pa  # noqa: PLC0415
        import pyarrow.compute as pc  # noqa: PLC0415

        if not frames:
            return
        schema = judged(self.table_name)
        known = [name for name in schema.names if name in self._schema.names]
        rows = conform(pa.Table.from_batches([one.batch for one in frames]).select(known), schema)
        is_valid, reasons = valid(self.table_name, rows)
        self.set_aside += reasons
        first = 0
        for frame in frames:
            times, mask = frame.batch.column("ts_ns"), None
            if is_valid is not None:
                mask = is_valid.slice(first, len(times)).combine_chunks()
                times = times.filter(mask)
            first += frame.batch.num_rows
            if len(times):
                span = pc.min_max(times).as_py()
                self._messages.append(_Message(frame.offset, span["min"], span["max"], mask))
        self._offset = frames[-1].end
