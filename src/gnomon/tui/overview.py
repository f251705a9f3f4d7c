"""The first screen: every GPU, as large as fits. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from rich.text import Text

from gnomon.tui import palette
from gnomon.tui.figures import MISSING, pct
from gnomon.tui.gpu_block import (
    FULL_LINES,
    HOST_FROM_LINES,
    LEAST_CHART_LINES,
    block,
    compact_heading,
    verdict,
)
from gnomon.tui.gpu_chart import clock_chart
from gnomon.tui.health import unavailable
from gnomon.tui.process_table import Sort, table
from gnomon.tui.snapshot import GpuView, Snapshot

MOST_BLOCK_LINES = 30
LEAST_PROCESS_LINES = 2
COMPACT_LINES = 3
COMPACT_EXTRA_LINES = 3
MOST_PROCESSES = 6
LEAST_CLOCK_CHART_LINES = 6
MOST_CLOCK_CHART_LINES = 14


@dataclass(frozen=True, slots=True)
class Layout:
    """How the screen is divided; ``has_host`` tells whether each block has its host line."""

    block_lines: int
    is_compact: bool
    has_host: bool


def layout(gpu_count: int, height: int) -> Layout:
    """Give each GPU as many lines as fit: at least one, then the screen scrolls."""
    count = max(1, gpu_count)
    each = height // count
    if each > COMPACT_LINES:
        has_host = each >= HOST_FROM_LINES
        each = each if has_host else (height - 1) // count
    if each <= COMPACT_LINES:
        # Three more lines: column names, the letters' meanings, the host.
        each = (height - COMPACT_EXTRA_LINES) // count
        return Layout(min(max(1, each), COMPACT_LINES), is_compact=True, has_host=False)
    return Layout(min(each, MOST_BLOCK_LINES), is_compact=False, has_host=has_host)


def lines(snapshot: Snapshot, width: int, height: int, selected: int, sort: Sort) -> list[Text]:
    """Return the lines of the overview; more than ``height`` where the GPUs do not fit."""
    if not snapshot.gpus:
        return nothing(snapshot, width)
    plan = layout(len(snapshot.gpus), height)
    block_lines = plan.block_lines
    if len(snapshot.gpus) == 1:
        block_lines = _leave_room_for_processes(block_lines, height, len(snapshot.processes))
    result = [compact_heading(width)] if plan.is_compact else []
    for at, view in enumerate(snapshot.gpus):
        marked = at == selected and len(snapshot.gpus) > 1
        drawn = block(view, width, block_lines, phases=snapshot.phases, selected=marked)
        missing = block_lines - len(drawn) if len(snapshot.gpus) > 1 else 0
        result += drawn + [Text()] * missing
    if plan.is_compact:
        result.append(_letters(width))
    if not plan.has_host:
        result.append(_host(snapshot, width))
    if plan.is_compact:
        result += _whole_verdict(snapshot.gpus[selected], width, height - len(result))
    if len(snapshot.gpus) == 1:
        result += _clock_chart(snapshot, width, height - len(result))
    room = height - len(result) - 1
    if room >= LEAST_PROCESS_LINES:
        result += [Text(), *table(snapshot, sort, width)[:room]]
    return result


def first_line_of(at: int, gpu_count: int, height: int) -> tuple[int, int]:
    """Return the first line of a GPU in the overview and its height, to scroll to it."""
    plan = layout(gpu_count, height)
    return at * plan.block_lines + (1 if plan.is_compact else 0), plan.block_lines


def nothing(snapshot: Snapshot, width: int) -> list[Text]:
    """Say that there is no GPU to show, and why, by name."""
    waiting = snapshot.at_ns is None
    head = "Waiting for the first sample …" if waiting else "No GPU to show."
    result = [Text(), Text(f" {head}", style=f"bold {palette.BRIGHT}")]
    result += unavailable(snapshot, width)
    result.append(Text(" `gnomon doctor` says what this machine can measure.", style=palette.DIM))
    return result


def _leave_room_for_processes(block_lines: int, height: int, count: int) -> int:
    """Shorten the chart of a lone GPU so that its processes are on the same screen."""
    wanted = min(count, MOST_PROCESSES) + 2
    least = FULL_LINES + LEAST_CHART_LINES + 4
    return min(block_lines, height - wanted) if height - wanted >= least else block_lines


def _clock_chart(snapshot: Snapshot, width: int, room: int) -> list[Text]:
    """Clock and power of a lone GPU, where a tall screen would stay empty."""
    spare = room - min(len(snapshot.processes), MOST_PROCESSES) - 3
    if spare < LEAST_CLOCK_CHART_LINES:
        return []
    lines = min(spare, MOST_CLOCK_CHART_LINES)
    return [Text(), *clock_chart(snapshot.gpus[0], width, lines, snapshot.phases)]


def _whole_verdict(view: GpuView, width: int, room: int) -> list[Text]:
    """The selected GPU's verdict unabridged, where compact rows had to cut it."""
    if room < 2:
        return []
    lines = verdict(view, width - 8, room)
    head = Text().append(f"▸{view.label:>2} ", style=f"bold {palette.COMPUTE}")
    return [(head if at == 0 else Text("    ")) + line for at, line in enumerate(lines)]


def _letters(width: int) -> Text:
    text = Text(" ")
    for term in palette.COMPUTE_TERMS:
        text.append(term.letter, style=f"{term.ink} on {term.colour}")
        text.append(f" {term.label}  ", style=palette.DIM)
    text.truncate(width)
    return text


def _host(snapshot: Snapshot, width: int) -> Text:
    """The host once, below all GPUs: its CPU, and the busiest thread of any GPU's process."""
    cpu = next((v.summary.cpu_pct for v in snapshot.gpus if v.summary.cpu_pct is not None), None)
    known = [v for v in snapshot.gpus if v.summary.busiest_thread_cpu_pct is not None]
    text = Text(f" host CPU {pct(cpu, 0)}{' %' if cpu is not None else ''}", style=palette.DIM)
    text.append("   busiest thread ", style=palette.DIM)
    if not known:
        text.append(MISSING, style=palette.FAINT)
    for view in sorted(known, key=lambda v: -(v.summary.busiest_thread_cpu_pct or 0.0))[:1]:
        name = f" {view.thread_name}" if view.thread_name else ""
        share = pct(view.summary.busiest_thread_cpu_pct, 0)
        text.append(f"{share} % of a core{name} (GPU {view.label})", style=palette.TEXT)
    text.truncate(width, overflow="ellipsis")
    return text
