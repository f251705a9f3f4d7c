"""Where importers of other tools' files put their rows, and what they say came of it."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gnomon import __version__, tables
from gnomon.enums import EventKind, Severity
from gnomon.recording.base import Meta, Unavailable
from gnomon.recording.importers.foreign_values import clean
from gnomon.recording.writer import RecordingWriter
from gnomon.tables.kernels import name_hash

HOST_ID = "import"
ROWS_AT_ONCE = 8_192

MOST_BAD_LINES_TOLD = 5

Row = dict[str, Any]
Progress = Callable[[str, float], None]


@dataclass(slots=True)
class ImportOutcome:
    """What came of an import: rows a table, what was left out by reason, what to beware of."""

    format: str
    rows: dict[str, int] = field(default_factory=dict)
    left_out: dict[str, int] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class BadLine:
    """A line, or a value of it, that could not be read, and why."""

    line: int
    reason: str


@dataclass(frozen=True, slots=True)
class Provenance:
    """What the recording's meta says of where it comes from.

    ``unverified``: what the importer could not be tried on, "" where it was tried on real files.
    """

    format: str
    files: tuple[str, ...]
    unverified: str = ""
    host: Mapping[str, Any] = field(default_factory=dict)
    gpus: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    unavailable: Mapping[str, str] = field(default_factory=dict)

    def meta(self) -> Meta:
        host = {**self.host, "imported_from": ", ".join(self.files), "imported_as": self.format}
        if self.unverified:
            host["unverified"] = self.unverified
        return Meta(
            tables.SCHEMA_VERSION,
            host=host,
            gpus=self.gpus,
            versions={"gnomon": __version__, **self.versions},
            sources={self.format: {"state": "ready", "reason": self.unverified}},
            unavailable=[
                Unavailable(metric, reason, source=self.format)
                for metric, reason in self.unavailable.items()
            ],
        )


class Sink:
    """Rows on their way into the recording, a bounded number at a time."""

    def __init__(self, writer: RecordingWriter, outcome: ImportOutcome) -> None:
        self.outcome = outcome
        self._writer = writer
        self._waiting: dict[str, list[Row]] = {}

    def put(self, table: str, row: Row) -> None:
        rows = self._waiting.setdefault(table, [])
        rows.append(row)
        if len(rows) >= ROWS_AT_ONCE:
            self._write(table, rows)

    def put_all(self, table: str, rows: Iterable[Row]) -> None:
        for row in rows:
            self.put(table, row)

    def leave_out(self, reason: str, rows: int = 1) -> None:
        """Count what the file has and the recording does not, because nothing asks for it."""
        self.outcome.left_out[reason] = self.outcome.left_out.get(reason, 0) + rows

    def lose(self, ts_ns: int, table: str, rows: int, reason: str) -> None:
        """Count what should have become rows and could not."""
        if rows > 0:
            self.leave_out(reason, rows)
            about = {"source": self.outcome.format, "table": table, "rows": rows, "reason": reason}
            self.put("losses", {"ts_ns": ts_ns, "duration_ns": 0} | about)

    def warn(
        self,
        ts_ns: int,
        kind: EventKind,
        message: str,
        severity: Severity = Severity.WARNING,
    ) -> None:
        """Put an event that the user should see at once too."""
        self.outcome.warnings.append(message)
        event = {
            "ts_ns": ts_ns,
            "duration_ns": 0,
            "kind": kind.value,
            "severity": severity.value,
            "source": self.outcome.format,
            "message": message,
        }
        self.put("events", event)

    def lose_lines(self, ts_ns: int, table: str, bad: Sequence[BadLine]) -> None:
        """Count lines that could not be read, and tell the first ones."""
        self.lose(ts_ns, table, len(bad), "unreadable")
        for one in bad[:MOST_BAD_LINES_TOLD]:
            message = f"line {one.line}: {clean(one.reason, 200)}"
            self.warn(ts_ns, EventKind.NOT_RECORDED, message)
        if len(bad) > MOST_BAD_LINES_TOLD:
            more = len(bad) - MOST_BAD_LINES_TOLD
            self.warn(ts_ns, EventKind.NOT_RECORDED, f"and {more:,} more lines cannot be read")

    def finish(self) -> None:
        for table, rows in self._waiting.items():
            self._write(table, rows)

    def _write(self, table: str, rows: list[Row]) -> None:
        if rows:
            self.outcome.rows[table] = self.outcome.rows.get(table, 0) + len(rows)
            self._writer.append(table, tables.batch(table, rows))
            self._writer.flush()
            rows.clear()


def made_up_uuid(*facts: object) -> str:
    """Return a GPU uuid for a GPU whose own is not in the file: the same for the same facts."""
    text = ":".join(str(fact) for fact in facts)
    return f"GPU-{uuid.uuid5(uuid.NAMESPACE_URL, 'gnomon:import:' + text)}"


def made_up_process_id(*facts: object) -> str:
    """Return a process id where boot id and start time are not known: the same for the facts."""
    return hashlib.blake2b(":".join(map(str, facts)).encode(), digest_size=8).hexdigest()


class KernelNames:
    """The names of kernels, each told once."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._hashes: dict[str, int] = {}

    def hash_of(self, name: str, ts_ns: int, mangled_name: str | None = None) -> int:
        """Return the key of a name, having put it into ``kernel_names`` the first time.

        It is made of the mangled name where the file has one, so that it is the recorder's.
        """
        key = mangled_name or name
        known = self._hashes.get(key)
        if known is None:
            known = self._hashes[key] = name_hash(key)
            row = {"ts_ns": ts_ns, "duration_ns": 0, "name_hash": known, "name": name}
            self._sink.put("kernel_names", row | {"mangled_name": mangled_name})
        return known
