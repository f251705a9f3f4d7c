"""Kernels by what they lose, for a terminal: a kernel a line; nothing here computes."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

from gnomon.analysis.kernel_losses import RowSol, label
from gnomon.analysis.kernel_sol_types import GpuKernelSol, KernelSol
from gnomon.analysis.kernel_types import KernelTable
from gnomon.cli.numbers import UNKNOWN, pct, scaled, span
from gnomon.cli.trace_table import short

HEADINGS = ("share", "lost", "calls", "p50", "compute", "memory", "SMs", "+-")
WIDTHS = (7, 7, 7, 8, 8, 7, 7, 4)
INDENT = 10
LEGEND = (
    "share: of the time that was recorded; lost: share x (100 - the larger of compute and memory "
    "SOL); SMs: active; +-: largest standard error, in points"
)


def print_losses(
    table: KernelTable,
    rows: Sequence[RowSol],
    found: Sequence[GpuKernelSol],
    most: int,
    out: Console,
) -> None:
    """Print the rows that lose most, and what the numbers rest on; names are cut at the edge."""
    out.print(Text(span(table.span.from_ns, table.span.to_ns), style="dim"))
    out.print(Text(_line([*HEADINGS, str(table.by)]), style="bold"))
    for one in rows[:most]:
        for line in (Text(_line(_cells(one))), Text(_sentence(one), style="dim")):
            out.print(line, no_wrap=True, overflow="ellipsis", crop=True)
    if len(rows) > most:
        out.print(Text(f"and {len(rows) - most:,} more (--limit)", style="dim"))
    for gpu in found:
        for copy in (one for one in gpu.kernels if not one.key.is_kernel):
            out.print(Text(_copy(copy), style="dim"))
    out.print(Text(LEGEND, style="dim"))
    for gpu in found:
        out.print(Text(rests_on(gpu), style="dim"))
        for warning in gpu.warnings:
            out.print(Text(f"{gpu.gpu_uuid}: {warning}", style="yellow"))


def rests_on(gpu: GpuKernelSol) -> str:
    """Return what a GPU's numbers rest on: samples, and how the clocks were aligned."""
    if gpu.unavailable:
        return f"{gpu.gpu_uuid}: {gpu.unavailable}"
    offset = gpu.offset
    aligned = (
        f"kernels moved by {offset.offset_ns / 1e3:+.1f} us (+- {offset.uncertainty_ns / 1e3:.1f})"
    )
    if offset.correlation is not None:
        aligned += f", correlation {offset.correlation:.3f}"
    return f"{gpu.gpu_uuid}: {gpu.samples:,} samples of {short(gpu.sample_ns)}, {aligned}"


def _cells(one: RowSol) -> Sequence[str]:
    row, sol = one.row, one.sol
    return (
        pct(row.share_pct),
        pct(one.lost_pct),
        scaled(row.count, "").strip(),
        short(row.p50_ns),
        *(pct(value) for value in _shares(sol)),
        _error(sol),
        _plain(label(row)),
    )


def _sentence(one: RowSol) -> str:
    verdict = "no counters were sampled" if one.sol is None else one.sol.verdict
    return " " * INDENT + _plain(verdict)


def _shares(sol: KernelSol | None) -> Sequence[float | None]:
    if sol is None:
        return None, None, None
    return sol.compute_sol_pct, sol.memory_sol_pct, sol.values_pct.get("sm_active_pct")


def _error(sol: KernelSol | None) -> str:
    errors = [sol.errors_pct[name] for name in sol.values_pct] if sol is not None else []
    return f"{max(errors):.1f}" if errors else UNKNOWN


def _copy(copy: KernelSol) -> str:
    return f"{copy.key.name}: {copy.calls:,} in {short(copy.time_ns)}, {copy.verdict}"


def _plain(name: str) -> str:
    """A name that a program chose, without what would move the cursor."""
    return "".join(letter if letter.isprintable() else "?" for letter in name)


def _line(cells: Sequence[str]) -> str:
    *numbers, last = cells
    aligned = [f"{cell:>{width}}" for cell, width in zip(numbers, WIDTHS, strict=True)]
    return " ".join([*aligned, last])
