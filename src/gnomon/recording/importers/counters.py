"""Readings of nvidia-smi and dcgmi turned into rows of ``gpu_counters``."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain, islice, pairwise
from pathlib import Path
from statistics import median
from typing import Any, TextIO

from gnomon._errors import RecordingError
from gnomon.enums import ClockSource, EventKind
from gnomon.recording.importers import dcgmi_dmon, recognising, smi_dmon, smi_query
from gnomon.recording.importers.counter_text import Parse, Reading, WrongFileError
from gnomon.recording.importers.foreign_values import LATEST_NS, clean
from gnomon.recording.importers.publishing import published
from gnomon.recording.importers.sink import (
    HOST_ID,
    BadLine,
    ImportOutcome,
    Provenance,
    Row,
    Sink,
    made_up_uuid,
)
from gnomon.recording.writer import RecordingWriter

SOURCE = "import"
SECOND_NS = 1_000_000_000
FIRST_READINGS = 5_000
# A reading speaks for the time since the one before, but not for a gap.
LONGEST_IN_PERIODS = 1.5

Lines = Callable[[TextIO, int, str], Iterable[str]]


@dataclass(frozen=True, slots=True)
class Format:
    """A kind of text: its name, what a user calls it, its parser and what it was tried on."""

    name: str
    kind: str
    parse: Parse
    unverified: str


FORMATS = {
    one.name: one
    for one in (
        Format(
            "dmon",
            "what `nvidia-smi dmon` prints",
            smi_dmon.parse,
            "its CSV form was never tried on a real file; its text was, on published ones",
        ),
        Format("query-gpu", "a CSV of `nvidia-smi --query-gpu`", smi_query.parse, ""),
        Format("dcgmi", "what `dcgmi dmon` prints", dcgmi_dmon.parse, ""),
    )
}


@dataclass(frozen=True, slots=True)
class Told:
    """What the user says of a file, because the file does not.

    ``begin_ns`` (Unix ns) is when the first reading was taken, ``period_ns`` the time between two;
    ``zone`` is that of its times; ``columns`` are those of a file without headings; ``facts`` are
    those of its GPUs (``hardware.sku_facts``).
    """

    begin_ns: int | None = None
    period_ns: int | None = None
    zone: dt.tzinfo = dt.UTC
    columns: tuple[str, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)


def import_counters(
    form: Format, path: Path, directory: Path, told: Told, lines: Lines | None = None
) -> ImportOutcome:
    """Turn a file into a recording in ``directory``, which must be new or empty.

    ``lines`` makes lines of an open file, its size and a label; the command shows progress there.
    Raises RecordingError that names the file and what is wrong; then nothing is written.
    """
    lines = lines or (lambda file, _size, _label: file)
    outcome = ImportOutcome(form.name)
    beginning = recognising.text_head(path, form.kind)
    unknown: set[str] = set()
    with path.open(encoding="utf-8", errors="replace", newline="") as file:
        text = lines(file, path.stat().st_size, path.name)
        bad: list[BadLine] = []
        readings = _good(form.parse(text, told.zone, told.columns, unknown), bad)
        try:
            first = list(islice(readings, FIRST_READINGS))
            if not first:
                reason = f"line {bad[0].line}: {bad[0].reason}" if bad else "it holds no readings"
                raise RecordingError(f"{path}: nothing could be imported: {reason}")
            timing = _Timing(path, first, told)
            with published(directory) as hidden, RecordingWriter(hidden, HOST_ID) as writer:
                sink = Sink(writer, outcome)
                gpus = _Gpus(form.name, beginning, told.facts)
                last_ns = _write(chain(first, readings), timing, gpus, sink, bad)
                is_zone_open = timing.is_told and told.zone is dt.UTC
                _tell(sink, last_ns, bad, unknown, is_zone_open=is_zone_open)
                sink.finish()
                writer.update_meta(_provenance(form, path, gpus).meta())
        except WrongFileError as error:
            raise recognising.refusal(path, form.kind, str(error)) from error
    return outcome


def _good(parsed: Iterator[Reading | BadLine], bad: list[BadLine]) -> Iterator[Reading]:
    for one in parsed:
        if isinstance(one, BadLine):
            bad.append(one)
        else:
            yield one


class _Timing:
    """When each reading was taken, and for how long before that it speaks."""

    def __init__(self, path: Path, first: list[Reading], told: Told) -> None:
        self.is_told = first[0].ts_ns is not None
        if not self.is_told and told.begin_ns is None:
            raise RecordingError(
                f"{path}: it has no times: say when the first reading was taken, --begin "
                "2026-01-31T12:00:00, and --period where readings were not a second apart"
            )
        self._begin_ns = told.begin_ns or 0
        self._period_ns = told.period_ns or _period_ns(first) or SECOND_NS
        self._counts: dict[str, int] = {}
        self._last_ns: dict[str, int] = {}

    def of(self, reading: Reading) -> tuple[int, int]:
        """Return (ts_ns, duration_ns). Raises ValueError where the time does not go on."""
        last_ns = self._last_ns.get(reading.gpu)
        ts_ns = reading.ts_ns
        if ts_ns is None:
            if self.is_told:
                raise ValueError("it has no time")
            ts_ns = self._begin_ns + self._counts.get(reading.gpu, 0) * self._period_ns
            self._counts[reading.gpu] = self._counts.get(reading.gpu, 0) + 1
        if (last_ns is not None and ts_ns <= last_ns) or ts_ns > LATEST_NS:
            raise ValueError("its time is not after the line before of the same GPU")
        self._last_ns[reading.gpu] = ts_ns
        since_ns = self._period_ns if last_ns is None else ts_ns - last_ns
        is_gap = since_ns > LONGEST_IN_PERIODS * self._period_ns
        return ts_ns, self._period_ns if is_gap else since_ns


def _period_ns(readings: list[Reading]) -> int | None:
    """Return the usual time between two readings of a GPU, None where no times are told."""
    by_gpu: dict[str, list[int]] = {}
    for one in readings:
        if one.ts_ns is not None:
            by_gpu.setdefault(one.gpu, []).append(one.ts_ns)
    gaps = [after - before for times in by_gpu.values() for before, after in pairwise(times)]
    forward = [gap for gap in gaps if gap > 0]
    return int(median(forward)) if forward else None


class _Gpus:
    """The GPUs of a file, by the name that it gives them."""

    def __init__(self, form: str, beginning: bytes, facts: Mapping[str, Any]) -> None:
        self.facts: dict[str, dict[str, Any]] = {}
        self.has_made_up = False
        self._form = form
        self._beginning = beginning
        self._told = facts
        self._uuids: dict[str, str] = {}

    def uuid_of(self, reading: Reading) -> str:
        """Return its uuid; where the file has none, one that is the same for the same file."""
        known = self._uuids.get(reading.gpu)
        if known is None:
            is_uuid = reading.gpu.startswith(("GPU-", "MIG-"))
            made = made_up_uuid(self._form, self._beginning.hex(), reading.gpu)
            known = clean(reading.gpu, 80) or made if is_uuid else made
            self._uuids[reading.gpu] = known
            self.has_made_up |= not is_uuid
            index = int(reading.gpu) if reading.gpu.isdecimal() else len(self._uuids) - 1
            name = {"name": clean(reading.name, 100)} if reading.name else {}
            self.facts[known] = {"index": index, **self._told, **name}
        return known


def _write(
    readings: Iterator[Reading], timing: _Timing, gpus: _Gpus, sink: Sink, bad: list[BadLine]
) -> int:
    """Write all rows; returns the last one's ts_ns."""
    before: dict[str, tuple[int, dict[str, float]]] = {}
    newest_ns = 0
    for reading in readings:
        try:
            ts_ns, duration_ns = timing.of(reading)
        except ValueError as error:
            bad.append(BadLine(reading.line, str(error)))
            continue
        row: Row = {"ts_ns": ts_ns, "duration_ns": duration_ns, "source": SOURCE}
        row["gpu_uuid"] = gpus.uuid_of(reading)
        row |= reading.values
        if row.get("sm_clock_mhz") is not None:
            row["sm_clock_source"] = ClockSource.NVML.value
        row |= _growth(row, reading, before.get(reading.gpu))
        before[reading.gpu] = (ts_ns, reading.counters)
        newest_ns = max(newest_ns, ts_ns)
        sink.put("gpu_counters", row)
    return newest_ns


def _growth(
    row: Mapping[str, Any], reading: Reading, before: tuple[int, dict[str, float]] | None
) -> Row:
    """Return what counters grew by in this interval, and the mean power.

    Nothing for the first reading, after a gap (the difference spans more than the interval) and
    where a counter went back.
    """
    if before is None or row["ts_ns"] - before[0] > row["duration_ns"]:
        return {}
    grown: Row = {
        column: value - before[1][column]
        for column, value in reading.counters.items()
        if column in before[1] and value >= before[1][column]
    }
    if "energy_joules" in grown:
        grown["power_watts"] = grown["energy_joules"] / (row["duration_ns"] / SECOND_NS)
    return grown


def _tell(
    sink: Sink, last_ns: int, bad: list[BadLine], unknown: set[str], *, is_zone_open: bool
) -> None:
    sink.lose_lines(last_ns, "gpu_counters", bad)
    if unknown:
        names = clean(", ".join(sorted(unknown)), 300)
        sink.warn(last_ns, EventKind.NOT_RECORDED, f"not imported: {names}")
    if is_zone_open:
        message = "its times have no zone and were taken as UTC; --timezone says another"
        sink.warn(last_ns, EventKind.NOT_RECORDED, message)


def _provenance(form: Format, path: Path, gpus: _Gpus) -> Provenance:
    made_up = "the file numbers its GPUs: their uuids are made up of the file and the number"
    return Provenance(
        form.name,
        (path.name,),
        form.unverified,
        gpus=gpus.facts,
        unavailable={"gpu_uuid": made_up} if gpus.has_made_up else {},
    )
