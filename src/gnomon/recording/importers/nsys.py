"""SQLite exports of Nsight Systems (``nsys export --type sqlite``) turned into rows of our tables.

Written from NVIDIA's published schema alone: nobody has tried it on a real export yet.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from gnomon._errors import RecordingError
from gnomon.enums import EventKind
from gnomon.recording.importers import nsys_rows as tables_of_nsys
from gnomon.recording.importers.foreign_values import EARLIEST_NS, LATEST_NS, clean, integer
from gnomon.recording.importers.nsys_rows import SOURCE, NsysReader, call_rows, range_rows
from gnomon.recording.importers.nsys_target import Target, target_of
from gnomon.recording.importers.publishing import published
from gnomon.recording.importers.sink import (
    HOST_ID,
    ImportOutcome,
    KernelNames,
    Progress,
    Provenance,
    Row,
    Sink,
)
from gnomon.recording.importers.spans import Spans
from gnomon.recording.importers.sqlite_file import SqliteFile, opened_as
from gnomon.recording.writer import RecordingWriter

KIND = "an SQLite export of Nsight Systems"
UNVERIFIED = "never tried on a real export: written from NVIDIA's published schema"
UNAVAILABLE = {
    "gpu_counters": "sampled GPU metrics of an export are not imported",
    "kernels.theoretical_occupancy_pct": "not in an export",
    "host_calls.off_cpu_ns": "scheduling of an export is not imported",
}
# Of ENUM_DIAGNOSTIC_SEVERITY_LEVEL: what is worse than information.
WORSE_THAN_INFORMATION = 2
MOST_DIAGNOSTICS = 100


def import_nsys(
    path: Path, directory: Path, *, begin_ns: int | None = None, progress: Progress | None = None
) -> ImportOutcome:
    """Turn an export into a recording in ``directory``, which must be new or empty.

    ``begin_ns``: when its session began, Unix ns, where the file does not say. The file is only
    read. Raises RecordingError that names the file and what is wrong; then nothing is written.
    """
    outcome = ImportOutcome(SOURCE)
    with opened_as(SqliteFile, path, KIND) as file:
        _check(file)
        target = target_of(file, begin_ns)
        with published(directory) as hidden, RecordingWriter(hidden, HOST_ID) as writer:
            sink = Sink(writer, outcome)
            _Import(file, target, sink, progress or (lambda _name, _share: None)).run()
            sink.finish()
            writer.update_meta(_provenance(path, target).meta())
    return outcome


class _Import:
    """One export on its way into the recording."""

    def __init__(self, file: SqliteFile, target: Target, sink: Sink, tell: Progress) -> None:
        self._file = file
        self._target = target
        self._sink = sink
        self._tell = tell
        self._reader = NsysReader(file, target)
        self._unreadable: dict[str, int] = {}
        self._first_problem = ""

    def run(self) -> None:
        reader, sink, target = self._reader, self._sink, self._target
        calls, ranges = Spans(), Spans()
        self._each(tables_of_nsys.CALLS, lambda row: reader.call(row, calls), 0.0)
        if len(reader.spans) == 1:
            (reader.only_pid,) = reader.spans
        begins, names = calls.begins_by_label(), KernelNames(sink)
        steps: tuple[tuple[str, str, Callable[[dict[str, Any]], Row]], ...] = (
            (tables_of_nsys.KERNELS, "kernels", lambda row: reader.kernel(row, begins, names)),
            (tables_of_nsys.COPIES, "copies", lambda row: reader.copy(row, begins)),
            (tables_of_nsys.FILLS, "copies", lambda row: reader.fill(row, begins)),
            (tables_of_nsys.WAITS, "gpu_synchronizations", reader.wait),
        )
        for at, (theirs, ours, build) in enumerate(steps, start=1):
            self._each(theirs, lambda row, b=build, t=ours: sink.put(t, b(row)), at / 7)  # type: ignore[misc]
        self._each(tables_of_nsys.RANGES, lambda row: self._range(row, ranges), 5 / 7)
        self._tell("nesting", 6 / 7)
        sink.put_all("host_calls", call_rows(calls, target))
        sink.put_all("ranges", range_rows(ranges, target, self._domains()))
        sink.put_all("threads", self._threads())
        self._finish()

    def _each(self, table: str, take: Callable[[dict[str, Any]], object], share: float) -> None:
        self._tell(table, share)
        for number, row in enumerate(self._reader.values(table), start=1):
            try:
                take(row)
            except ValueError as error:
                self._unreadable[table] = self._unreadable.get(table, 0) + 1
                self._first_problem = self._first_problem or f"{table} row {number}: {error}"

    def _range(self, row: dict[str, Any], ranges: Spans) -> None:
        if row["eventType"] in tables_of_nsys.IS_RANGE:
            if not self._reader.range(row, ranges):
                self._sink.leave_out("range_without_end")
        elif row["eventType"] != tables_of_nsys.NVTX_DOMAIN:
            self._sink.leave_out("nvtx_other")

    def _domains(self) -> dict[tuple[int, int], str]:
        found = {}
        for row in self._reader.values(tables_of_nsys.RANGES):
            pid = tables_of_nsys.process_of(row["globalTid"])
            domain = integer(row["domainId"], 1)
            if row["eventType"] == tables_of_nsys.NVTX_DOMAIN and pid and domain:
                name = clean(row["text"], 200) or self._reader.text(row["textId"])
                if name:
                    found[pid, domain] = name
        return found

    def _threads(self) -> Iterator[Row]:
        for row in self._file.picked("ThreadNames", ("globalTid", "nameId")):
            try:
                pid, tid = tables_of_nsys.thread_of(row["globalTid"])
            except ValueError:
                continue
            begin_ns, end_ns = self._reader.spans.get(pid, (0, 0))
            if end_ns:
                yield {
                    "ts_ns": end_ns,
                    "duration_ns": end_ns - begin_ns,
                    "host": self._target.host or None,
                    "process_id": self._target.process_id(pid),
                    "pid": pid,
                    "tid": tid,
                    "name": self._reader.text(row["nameId"]),
                }

    def _finish(self) -> None:
        spans = self._reader.spans
        if not spans:
            reason = self._first_problem or "it has no CUDA calls, GPU operations or NVTX ranges"
            raise RecordingError(f"{self._file.path}: nothing could be imported: {reason}")
        last_ns = max(end_ns for _, end_ns in spans.values())
        for pid, (begin_ns, end_ns) in spans.items():
            about = {"ts_ns": end_ns, "duration_ns": end_ns - begin_ns, "source": SOURCE}
            about |= {"pid": pid or None, "process_id": self._target.process_id(pid or None)}
            about["records"] = self._reader.records.get(pid, 0)
            self._sink.put("kernel_windows", about)
        for table, count in self._unreadable.items():
            self._sink.lose(last_ns, table.lower(), count, "unreadable")
        if self._unreadable:
            total = sum(self._unreadable.values())
            message = f"{total:,} rows cannot be read; first, {self._first_problem}"
            self._sink.warn(last_ns, EventKind.NOT_RECORDED, message)
        if self._file.columns(tables_of_nsys.WHOLE_GRAPHS):
            message = (
                "CUDA graphs were traced as a whole: their kernels are not in the file "
                "(profile with --cuda-graph-trace=node)"
            )
            self._sink.warn(last_ns, EventKind.NOT_RECORDED, message)
        self._diagnostics(last_ns)

    def _diagnostics(self, last_ns: int) -> None:
        names = ("timestamp", "severity", "text")
        told = 0
        for row in self._file.picked("DIAGNOSTIC_EVENT", names):
            severity, text = integer(row["severity"]), clean(row["text"], 400)
            if severity is None or severity < WORSE_THAN_INFORMATION or not text:
                continue
            at_ns = self._target.begin_ns + (integer(row["timestamp"], -LATEST_NS) or 0)
            when_ns = at_ns if EARLIEST_NS <= at_ns <= LATEST_NS else last_ns
            self._sink.warn(when_ns, EventKind.FOREIGN_DIAGNOSIS, f"Nsight Systems says: {text}")
            told += 1
            if told == MOST_DIAGNOSTICS:
                return


def _check(file: SqliteFile) -> None:
    wanted = (tables_of_nsys.KERNELS, tables_of_nsys.CALLS, tables_of_nsys.RANGES)
    if any(file.columns(table) for table in wanted):
        return
    found = clean(", ".join(sorted(file.tables())), 200) or "none"
    hint = "; it was perhaps profiled without -t cuda,nvtx" if "StringIds" in file.tables() else ""
    raise RecordingError(
        f"{file.path}: not {KIND}: none of {', '.join(wanted)} is there (tables found: {found})"
        f"{hint}; for a recording of Ingero try `gnomon import ingero`"
    )


def _provenance(path: Path, target: Target) -> Provenance:
    return Provenance(
        SOURCE,
        (path.name,),
        UNVERIFIED,
        host={"name": target.host} if target.host else {},
        gpus=target.gpus,
        versions=target.versions,
        unavailable=UNAVAILABLE,
    )
