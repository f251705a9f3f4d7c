"""One GPU in full: charts, both ledgers term by term, every value or the reason it is missing."""

from __future__ import annotations

import textwrap
from collections.abc import Callable

from rich.text import Text

from gnomon.analysis.summary_types import ComputeLedger, MemoryLedger, clock_note
from gnomon.tui import bar, facts, palette
from gnomon.tui.figures import MISSING, gib, pct, rate, whole
from gnomon.tui.gpu_block import beside, sol_rows, title, verdict
from gnomon.tui.gpu_chart import clock_chart, sol_chart
from gnomon.tui.snapshot import GpuView, Snapshot

NAME_WIDTH = 24
VALUE_WIDTH = 14
LEAST_REASON_WIDTH = 25
COLUMNS_FROM_WIDTH = 140

Format = Callable[[float | None], str]


def _share(value: float | None) -> str:
    return MISSING if value is None else f"{pct(value)} %"


def _unit(unit: str) -> Format:
    return lambda value: MISSING if value is None else f"{whole(value)} {unit}"


def _vram(value: float | None) -> str:
    return MISSING if value is None else f"{gib(value)} GiB"


# Field of GpuSummary, label, how it is written.
FIELDS: tuple[tuple[str, str, Format], ...] = (
    ("busy_pct", "busy (nvidia-smi)", _share),
    ("memory_busy_pct", "memory busy", _share),
    ("engine_active_pct", "engine active", _share),
    ("sm_active_pct", "SM active", _share),
    ("sm_occupancy_pct", "SM occupancy", _share),
    ("pipe_active_pct", "pipe active", _share),
    ("integer_active_pct", "integer pipe active", _share),
    ("compute_sol_pct", "compute SOL", _share),
    ("memory_sol_pct", "memory SOL", _share),
    ("dram_bytes_per_s", "DRAM", rate),
    ("sm_clock_mhz", "SM clock", _unit("MHz")),
    ("reference_clock_mhz", "reference clock", _unit("MHz")),
    ("memory_clock_mhz", "memory clock", _unit("MHz")),
    ("tflops", "arithmetic", _unit("TFLOP/s")),
    ("power_watts", "power", _unit("W")),
    ("power_limit_watts", "power limit", _unit("W")),
    ("temperature_celsius", "temperature", _unit("°C")),
    ("vram_used_bytes", "VRAM used", _vram),
    ("vram_total_bytes", "VRAM total", _vram),
    ("pcie_rx_bytes_per_s", "PCIe in", rate),
    ("pcie_tx_bytes_per_s", "PCIe out", rate),
    ("pcie_sol_pct", "PCIe SOL", _share),
    ("nvlink_rx_bytes_per_s", "NVLink in", rate),
    ("nvlink_tx_bytes_per_s", "NVLink out", rate),
    ("nvlink_sol_pct", "NVLink SOL", _share),
    ("cpu_pct", "host CPU", _share),
    ("busiest_thread_cpu_pct", "busiest thread", _share),
)


NOT_RECORDED = "not recorded in this window"
# Why a derived number can be missing although nothing failed.
REASONS = {
    "tflops": "the work's data type is not known without its model or kernel names",
    "pcie_sol_pct": "needs the PCIe rates and the width of the link",
    "nvlink_sol_pct": "needs the NVLink rates and the number of links",
}


def lines(snapshot: Snapshot, view: GpuView, width: int, height: int) -> list[Text]:
    """Return the lines of the detail screen; it may be longer than the screen and scrolls."""
    chart_lines = max(6, min(16, height // 3))
    result = [
        title(view, width, selected=False),
        *(Text(" ") + line for line in verdict(view, width - 2, 3)),
        *sol_rows(view, width),
        *sol_chart(view, width, chart_lines, snapshot.phases),
    ]
    if height >= 36:
        result += clock_chart(view, width, max(6, chart_lines * 2 // 3), snapshot.phases)
    for line in result:
        if view.stale:
            line.stylize(palette.DIM)
    ledgers = [
        *_ledger("Where 100 % of the compute peak went", view.summary.ledger),
        Text(),
        *_ledger("Where 100 % of the DRAM bandwidth went", view.summary.memory_ledger),
        Text(),
        *_notes(view),
        *(Text(f" ▲ {warning}", style=palette.WARNING) for warning in view.summary.warnings),
    ]
    if width >= COLUMNS_FROM_WIDTH:
        values = _values(view, width - width // 2)
        result += [Text(), *beside(ledgers, width // 2, values)]
    else:
        result += [Text(), *ledgers, Text(), *_values(view, width)]
    for line in result:
        line.truncate(width, overflow="ellipsis")
    return result


def _ledger(heading: str, ledger: ComputeLedger | MemoryLedger) -> list[Text]:
    result = [Text(f" {heading}", style=f"bold {palette.BRIGHT}")]
    for term in bar.terms_of(ledger):
        value = getattr(ledger, term.field)
        text = Text(" ")
        text.append(f" {term.letter} ", style=f"{term.ink} on {term.colour}")
        text.append(f" {term.label:<14}", style=palette.TEXT)
        text.append(f"{_share(value):>9}", style=palette.FAINT if value is None else palette.BRIGHT)
        text.append(f"   {_meaning(term, value)}", style=palette.DIM)
        result.append(text)
    return result


def _meaning(term: palette.Term, value: float | None) -> str:
    if term.field == "padding_pct" and value is None:
        return "needs the model's FLOPs; part of achieved"
    if term.field == "clock_pct" and value is not None and value < 0:
        return "boost: the clock ran above its reference"
    return term.meaning


def _notes(view: GpuView) -> list[Text]:
    """What the numbers rest on: pipe, clock source, peaks, throttling, warnings, losses."""
    summary = view.summary
    clock = summary.sm_clock_source or MISSING
    if note := clock_note(summary):
        clock += f": {note}"
    if summary.at_most:
        clock += ", so achieved and compute SOL are at most"
    lost = summary.losses.get("samples_lost")
    pairs = [
        ("winning pipe", Text(summary.pipe or MISSING)),
        ("SM clock from", Text(clock)),
        ("throttled by", facts.throttle(view) if summary.throttle_reasons else Text("nothing")),
        ("achieved means", Text({"model": "the model's own FLOPs", "pipe": "work executed"}.get(
            summary.achieved_basis or "", MISSING))),
        ("peaks from", Text(summary.peak_source or MISSING)),
        ("samples", Text(f"{summary.samples:,}" + (f", {lost:,} lost" if lost else ""))),
        ("uuid", Text(summary.mig_uuid or summary.uuid)),
    ]  # fmt: skip
    return [Text().append(f" {name:<16}", palette.DIM).append_text(value) for name, value in pairs]


def _values(view: GpuView, width: int) -> list[Text]:
    result = [Text(" Every value, or why it is missing", style=f"bold {palette.BRIGHT}")]
    unavailable = dict(view.summary.unavailable)
    for field, label, write in FIELDS:
        value = getattr(view.summary, field)
        reason = unavailable.pop(field, "") or REASONS.get(field, NOT_RECORDED)
        if value is None:
            result += _missing(label, reason, width)
            continue
        text = Text(f" {label:<{NAME_WIDTH}}", style=palette.DIM)
        result.append(text.append(f"{write(value):>{VALUE_WIDTH}}", style=palette.TEXT))
    for metric, reason in unavailable.items():
        result += _missing(metric, reason, width)
    return result


def _missing(label: str, reason: str, width: int) -> list[Text]:
    """A dash and the reason, wrapped under itself: a cut reason would be no reason."""
    indent = NAME_WIDTH + VALUE_WIDTH + 3
    text = Text(f" {label:<{NAME_WIDTH}}", style=palette.DIM)
    text.append(f"{MISSING:>{VALUE_WIDTH}}", style=palette.FAINT)
    if width < indent + LEAST_REASON_WIDTH:
        return [text, *_indented(textwrap.wrap(reason, max(10, width - 4)), 4)]
    wrapped = textwrap.wrap(reason, width - indent)
    text.append(f"  {wrapped[0]}", style=palette.WARNING)
    return [text, *_indented(wrapped[1:], indent)]


def _indented(lines: list[str], indent: int) -> list[Text]:
    return [Text(" " * indent + line, style=palette.WARNING) for line in lines]
