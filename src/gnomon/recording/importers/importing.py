"""Writes what an importer read into a new recording; nothing is dropped without being counted."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

from gnomon import __version__, tables
from gnomon._errors import RecordingError
from gnomon.recording.base import Meta, Unavailable
from gnomon.recording.importers import gpm_csv
from gnomon.recording.importers.gpm_csv import BadRow, Row
from gnomon.recording.writer import RecordingWriter

ROWS_AT_ONCE = 5_000
HOST_ID = "import"

Lines = Callable[[TextIO, int, str], Iterable[str]]


@dataclass(frozen=True, slots=True)
class BadLine:
    """A line of an imported file that could not be read, and why."""

    file: str
    line: int
    reason: str


@dataclass(slots=True)
class ImportResult:
    """What came of an import: rows of ``gpu_counters``, phases, and the lines left out."""

    gpu_uuid: str
    intervals: int = 0
    phases: int = 0
    bad_lines: list[BadLine] = field(default_factory=list)


def import_gpm_csv(
    counters_file: Path,
    directory: Path,
    facts: Mapping[str, Any],
    *,
    phases_file: Path | None = None,
    lines: Lines | None = None,
) -> ImportResult:
    """Turn a GPM CSV, and the phases beside it, into a recording in ``directory``.

    ``facts`` are those of the GPU (``hardware.sku_facts``), which the CSV does not know.
    ``lines`` makes lines of an open file, its size and a label; the command shows progress there.
    Raises RecordingError where the directory is in use or not a single line can be read.
    """
    if directory.is_dir() and any(directory.iterdir()):
        raise RecordingError(f"{directory} is not empty; choose a new directory")
    lines = lines or (lambda file, _size, _label: file)
    result = ImportResult(gpm_csv.gpu_uuid(counters_file.read_bytes()))
    counters = _Input(counters_file, result, lines)
    with counters_file.open(encoding="utf-8", errors="replace", newline="") as file:
        rows = counters.good(file, lambda text: gpm_csv.counters(text, result.gpu_uuid))
        first = list(islice(rows, ROWS_AT_ONCE))
        if not first:
            reason = result.bad_lines[0].reason if result.bad_lines else "it holds no rows"
            raise RecordingError(f"{counters_file}: nothing could be imported: {reason}")
        with RecordingWriter(directory, HOST_ID) as writer:
            writer.update_meta(_meta(counters_file, result.gpu_uuid, facts))
            last_ns = _write_counters(writer, first, rows, result)
            if phases_file is not None:
                _write_phases(writer, phases_file, result, lines)
            _write_losses(writer, last_ns, result)
    return result


class _Input:
    """One file's lines, with the bad ones noted in the result."""

    def __init__(self, path: Path, result: ImportResult, lines: Lines) -> None:
        self._path = path
        self._result = result
        self._lines = lines

    def good(
        self, file: TextIO, parse: Callable[[Iterable[str]], Iterable[Row | BadRow]]
    ) -> Iterator[Row]:
        size_bytes = self._path.stat().st_size
        for row in parse(self._lines(file, size_bytes, self._path.name)):
            if isinstance(row, BadRow):
                self._result.bad_lines.append(BadLine(self._path.name, row.line, row.reason))
            else:
                yield row


def _write_counters(
    writer: RecordingWriter, first: list[Row], rows: Iterator[Row], result: ImportResult
) -> int:
    """Write all rows, some at a time; returns the last one's ts_ns."""
    some, last_ns = first, 0
    while some:
        writer.append("gpu_counters", tables.batch("gpu_counters", some))
        writer.flush()
        result.intervals += len(some)
        last_ns = int(str(some[-1]["ts_ns"]))
        some = list(islice(rows, ROWS_AT_ONCE))
    return last_ns


def _write_phases(writer: RecordingWriter, path: Path, result: ImportResult, lines: Lines) -> None:
    with path.open(encoding="utf-8", errors="replace") as file:
        edges = list(_Input(path, result, lines).good(file, gpm_csv.phases))
    writer.append("phases", tables.batch("phases", edges))
    result.phases = len(edges) // 2


def _write_losses(writer: RecordingWriter, ts_ns: int, result: ImportResult) -> None:
    if not result.bad_lines:
        return
    row: Row = {
        "ts_ns": ts_ns,
        "duration_ns": 0,
        "source": gpm_csv.SOURCE,
        "table": "gpu_counters",
        "rows": len(result.bad_lines),
        "reason": "unreadable",
    }
    writer.append("losses", tables.batch("losses", [row]))


def _meta(path: Path, uuid: str, facts: Mapping[str, Any]) -> Meta:
    with path.open(encoding="utf-8", errors="replace") as file:
        columns = [name.strip() for name in file.readline().split(",")]
    return Meta(
        tables.SCHEMA_VERSION,
        host={"imported_from": path.name},
        gpus={uuid: {"index": 0, **facts}},
        versions={"gnomon": __version__},
        sources={gpm_csv.SOURCE: {"state": "ready", "reason": ""}},
        unavailable=[
            Unavailable(metric, f"not in {path.name}", source=gpm_csv.SOURCE, gpu_uuid=uuid)
            for metric in gpm_csv.unmeasured(columns)
        ],
    )
