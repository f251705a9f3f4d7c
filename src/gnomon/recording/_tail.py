"""Follows an open segment: reads only what has been added since the last look."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gnomon.recording._arrow_stream import END_OF_STREAM, TornStreamError, read_frames, read_schema


class Tail:
    """The whole batches of one open segment so far; ``torn`` says why a rest is not read."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.batches: list[Any] = []
        self.torn = ""
        self._schema: Any = None
        self._offset = 0

    def refresh(self) -> None:
        """Read on. Raises FileNotFoundError when the segment has become Parquet."""
        import pyarrow as pa  # noqa: PLC0415

        self.torn = ""
        with pa.OSFile(str(self.path), "rb") as source:
            try:
                if self._schema is None:
                    self._schema = read_schema(source)
                    self._offset = source.tell()
                source.seek(self._offset)
                for frame in read_frames(source, self._schema):
                    self.batches.append(frame.batch)
                    self._offset = frame.end
            except TornStreamError as torn:
                self._note(torn, source.size())

    def _note(self, torn: TornStreamError, size: int) -> None:
        """A writer in the middle of a message is no damage; bytes that make no sense are."""
        if size > torn.offset and size - torn.offset != len(END_OF_STREAM):
            self.torn = f"read up to byte {torn.offset} of {size}: {torn}"
