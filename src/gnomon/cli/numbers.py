"""Numbers for people. What was not measured reads "-", never 0."""

from __future__ import annotations

import datetime as dt

UNKNOWN = "-"
NS_PER_S = 1_000_000_000


def pct(value: float | None) -> str:
    """``12.3 %``; a share too small to show reads ``<0.1 %``, so that only nothing is 0."""
    if value is None:
        return UNKNOWN
    if 0 < value < 0.05:
        return "<0.1 %"
    return f"{value + 0.0:.1f} %" if abs(value) >= 0.05 else "0.0 %"


def scaled(value: float | None, unit: str) -> str:
    """``4.2 GB/s``: three digits or so, with a decimal prefix."""
    if value is None:
        return UNKNOWN
    prefixes = ("", "k", "M", "G", "T", "P")
    power = 0
    while abs(value) >= 1000 and power < len(prefixes) - 1:
        value /= 1000
        power += 1
    digits = 0 if abs(value) >= 100 or power == 0 else 1
    return f"{value:.{digits}f} {prefixes[power]}{unit}"


def rate(value: float | None) -> str:
    """``4,245 GB/s`` where the datasheets speak of GB/s, ``12.3 MB/s`` below."""
    if value is not None and value >= 1e9:
        return f"{value / 1e9:,.1f} GB/s" if value < 1e11 else f"{value / 1e9:,.0f} GB/s"
    return scaled(value, "B/s")


def gib(value: float | None) -> str:
    """``18.9 GiB``: device memory is counted so by nvidia-smi and by every framework."""
    return UNKNOWN if value is None else f"{value / (1 << 30):.1f} GiB"


def whole(value: float | None, unit: str) -> str:
    return UNKNOWN if value is None else f"{value:,.0f} {unit}"


def duration(duration_ns: int) -> str:
    """``250 ms``, ``8.1 s``, ``1 min 47 s``, ``3 h 05 min``."""
    seconds = duration_ns / NS_PER_S
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, seconds = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {seconds:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def moment(ts_ns: int) -> str:
    """``2026-11-20 14:03:10``, UTC."""
    when = dt.datetime.fromtimestamp(ts_ns // NS_PER_S, tz=dt.UTC)
    return f"{when:%Y-%m-%d %H:%M:%S}"


def span(from_ns: int, to_ns: int) -> str:
    """``2026-11-20 14:03:10 to 14:04:57 UTC (1 min 47 s)``; the date again where it changes."""
    start, end = moment(from_ns), moment(to_ns)
    if start[:10] == end[:10]:
        end = end[11:]
    return f"{start} to {end} UTC ({duration(to_ns - from_ns)})"
