"""Numbers as the screen shows them. What was not measured is a dash, never 0."""

from __future__ import annotations

import datetime as dt

MISSING = "—"
NS_PER_S = 1_000_000_000
GIB = 1 << 30


def pct(value: float | None, digits: int = 1) -> str:
    """``55.5``; a share too small to show reads ``<0.1``, so that only nothing is 0."""
    if value is None:
        return MISSING
    least = 10**-digits
    if 0 < value < least / 2:
        return f"<{least:g}"
    text = f"{value:.{digits}f}"
    return text.removeprefix("-") if float(text) == 0 else text


def whole(value: float | None) -> str:
    return MISSING if value is None else f"{value:,.0f}"


def of(value: float | None, limit: float | None, unit: str) -> str:
    """``691/700 W``; only the value where the limit is unknown."""
    if value is None:
        return MISSING
    return f"{whole(value)} {unit}" if limit is None else f"{whole(value)}/{whole(limit)} {unit}"


def gib(value_bytes: float | None) -> str:
    """Bytes as GiB, without the unit: what nvidia-smi and framework messages speak of."""
    if value_bytes is None:
        return MISSING
    value = value_bytes / GIB
    return f"{value:.1f}" if value < 100 else f"{value:.0f}"


def rate(bytes_per_s: float | None) -> str:
    """``3.2 GB/s``, decimal as datasheets count."""
    if bytes_per_s is None:
        return MISSING
    for scale, unit in ((1e9, "GB/s"), (1e6, "MB/s"), (1e3, "kB/s")):
        if bytes_per_s >= scale:
            value = bytes_per_s / scale
            return f"{value:,.0f} {unit}" if value >= 100 else f"{value:.1f} {unit}"
    return f"{bytes_per_s:.0f} B/s"


def span(duration_ns: int) -> str:
    """``4 s``, ``12 min``, ``3 h``, ``6 d``: coarse, for ages and distances."""
    seconds = round(duration_ns / NS_PER_S)
    if seconds < 120:
        return f"{seconds} s"
    minutes = seconds // 60
    if minutes < 120:
        return f"{minutes} min"
    hours = minutes // 60
    return f"{hours} h" if hours < 48 else f"{hours // 24} d"


def clock_time(ts_ns: int) -> str:
    """Local time of day; the date is not repeated on a screen that is looked at today."""
    return dt.datetime.fromtimestamp(ts_ns / NS_PER_S).astimezone().strftime("%H:%M:%S")
