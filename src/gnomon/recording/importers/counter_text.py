"""What the texts of nvidia-smi and dcgmi have in common: readings, numbers, times, no values."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from gnomon import tables
from gnomon.recording.importers.foreign_values import EARLIEST_NS, LATEST_NS
from gnomon.recording.importers.sink import BadLine

# How "no value" is spelled, beside whatever stands in brackets: [N/A], [Not Supported], <<<NULL>>>
NO_VALUE = frozenset({"", "-", "n/a", "na", "nan", "not supported", "unknown error"})
# Drivers and exporters spell "no value" as numbers near 2^63 too; no real reading comes close.
LARGEST_READING = 1e15
MIB = 1 << 20
EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
INTEGER_COLUMNS = frozenset(
    column.name for column in tables.TABLES["gpu_counters"].columns if column.type.startswith("int")
)


class WrongFileError(Exception):
    """A text is not of the format that it should be of; says what is missing."""


@dataclass(frozen=True, slots=True)
class Target:
    """A column of ``gpu_counters``; a value of the file times ``factor`` is in its unit.

    ``is_counter``: the file has a counter that only grows, and the column its growth.
    ``units``: how the file may write the unit; "" where it need not.
    """

    column: str
    factor: float = 1.0
    is_counter: bool = False
    units: tuple[str, ...] = ("",)


@dataclass(slots=True)
class Reading:
    """One line of a file. ``gpu`` is its uuid or index; ``ts_ns`` is None where no time is told.

    ``counters``: values of counters that only grow, in the unit of their column.
    """

    line: int
    gpu: str
    ts_ns: int | None
    values: dict[str, float | int | None]
    counters: dict[str, float] = field(default_factory=dict)
    name: str | None = None


Parsed = Iterator[Reading | BadLine]
Parse = Callable[[Iterable[str], dt.tzinfo, "tuple[str, ...]", set[str]], Parsed]


def is_no_value(text: str) -> bool:
    return text[:1] in {"[", "<"} or text.lower() in NO_VALUE


def number(text: str, target: Target) -> float | None:
    """Return a value in the unit of the target's column, None for no value.

    Raises ValueError for what is no number, or of another unit.
    """
    if is_no_value(text):
        return None
    told, _, unit = text.partition(" ")
    if unit.strip() not in ("", *target.units):
        raise ValueError(f"{text[:40]!r} is not in {target.units[-1] or 'the unit expected'}")
    try:
        value = float(int(told, 16) if told.lower().startswith("0x") else float(told))
    except (ValueError, OverflowError):
        raise ValueError(f"{text[:40]!r} is not a number ({target.column})") from None
    return value * target.factor if abs(value) < LARGEST_READING else None


def take(reading: Reading, target: Target, value: float | None) -> None:
    """Put a value where it belongs; of several for one column the first one stays."""
    if target.is_counter:
        if value is not None:
            reading.counters.setdefault(target.column, value)
        return
    if value is not None and target.column in INTEGER_COLUMNS:
        value = round(value)
    if reading.values.get(target.column) is None:
        reading.values[target.column] = value


def moment(text: str, form: str, zone: dt.tzinfo) -> int:
    """Return Unix ns of a time that is written without a zone. Raises ValueError."""
    when = dt.datetime.strptime(text, form).replace(tzinfo=zone)
    at_ns = (when - EPOCH) // dt.timedelta(microseconds=1) * 1000
    if not EARLIEST_NS <= at_ns <= LATEST_NS:
        raise ValueError(f"{text!r} is no time of this century")
    return at_ns


def known(columns: Iterable[str], targets: Mapping[str, Target], unknown: set[str]) -> int:
    """Return how many columns have a target; the others are added to ``unknown``."""
    listed = list(columns)
    strange = [name for name in listed if name not in targets]
    unknown.update(strange)
    return len(listed) - len(strange)
