"""A recording of Ingero (SQLite, all versions to 0.10) turned into rows of our tables.

The versions differ by columns alone, so columns decide, not the version that a file names.
Rows pass through one after the other, in the order of time; what is held is bounded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gnomon import __version__, tables
from gnomon.enums import EventKind, Severity
from gnomon.recording.base import Meta, Unavailable
from gnomon.recording.importers import ingero_aggregates, ingero_rows
from gnomon.recording.importers.ingero_events import EventReader
from gnomon.recording.importers.ingero_file import IS_READABLE, IngeroFile, opened
from gnomon.recording.importers.ingero_rows import SOURCE, Row, event
from gnomon.recording.importers.ingero_survey import Survey, survey
from gnomon.recording.importers.publishing import published
from gnomon.recording.writer import RecordingWriter

HOST_ID = "import"
ROWS_AT_ONCE = 8_192

Progress = Callable[[str, float], None]

# What no file of this format holds, and what would.
NEVER_HELD = {
    "host_calls.gpu_uuid": "the recorder writes GPU 0 for every call",
    "host_calls.voluntary_ns": "the recorder does not keep the state in which a thread left",
    "host_calls.run_queue_ns": "the recorder keeps few wake-ups, so that a wait for a CPU is seldom"
    " told from a sleep",
    "nccl_calls": "the recorder never stores NCCL calls",
    "gpu_counters": "the recorder measures calls on the host, nothing on the GPU",
    "threads.process_id": "the recorder does not keep when a process started",
}
REMEDY = "record with gnomon"


@dataclass(slots=True)
class IngeroResult:
    """What came of an import: rows a table, rows left out by reason, and what to beware of."""

    format_version: str
    rows: dict[str, int] = field(default_factory=dict)
    left_out: dict[str, int] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)


def import_ingero(path: Path, directory: Path, progress: Progress | None = None) -> IngeroResult:
    """Turn an Ingero file into a recording in ``directory``, which must be new or empty.

    The file is only read. ``progress`` is told what comes next and the share (0 to 1) done.
    Raises RecordingError that names the file and what is wrong with it; then nothing is written.
    """
    with opened(path) as file:
        found = survey(file)
        with published(directory) as hidden, RecordingWriter(hidden, HOST_ID) as writer:
            writer.update_meta(_meta(path, found))
            sink = _Sink(writer, IngeroResult(found.format_version))
            _import(file, found, sink, progress or (lambda _name, _share: None))
    return sink.result


class _Sink:
    """Rows on their way into the recording, a bounded number at a time."""

    def __init__(self, writer: RecordingWriter, result: IngeroResult) -> None:
        self.result = result
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

    def warn(self, row: Row) -> None:
        """Put an event that the user should see at once too."""
        self.result.warnings.append(str(row["message"]))
        self.put("events", row)

    def lose(self, ts_ns: int, table: str, rows: int, reason: str) -> None:
        if rows > 0:
            self.result.left_out[reason] = self.result.left_out.get(reason, 0) + rows
            about = {"source": SOURCE, "table": table, "rows": rows, "reason": reason}
            self.put("losses", {"ts_ns": ts_ns, "duration_ns": 0} | about)

    def finish(self) -> None:
        for table, rows in self._waiting.items():
            self._write(table, rows)

    def _write(self, table: str, rows: list[Row]) -> None:
        if rows:
            self.result.rows[table] = self.result.rows.get(table, 0) + len(rows)
            self._writer.append(table, tables.batch(table, rows))
            self._writer.flush()
            rows.clear()


def _import(file: IngeroFile, found: Survey, sink: _Sink, progress: Progress) -> None:
    end_ns = found.last_ns
    sink.put_all("events", ingero_rows.session_events(found.sessions))
    sink.put_all("events", ingero_rows.foreign_diagnoses(file))
    sink.put_all("host_samples", ingero_rows.host_samples(file, found.sessions))
    sink.put_all("phases", ingero_rows.phases(file))
    sink.put_all("stacks", ingero_rows.stacks(file, end_ns))
    reader = EventReader(found)
    query = (
        f"SELECT {file.event_columns()} FROM events WHERE {IS_READABLE} "  # noqa: S608  ours
        "ORDER BY timestamp, duration DESC"
    )
    for number, values in enumerate(file.rows(query)):
        for table, row in reader.take(values):
            sink.put(table, row)
        if number % ROWS_AT_ONCE == 0:
            sink.put_all("host_calls", reader.settle())
            progress("events", number / found.readable)
    sink.put_all("host_calls", reader.settle(everything=True))
    sink.put_all("threads", reader.thread_rows(ingero_rows.thread_names(file)))
    _tell_of_aggregates(file, found, sink)
    _tell_of_losses(found, reader, sink)
    for row in _warnings(found, reader):
        sink.warn(row)
    sink.finish()


def _tell_of_aggregates(file: IngeroFile, found: Survey, sink: _Sink) -> None:
    totals: dict[str, ingero_aggregates.Totals] = {}
    for row in ingero_aggregates.histogram_rows(file, found, totals):
        if row is None:
            sink.lose(found.last_ns, "call_histograms", 1, "unreadable")
        else:
            sink.put("call_histograms", row)
    for operation, total in totals.items():
        for message in total.contradictions(operation):
            sink.warn(event(found.last_ns, EventKind.INCONSISTENT, message, Severity.WARNING))
    missing = sum(total.missing_rows for total in totals.values()) - found.pruned
    sink.lose(found.last_ns, "host_calls", missing, "lost_by_recorder")


def _tell_of_losses(found: Survey, reader: EventReader, sink: _Sink) -> None:
    sink.lose(found.last_ns, "host_calls", found.pruned, "pruned")
    sink.lose(found.last_ns, "host_calls", found.unreadable, "unreadable")
    for reason, counts in reader.left_out.items():
        for table, count in counts.items():
            sink.lose(found.last_ns, table, count, reason)


def _warnings(found: Survey, reader: EventReader) -> Iterable[Row]:
    """Yield what somebody who reads numbers of this recording must know."""
    if reader.first_biased_ns is not None:
        message = (
            "from here on the recorder kept slow and rare calls rather than others: rows whose "
            "selection is biased are no sample, and percentiles over them are not of all calls"
        )
        kind = EventKind.BIASED_SELECTION
        yield event(reader.first_biased_ns, kind, message, Severity.WARNING)
    if found.pruned:
        message = (
            f"{found.pruned:,} earlier rows are no longer in the file: what happened before its "
            "first row, and which call was the first of its function, is not known"
        )
        yield event(found.first_ns, EventKind.NOT_RECORDED, message, Severity.WARNING)
    if reader.contradictions:
        message = (
            f"{reader.contradictions:,} rows contradict another of the same thread (it cannot be "
            "off the CPU twice at once, nor leave a call that it is inside of)"
        )
        yield event(found.last_ns, EventKind.INCONSISTENT, message, Severity.WARNING)
    if reader.cut_short:
        message = (
            f"{reader.cut_short:,} calls were too many to wait for the scheduler's rows: their "
            "off_cpu_ns is null"
        )
        yield event(found.last_ns, EventKind.NOT_RECORDED, message, Severity.WARNING)
    for operation, (count, busy_ns) in reader.by_observer.items():
        message = (
            f"the recorder itself made {count:,} {operation} ({busy_ns:,} ns in all): its threads "
            "have the role observer, and nothing of them is the workload's"
        )
        yield event(found.last_ns, EventKind.OBSERVER_EFFECT, message)


def _meta(path: Path, found: Survey) -> Meta:
    facts: dict[str, Any] = {"imported_from": path.name}
    for session in reversed(found.sessions):
        facts |= session.facts
    versions = {"gnomon": __version__, "ingero_format": found.format_version}
    if found.sessions:
        versions["ingero"] = found.sessions[0].recorder_version
    return Meta(
        tables.SCHEMA_VERSION,
        host=facts,
        versions=versions,
        sources={SOURCE: {"state": "ready", "reason": ""}},
        unavailable=[
            Unavailable(metric, reason, REMEDY, source=SOURCE)
            for metric, reason in {**NEVER_HELD, **found.missing}.items()
        ],
    )
