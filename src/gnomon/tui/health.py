"""Sources, what is unavailable and why, losses and events: the monitor on itself. Pure."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from rich.text import Text

from gnomon.enums import Severity, SourceState
from gnomon.tui import palette
from gnomon.tui.figures import MISSING, clock_time
from gnomon.tui.snapshot import Snapshot

NS_PER_MS = 1_000_000
REASON_COLUMN = 28
ALL_MEASURED = "everything that was asked for is being measured"
SEVERITY_STYLES = {
    Severity.WARNING.value: palette.WARNING,
    Severity.CRITICAL.value: palette.ERROR,
}


def lines(snapshot: Snapshot, width: int) -> list[Text]:
    """Return the lines of the health screen, most pressing first; it scrolls."""
    result: list[Text] = []
    for heading, rows in (
        ("Sources", _sources(snapshot.health.sources)),
        ("Unavailable, and why", unavailable(snapshot, width) or [_none(ALL_MEASURED)]),
        ("Lost measurements", _losses(snapshot.health.losses)),
        ("Files that could not be read", _skipped(snapshot)),
        ("Events, newest first", _events(snapshot.health.events)),
        ("Recorded by", _recorder(snapshot)),
    ):
        text = Text(f" {heading}", style=f"bold {palette.BRIGHT}")
        text.truncate(width, pad=True)
        text.stylize(f"on {palette.PANEL}")
        result += [text, *rows, Text()]
    for line in result:
        line.truncate(width, overflow="ellipsis")
    return result


def _sources(rows: Sequence[Mapping[str, Any]]) -> list[Text]:
    if not rows:
        return [_none("no source reported in the last minute before this moment")]
    result = [
        Text(
            f" {'source':<10}{'state':<13}{'period':>9}{'longest read':>14}{'CPU':>9}"
            f"{'failures':>10}  reason",
            style=palette.DIM,
        )
    ]
    for row in rows:
        ready = row.get("state") == SourceState.READY.value
        text = Text(f" {row['source']:<10}", style=palette.TEXT)
        text.append(
            f"{row.get('state') or MISSING:<13}", palette.COMPUTE if ready else palette.ERROR
        )
        text.append(f"{_ms(row.get('period_ns')):>9}{_ms(row.get('longest_read_ns')):>14}")
        text.append(f"{_cpu_share(row):>9}")
        failures = row.get("failures")
        text.append(f"{MISSING if failures is None else failures:>10}")
        text.append(f"  {row.get('reason') or ''}", style=palette.WARNING)
        result.append(text)
    return result


def _ms(value_ns: int | None) -> str:
    return MISSING if value_ns is None else f"{value_ns / NS_PER_MS:,.1f} ms"


def _cpu_share(row: Mapping[str, Any]) -> str:
    cpu_ns, duration_ns = row.get("cpu_ns"), row.get("duration_ns")
    return MISSING if cpu_ns is None or not duration_ns else f"{cpu_ns / duration_ns * 100:.2f} %"


def unavailable(snapshot: Snapshot, width: int) -> list[Text]:
    """What is not measured, why, and what would help, wrapped: a cut remedy would be none."""
    entries = snapshot.meta.unavailable if snapshot.meta else ()
    labels = {view.summary.uuid: f" (GPU {view.label})" for view in snapshot.gpus}
    room = max(10, width - REASON_COLUMN)
    indent = " " * REASON_COLUMN
    result = []
    for entry in entries:
        name = f"{entry.metric}{labels.get(entry.gpu_uuid or '', '')}"
        reason = textwrap.wrap(entry.reason, room) or [MISSING]
        text = Text(f" {name:<{REASON_COLUMN - 4}} ", style=palette.TEXT)
        result.append(text.append(f"{MISSING} {reason[0]}", style=palette.WARNING))
        result += [Text(indent + line, style=palette.WARNING) for line in reason[1:]]
        remedy = textwrap.wrap(entry.remedy, room)
        result += [Text(indent + line, style=palette.DIM) for line in remedy]
    return result


def _losses(rows: Sequence[Mapping[str, Any]]) -> list[Text]:
    totals: dict[tuple[str, str, str], int] = {}
    for row in rows:
        key = (str(row.get("source")), str(row.get("table")), str(row.get("reason")))
        totals[key] = totals.get(key, 0) + (row.get("rows") or 0)
    result = [
        Text(f" {source}: {count:,} rows of {table} ({reason})", style=palette.WARNING)
        for (source, table, reason), count in totals.items()
    ]
    return result or [_none("none in the last hour before this moment")]


def _skipped(snapshot: Snapshot) -> list[Text]:
    result = [
        Text(f" {segment.path}: {segment.reason}", style=palette.WARNING)
        for segment in snapshot.health.skipped
    ]
    return result or [_none("none")]


def _events(rows: Sequence[Mapping[str, Any]]) -> list[Text]:
    result = [event(row) for row in reversed(rows)]
    return result or [_none("none in the last hour before this moment")]


def event(row: Mapping[str, Any]) -> Text:
    """``14:03:02 power limit of GPU 0 changed: 700 -> 500 W``, coloured by severity."""
    text = Text(f" {clock_time(row['ts_ns'])} ", style=palette.DIM)
    style = SEVERITY_STYLES.get(row.get("severity") or "", palette.TEXT)
    text.append(str(row.get("message") or row.get("kind") or MISSING), style=style)
    return text


def _recorder(snapshot: Snapshot) -> list[Text]:
    meta = snapshot.meta
    if meta is None:
        return [_none("unknown")]
    pairs = [*meta.host.items(), *meta.versions.items()]
    return [
        Text(f" {name:<26} ", style=palette.DIM).append(str(value), style=palette.TEXT)
        for name, value in pairs
    ] or [_none("unknown")]


def _none(text: str) -> Text:
    return Text(f" {text}", style=palette.FAINT)
