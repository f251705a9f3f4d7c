"""A timeline as a table of at most 80 columns, a row a period; nothing here computes."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

from gnomon.analysis.timeline import Period, Timeline
from gnomon.cli.numbers import NS_PER_S, UNKNOWN, duration, pct, span

HEADINGS = ("from", "busy", "compute", "memory", "tokens/s", "launches/s", "the GPU waited for")
WIDTHS = (9, 7, 7, 7, 9, 10)
PART_NAMES = {
    "run_queue": "CPU queue",
    "io": "disk",
    "voluntary": "sleep or lock",
    "unknown": "off the CPU",
    "asleep": "long sleep",
    "in_calls": "CUDA calls",
    "own_code": "host code",
}
# Of the GPUs' idle time, so much is worth the eye.
MUCH_PCT = 25.0
SOME_PCT = 5.0


def print_timeline(told: Timeline, start_ns: int, out: Console) -> None:
    """Print every period; ``start_ns`` is that of the recording, from which ``--from`` counts."""
    out.print(Text(span(told.span.from_ns, told.span.to_ns), style="dim"))
    out.print(Text(_row(HEADINGS), style="bold"))
    for period in told.periods:
        out.print(Text(_row(_cells(period, start_ns)), style=_style(period)))
    line = silence(told)
    if line:
        out.print(Text(line, style="dim"))


def silence(told: Timeline) -> str:
    """Return how often no GPU had anything to do; empty where nobody knows."""
    silences = told.silences
    if silences is None:
        return ""
    kept = "CUDA call" if silences.are_all_kept else "CUDA call that was kept"
    basis = "no GPU had work" if silences.by_counters else f"no {kept} in progress"
    if not silences.stretches:
        return f"silent ({basis}): never"
    (longest,) = silences.longest(1)
    return (
        f"silent ({basis}): {len(silences.stretches):,} times, "
        f"{duration(silences.total_ns)} in sum, the longest "
        f"{duration(longest.to_ns - longest.from_ns)}"
    )


def _cells(period: Period, start_ns: int) -> Sequence[str]:
    waited = UNKNOWN
    if period.waited_for is not None:
        waited = f"{PART_NAMES[period.waited_for]} {pct(period.waited_pct)}"
    return (
        f"{(period.from_ns - start_ns) / NS_PER_S:.1f} s",
        pct(period.busy_pct),
        pct(period.compute_sol_pct),
        pct(period.memory_sol_pct),
        _count(period.tokens_per_s),
        _count(period.launches_per_s),
        waited,
    )


def _row(cells: Sequence[str]) -> str:
    *numbers, last = cells
    aligned = [cell.rjust(width) for cell, width in zip(numbers, WIDTHS, strict=True)]
    return " ".join([*aligned, last])


def _count(value: float | None) -> str:
    return UNKNOWN if value is None else f"{value:,.0f}"


def _style(period: Period) -> str:
    waited_pct = period.waited_pct or 0.0
    if waited_pct >= MUCH_PCT:
        return "red"
    return "yellow" if waited_pct >= SOME_PCT else ""
