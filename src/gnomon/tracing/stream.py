"""The pipe from the helper to the recorder: batches of Arrow, each behind a short head.

A message is the lengths of two parts (little-endian u32 each) and the parts: a table's name and a
batch as Arrow's IPC encapsulates it, whose schema both sides know; or no name and a line of JSON.
"""

from __future__ import annotations

import json
import os
import struct
from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any

from gnomon import tables
from gnomon._errors import TracingError

HEAD = struct.Struct("<II")
# The recorder has stopped reading when so much waits; later batches are lost, and counted.
MOST_WAITING_BYTES = 32 << 20
LONGEST_PART_BYTES = 1 << 30


class StreamWriter:
    """Writes to a pipe that never blocks; what does not fit waits."""

    def __init__(self, fd: int) -> None:
        os.set_blocking(fd, False)
        self._fd = fd
        self._waiting: deque[memoryview] = deque()
        self._waiting_bytes = 0
        self._lost: dict[str, int] = {}

    def batch(self, table: str, batch: Any) -> None:
        """Send a batch of a table."""
        if self._waiting_bytes > MOST_WAITING_BYTES:
            self._lost[table] = self._lost.get(table, 0) + batch.num_rows
            return
        self._put(table.encode(), memoryview(batch.serialize()))

    def say(self, document: Mapping[str, Any]) -> None:
        """Send what is not a row."""
        self._put(b"", memoryview(json.dumps(document).encode()))

    def room_wanted(self) -> list[int]:
        """The descriptor to wait for, in a list, while something is still to be written to it."""
        return [self._fd] if self._waiting else []

    def take_lost(self) -> dict[str, int]:
        """Rows by table that were not sent since the last call."""
        lost, self._lost = self._lost, {}
        return lost

    def flush(self) -> bool:
        """Write what the pipe takes; whether all is written. Raises BrokenPipeError at its end."""
        while self._waiting:
            part = self._waiting[0]
            try:
                written = os.write(self._fd, part)
            except BlockingIOError:
                return False
            self._waiting_bytes -= written
            if written == len(part):
                self._waiting.popleft()
            else:
                self._waiting[0] = part[written:]
        return True

    def close(self) -> None:
        """Close the pipe: whoever reads sees its end."""
        os.close(self._fd)

    def _put(self, name: bytes, body: memoryview) -> None:
        head = memoryview(HEAD.pack(len(name), body.nbytes) + name)
        for part in (head, body.cast("B")):
            self._waiting.append(part)
            self._waiting_bytes += part.nbytes


class StreamReader:
    """Takes bytes as they come, gives messages: (table, batch), or ("", document)."""

    def __init__(self) -> None:
        self._data = bytearray()

    def feed(self, data: bytes) -> Iterator[tuple[str, Any]]:
        """Yield the messages that are complete. Raises TracingError for bytes of another kind."""
        self._data += data
        while len(self._data) >= HEAD.size:
            name_bytes, body_bytes = HEAD.unpack_from(self._data)
            if max(name_bytes, body_bytes) > LONGEST_PART_BYTES:
                raise TracingError("the stream of gnomon-bpf makes no sense", "report this error")
            end = HEAD.size + name_bytes + body_bytes
            if len(self._data) < end:
                return
            begin = HEAD.size + name_bytes
            name = self._data[HEAD.size : begin].decode(errors="replace")
            body = bytes(self._data[begin:end])
            del self._data[:end]
            yield name, _message(name, body)


def _message(name: str, body: bytes) -> Any:
    if not name:
        return json.loads(body)
    if name not in tables.TABLES:
        raise TracingError(f"gnomon-bpf sent rows of {name!r}, a table that is not known")
    import pyarrow as pa  # noqa: PLC0415  90 ms

    return pa.ipc.read_record_batch(pa.py_buffer(body), tables.arrow_schema(name))
