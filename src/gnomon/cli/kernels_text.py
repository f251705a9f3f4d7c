"""The table of kernels for a terminal: a kernel a line; nothing here computes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from rich.console import Console
from rich.text import Text

from gnomon.analysis.kernel_types import By, Dimensions, KernelRow, KernelTable
from gnomon.cli.numbers import UNKNOWN, pct, scaled, span
from gnomon.cli.trace_table import short

MOST_ROWS = 30
# Columns before the kernel's name, with their widths.
COLUMNS = {
    "share": 7,
    "total": 8,
    "calls": 6,
    "p50": 7,
    "p99": 7,
    "max": 7,
    "slow calls": 11,
    "gap": 7,
    "occupancy": 9,
    "tail": 5,
}
# What a narrow terminal goes without, first to last, until a name has this room.
DISPENSABLE = ("p99", "tail", "total", "occupancy", "gap")
LEAST_NAME = 28
# What keeps more warps of a kernel from an SM, in the room of a letter.
LIMITERS = {"warps": "w", "blocks": "b", "registers": "r", "shared_memory": "s", "grid": "g"}
LEGEND = (
    "share: of the time that was recorded; slow calls: how many, and how many times as long as "
    "usual; gap: mean time for which the GPU had no kernel before it; occupancy: limited by "
    "w(arps), b(locks), r(egisters), s(hared memory), g(rid); tail: of the last wave, empty"
)


def print_kernels(table: KernelTable, most: int, out: Console) -> None:
    """Print the first rows of a table: what a terminal is too narrow for is left out."""
    columns = _columns(out.width) if out.is_terminal else tuple(COLUMNS)
    headings = {name: name for name in COLUMNS}
    for told in _headlines(table):
        out.print(Text(told, style="dim"))
    out.print(Text(_line(columns, headings, str(table.by)), style="bold"), soft_wrap=True)
    for row in table.rows[:most]:
        line = Text(_line(columns, _cells(row), _name(row, table.by)), style=_style(row))
        if out.is_terminal:
            line.truncate(out.width, overflow="ellipsis")
        out.print(line, soft_wrap=True)
    if len(table.rows) > most:
        out.print(Text(f"and {len(table.rows) - most:,} more (--limit)", style="dim"))
    out.print(Text(LEGEND, style="dim"))


def _columns(width: int) -> Sequence[str]:
    """Return the columns that leave room for a name."""
    kept = dict(COLUMNS)
    for name in DISPENSABLE:
        if sum(kept.values()) + len(kept) + LEAST_NAME > width:
            del kept[name]
    return tuple(kept)


def _headlines(table: KernelTable) -> Iterator[str]:
    yield span(table.span.from_ns, table.span.to_ns)
    many = sum(one.kernels for one in table.gpus)
    covered_ns = max(one.covered_ns for one in table.gpus)
    how = f"recorded for {short(covered_ns)}" if table.is_windowed else "windows not known"
    busy = ", ".join(pct(one.busy_pct) for one in table.gpus)
    yield f"{many:,} kernels, {how}; a kernel ran {busy} of that"
    if table.dropped:
        yield f"{table.dropped:,} operations were lost: no room for their records"


def _cells(row: KernelRow) -> Mapping[str, str]:
    return {
        "share": pct(row.share_pct),
        "total": short(row.total_ns),
        "calls": scaled(row.count, "").strip(),
        "p50": short(row.p50_ns),
        "p99": short(row.p99_ns),
        "max": short(row.max_ns),
        "slow calls": _slow(row),
        "gap": short(row.gap_on_gpu_ns),
        "occupancy": _occupancy(row),
        "tail": UNKNOWN if row.tail_pct is None else f"{row.tail_pct:.0f} %",
    }


def _name(row: KernelRow, by: By) -> str:
    name = _plain(row.short_name)
    if by is By.SHAPE:
        return f"{_launch(row.grid, row.block)} {name}"
    return f"{name} ({row.shapes} shapes)" if row.shapes > 1 else name


def _launch(grid: Dimensions | None, block: Dimensions | None) -> str:
    if grid is None or block is None:
        return "<<<?>>>"
    return f"<<<{'x'.join(map(str, grid))}, {'x'.join(map(str, block))}>>>"


def _slow(row: KernelRow) -> str:
    if row.outliers is None:
        return UNKNOWN
    if not row.outliers or row.outlier_times is None:
        return "0"
    return f"{scaled(row.outliers, '').strip()} x {row.outlier_times:.3g}"


def _occupancy(row: KernelRow) -> str:
    if row.occupancy_pct is None:
        return UNKNOWN
    letter = LIMITERS[row.occupancy_limiter] if row.occupancy_limiter else " "
    return f"{row.occupancy_pct:.0f} % {letter}"


def _style(row: KernelRow) -> str:
    """A row that lost much of its time to slow calls is worth the eye."""
    excess_ns = row.outlier_excess_ns or 0
    return "yellow" if excess_ns > 0.1 * row.total_ns else ""


def _plain(name: str) -> str:
    """A name that a program chose, without what would move the cursor."""
    return "".join(letter if letter.isprintable() else "?" for letter in name)


def _line(columns: Sequence[str], cells: Mapping[str, str], name: str) -> str:
    return " ".join([*(f"{cells[one]:>{COLUMNS[one]}}" for one in columns), name])
