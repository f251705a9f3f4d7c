"""The table of a trace: an operation a line, and where its calls waited; nothing here computes."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text

from gnomon.analysis.call_table import CallRow, Other
from gnomon.cli.numbers import NS_PER_S, UNKNOWN, pct, scaled

HEADINGS = (
    *("operation", "calls", "calls/s", "p50", "p95", "p99", "max", "queued", "CPU queue"),
    *("disk", "wait", "other", "by whom"),
)
WIDTHS = (26, 8, 8, 8, 8, 8, 8, 8, 9, 9, 9, 9)
LEGEND = (
    "queued: share of calls in which the thread waited for a CPU; then time off the CPU in calls: "
    "for a CPU, for a disk, asleep until woken, other; by whom: who had the CPU (>) or woke (<)"
)
NO_CALLS = "no call into CUDA or NCCL was seen"
ABOUT = "~"
IN_PART = "~: followed in windows, for {pct:.0f} % of the time; made up to the whole"
# A name that stands for less of the time is not the answer to "by whom".
LEAST_SHARE_PCT = 20.0
# The clocks of an interval and of what was covered of it are read one after the other.
WHOLE_PCT = 99.9


def table(rows: Sequence[CallRow], most: int | None = None) -> Text:
    """Return the table; ``most`` lines at most, and one that says how many there are more."""
    if not rows:
        return Text(NO_CALLS, style="dim")
    shown = rows if most is None else rows[:most]
    lines = [Text(_line(HEADINGS), style="bold"), *(_row(row) for row in shown)]
    if len(shown) < len(rows):
        lines.append(Text(f"and {len(rows) - len(shown)} more", style="dim"))
    lines.append(Text(LEGEND, style="dim"))
    in_part = [row.covered_pct for row in shown if _is_in_part(row)]
    if in_part:
        lines.append(Text(IN_PART.format(pct=min(in_part)), style="dim"))
    return Text("\n").join(lines)


def short(duration_ns: float | None) -> str:
    """``870 ns``, ``12.3 us``, ``4.5 ms``, ``1.2 s``."""
    if duration_ns is None:
        return UNKNOWN
    for unit, size in (("s", NS_PER_S), ("ms", 1e6), ("us", 1e3)):
        if duration_ns >= size:
            value = duration_ns / size
            return f"{value:.0f} {unit}" if value >= 100 else f"{value:.1f} {unit}"
    return f"{duration_ns:.0f} ns"


def _is_in_part(row: CallRow) -> bool:
    return row.covered_pct < WHOLE_PCT


def _row(row: CallRow) -> Text:
    about = ABOUT if _is_in_part(row) else ""
    cells = (
        row.operation,
        about + scaled(row.calls, "").strip(),
        about + scaled(row.calls_per_s, "").strip(),
        *map(short, (row.p50_ns, row.p95_ns, row.p99_ns, row.longest_ns)),
        pct(row.interrupted_pct),
        *map(short, (row.run_queue_ns, row.io_ns, row.voluntary_ns, row.other_off_cpu_ns)),
        " ".join([*_who(">", row.preemptors), *_who("<", row.wakers)]),
    )
    return Text(_line(cells))


def _who(sign: str, others: Sequence[Other]) -> list[str]:
    return [
        f"{sign}{_plain(one.name)} {one.share_pct:.0f} %"
        for one in others[:1]
        if one.share_pct >= LEAST_SHARE_PCT
    ]


def _plain(name: str) -> str:
    """A name that a process gave itself, without what would move the cursor."""
    return "".join(letter if letter.isprintable() else "?" for letter in name)


def _line(cells: Sequence[str]) -> str:
    first, *numbers = (
        f"{cell[:width]:<{width}}" if place == 0 else f"{cell:>{width}}"
        for place, (cell, width) in enumerate(zip(cells, WIDTHS, strict=False))
    )
    return " ".join([first, *numbers, cells[-1]]).rstrip()
