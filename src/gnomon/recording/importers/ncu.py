"""``ncu --csv`` (pages raw and details, and ``--metrics``) turned into rows of ``kernels``.

A launch that was replayed has a duration and no time. Launches are laid one after the other from
the moment on that is given, in the order of the file: their order is real, their distance is not.
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

from gnomon._errors import RecordingError
from gnomon.recording.importers import recognising
from gnomon.recording.importers.foreign_values import LARGEST_32, LONGEST_NS, clean
from gnomon.recording.importers.ncu_metrics import METRICS, has_comma_decimals, value_of
from gnomon.recording.importers.publishing import published
from gnomon.recording.importers.sink import (
    HOST_ID,
    BadLine,
    ImportOutcome,
    KernelNames,
    Provenance,
    Row,
    Sink,
    made_up_process_id,
    made_up_uuid,
)
from gnomon.recording.writer import RecordingWriter

SOURCE = "ncu"
KIND = "a CSV of Nsight Compute"
UNVERIFIED = (
    "its shapes are those of published exports; no export was made for the test, and numbers were "
    "not compared with our own recording of the same kernels"
)
UNAVAILABLE = {
    "kernels.ts_ns": "a replayed launch has no time: launches stand one after the other",
    "kernels.enqueued_ns": "not in the file",
    "metrics": "of the metrics of an export those that a column of kernels has are imported",
}
ID, NAME = "ID", "Kernel Name"
METRIC_NAME, METRIC_UNIT, METRIC_VALUE = "Metric Name", "Metric Unit", "Metric Value"
SIZE = re.compile(r"\(?\s*(\d+)\s*,\s*(\d+)\s*,\s*(\d+)\s*\)?")

Lines = Callable[[TextIO, int, str], Iterable[str]]


@dataclass(slots=True)
class Launch:
    """One launch: what its lines say, by the header, and the values of our columns."""

    line: int
    told: dict[str, str]
    values: dict[str, float | int] = field(default_factory=dict)


def import_ncu(
    path: Path, directory: Path, *, begin_ns: int, lines: Lines | None = None
) -> ImportOutcome:
    """Turn an export into a recording in ``directory``, which must be new or empty.

    ``begin_ns``: where the first launch shall begin, Unix ns. ``lines`` makes lines of an open
    file, its size and a label. Raises RecordingError that names the file and what is wrong; then
    nothing is written.
    """
    lines = lines or (lambda file, _size, _label: file)
    outcome = ImportOutcome(SOURCE)
    recognising.text_head(path, KIND)
    bad: list[BadLine] = []
    with (
        path.open(encoding="utf-8", errors="replace", newline="") as file,
        published(directory) as hidden,
        RecordingWriter(hidden, HOST_ID) as writer,
    ):
        sink = Sink(writer, outcome)
        found = _launches(path, lines(file, path.stat().st_size, path.name), bad)
        gpus: dict[str, dict[str, Any]] = {}
        last_ns = _write(found, begin_ns, gpus, sink, bad)
        if not gpus:
            reason = f"line {bad[0].line}: {bad[0].reason}" if bad else "no launch has a duration"
            raise RecordingError(
                f"{path}: nothing could be imported: {reason}; profile with --set basic, or with "
                "gpu__time_duration.sum among --metrics"
            )
        sink.lose_lines(last_ns, "kernels", bad)
        sink.finish()
        writer.update_meta(
            Provenance(SOURCE, (path.name,), UNVERIFIED, gpus=gpus, unavailable=UNAVAILABLE).meta()
        )
    return outcome


def _launches(path: Path, lines: Iterable[str], bad: list[BadLine]) -> Iterator[Launch]:
    """Yield a launch after the other. Raises RecordingError for a file of another kind."""
    launch: Launch | None = None
    for line, told, units in _data(path, lines, bad):
        if launch is None or METRIC_NAME not in told or not _is_same(launch, told):
            if launch is not None:
                yield launch
            launch = Launch(line, told)
        for name, text, unit in _metrics(told, units):
            _take(path, launch, name, text, unit, line, bad)
    if launch is not None:
        yield launch


def _data(
    path: Path, lines: Iterable[str], bad: list[BadLine]
) -> Iterator[tuple[int, dict[str, str], dict[str, str]]]:
    """Yield (line, values, units) of each line below the header, by its names."""
    header: list[str] = []
    units: dict[str, str] = {}
    for line, cells in _rows(lines, bad):
        if ID in cells and NAME in cells:
            header, units = cells, {}
        elif header and len(cells) != len(header):
            # ncu's own remarks stand between the lines.
            if not cells[0].startswith("=="):
                bad.append(BadLine(line, f"{len(cells)} fields where {len(header)} are named"))
        elif header:
            told = dict(zip(header, cells, strict=True))
            if told[ID]:
                yield line, told, units
            else:
                units = told
    if not header:
        raise recognising.refusal(path, KIND, f'no line has the columns "{ID}" and "{NAME}"')


def _rows(lines: Iterable[str], bad: list[BadLine]) -> Iterator[tuple[int, list[str]]]:
    reader = csv.reader(lines)
    while True:
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            bad.append(BadLine(reader.line_num, str(error)))
            continue
        if any(cells):
            yield reader.line_num, cells


def _is_same(launch: Launch, told: dict[str, str]) -> bool:
    return all(launch.told.get(key) == told.get(key) for key in (ID, NAME, "Process ID"))


def _metrics(told: Mapping[str, str], units: Mapping[str, str]) -> Iterator[tuple[str, str, str]]:
    """Yield (name, value, unit): one of a line of the details page, all of one of the raw page."""
    if METRIC_NAME in told:
        yield told[METRIC_NAME], told.get(METRIC_VALUE, ""), told.get(METRIC_UNIT, "")
        return
    for name in METRICS:
        if name in told:
            yield name, told[name], units.get(name, "")


def _take(
    path: Path, launch: Launch, name: str, text: str, unit: str, line: int, bad: list[BadLine]
) -> None:
    metric = METRICS.get(name)
    if metric is None:
        return
    if has_comma_decimals(text):
        raise RecordingError(
            f"{path}: line {line}: {text[:40]!r} has a comma before its decimals, so that other "
            "numbers of the file cannot be told either; run ncu with LC_ALL=C"
        )
    try:
        value = value_of(metric, text, unit)
    except ValueError as error:
        bad.append(BadLine(line, str(error)))
        return
    if value is not None:
        launch.values.setdefault(metric.column, value)


def _write(
    launches: Iterable[Launch],
    begin_ns: int,
    gpus: dict[str, dict[str, Any]],
    sink: Sink,
    bad: list[BadLine],
) -> int:
    """Write all launches and the window that they fill; returns its end."""
    names = KernelNames(sink)
    now_ns = begin_ns
    counts: Counter[tuple[str | None, int | None]] = Counter()
    for launch in launches:
        duration_ns = launch.values.get("duration_ns")
        if duration_ns is None or not 0 <= duration_ns <= LONGEST_NS:
            bad.append(BadLine(launch.line, "the launch has no duration"))
            continue
        now_ns += int(duration_ns)
        row = _row(launch, now_ns, names, gpus)
        counts[row["process_id"], row["pid"]] += 1
        sink.put("kernels", row)
    for (process_id, pid), count in counts.items():
        about = {"ts_ns": now_ns, "duration_ns": now_ns - begin_ns, "source": SOURCE}
        about |= {"process_id": process_id, "pid": pid, "records": count}
        sink.put("kernel_windows", about)
    return now_ns


def _row(launch: Launch, ts_ns: int, names: KernelNames, gpus: dict[str, dict[str, Any]]) -> Row:
    told = launch.told
    device, host = told.get("Device", "0") or "0", told.get("Host Name", "")
    uuid = made_up_uuid("ncu", host, device)
    facts: dict[str, Any] = {"index": _whole(device) or 0}
    if told.get("CC"):
        facts["compute_capability"] = clean(told["CC"], 10)
    gpus.setdefault(uuid, facts)
    pid = _whole(told.get("Process ID", ""))
    row: Row = {
        "ts_ns": ts_ns,
        "gpu_uuid": uuid,
        "process_id": None if pid is None else made_up_process_id("ncu", host, pid),
        "pid": pid,
        "source": SOURCE,
        "context_id": _whole(told.get("Context", "")),
        "stream_id": _whole(told.get("Stream", "")),
        "name_hash": names.hash_of(clean(told[NAME], 4000) or "?", ts_ns),
    }
    for column, word in (("grid", "Grid Size"), ("block", "Block Size")):
        found = SIZE.fullmatch(told.get(word, "").strip())
        for axis, size in zip("xyz", found.groups() if found else (), strict=False):
            row[f"{column}_{axis}"] = _whole(size)
    return row | launch.values


def _whole(text: str) -> int | None:
    text = text.replace(",", "").strip()
    if not text.isascii() or not text.isdecimal() or len(text) > 10:
        return None
    return int(text) if int(text) <= LARGEST_32 else None
