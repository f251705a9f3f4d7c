"""A CSV of NVML and GPM readings, one row an interval, turned into rows of our tables.

The columns are those of a plain GPM sampler: ``t_unix`` (end of the interval, Unix seconds),
``dt_s`` (its length), GPM metrics in percent, PCIe in MiB/s, ``energy_mj`` (a counter that only
grows, mJ), ``power_w``, ``sm_mhz``, ``vram_used`` (bytes) and so on: ``COLUMNS`` lists them all.
Columns may be absent or cells empty: the value is then null. ``cost_us`` is wall time, which no
column of ours means, and is left out.
"""

from __future__ import annotations

import csv
import hashlib
import json
import math
import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

from gnomon._errors import RecordingError
from gnomon.enums import ClockSource, PhaseEdge

SOURCE = "import"
BYTES_PER_MIB = 1 << 20
# Drivers and exporters spell "no value" as numbers near 2^63; no real reading comes close.
LARGEST_READING = 1e15

# Column of the file -> (column of gpu_counters, factor from the file's unit to ours).
COLUMNS: Mapping[str, tuple[str, float]] = {
    "graphics_util": ("engine_active_pct", 1),
    "sm_util": ("sm_active_pct", 1),
    "sm_occupancy": ("sm_occupancy_pct", 1),
    "int_util": ("integer_active_pct", 1),
    "tensor_util": ("tensor_active_pct", 1),
    "dfma_util": ("tensor_dfma_active_pct", 1),
    "hmma_util": ("tensor_hmma_active_pct", 1),
    "dmma_util": ("tensor_dmma_active_pct", 1),
    "imma_util": ("tensor_imma_active_pct", 1),
    "dram_util": ("dram_active_pct", 1),
    "fp64_util": ("fp64_active_pct", 1),
    "fp32_util": ("fp32_active_pct", 1),
    "fp16_util": ("fp16_active_pct", 1),
    "pcie_tx_mib_s": ("pcie_tx_bytes_per_s", BYTES_PER_MIB),
    "pcie_rx_mib_s": ("pcie_rx_bytes_per_s", BYTES_PER_MIB),
    "nvlink_tx_mib_s": ("nvlink_tx_bytes_per_s", BYTES_PER_MIB),
    "nvlink_rx_mib_s": ("nvlink_rx_bytes_per_s", BYTES_PER_MIB),
    "smi_gpu": ("busy_pct", 1),
    "smi_mem": ("memory_busy_pct", 1),
    "power_w": ("power_instant_watts", 1),
    "temp_c": ("temperature_celsius", 1),
    "sm_mhz": ("sm_clock_mhz", 1),
    "mem_mhz": ("memory_clock_mhz", 1),
    "throttle": ("throttle_reasons", 1),
    "vram_used": ("vram_used_bytes", 1),
}
INTEGER_COLUMNS = frozenset({"throttle_reasons", "vram_used_bytes"})
REQUIRED = ("t_unix", "dt_s")
# Keys of a phase that have a column of their own; the rest goes into ``detail``.
PHASE_COLUMNS = ("model_flops", "flops_dtype", "model_bytes", "tokens")

Row = dict[str, object]


@dataclass(frozen=True, slots=True)
class BadRow:
    """A line that could not be read: its number in the file (1 is the header) and why."""

    line: int
    reason: str


def gpu_uuid(content: bytes) -> str:
    """Return a GPU uuid that is always the same for the same file and for no other."""
    digest = hashlib.sha256(content).hexdigest()
    return f"GPU-{uuid.uuid5(uuid.NAMESPACE_URL, 'gnomon:import:' + digest)}"


def counters(lines: Iterable[str], uuid_of_gpu: str) -> Iterator[Row | BadRow]:
    """Yield one ``gpu_counters`` row a line, or a ``BadRow`` where a line cannot be read.

    Raises RecordingError where the header lacks the time columns or knows none of the others.
    """
    reader = csv.reader(lines)
    header = _header(reader)
    known = [(header.index(name), *COLUMNS[name]) for name in COLUMNS if name in header]
    time_at, length_at = (header.index(name) for name in REQUIRED)
    energy_at = header.index("energy_mj") if "energy_mj" in header else None
    previous: tuple[int, float | None] | None = None
    while True:
        try:
            fields = next(reader)
            if not fields:
                continue
            if len(fields) != len(header):
                raise ValueError(f"{len(fields)} fields where the header has {len(header)}")  # noqa: TRY301
            row = _interval(fields[time_at], fields[length_at], uuid_of_gpu)
            if previous is not None and row["ts_ns"] <= previous[0]:
                raise ValueError("its time is not after the line before")  # noqa: TRY301
            row |= {column: _cell(fields[at], column, factor) for at, column, factor in known}
            energy = None if energy_at is None else _number(fields[energy_at], "energy_mj")
        except StopIteration:
            return
        except (ValueError, csv.Error) as error:
            yield BadRow(reader.line_num, str(error))
            continue
        row |= _energy(row, energy, previous)
        if row.get("sm_clock_mhz") is not None:
            row["sm_clock_source"] = ClockSource.NVML.value
        previous = (row["ts_ns"], energy)
        yield row


def _header(reader: Iterator[list[str]]) -> list[str]:
    header = [name.strip() for name in next(reader, [])]
    missing = [name for name in REQUIRED if name not in header]
    if missing:
        raise RecordingError(
            f"line 1: no column {' and '.join(missing)}; "
            f"the first line must name the columns, found: {', '.join(header) or 'nothing'}"
        )
    if not set(header) & set(COLUMNS):
        raise RecordingError(f"line 1: no known column beside the time; known: {list(COLUMNS)}")
    return header


def _interval(end: str, length: str, uuid_of_gpu: str) -> dict[str, Any]:
    duration_ns = _nanoseconds(length, "dt_s")
    if duration_ns <= 0:
        raise ValueError(f"dt_s {length!r} is not a length of time")
    return {
        "ts_ns": _nanoseconds(end, "t_unix"),
        "duration_ns": duration_ns,
        "gpu_uuid": uuid_of_gpu,
        "source": SOURCE,
    }


def _nanoseconds(seconds: str | Decimal, name: str) -> int:
    """Seconds to nanoseconds, exactly: a float has only 0.2 us left at today's Unix time."""
    try:
        value = int(Decimal(seconds).scaleb(9))
    except (InvalidOperation, ValueError, OverflowError):
        raise ValueError(f"{name} is {str(seconds)!r}, not a number of seconds") from None
    if abs(value) >= 1 << 63:
        raise ValueError(f"{name} {str(seconds)!r} is beyond the year 2262")
    return value


def _number(text: str, name: str) -> float | None:
    if not text.strip():
        return None
    try:
        value = float(text)
    except ValueError:
        raise ValueError(f"{name} is {text!r}, not a number") from None
    return value if math.isfinite(value) and abs(value) < LARGEST_READING else None


def _cell(text: str, column: str, factor: float) -> float | int | None:
    value = _number(text, column)
    if value is None:
        return None
    return round(value) if column in INTEGER_COLUMNS else value * factor


def _energy(
    row: Mapping[str, Any], energy_mj: float | None, previous: tuple[int, float | None] | None
) -> Row:
    """Turn the energy counter into joules of this interval, and those into its mean power.

    Null for the first row, after a gap (the difference would span more than this interval) and
    where the counter went back (driver reloaded).
    """
    if energy_mj is None or previous is None or previous[1] is None or energy_mj < previous[1]:
        return {}
    seconds = row["duration_ns"] / 1e9
    if row["ts_ns"] - previous[0] > 1.5 * row["duration_ns"]:
        return {}
    joules = (energy_mj - previous[1]) / 1000
    return {"energy_joules": joules, "power_watts": joules / seconds}


def phases(lines: Iterable[str]) -> Iterator[Row | BadRow]:
    """Yield the begin and end edges of JSON lines ``{"phase", "t0", "t1", ...}`` (Unix seconds).

    ``tok_s`` (tokens/s) becomes the phase's ``tokens`` where those are not given; keys that are
    columns of ``phases`` go there, all others into ``detail`` of the end edge.
    """
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            yield from _edges(json.loads(line, parse_float=Decimal))
        except (ValueError, KeyError, TypeError) as error:
            missing = f"no key {error}" if isinstance(error, KeyError) else str(error)
            yield BadRow(number, missing)


def _edges(phase: dict[str, Any]) -> tuple[Row, Row]:
    rest = dict(phase)
    name = str(rest.pop("phase"))
    begin_ns = _nanoseconds(str(rest.pop("t0")), "t0")
    end_ns = _nanoseconds(str(rest.pop("t1")), "t1")
    if end_ns < begin_ns:
        raise ValueError("the phase ends before it begins (t1 < t0)")
    known = {key: rest.pop(key) for key in PHASE_COLUMNS if rest.get(key) is not None}
    if "tokens" not in known and "tok_s" in rest:
        known["tokens"] = float(rest["tok_s"]) * (end_ns - begin_ns) / 1e9
    end: Row = {
        key: value if key == "flops_dtype" else float(value) for key, value in known.items()
    }
    detail = json.dumps(rest, default=float) if rest else None
    return (
        {"ts_ns": begin_ns, "duration_ns": 0, "name": name, "edge": PhaseEdge.BEGIN.value},
        {"ts_ns": end_ns, "duration_ns": 0, "name": name, "edge": PhaseEdge.END.value,
         "detail": detail} | end,
    )  # fmt: skip


def unmeasured(columns: Iterable[str]) -> list[str]:
    """Return the counters that a file with these columns does not hold, in our names."""
    present = set(columns)
    return [ours for theirs, (ours, _) in COLUMNS.items() if theirs not in present]
