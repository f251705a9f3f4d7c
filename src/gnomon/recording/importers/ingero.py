"""A recording of Ingero (SQLite, all versions to 0.10) turned into rows of our tables.

The versions differ by columns alone, so columns decide, not the version that a file names.
Rows pass through one after the other, in the order of time; what is held is bounded.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from gnomon import __version__, tables
from gnomon.enums import EventKind, Severity
from gnomon.recording.base import Meta, Unavailable
from gnomon.recording.importers import ingero_aggregates, ingero_rows
from gnomon.recording.importers.ingero_events import EventReader
from gnomon.recording.importers.ingero_file import IS_READABLE, IngeroFile, opened
from gnomon.recording.importers.ingero_rows import SOURCE
from gnomon.recording.importers.ingero_survey import Survey, survey
from gnomon.recording.importers.publishing import published
from gnomon.recording.importers.sink import (
    HOST_ID,
    ROWS_AT_ONCE,
    ImportOutcome,
    Progress,
    Sink,
)
from gnomon.recording.writer import RecordingWriter

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


class Warned(NamedTuple):
    """What is told of an import, as `Sink.warn` takes it."""

    ts_ns: int
    kind: EventKind
    message: str
    severity: Severity = Severity.WARNING


@dataclass(slots=True)
class IngeroOutcome(ImportOutcome):
    """What came of an import of one of its versions."""

    format_version: str = ""


def import_ingero(path: Path, directory: Path, progress: Progress | None = None) -> IngeroOutcome:
    """Turn an Ingero file into a recording in ``directory``, which must be new or empty.

    The file is only read. ``progress`` is told what comes next and the share (0 to 1) done.
    Raises RecordingError that names the file and what is wrong with it; then nothing is written.
    """
    with opened(path) as file:
        found = survey(file)
        with published(directory) as hidden, RecordingWriter(hidden, HOST_ID) as writer:
            writer.update_meta(_meta(path, found))
            outcome = IngeroOutcome(SOURCE, format_version=found.format_version)
            sink = Sink(writer, outcome)
            _import(file, found, sink, progress or (lambda _name, _share: None))
    return outcome


def _import(file: IngeroFile, found: Survey, sink: Sink, progress: Progress) -> None:
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
    for warning in _warnings(found, reader):
        sink.warn(*warning)
    sink.finish()


def _tell_of_aggregates(file: IngeroFile, found: Survey, sink: Sink) -> None:
    totals: dict[str, ingero_aggregates.Totals] = {}
    for row in ingero_aggregates.histogram_rows(file, found, totals):
        if row is None:
            sink.lose(found.last_ns, "call_histograms", 1, "unreadable")
        else:
            sink.put("call_histograms", row)
    for operation, total in totals.items():
        for message in total.contradictions(operation):
            sink.warn(found.last_ns, EventKind.INCONSISTENT, message)
    missing = sum(total.missing_rows for total in totals.values()) - found.pruned
    sink.lose(found.last_ns, "host_calls", missing, "lost_by_recorder")


def _tell_of_losses(found: Survey, reader: EventReader, sink: Sink) -> None:
    sink.lose(found.last_ns, "host_calls", found.pruned, "pruned")
    sink.lose(found.last_ns, "host_calls", found.unreadable, "unreadable")
    for reason, counts in reader.left_out.items():
        for table, count in counts.items():
            sink.lose(found.last_ns, table, count, reason)


def _warnings(found: Survey, reader: EventReader) -> Iterable[Warned]:
    """Yield what somebody who reads numbers of this recording must know."""
    if reader.first_biased_ns is not None:
        message = (
            "from here on the recorder kept slow and rare calls rather than others: rows whose "
            "selection is biased are no sample, and percentiles over them are not of all calls"
        )
        kind = EventKind.BIASED_SELECTION
        yield Warned(reader.first_biased_ns, kind, message)
    if found.pruned:
        message = (
            f"{found.pruned:,} earlier rows are no longer in the file: what happened before its "
            "first row, and which call was the first of its function, is not known"
        )
        yield Warned(found.first_ns, EventKind.NOT_RECORDED, message)
    if reader.contradictions:
        message = (
            f"{reader.contradictions:,} rows contradict another of the same thread (it cannot be "
            "off the CPU twice at once, nor leave a call that it is inside of)"
        )
        yield Warned(found.last_ns, EventKind.INCONSISTENT, message)
    if reader.cut_short:
        message = (
            f"{reader.cut_short:,} calls were too many to wait for the scheduler's rows: their "
            "off_cpu_ns is null"
        )
        yield Warned(found.last_ns, EventKind.NOT_RECORDED, message)
    for operation, (count, busy_ns) in reader.by_observer.items():
        message = (
            f"the recorder itself made {count:,} {operation} ({busy_ns:,} ns in all): its threads "
            "have the role observer, and nothing of them is the workload's"
        )
        yield Warned(found.last_ns, EventKind.OBSERVER_EFFECT, message, Severity.INFO)


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
