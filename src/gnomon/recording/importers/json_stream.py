"""Reads a JSON document of any size, element by element of one long array of it.

Python's own scanner, let loose on a window of the file: it is written in C, needs no dependency,
and holds a few megabytes whatever the size of the file.
"""

from __future__ import annotations

import gzip
import io
import json
import zlib
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import IO, Any, TextIO

from gnomon._errors import RecordingError

GZIP_MAGIC = b"\x1f\x8b"
CHUNK_CHARACTERS = 1 << 20
# An event of a trace has some hundred characters, and the longest list of ranks some millions.
MOST_CHARACTERS = 64 << 20
SPACE = " \t\r\n"

# Times have more digits than a float can hold, hence Decimal.
_DECODER = json.JSONDecoder(parse_float=Decimal)


class JsonStream:
    """One pass over a file. ``share()`` is how much of it was read (0 to 1)."""

    def __init__(self, path: Path, array_key: str) -> None:
        self.path = path
        self.array_key = array_key
        self.elements = 0
        self._text = ""
        self._at = 0
        self._passed = 0
        self._is_at_end = False
        self._size_bytes = 1
        self._raw: IO[bytes] | None = None
        self._file: TextIO | None = None

    def share(self) -> float:
        if self._raw is None or self._raw.closed:
            return 1.0
        return min(1.0, self._raw.tell() / self._size_bytes)

    def read(self, other: Callable[[str, Any], None]) -> Iterator[Any]:
        """Yield the elements of the array; ``other`` is told every other key of the document.

        A document that is an array itself is taken as the array. Raises RecordingError that names
        the file and the place, for what is no JSON, ends too early or cannot be read.
        """
        try:
            with self.path.open("rb") as raw:
                self._size_bytes = max(1, self.path.stat().st_size)
                self._raw = raw
                is_packed = raw.read(2) == GZIP_MAGIC
                raw.seek(0)
                unpacked: Any = gzip.GzipFile(fileobj=raw) if is_packed else raw
                self._file = io.TextIOWrapper(unpacked, encoding="utf-8", errors="replace")
                yield from self._document(other)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise RecordingError(
                f"{self.path}: the compressed file is damaged or cut off ({error}); copy it again"
            ) from error
        except OSError as error:
            raise RecordingError(f"{self.path}: cannot be read: {error.strerror}") from error

    def _document(self, other: Callable[[str, Any], None]) -> Iterator[Any]:
        opening = self._peek()
        if opening == "[":
            yield from self._array()
        elif opening == "{":
            self._at += 1
            while self._peek() != "}":
                key = self._value()
                self._expect(":")
                if key == self.array_key and self._peek() == "[":
                    yield from self._array()
                else:
                    other(str(key), self._value())
                self._comma_or("}")
        else:
            raise self._wrong("is not a JSON document")

    def _array(self) -> Iterator[Any]:
        self._at += 1
        while self._peek() != "]":
            yield self._value()
            self.elements += 1
            self._comma_or("]")
        self._at += 1

    def _comma_or(self, closing: str) -> None:
        if self._peek() == ",":
            self._at += 1
        elif self._peek() != closing:
            raise self._wrong(f"has {self._peek()!r} where a comma or {closing!r} belongs")

    def _expect(self, character: str) -> None:
        if self._peek() != character:
            raise self._wrong(f"has {self._peek()!r} where {character!r} belongs")
        self._at += 1

    def _peek(self) -> str:
        """Return the next character that is no space. Raises RecordingError at the end."""
        while True:
            text, at = self._text, self._at
            while at < len(text) and text[at] in SPACE:
                at += 1
            self._at = at
            if at < len(text):
                return text[at]
            if not self._more():
                raise self._wrong("ends too early: it was cut off, or is still being written")

    def _value(self) -> Any:
        self._peek()
        while True:
            try:
                value, end = _DECODER.raw_decode(self._text, self._at)
            except RecursionError as error:
                raise self._wrong("is nested too deeply") from error
            except ValueError as error:
                # Half a value, or no JSON at all: that is told once there is nothing left to read.
                if len(self._text) - self._at > MOST_CHARACTERS or not self._more():
                    raise self._wrong(f"is no JSON, or was cut off ({_short(error)})") from error
                continue
            # A number may go on behind the window.
            if end < len(self._text) or isinstance(value, dict | list | str) or not self._more():
                self._at = end
                return value

    def _more(self) -> bool:
        """Read on; False at the end of the file.

        As much again as there is, so that a long value is not read many times from its beginning.
        """
        if self._is_at_end or self._file is None:
            return False
        left = self._text[self._at :]
        chunk = self._file.read(max(CHUNK_CHARACTERS, len(left)))
        self._passed += self._at
        self._text, self._at = left + chunk, 0
        self._is_at_end = not chunk
        return bool(chunk)

    def _wrong(self, what: str) -> RecordingError:
        place = f"character {self._passed + self._at + 1:,}"
        return RecordingError(
            f"{self.path}: {what}, at {place}, after {self.elements:,} events; "
            "export the trace again"
        )


def _short(error: ValueError) -> str:
    return error.msg if isinstance(error, json.JSONDecodeError) else str(error)[:100]
