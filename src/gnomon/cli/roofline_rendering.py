"""What ``gnomon roofline`` prints: the plot, its legend, and the points as tables on request.

Plot and legend together fill one screen of 80 x 24 in all but crowded cases. Nothing is computed
here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from gnomon.analysis.roofline_types import (
    DATASHEET,
    MEASURED_CLOCK,
    STEP_MARK,
    SUSTAINED,
    MeasuredPoint,
    OperatorPoint,
    Roof,
    Roofline,
)
from gnomon.cli import roofline_plot
from gnomon.cli.numbers import pct, scaled
from gnomon.cli.roofline_plot import Drawing, Point

SCREEN_LINES = 24
LEAST_PLOT_LINES = 11
MOST_PLOT_LINES = 32
HANG = "  "


def print_roofline(picture: Roofline, out: Console, *, has_tables: bool = False) -> None:
    """Print the plot with its legend, then ``has_tables`` every point with its numbers."""
    ascii_only = not out.encoding.lower().startswith("utf")
    screen = out.height if out.is_terminal else SCREEN_LINES

    def drawn(height: int) -> tuple[Drawing, list[Text]]:
        drawing = roofline_plot.draw(picture, out.width, height, ascii_only=ascii_only)
        return drawing, _legend(picture, drawing, out.width, ascii_only=ascii_only)

    # Which points share a cell, and so the legend's length, depends on the height a little.
    _, sketched = drawn(LEAST_PLOT_LINES)
    height = screen - len(sketched) - 2
    drawing, legend = drawn(min(max(height, LEAST_PLOT_LINES), MOST_PLOT_LINES))
    for line in (Text(title(picture), style="bold"), *drawing.lines, *legend):
        line.rstrip()
        out.print(line, no_wrap=True, overflow="ellipsis")
    if has_tables:
        _print_tables(picture, out)


def title(picture: Roofline) -> str:
    """Return the heading: the GPU and, with a model, what it runs."""
    runs = ""
    if picture.model is not None and picture.answer is not None:
        runs = f": {picture.model.name}, {picture.answer.phase}"
    return f"FLOP/s of one {picture.gpu.name}{runs}"


def _legend(picture: Roofline, drawing: Drawing, width: int, *, ascii_only: bool) -> list[Text]:
    lines = _flow("roofs:", _listed(_roofs(picture, ascii_only=ascii_only)), width)
    lines += _flow("ridge:", _listed(map(Text, ridges(picture))), width)
    groups = list(drawing.cells.values())
    if picture.step is not None:
        lines += _flow(STEP_MARK, _listed(map(Text, _step(picture.step))), width)
        lines += _flow("operators:", _entries(map(_operators, groups)), width)
    if picture.measured.points:
        remark = Text(f"({counted_as(picture)})", style="dim")
        lines += _flow("measured:", [*_entries(map(_measured, groups)), remark], width)
    if picture.measured.left_out:
        lines += _flow("no point:", _listed(map(Text, _left_out(picture))), width)
    if picture.typical:
        lines += _flow(typical_of(picture), _listed(map(Text, typical(picture))), width)
    for warning in picture.warnings:
        lines += _flow("warning:", map(Text, warning.split()), width)
    return lines


def _listed(entries: Iterable[Text]) -> list[Text]:
    """Return entries with a comma after each but the last."""
    *most, last = entries
    return [*(entry.append(",") for entry in most), last]


def _flow(label: str, entries: Iterable[Text], width: int) -> list[Text]:
    """Return a label and entries one after the other, a new line where one does not fit whole."""
    lines = [Text.assemble((label, "dim"))]
    for entry in entries:
        if lines[-1].cell_len + 1 + entry.cell_len < width:
            lines[-1].append(" ")
        else:
            lines.append(Text(HANG))
        lines[-1].append_text(entry)
    return lines


def _roofs(picture: Roofline, *, ascii_only: bool) -> Iterator[Text]:
    kinds = {roof.kind for roof in picture.roofs}
    names = {
        DATASHEET: "datasheet",
        SUSTAINED: "sustained (calibrated)",
        MEASURED_CLOCK: f"at the measured clock{_clock(picture)}",
    }
    for kind, name in names.items():
        if kind in kinds:
            look = roofline_plot.LOOKS[kind]
            sign = Text(look.ascii_sign if ascii_only else look.sign, style=look.colour)
            yield Text.assemble(sign, f" {name}")


def _clock(picture: Roofline) -> str:
    clock = picture.measured.clock
    if clock is None:
        return ""
    doubt = ", reads high on tensor work" if clock.is_at_most else ""
    return f", {clock.mhz:,.0f} MHz ({', '.join(clock.sources)}{doubt})"


def ridges(picture: Roofline) -> list[str]:
    """Return for each dtype its ridge by the datasheet, sustained, and at the measured clock."""
    found: dict[str, dict[str, Roof]] = {}
    for roof in picture.roofs:
        found.setdefault(roof.dtype, {})[roof.kind] = roof
    return [f"{dtype} {_ridge(roofs)}" for dtype, roofs in found.items()]


def _ridge(roofs: Mapping[str, Roof]) -> str:
    parts = [f"{_intensity(roofs[DATASHEET].ridge_flop_per_byte)} FLOP/byte by the datasheet"]
    if SUSTAINED in roofs:
        parts.append(f"{_intensity(roofs[SUSTAINED].ridge_flop_per_byte)} sustained")
    at_clock = roofs.get(MEASURED_CLOCK)
    if at_clock is not None:
        parts.append(
            f"{_intensity(at_clock.ridge_flop_per_byte)} at {at_clock.sm_clock_mhz:,.0f} MHz"
        )
    return " / ".join(parts)


def _step(step: OperatorPoint) -> list[str]:
    return [
        f"whole {step.name}",
        f"{_intensity(step.flop_per_byte)} FLOP/byte",
        f"{scaled(step.flops_per_s, 'FLOP/s')} attainable",
        f"bound by {step.bound_by}",
    ]


def _operators(points: Iterable[Point]) -> list[Point]:
    return [one for one in points if isinstance(one, OperatorPoint) and one.mark != STEP_MARK]


def _measured(points: Iterable[Point]) -> list[Point]:
    return [one for one in points if isinstance(one, MeasuredPoint)]


def _entries(groups: Iterable[Sequence[Point]]) -> list[Text]:
    """Return ``a mlp_gate_up,``, ``bc mlp_down`` and ``= lm_head``: a place is one entry."""
    entries: list[Text] = []
    for group in sorted((group for group in groups if group), key=lambda group: group[0].mark):
        if entries:
            entries[-1].append(",")
        first, *others = dict.fromkeys(one.name for one in group)
        marks = "".join(dict.fromkeys(one.mark for one in group))
        entries.append(Text.assemble((marks, "bold"), f" {first}"))
        entries += [Text(f"= {name}") for name in others]
    return entries


def _left_out(picture: Roofline) -> list[str]:
    names: dict[str, list[str]] = {}
    for one in picture.measured.left_out:
        names.setdefault(one.reason, []).append(one.name)
    return [f"{', '.join(dict.fromkeys(shared))} ({reason})" for reason, shared in names.items()]


def counted_as(picture: Roofline) -> str:
    """Return in which dtype measured work is counted: counters do not tell it."""
    dtypes = dict.fromkeys(one.dtype for one in picture.measured.points)
    return f"counted as {', '.join(dtypes)}"


def typical_of(picture: Roofline) -> str:
    """Return what ``typical`` is of."""
    return f"typical {picture.typical[0].phase}, as published:"


def typical(picture: Roofline) -> list[str]:
    """Return what others published of this phase, by metric and size of model."""
    found: list[str] = []
    metric = ""
    for band in picture.typical:
        named = "" if band.metric == metric else f"{band.metric.upper()} "
        found.append(f"{named}{_band(band.low_pct, band.high_pct)} ({band.size})")
        metric = band.metric
    return found


def _intensity(flop_per_byte: float) -> str:
    return f"{flop_per_byte:,.0f}" if flop_per_byte >= 100 else f"{flop_per_byte:.3g}"


def _band(low_pct: float, high_pct: float) -> str:
    low, high = f"{low_pct:.3g}", f"{high_pct:.3g}"
    return f"{low} %" if low == high else f"{low} to {high} %"


def _print_tables(picture: Roofline, out: Console) -> None:
    if picture.operators:
        _print_operators(picture, out)
    if picture.measured.points:
        _print_measured(picture.measured.points, out)
    for band in picture.typical:
        out.print()
        out.print(f"typical {band.metric.upper()}, {band.phase}, {band.size}")
        for one in band.figures:
            line = f"{_band(one.low_pct, one.high_pct):>12}  {one.workload}: {one.source}"
            out.print(Text(HANG + line))


def _print_operators(picture: Roofline, out: Console) -> None:
    table = _table("", "operator", "dtype", "FLOP/byte", "TFLOP/s", "time", "bound by")
    for one in picture.operators:
        table.add_row(
            one.mark,
            one.name,
            one.dtype,
            _intensity(one.flop_per_byte),
            f"{one.flops_per_s / 1e12:,.1f}",
            pct(one.share_pct),
            one.bound_by,
        )
    for name, share_pct in picture.unplaced.items():
        table.add_row("", name, "", "-", "-", pct(share_pct), "")
    out.print()
    out.print(table)


def _print_measured(points: Sequence[MeasuredPoint], out: Console) -> None:
    table = _table("", "measured", "FLOP/byte", "TFLOP/s", "DRAM GB/s", "of roof", "MHz", "ridge")
    for one in points:
        at_most = "<=" if one.at_most else ""
        table.add_row(
            one.mark,
            one.name,
            f"{at_most}{_intensity(one.flop_per_byte)}",
            f"{at_most}{one.flops_per_s / 1e12:,.1f}",
            f"{one.dram_bytes_per_s / 1e9:,.0f}",
            pct(one.roof_pct),
            "-" if one.sm_clock_mhz is None else f"{one.sm_clock_mhz:,.0f}",
            _intensity(one.ridge_flop_per_byte),
        )
    out.print()
    out.print(table)


def _table(*headings: str) -> Table:
    """Return an empty table: names to the left, numbers to the right."""
    table = Table(box=None, padding=(0, 1, 0, 0), header_style="bold")
    for heading in headings:
        is_text = heading in {"", "operator", "measured", "dtype", "bound by"}
        is_name = heading in {"operator", "measured"}
        table.add_column(
            heading,
            justify="left" if is_text else "right",
            no_wrap=not is_name,
            overflow="fold" if is_name else "ellipsis",
        )
    return table
