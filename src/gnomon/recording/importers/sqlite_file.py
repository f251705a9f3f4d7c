"""Opens an SQLite file that a stranger made, reads it, and never changes it.

A published recording is evidence: it is opened read-only, and as immutable where no log of
uncommitted pages lies beside it, so that not even a lock is taken. It is also foreign input: its
b-trees are checked before a row is believed, functions in its schema are not trusted, text need
not be text, and the work it may ask for is bounded by its size.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from gnomon._errors import RecordingError
from gnomon.recording.importers import recognising
from gnomon.recording.importers.foreign_values import clean

MAGIC = b"SQLite format 3\0"
# Messages of SQLite quote the file, and Python wants them to be UTF-8.
UNREADABLE = (sqlite3.Error, UnicodeDecodeError)
LONGEST_VALUE_BYTES = 16 << 20
# Instructions of SQLite's machine. Published recordings take at most 2.4 a byte of the file, small
# ones more for the set-up: only a file made to keep a reader busy reaches this.
STEPS_AT_LEAST = 50_000_000
STEPS_PER_BYTE = 100
STEPS_BETWEEN_LOOKS = 100_000


class SqliteFile:
    """A checked file: its tables by name, with their columns."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.path = path
        self._connection = connection
        self._columns = _tables(connection)
        (verdict,) = self.one("PRAGMA quick_check(1)")
        if verdict != "ok":
            raise RecordingError(
                f"{path}: damaged: {clean(verdict)}; get an undamaged copy, or try "
                "`sqlite3 FILE .recover` into a new file"
            )

    def tables(self) -> frozenset[str]:
        return frozenset(self._columns)

    def columns(self, table: str) -> frozenset[str]:
        """Return a table's columns; none where the file lacks the table."""
        return self._columns.get(table, frozenset())

    def rows(self, query: str, *parameters: object) -> Iterator[tuple[Any, ...]]:
        """Yield the rows of a query, a few at a time. Raises RecordingError for a bad file."""
        try:
            yield from self._connection.execute(query, parameters)
        except UNREADABLE as error:
            raise RecordingError(f"{self.path}: cannot be read: {_reason(error)}") from error

    def one(self, query: str) -> tuple[Any, ...]:
        return next(self.rows(query))

    def picked(self, table: str, names: Sequence[str]) -> Iterator[dict[str, Any]]:
        """Yield rows of a table by the first of these columns; one that it lacks is None."""
        known = self.columns(table)
        if not known:
            return
        picks = ", ".join(name if name in known else "NULL" for name in names)
        for row in self.rows(f"SELECT {picks} FROM {table} ORDER BY 1"):  # noqa: S608  ours
            yield dict(zip(names, row, strict=True))


Opened = TypeVar("Opened", bound=SqliteFile)


@contextmanager
def opened_as(
    make: Callable[[Path, sqlite3.Connection], Opened], path: Path, kind: str
) -> Iterator[Opened]:
    """Open a file for reading; ``kind`` is what it should be, with its article.

    Raises RecordingError that names it and what is wrong.
    """
    try:
        if not path.is_file():
            raise RecordingError(f"{path}: not a file")
        size_bytes = path.stat().st_size
        with path.open("rb") as file:
            magic = file.read(len(MAGIC))
        has_log = any(_has_bytes(path, suffix) for suffix in ("-wal", "-journal"))
    except OSError as error:
        raise RecordingError(f"{path}: cannot be read: {error.strerror}") from error
    if magic != MAGIC:
        raise recognising.refusal(path, kind, "not an SQLite file")
    mode = "mode=ro" if has_log else "mode=ro&immutable=1"
    try:
        connection = sqlite3.connect(
            f"{path.absolute().as_uri()}?{mode}", uri=True, isolation_level=None
        )
    except sqlite3.Error as error:
        raise RecordingError(f"{path}: cannot be opened: {_reason(error)}") from error
    try:
        _restrain(connection, size_bytes)
        yield make(path, connection)
    except UNREADABLE as error:
        raise RecordingError(f"{path}: cannot be read: {_reason(error)}") from error
    finally:
        connection.close()


def _has_bytes(path: Path, suffix: str) -> bool:
    beside = path.with_name(path.name + suffix)
    return beside.exists() and beside.stat().st_size > 0


def _restrain(connection: sqlite3.Connection, size_bytes: int) -> None:
    connection.text_factory = lambda raw: raw.decode("utf-8", "replace")
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, LONGEST_VALUE_BYTES)
    looks = (STEPS_AT_LEAST + STEPS_PER_BYTE * size_bytes) // STEPS_BETWEEN_LOOKS
    left = iter(range(looks))
    connection.set_progress_handler(
        lambda: 0 if next(left, None) is not None else 1, STEPS_BETWEEN_LOOKS
    )
    for setting in (
        "query_only = ON",
        "trusted_schema = OFF",
        "cell_size_check = ON",
        "ignore_check_constraints = ON",
        "mmap_size = 0",
    ):
        connection.execute(f"PRAGMA {setting}")


def _tables(connection: sqlite3.Connection) -> dict[str, frozenset[str]]:
    """Return the plain tables. Views, virtual tables and computed columns are not believed."""
    listed = connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'table'")
    plain = [
        name
        for name, sql in listed.fetchall()
        if isinstance(name, str) and isinstance(sql, str) and "VIRTUAL" not in sql[:24].upper()
    ]
    return {
        name: frozenset(
            column
            for column, hidden in connection.execute(
                "SELECT name, hidden FROM pragma_table_xinfo(?)", (name,)
            )
            if hidden == 0
        )
        for name in plain
    }


def _reason(error: Exception) -> str:
    if isinstance(error, UnicodeDecodeError):
        return "damaged: it names things in bytes that are no text"
    if "interrupted" in str(error):
        return "it asks for more work than a recording of its size can hold"
    return str(clean(str(error)) or type(error).__name__)
