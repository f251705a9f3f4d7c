"""What an Ingero file must be to be believed, and what is asked of its events."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gnomon._errors import RecordingError
from gnomon.recording.importers.foreign_values import EARLIEST_NS, LATEST_NS, LONGEST_NS, clean
from gnomon.recording.importers.sqlite_file import SqliteFile, opened_as

REQUIRED = ("timestamp", "pid", "tid", "source", "op", "duration")
# PID_MAX_LIMIT of 64-bit Linux (include/linux/threads.h).
LARGEST_ID = 4 << 20

# Columns of `events` that not every version of the format has, and what then stands for them.
OPTIONAL_INTEGERS = ("arg0", "arg1", "ret_code", "stack_hash", "cgroup_id")
RANKS = ("rank", "local_rank", "world_size")
TEXTS = ("node", "comm")

IS_READABLE = " AND ".join(
    [
        *(f"typeof({name}) = 'integer'" for name in REQUIRED),
        f"timestamp BETWEEN {EARLIEST_NS} AND {LATEST_NS}",
        f"duration BETWEEN 0 AND {LONGEST_NS}",
        *(f"{name} BETWEEN 0 AND {LARGEST_ID}" for name in ("pid", "tid")),
    ]
)


class IngeroFile(SqliteFile):
    """A checked file of Ingero."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        super().__init__(path, connection)
        self._check()

    def event_columns(self) -> str:
        """Return what to select of ``events``: numbers that are numbers, text that is text."""
        known = self.columns("events")
        optional = (
            *((name, "integer", "0") for name in OPTIONAL_INTEGERS),
            *((name, "integer", "NULL") for name in RANKS),
            *((name, "text", "''") for name in TEXTS),
        )
        picks = [_typed(*one) if one[0] in known else one[2] for one in optional]
        return ", ".join([*REQUIRED, *picks])

    def node_column(self) -> str:
        return _typed("node", "text", "''") if "node" in self.columns("events") else "''"

    def _check(self) -> None:
        missing = [name for name in REQUIRED if name not in self.columns("events")]
        if missing:
            found = ", ".join(sorted(self.tables())) or "none"
            problem = f"lacks {', '.join(missing)}" if self.columns("events") else "is not there"
            raise RecordingError(
                f"{self.path}: not an Ingero recording: table events {problem} "
                f"(tables found: {clean(found, 200)})"
            )


@contextmanager
def opened(path: Path) -> Iterator[IngeroFile]:
    """Open a file for reading. Raises RecordingError that names it and what is wrong."""
    with opened_as(IngeroFile, path, "an Ingero recording (usually ingero.db)") as file:
        yield file


def _typed(name: str, type_name: str, otherwise: str) -> str:
    return f"CASE typeof({name}) WHEN '{type_name}' THEN {name} ELSE {otherwise} END"
