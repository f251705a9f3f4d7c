"""One GPU in a given number of lines: from one compact row to a full block with its chart. Pure.

The lines are chosen by what matters most: the verdict and the three rows busy / compute SOL /
memory SOL first, then facts, legends, and the chart with what room is left.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from rich.text import Text

from gnomon.analysis.budget_types import Budget
from gnomon.analysis.summary_types import ComputeLedger, MemoryLedger, doubt
from gnomon.tui import bar, facts, palette
from gnomon.tui.figures import MISSING, gib, pct, whole
from gnomon.tui.gpu_chart import sol_chart
from gnomon.tui.snapshot import GpuView, Span

LABEL_WIDTH = 21
LEAST_CHART_LINES = 4
MOST_CHART_LINES = 18
COMPACT_FIXED = 52
FULL_LINES = 11
HOST_FROM_LINES = 6
CHART_BESIDE_FROM_WIDTH = 150
FACTS_FROM_WIDTH = 72


def block(
    view: GpuView, width: int, height: int, *, phases: Sequence[Span] = (), selected: bool = False
) -> list[Text]:
    """Return at most ``height`` lines of at most ``width`` cells for one GPU."""
    if height <= 3:
        lines = _compact_lines(view, width, height, selected)
    elif height < FULL_LINES:
        lines = _medium_lines(view, width, height, selected, phases)
    else:
        lines = _full_lines(view, width, selected)
        room = min(height - len(lines), MOST_CHART_LINES)
        if room >= LEAST_CHART_LINES:
            lines += sol_chart(view, width, room, phases)
    for line in lines:
        line.truncate(width, overflow="ellipsis")
        if view.stale:
            line.stylize(palette.DIM)
    return lines[:height]


def title(view: GpuView, width: int, selected: bool) -> Text:  # noqa: FBT001
    """The GPU's name on a panel, with a mark where it is selected or stale."""
    text = Text("▸" if selected else " ", style=palette.COMPUTE)
    text.append(f"GPU {view.label} ", style=f"bold {palette.BRIGHT}")
    text.append(f" {view.summary.name}", style=palette.TEXT)
    if view.stale:
        text.append(f"   {view.stale}", style=palette.WARNING)
    if view.summary.budget is not None:
        text.append(f"   {ceiling(view.summary.budget)}", style=palette.TEXT)
    text.append(_warnings(view, width - text.cell_len), style=palette.WARNING)
    text.truncate(width, overflow="ellipsis", pad=True)
    text.stylize(f"on {palette.PANEL}")
    return text


def ceiling(budget: Budget) -> str:
    """``attainable compute 74 %, budget 30``: the achieved part is in the row below."""
    side = budget.binding
    attainable = f"attainable {side.name} {side.attainable_pct:.0f} %"
    return attainable if side.budget_pct is None else f"{attainable}, budget {side.budget_pct:.0f}"


def _warnings(view: GpuView, room: int) -> str:
    """The first warning where it fits, else their number; the GPU view has them all."""
    warnings = view.summary.warnings
    if not warnings:
        return ""
    more = f" (and {len(warnings) - 1} more)" if len(warnings) > 1 else ""
    sentence = f"   ▲ {warnings[0]}{more}"
    return sentence if len(sentence) <= room else f"   ▲ {len(warnings)}"


def verdict(view: GpuView, width: int, most: int) -> list[Text]:
    """The verdict, wrapped to at most ``most`` lines; its first word carries the weight."""
    sentence = view.summary.verdict or "no verdict"
    wrapped = textwrap.wrap(
        sentence, max(width, 10), max_lines=most, placeholder=" …", break_long_words=False
    )
    lines = [Text(line, style=palette.TEXT) for line in wrapped]
    head = sentence.find(":")
    if 0 < head < len(lines[0].plain):
        lines[0].stylize(f"bold {palette.BRIGHT}", 0, head + 1)
    return lines


def sol_rows(view: GpuView, width: int, *, with_facts: bool = False) -> list[Text]:
    """Three rows on one scale: busy, and the two ledgers whose first part is the SOL."""
    summary = view.summary
    rights = _short_facts(view) if with_facts else [Text(), Text(), Text()]
    right_width = max(text.cell_len for text in rights)
    bar_width = max(4, width - LABEL_WIDTH - (right_width + 2 if right_width else 0))
    rows = (
        ("busy (smi)", pct(summary.busy_pct), palette.DIM, bar.busy(summary.busy_pct, bar_width)),
        (
            "compute SOL",
            compute_sol(view, 1),
            f"bold {palette.COMPUTE}",
            bar.stacked(summary.ledger, bar_width),
        ),
        (
            "memory SOL",
            pct(summary.memory_sol_pct),
            f"bold {palette.MEMORY}",
            bar.stacked(summary.memory_ledger, bar_width),
        ),
    )
    lines = []
    for (label, value, style, drawn), right in zip(rows, rights, strict=True):
        unit = "  " if value == MISSING else " %"
        text = Text(f" {label:<11}", style=palette.DIM)
        text.append(f"{value:>6}{unit} ", style=palette.FAINT if value == MISSING else style)
        text.append_text(drawn)
        lines.append(text + Text("  ") + right if right.plain else text)
    return lines


def compute_sol(view: GpuView, digits: int) -> str:
    """``≤55.5``: at most, where the clock that it rests on reads high; ``~`` where estimated."""
    return doubt(view.summary).replace("<=", "≤") + pct(view.summary.compute_sol_pct, digits)


def _short_facts(view: GpuView) -> list[Text]:
    used, total = view.summary.vram_used_bytes, facts.vram_total_bytes(view)
    heat = view.summary.temperature_celsius
    watts, limit = view.summary.power_watts, facts.power_limit_watts(view)
    power = Text(f"{whole(watts)}/{whole(limit)} W  {whole(heat)} °C", style=palette.TEXT)
    clock = Text(
        f"{whole(view.summary.sm_clock_mhz)}/{whole(view.summary.reference_clock_mhz)} MHz ",
        style=palette.TEXT,
    )
    clock.append_text(facts.throttle(view))
    memory = Text(f"VRAM {gib(used)}/{gib(total)} GiB", style=palette.TEXT)
    width = 26
    for text in (power, clock, memory):
        text.truncate(width, overflow="ellipsis", pad=True)
    return [power, clock, memory]


def _legend(ledger: ComputeLedger | MemoryLedger, width: int) -> Text:
    """The legend under its bar, further left where it needs the room."""
    text = bar.legend(ledger, width - 2)
    return Text(" " * max(1, min(LABEL_WIDTH, width - text.cell_len - 1))) + text


def _links_and_host(view: GpuView, width: int) -> Text:
    text = Text(" ") + facts.joined([*facts.links(view), facts.host(view)])
    text.truncate(width, overflow="ellipsis")
    return text


def _medium_lines(
    view: GpuView,
    width: int,
    height: int,
    selected: bool,  # noqa: FBT001
    phases: Sequence[Span],
) -> list[Text]:
    """Four to ten lines: title, verdict, the three rows, then what fits; a chart on the right."""
    has_chart = width >= CHART_BESIDE_FROM_WIDTH and height >= LEAST_CHART_LINES
    left = width * 5 // 8 if has_chart else width
    rows = sol_rows(view, left - 1, with_facts=left >= FACTS_FROM_WIDTH)
    if height == 4:
        return [_title_with_verdict(view, width, selected), *rows]
    lines = [Text(" ") + verdict(view, left - 2, 1)[0], *rows]
    if height >= HOST_FROM_LINES:
        lines.append(_links_and_host(view, left))
    if height >= 7:
        lines.insert(3, _legend(view.summary.ledger, left))
    if height >= 8:
        lines.insert(5, _legend(view.summary.memory_ledger, left))
    if has_chart:
        lines = beside(lines, left, sol_chart(view, width - left, height - 1, phases))
    return [title(view, width, selected), *lines]


def beside(left: Sequence[Text], width: int, right: Sequence[Text]) -> list[Text]:
    """Put two columns of lines side by side, the left one ``width`` cells wide."""
    result = []
    for at in range(max(len(left), len(right))):
        text = left[at].copy() if at < len(left) else Text()
        text.truncate(width - 1, overflow="ellipsis")
        text.pad_right(width - text.cell_len)
        result.append(text + right[at] if at < len(right) else text)
    return result


def _title_with_verdict(view: GpuView, width: int, selected: bool) -> Text:  # noqa: FBT001
    """Both on one line: the verdict matters more than any warning, which becomes a number."""
    budget = view.summary.budget
    room = len(view.summary.name) + len(view.stale) + (len(ceiling(budget)) if budget else 0)
    text = title(view, room + 20, selected)
    text.rstrip()
    text.append("  ")
    text.append_text(verdict(view, 400, 1)[0])
    text.truncate(width, overflow="ellipsis", pad=True)
    text.stylize(f"on {palette.PANEL}")
    return text


def _full_lines(view: GpuView, width: int, selected: bool) -> list[Text]:  # noqa: FBT001
    busy, compute, memory = sol_rows(view, width)
    rows = [
        facts.joined([facts.power(view), facts.heat(view), facts.clock(view)]),
        facts.joined([facts.vram(view), *facts.links(view)]),
        facts.host(view),
    ]
    return [
        title(view, width, selected),
        *(Text(" ") + line for line in verdict(view, width - 2, 2)),
        busy,
        compute,
        _legend(view.summary.ledger, width),
        memory,
        _legend(view.summary.memory_ledger, width),
        *(Text(" ") + row for row in rows),
    ]


def compact_heading(width: int) -> Text:
    """Name the columns of the compact rows."""
    bar_width = max(4, width - COMPACT_FIXED)
    over_bar = "where the compute peak went"[:bar_width].ljust(bar_width)
    text = Text(
        f"  GPU         {'busy':>5} {'comp':>5} {'mem':>4} {over_bar} "
        f"{'power':>8} {'°C':>3} {'VRAM':>7}",
        style=palette.DIM,
    )
    text.truncate(width)
    return text


def _compact_row(view: GpuView, width: int, selected: bool) -> Text:  # noqa: FBT001
    summary = view.summary
    bar_width = max(4, width - COMPACT_FIXED)
    watts, limit = summary.power_watts, facts.power_limit_watts(view)
    used, total = summary.vram_used_bytes, facts.vram_total_bytes(view)
    text = Text("▸" if selected else " ", style=palette.COMPUTE)
    text.append(f"{view.label:>2} ", style=f"bold {palette.BRIGHT}")
    text.append(f"{facts.short_name(view)[:9]:<9} ", style=palette.TEXT)
    text.append(f"{pct(summary.busy_pct, 0):>5} ", style=palette.DIM)
    text.append(f"{compute_sol(view, 0):>5} ", style=f"bold {palette.COMPUTE}")
    text.append(f"{pct(summary.memory_sol_pct, 0):>4} ", style=f"bold {palette.MEMORY}")
    text.append_text(bar.stacked(summary.ledger, bar_width))
    text.append(f" {whole(watts)}/{whole(limit)}W".rjust(9), style=palette.TEXT)
    text.append(f" {whole(summary.temperature_celsius):>3}", style=palette.TEXT)
    text.append(f" {_gib_short(used)}/{_gib_short(total)}".rjust(8), style=palette.TEXT)
    return text


def _gib_short(value_bytes: float | None) -> str:
    return MISSING if value_bytes is None else f"{value_bytes / (1 << 30):.0f}"


def _compact_lines(view: GpuView, width: int, height: int, selected: bool) -> list[Text]:  # noqa: FBT001
    lines = [_compact_row(view, width, selected)]
    if height >= 2:
        sentence = Text("    ")
        if view.stale:
            sentence.append(f"{view.stale}  ", style=palette.WARNING)
        lines.append(sentence + verdict(view, 400, 1)[0])
    if height >= 3:
        lines.append(Text("   ") + _links_and_host(view, width - 3))
    return lines
