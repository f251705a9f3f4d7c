"""A GPU over time: busy against compute SOL against memory SOL, and clock against power. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text

from gnomon.tui import facts, palette
from gnomon.tui.chart import Line, Mark, draw
from gnomon.tui.figures import span
from gnomon.tui.snapshot import GpuView, Series, Span

CHART_WAITS = "the chart follows in a moment"


def sol_chart(view: GpuView, width: int, height: int, phases: Sequence[Span]) -> list[Text]:
    """Draw busy (dots), compute SOL (area) and memory SOL (line), all in percent."""
    if view.series is None:
        return [Text(f" {CHART_WAITS}", style=palette.FAINT)]
    values = view.series.values
    lines = [
        Line("compute", values.get("compute_sol_pct", ()), palette.COMPUTE, "fill", unit="%"),
        Line("memory", values.get("memory_sol_pct", ()), palette.MEMORY, "line", unit="%"),
        Line("busy", values.get("busy_pct", ()), palette.BUSY, "dots", unit="%"),
    ]
    return draw(lines, width, height, marks(view.series, phases), _back(view.series))


def clock_chart(view: GpuView, width: int, height: int, phases: Sequence[Span]) -> list[Text]:
    """Draw the SM clock over its reference and the power over its limit: 100 is the limit."""
    if view.series is None:
        return [Text(f" {CHART_WAITS}", style=palette.FAINT)]
    values = view.series.values
    reference, limit = view.summary.reference_clock_mhz, facts.power_limit_watts(view)
    lines = []
    if reference:
        clock = values.get("sm_clock_mhz", ())
        lines.append(Line("SM", clock, palette.CLOCK, "line", top=reference, unit=" MHz"))
    if limit:
        power = values.get("power_watts", ())
        lines.append(Line("power", power, palette.POWER, "fill", top=limit, unit=" W"))
    return draw(lines, width, height, marks(view.series, phases), _back(view.series))


def _back(series: Series) -> str:
    return f"-{span(series.to_ns - series.from_ns)}"


def marks(series: Series, phases: Sequence[Span]) -> list[Mark]:
    """Return where phases begin on the chart; one that began before it is named at its edge."""
    length_ns = max(1, series.to_ns - series.from_ns)
    found = []
    for phase in sorted(phases, key=lambda one: one.from_ns):
        if phase.from_ns >= series.to_ns or phase.to_ns <= series.from_ns:
            continue
        at = max(0.0, (phase.from_ns - series.from_ns) / length_ns)
        found.append(Mark(at, phase.name.replace("_", " ")))
    return found
