"""What the screens of ``gnomon ceiling`` are made of: lines, tables, bars and numbers."""

from __future__ import annotations

import textwrap
from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import zip_longest

from rich.console import Console
from rich.text import Text

from gnomon.cli.numbers import UNKNOWN, duration, scaled
from gnomon.performance_model.constants import Constants
from gnomon.performance_model.phases import Decode, Lora, MicroStep, Phase, Prefill, Serve
from gnomon.performance_model.report import age_s, stored_as
from gnomon.performance_model.workload import Workload

INDENT = 2
LABEL_WIDTH = 14
VALUE_WIDTH = 10
FACT_HANG = LABEL_WIDTH + VALUE_WIDTH + 3
SHORTEST_CELL = 12
MOST_WARNINGS = 5
NS_PER_S = 1_000_000_000
NS_PER_DAY = 86_400 * NS_PER_S


def print_heading(workload: Workload, out: Console) -> None:
    """Print the model, the GPUs it lies on, and its traffic and formats."""
    layout = workload.layout
    split = ", ".join(
        f"{name.upper()} {ranks}"
        for name in ("tp", "pp", "ep", "dp")
        if (ranks := getattr(layout, name)) > 1
    )
    _print_title(f"on {layout.gpus} x {workload.gpu.name}  {split}".rstrip(), workload, out)


def print_model(workload: Workload, out: Console) -> None:
    """Print the model with its traffic and formats, without the GPU."""
    _print_title("", workload, out)


def _print_title(where: str, workload: Workload, out: Console) -> None:
    title = Text(workload.architecture.name, style="bold")
    out.print(title.append(f"  {where}" if where else "", style="not bold"))
    print_lines([Text(f"{traffic_text(workload.phase)}; {_formats(workload)}", "dim")], out)


def traffic_text(phase: Phase) -> str:
    if isinstance(phase, Prefill):
        return f"prefill of {phase.batch:,} x {phase.prompt:,} tokens{_prefix(phase)}"
    if isinstance(phase, Decode):
        return f"decode of {phase.batch:,} sequences at a context of {phase.context:,}"
    if isinstance(phase, Serve):
        return (
            f"serve, {phase.batch:,} running, {phase.prompt:,} tokens in, {phase.output:,} out"
            f"{_prefix(phase)}"
        )
    adapters = f", rank {phase.rank}" if isinstance(phase, Lora) else ""
    sizes = f"{phase.batch:,} x {phase.longest:,} tokens"
    return f"{phase.name} on {sizes}{adapters}"


def _prefix(phase: Prefill | Serve) -> str:
    return f" after {phase.cached_prefix:,} cached" if phase.cached_prefix else ""


def _formats(workload: Workload) -> str:
    stored = stored_as(workload)
    names = dict.fromkeys(stored[part] for part in ("experts", "feed_forward", "attention"))
    engine = "" if workload.execution.is_attention_fused else ", unfused attention"
    engine += ", eager" if workload.request.is_eager else ""
    is_training = isinstance(workload.phase, MicroStep)
    cache = "" if is_training else f", {workload.execution.kv_dtype} cache"
    return f"{' and '.join(names)} weights{cache}{engine}"


def print_lines(lines: Iterable[Text], out: Console, hang: int = 2) -> None:
    """Print a block, indented; the rest of a line that is too long goes on, ``hang`` further in."""
    for line in lines:
        first, *rest = line.wrap(out, out.width - INDENT) or [line]
        out.print(Text(" " * INDENT) + _stripped(first))
        if rest:
            left = line[len(first.plain) :]
            left.plain = left.plain.strip()
            for piece in left.wrap(out, out.width - INDENT - hang):
                out.print(Text(" " * (INDENT + hang)) + _stripped(piece))
    out.print()


def _stripped(line: Text) -> Text:
    line.rstrip()
    return line


def print_warnings(warnings: Collection[str], out: Console) -> None:
    """Print each warning once; of a long list (a sweep's) the first, and how many more."""
    distinct = list(dict.fromkeys(warnings))
    for warning in distinct[:MOST_WARNINGS]:
        print_lines([Text(f"warning: {warning}", style="yellow")], out)
    if len(distinct) > MOST_WARNINGS:
        more = f"and {len(distinct) - MOST_WARNINGS} more warnings: --json has all"
        print_lines([Text(more, style="yellow")], out)


def constants_text(constants: Constants, now_ns: int) -> str:
    """Say whose kernels the figures rest on and, where a device was measured, how long ago."""
    if constants.created_ns is None:
        return (
            "Default constants: the best public kernels on H100 and H200. `gnomon calibrate` "
            "measures a device's own."
        )
    what = "Calibrated on" if constants.source == "calibrated" else "Default constants: those of"
    device = f"{constants.gpu_name or 'a device'} {constants.gpu_uuid or ''}".rstrip()
    age = _ago(int((age_s(constants, now_ns) or 0.0) * NS_PER_S))
    return f"{what} {device}, driver {constants.driver or UNKNOWN}, {age}."


def _ago(age_ns: int) -> str:
    days = age_ns // NS_PER_DAY
    return f"{days} days ago" if days >= 2 else f"{duration(age_ns)} ago"


def print_constants(constants: Constants, now_ns: int, out: Console) -> None:
    print_lines([Text(constants_text(constants, now_ns), "dim")], out)


def fact(label: str, value: str, remark: str) -> Text:
    text = Text(f"{label:<{LABEL_WIDTH}} {value:>{VALUE_WIDTH}}  ")
    return text.append(remark, style="dim")


class Table:
    """Rows of text under names; a name that ends in ``>`` is of numbers, aligned to the right.

    Columns in which nothing is known are left out. Not rich's table, which takes 15 s for the
    10,000 points of a sweep.
    """

    def __init__(self, *columns: str) -> None:
        self._columns = columns
        self._rows: list[tuple[str, ...]] = []

    def add_row(self, *cells: str) -> None:
        """Add a row with a cell for each column."""
        self._rows.append(cells)

    def lines(self, width: int) -> Iterator[str]:
        """Yield the lines. In too wide a table the last cell goes on below, or else the first."""
        known = [
            (name, *cells)
            for name, *cells in zip(self._columns, *self._rows, strict=True)
            if set(cells) != {UNKNOWN}
        ]
        is_right = [name.endswith(">") for name, *_ in known]
        columns = [(name.removesuffix(">"), *cells) for name, *cells in known]
        widths = _fitted([max(map(len, column)) for column in columns], width)
        for row in zip(*columns, strict=True):
            first, last = _wrapped(row[0], widths[0]), _wrapped(row[-1], widths[-1])
            yield _line((first[0], *row[1:-1], last[0]), widths, is_right)
            for one, other in zip_longest(first[1:], last[1:], fillvalue=""):
                yield _line((one, *[""] * (len(row) - 2), other), widths, is_right)


def _fitted(widths: list[int], width: int) -> list[int]:
    """Return the widths of columns, the last or else the first narrowed by what is too much."""
    start = sum(widths[:-1]) + len(widths) - 1
    excess = max(0, start + widths[-1] - width)
    if width - start >= SHORTEST_CELL:
        return [*widths[:-1], widths[-1] - excess]
    return [max(min(SHORTEST_CELL, widths[0]), widths[0] - excess), *widths[1:]]


def _line(cells: Sequence[str], widths: Sequence[int], is_right: Sequence[bool]) -> str:
    return " ".join(
        f"{cell:>{size}}" if right else f"{cell:<{size}}"
        for cell, size, right in zip(cells, widths, is_right, strict=True)
    ).rstrip()


def _wrapped(cell: str, width: int) -> list[str]:
    """Return the lines of a cell, broken at blanks and hyphens, or in names at underscores."""
    if "_" not in cell:
        return textwrap.wrap(cell, width) or [""]
    pieces = textwrap.wrap(cell.replace("-", "\0").replace("_", "-"), width)
    return [piece.replace("-", "_").replace("\0", "-") for piece in pieces]


def print_table(title: str, table: Table, out: Console) -> None:
    """Print a table under its title."""
    out.print(Text(title, style="bold"))
    lines = (" " * INDENT + line for line in table.lines(out.width - INDENT))
    out.out("\n".join(lines), highlight=False)
    out.print()


def bar(share: float, width: int, *, ascii_only: bool) -> str:
    sign = "#" if ascii_only else "█"
    return f"{sign * round(min(1.0, share) * width):<{width}}"


def yes(fits: bool | None) -> str:  # noqa: FBT001  a cell of a table
    return UNKNOWN if fits is None else "yes" if fits else "no"


def count(value: float) -> str:
    if value >= 1e6:
        return f"{value / 1e6:,.3g} M"
    return f"{value:,.0f}" if value >= 100 else f"{value:,.3g}"


def amount(value: float) -> str:
    return scaled(value, "").strip() if value else UNKNOWN


def time_text(seconds: float | None) -> str:
    """``14.2 ms``: three digits, in the unit that needs no zeros."""
    if seconds is None:
        return UNKNOWN
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if seconds >= size:
            return f"{seconds / size:,.3g} {unit}"
    return f"{seconds * 1e9:.3g} ns"
