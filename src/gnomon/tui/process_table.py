"""The processes on the GPUs as a table, sorted by what the user asks for. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rich.text import Text

from gnomon.analysis.processes import ProcessRow
from gnomon.tui import palette
from gnomon.tui.figures import MISSING, gib, pct
from gnomon.tui.snapshot import Snapshot

THREAD_FROM_WIDTH = 100


@dataclass(frozen=True, slots=True)
class Sort:
    """An order of the table: largest first, what was not measured last."""

    name: str
    value: Callable[[ProcessRow], float | None]


SORTS = (
    Sort("VRAM", lambda row: row.vram_used_bytes),
    Sort("SM", lambda row: row.sm_pct),
    Sort("CPU", lambda row: row.cpu_pct),
)


def ordered(rows: Sequence[ProcessRow], sort: Sort) -> list[ProcessRow]:
    def key(row: ProcessRow) -> tuple[float, int]:
        value = sort.value(row)
        return (-value if value is not None else float("inf"), row.pid)

    return sorted(rows, key=key)


def table(snapshot: Snapshot, sort: Sort, width: int) -> list[Text]:
    """Return a heading and one line a process; a sentence where there is none."""
    if not snapshot.processes:
        return [Text(f" {_nobody(snapshot)}", style=palette.DIM)]
    labels = {view.summary.uuid: view.label for view in snapshot.gpus}
    rows = ordered(snapshot.processes, sort)
    lines = [_heading(sort, width)]
    lines += [_line(row, labels.get(row.gpu_uuid, "?"), width) for row in rows]
    for line in lines:
        line.truncate(width, overflow="ellipsis", pad=True)
    lines[0].stylize(f"on {palette.PANEL}")
    return lines


def _nobody(snapshot: Snapshot) -> str:
    missing = snapshot.meta.unavailable if snapshot.meta else ()
    for entry in missing:
        if entry.metric in {"gpu_processes", "processes"}:
            return f"processes: {MISSING}  {entry.reason}"
    return "no process was seen on a GPU in this window"


def _heading(sort: Sort, width: int) -> Text:
    text = Text(style=palette.DIM)
    text.append(" GPU     PID user      ")
    for name, label in (("VRAM", "VRAM GiB"), ("SM", "SM %"), ("CPU", "CPU %")):
        mark = "▼" if sort.name == name else " "
        style = f"bold {palette.BRIGHT}" if sort.name == name else palette.DIM
        text.append(f"{mark}{label}".rjust(10 if name == "VRAM" else 7), style=style)
    if width >= THREAD_FROM_WIDTH:
        text.append("  busiest thread        ")
    text.append("  command")
    return text


def _line(row: ProcessRow, gpu: str, width: int) -> Text:
    text = Text(style=palette.TEXT)
    text.append(f" {gpu:>3}", style=f"bold {palette.BRIGHT}")
    text.append(f"{row.pid:>8} {(row.user or MISSING)[:9]:<10}")
    text.append(f"{gib(row.vram_used_bytes):>10}", style=palette.MEMORY)
    text.append(f"{pct(row.sm_pct, 0):>7}", style=palette.COMPUTE)
    text.append(f"{pct(row.cpu_pct, 0):>7}")
    if width >= THREAD_FROM_WIDTH:
        text.append(f"  {_thread(row):<22}")
    text.append(f"  {row.command_line or row.name or MISSING}")
    if row.container_id:
        text.append(f"  in {row.container_id[:12]}", style=palette.DIM)
    return text


def _thread(row: ProcessRow) -> str:
    if row.busiest_thread_cpu_pct is None:
        return MISSING
    return f"{(row.busiest_thread_name or '?')[:15]} {row.busiest_thread_cpu_pct:.0f} %"
