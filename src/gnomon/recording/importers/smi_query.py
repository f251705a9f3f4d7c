"""The CSV of ``nvidia-smi --query-gpu=... --format=csv``, with or without header and units."""

from __future__ import annotations

import csv
import datetime as dt
from collections.abc import Iterable, Iterator, Sequence

from gnomon.recording.importers.counter_text import (
    MIB,
    Parsed,
    Reading,
    Target,
    WrongFileError,
    is_no_value,
    known,
    moment,
    number,
    take,
)
from gnomon.recording.importers.sink import BadLine

PERCENT, WATTS, MEGAHERTZ = ("", "%"), ("", "W"), ("", "MHz")
# Field -> target. Older and newer names of one field; of two for a column the first one counts.
TARGETS = {
    "utilization.gpu": Target("busy_pct", units=PERCENT),
    "utilization.memory": Target("memory_busy_pct", units=PERCENT),
    "utilization.encoder": Target("encoder_pct", units=PERCENT),
    "utilization.decoder": Target("decoder_pct", units=PERCENT),
    "utilization.jpeg": Target("jpeg_pct", units=PERCENT),
    "utilization.ofa": Target("ofa_pct", units=PERCENT),
    "power.draw.instant": Target("power_instant_watts", units=WATTS),
    "power.draw": Target("power_instant_watts", units=WATTS),
    "enforced.power.limit": Target("power_limit_watts", units=WATTS),
    "power.limit": Target("power_limit_watts", units=WATTS),
    "clocks.sm": Target("sm_clock_mhz", units=MEGAHERTZ),
    "clocks.current.sm": Target("sm_clock_mhz", units=MEGAHERTZ),
    "clocks.mem": Target("memory_clock_mhz", units=MEGAHERTZ),
    "clocks.current.memory": Target("memory_clock_mhz", units=MEGAHERTZ),
    "temperature.gpu": Target("temperature_celsius", units=("", "C")),
    "temperature.memory": Target("memory_temperature_celsius", units=("", "C")),
    "fan.speed": Target("fan_pct", units=PERCENT),
    "pstate": Target("performance_state"),
    "memory.used": Target("vram_used_bytes", MIB, units=("", "MiB")),
    "memory.total": Target("vram_total_bytes", MIB, units=("", "MiB")),
    "pcie.link.gen.gpucurrent": Target("pcie_generation"),
    "pcie.link.gen.current": Target("pcie_generation"),
    "pcie.link.width.current": Target("pcie_lanes"),
    "clocks_event_reasons.active": Target("throttle_reasons"),
    "clocks_throttle_reasons.active": Target("throttle_reasons"),
    "ecc.errors.corrected.volatile.total": Target("ecc_corrected"),
    "ecc.errors.uncorrected.volatile.total": Target("ecc_uncorrected"),
}
# What names a GPU, best first.
IDENTITIES = ("uuid", "gpu_uuid", "pci.bus_id", "gpu_bus_id", "index")
NAMES = ("name", "gpu_name")
NOT_READINGS = frozenset(
    {*IDENTITIES, *NAMES, "timestamp", "count", "driver_version", "gpu_serial"}
)
TIMES = ("%Y/%m/%d %H:%M:%S.%f", "%Y/%m/%d %H:%M:%S")


def parse(
    lines: Iterable[str], zone: dt.tzinfo, columns: tuple[str, ...], unknown: set[str]
) -> Parsed:
    """Yield a reading a line. ``columns``: what was queried, for a file without a header.

    Raises WrongFileError where neither names a field that is known.
    """
    names = tuple(name.strip().lower() for name in columns)
    header: list[str] | None = None
    for line, cells in _rows(lines):
        if isinstance(cells, str):
            yield BadLine(line, cells)
            continue
        if header is None:
            header = cells
            names = _names(cells) or names
            _check(names, unknown)
        if cells == header and _names(cells):
            continue
        if len(cells) != len(names):
            yield BadLine(line, f"{len(cells)} fields where {len(names)} are named")
            continue
        try:
            yield _reading(line, dict(zip(names, cells, strict=True)), zone)
        except ValueError as error:
            yield BadLine(line, str(error))
    if header is None:
        raise WrongFileError("it is empty")


def _rows(lines: Iterable[str]) -> Iterator[tuple[int, list[str] | str]]:
    """Yield (line, cells) of each line that has any, or what is wrong with it."""
    reader = csv.reader(lines, skipinitialspace=True)
    while True:
        try:
            cells = [cell.strip() for cell in next(reader)]
        except StopIteration:
            return
        except csv.Error as error:
            yield reader.line_num, str(error)
            continue
        if any(cells):
            yield reader.line_num, cells


def _check(names: Sequence[str], unknown: set[str]) -> None:
    if not known([name for name in names if name not in NOT_READINGS], TARGETS, unknown):
        raise WrongFileError(
            "the first line names no field of --query-gpu that is known; where it was made with "
            "noheader, say the fields: --columns timestamp,index,power.draw"
        )


def _names(cells: Sequence[str]) -> tuple[str, ...]:
    """Return the fields that a header names; none for a line that is no header."""
    names = tuple(cell.partition("[")[0].strip().lower() for cell in cells)
    is_header = any(name in TARGETS for name in names)
    return names if is_header else ()


def _reading(line: int, told: dict[str, str], zone: dt.tzinfo) -> Reading:
    ts_ns = None
    if "timestamp" in told:
        ts_ns = _time(told["timestamp"], zone)
    gpu = next((told[name] for name in IDENTITIES if not is_no_value(told.get(name, ""))), "0")
    name = next((told[name] for name in NAMES if not is_no_value(told.get(name, ""))), None)
    reading = Reading(line, gpu, ts_ns, {}, name=name)
    for field, target in TARGETS.items():
        if field in told:
            text = told[field]
            take(reading, target, number(text[1:] if _is_pstate(field, text) else text, target))
    return reading


def _is_pstate(field: str, text: str) -> bool:
    return field == "pstate" and text[:1] in {"P", "p"}


def _time(text: str, zone: dt.tzinfo) -> int:
    for form in TIMES:
        try:
            return moment(text, form, zone)
        except ValueError:
            continue
    raise ValueError(f"timestamp is {text[:40]!r}, not 2026/01/31 12:00:00.000")
