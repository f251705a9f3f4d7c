"""Summaries as text for people: shared by ``summary``, ``demo --headless`` and ``top --once``.

Fits 80 columns; plain where stdout is no terminal or NO_COLOR is set; pure ASCII bars where the
terminal's encoding is not UTF-8. Nothing here computes: it prints what analysis said.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TextIO

from rich.console import Console
from rich.text import Text

from gnomon.analysis.budget_types import Budget, budget_text
from gnomon.analysis.summary_types import (
    ComputeLedger,
    GpuSummary,
    MemoryLedger,
    clock_note,
    doubt,
)
from gnomon.cli import ledger_bar
from gnomon.cli.numbers import UNKNOWN, gib, pct, rate, scaled, span, whole
from gnomon.recording.base import Meta, SkippedSegment

WIDTH = 80
LABEL_WIDTH = 14
INDENT = 2
HANG = 2
COMPUTE_TITLE = "Where 100 % of the compute peak went"
MEMORY_TITLE = "Where 100 % of the DRAM bandwidth went"


def console(file: TextIO | None = None, *, stderr: bool = False) -> Console:
    """Return a console of at most 100 columns, so that text stays readable on wide screens."""
    made = Console(file=file, stderr=stderr, highlight=False, emoji=False, markup=False)
    if not made.is_terminal:
        made.width = WIDTH
    made.width = min(made.width, 100)
    return made


def print_summaries(
    summaries: Sequence[GpuSummary], meta: Meta, out: Console, *, split: bool = False
) -> None:
    """Print every summary: in full, or with ``split`` as one short block a phase or period."""
    width = out.width - 2 * INDENT
    ascii_only = not out.encoding.lower().startswith("utf")
    for of_gpu in _by_gpu(summaries):
        out.print(heading(of_gpu[0], meta))
        for summary in of_gpu:
            block = short if split else full
            for line in block(summary, width, ascii_only=ascii_only):
                _print_line(line, width, out)
            out.print()


def _by_gpu(summaries: Iterable[GpuSummary]) -> Iterable[list[GpuSummary]]:
    groups: dict[tuple[str, str | None], list[GpuSummary]] = {}
    for summary in summaries:
        groups.setdefault((summary.uuid, summary.mig_uuid), []).append(summary)
    return groups.values()


def _print_line(line: Text, width: int, out: Console) -> None:
    """Print with our indent, the rest of a long line further in; no blanks at the line's end."""
    fits = line.cell_len <= width
    for number, piece in enumerate(line.wrap(out, width if fits else width - HANG) or [line]):
        piece.rstrip()
        indent = INDENT + (HANG if number else 0)
        out.print(Text(" " * indent) + piece if piece else "")


def print_skipped(skipped: Iterable[SkippedSegment], out: Console) -> None:
    """Name every file that could not be read: what is missing must not look like silence."""
    for segment in skipped:
        out.print(Text(f"skipped {segment.path}: {segment.reason}", style="yellow"))


def heading(summary: GpuSummary, meta: Meta) -> Text:
    index = meta.gpus.get(summary.uuid, {}).get("index")
    name = "GPU" if index is None else f"GPU {index}"
    text = Text(f"{name}  {summary.name}  ", style="bold")
    text.append(summary.mig_uuid or summary.uuid, style="dim")
    return text


def full(summary: GpuSummary, width: int, *, ascii_only: bool) -> list[Text]:
    """Everything that is known of one GPU and window; the verdict first."""
    return [
        _when(summary),
        Text(),
        Text(summary.verdict, style="bold"),
        *(Text(f"warning: {warning}", style="yellow") for warning in summary.warnings),
        Text(),
        *_busy_beside_sol(summary),
        *_ledger(COMPUTE_TITLE, summary.ledger, width, ascii_only=ascii_only),
        *_ledger(MEMORY_TITLE, summary.memory_ledger, width, ascii_only=ascii_only),
        Text(),
        *_facts(summary),
        *_unavailable(summary.unavailable),
    ]


def short(summary: GpuSummary, width: int, *, ascii_only: bool) -> list[Text]:
    """Four lines: what and when, the numbers, the bar, the verdict."""
    numbers = (
        f"busy {pct(summary.busy_pct)}   compute SOL {_compute_sol(summary)}   "
        f"memory SOL {pct(summary.memory_sol_pct)}   {whole(summary.power_watts, 'W')}"
    )
    name = f"{summary.phase}  " if summary.phase else ""
    first = Text(name, style="bold").append(
        span(summary.from_ns, summary.to_ns), style="not bold dim"
    )
    drawn = ledger_bar.bar(summary.ledger, width, ascii_only=ascii_only)
    lines = [first, Text(numbers)]
    if drawn:
        lines.append(drawn)
    lines.append(Text(summary.verdict, style="italic"))
    if summary.budget is not None:
        lines.append(Text(budget_text(summary.budget)))
    lines += [Text(f"warning: {warning}", style="yellow") for warning in summary.warnings]
    return lines


def _when(summary: GpuSummary) -> Text:
    count = f"{summary.samples:,} sample{'' if summary.samples == 1 else 's'}"
    phase = f", phase {summary.phase}" if summary.phase else ""
    return Text(f"{span(summary.from_ns, summary.to_ns)}, {count}{phase}", style="dim")


def _fact(label: str, value: str, remark: str = "") -> Text:
    text = Text(f"{label:<{LABEL_WIDTH}}")
    text.append(value)
    if remark:
        text.append(f"  {remark}", style="dim")
    return text


def _compute_sol(summary: GpuSummary) -> str:
    return doubt(summary) + pct(summary.compute_sol_pct)


def _busy_beside_sol(summary: GpuSummary) -> list[Text]:
    compute = []
    if summary.pipe is not None:
        compute.append(f"{summary.pipe} pipe active {pct(summary.pipe_active_pct)} of cycles")
    if summary.tflops is not None:
        compute.append(f"{summary.tflops:,.1f} TFLOP/s")
    return [
        _fact("busy", f"{pct(summary.busy_pct):>8}", "what nvidia-smi shows"),
        _fact("compute SOL", f"{_compute_sol(summary):>8}", ", ".join(compute)),
        _fact("memory SOL", f"{pct(summary.memory_sol_pct):>8}", rate(summary.dram_bytes_per_s)),
        *([] if summary.budget is None else _budget(summary, summary.budget)),
    ]


def _budget(summary: GpuSummary, budget: Budget) -> list[Text]:
    tokens = f"{budget.attainable_tokens_per_s:,.0f} tokens/s"
    if summary.tokens_per_s is not None:
        tokens = f"{summary.tokens_per_s:,.0f} of {tokens}"
    on = "" if budget.gpus == 1 else f" on {budget.gpus} GPUs"
    other = budget.memory if budget.binding is budget.compute else budget.compute
    return [
        _fact("ceiling", budget_text(budget), f"and {other.name} {other.attainable_pct:.0f} %"),
        _fact("", tokens, f"{budget.model}{on}, {budget.constants} constants"),
        _fact("", budget.traffic),
    ]


def _ledger(
    title: str, ledger: ComputeLedger | MemoryLedger, width: int, *, ascii_only: bool
) -> list[Text]:
    drawn = ledger_bar.bar(ledger, width, ascii_only=ascii_only)
    if not drawn:
        return [Text(), Text(f"{title}: not known")]
    return [Text(), Text(title), drawn, *ledger_bar.lines(ledger, ascii_only=ascii_only)]


def _facts(summary: GpuSummary) -> list[Text]:
    reference = whole(summary.reference_clock_mhz, "MHz")
    source = f"from {summary.sm_clock_source}" if summary.sm_clock_source else ""
    if note := clock_note(summary):
        source += f": {note}"
    power = f"{whole(summary.power_watts, 'W')} of {whole(summary.power_limit_watts, 'W')}"
    per_watt = summary.tflops_per_watt
    efficiency = [] if per_watt is None else [f"{per_watt:.2f} TFLOP/s per W"]
    if summary.temperature_celsius is not None:
        efficiency.append(f"{summary.temperature_celsius:.0f} C")
    facts = [
        _fact("SM clock", f"{whole(summary.sm_clock_mhz, 'MHz')} of {reference}", source),
        _fact("memory clock", whole(summary.memory_clock_mhz, "MHz")),
        _fact("throttled by", _throttled_by(summary)),
        _fact("power", power, ", ".join([scaled(summary.energy_joules, "J"), *efficiency])),
        _fact("VRAM", f"{gib(summary.vram_used_bytes)} of {gib(summary.vram_total_bytes)}"),
        _link(
            "PCIe",
            summary.pcie_rx_bytes_per_s,
            summary.pcie_tx_bytes_per_s,
            summary.pcie_sol_pct,
        ),
        _link(
            "NVLink",
            summary.nvlink_rx_bytes_per_s,
            summary.nvlink_tx_bytes_per_s,
            summary.nvlink_sol_pct,
        ),
        _fact(
            "host CPU",
            pct(summary.cpu_pct),
            f"busiest thread {pct(summary.busiest_thread_cpu_pct)} of a core",
        ),
    ]
    lost = summary.losses.get("samples_lost", 0)
    if lost:
        facts.append(_fact("lost", f"{lost:,} samples, which are part of no number here"))
    return facts


def _throttled_by(summary: GpuSummary) -> str:
    if summary.throttle_reasons:
        return ", ".join(summary.throttle_reasons)
    return UNKNOWN if "throttle_reasons" in summary.unavailable else "nothing"


def _link(label: str, received: float | None, sent: float | None, sol_pct: float | None) -> Text:
    if received is None and sent is None:
        return _fact(label, UNKNOWN)
    share = "" if sol_pct is None else f"{pct(sol_pct)} of its line rate"
    return _fact(label, f"in {rate(received)}, out {rate(sent)}", share)


def _unavailable(unavailable: Mapping[str, str]) -> list[Text]:
    """One line a reason, with all the metrics that share it."""
    by_reason: dict[str, list[str]] = {}
    for metric, reason in unavailable.items():
        by_reason.setdefault(reason, []).append(metric)
    if not by_reason:
        return []
    reasons = (
        Text(", ".join(metrics)).append(f": {reason}", style="dim")
        for reason, metrics in by_reason.items()
    )
    return [Text(), Text("Not measured"), *reasons]


def json_document(summaries: Iterable[GpuSummary]) -> dict[str, Any]:
    """Return the document of ``gnomon summary --json``; programs rely on its shape."""
    return {"schema": 1, "gpus": [summary.to_json() for summary in summaries]}
