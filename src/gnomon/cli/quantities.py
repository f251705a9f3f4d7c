"""Durations, sizes and moments as people type them: ``10s``, ``2GiB``, ``-30s``, ISO dates."""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import click

NS_PER_UNIT = {
    "ns": 1,
    "us": 1_000,
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60_000_000_000,
    "min": 60_000_000_000,
    "h": 3_600_000_000_000,
    "d": 86_400_000_000_000,
}
BYTES_PER_UNIT = {
    "": 1,
    "B": 1,
    **{f"{prefix}B": 1000**power for power, prefix in enumerate("kMGT", start=1)},
    **{f"{prefix}iB": 1024**power for power, prefix in enumerate("KMGT", start=1)},
}
_QUANTITY = re.compile(r"(\d+(?:\.\d+)?)\s*([A-Za-z]*)", re.ASCII)
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


@dataclass(frozen=True, slots=True)
class Moment:
    """A point in time, absolute (Unix ns) or counted from the start or the end of a recording."""

    ns: int
    relative_to: str = "epoch"

    def resolve(self, bounds: tuple[int, int]) -> int:
        """Return Unix ns, given the first and the last ns of the recording."""
        start_ns, end_ns = bounds
        return {"epoch": 0, "start": start_ns, "end": end_ns}[self.relative_to] + self.ns


def parse_duration_ns(text: str) -> int:
    """Return nanoseconds of ``100ms``, ``1.5s``, ``2m``, ``1h``, ``7d``. Raises ValueError."""
    duration_ns = _offset_ns(text)
    if duration_ns <= 0:
        raise ValueError(f"{text!r} is no time at all")
    return duration_ns


def _offset_ns(text: str) -> int:
    found = _QUANTITY.fullmatch(text.strip())
    if not found or found[2] not in NS_PER_UNIT:
        raise ValueError(f"{text!r} is not a duration; write 100ms, 1s, 5m, 2h or 7d")
    return int(Decimal(found[1]) * NS_PER_UNIT[found[2]])


def parse_size_bytes(text: str) -> int:
    """Return bytes of ``500MB``, ``2GiB`` or a bare number. Raises ValueError."""
    found = _QUANTITY.fullmatch(text.strip())
    if not found or found[2] not in BYTES_PER_UNIT:
        raise ValueError(f"{text!r} is not a size; write 500MB, 2GiB or a number of bytes")
    return int(Decimal(found[1]) * BYTES_PER_UNIT[found[2]])


def parse_moment(text: str) -> Moment:
    """Read Unix ns (a bare integer), ``10s`` from the start, ``-30s`` from the end, or ISO.

    An ISO time without a zone is UTC. Raises ValueError.
    """
    text = text.strip()
    if re.fullmatch(r"\d+", text, re.ASCII):
        return Moment(int(text))
    if text.startswith("-"):
        return Moment(-_offset_ns(text[1:]), "end")
    if _QUANTITY.fullmatch(text):
        return Moment(_offset_ns(text), "start")
    try:
        when = dt.datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(
            f"{text!r} is not a time; write Unix nanoseconds, 10s (from the start), "
            "-30s (before the end) or 2026-11-20T14:03:00Z"
        ) from None
    when = when if when.tzinfo else when.replace(tzinfo=dt.UTC)
    # timedelta counts whole microseconds: exact, where a float of seconds is not.
    return Moment((when - _EPOCH) // dt.timedelta(microseconds=1) * 1000)


class _Parsed(click.ParamType[Any]):
    """A click type around one of the functions above."""

    parse: Any = None

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, str):
            return value
        try:
            return type(self).parse(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


class Duration(_Parsed):
    """Nanoseconds."""

    name = "duration"
    parse = staticmethod(parse_duration_ns)


class Size(_Parsed):
    """Bytes."""

    name = "size"
    parse = staticmethod(parse_size_bytes)


class MomentType(_Parsed):
    """A ``Moment``."""

    name = "time"
    parse = staticmethod(parse_moment)


class Split(_Parsed):
    """``phase``, or a period in nanoseconds."""

    name = "phase|period"

    @staticmethod
    def parse(text: str) -> str | int:
        return "phase" if text == "phase" else parse_duration_ns(text)
