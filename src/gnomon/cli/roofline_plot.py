"""A roofline in the terminal: both axes logarithmic, roofs in braille, points as marks. Pure.

The dots are those of the screen's charts (``tui/chart.py``). Roofs stay apart without colour: the
datasheet's is joined up, the sustained one dashed, the one at the measured clock dotted.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

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
from gnomon.tui import chart, palette

AXIS_WIDTH = 7
LABEL_WIDTH = 13
LEAST_WIDTH = 20
LEAST_HEIGHT = 5
# The slope is seen over this factor of intensity, the flat part over that.
LEFT_OF_RIDGE = 30.0
RIGHT_OF_RIDGE = 4.0
MARGIN = 1.6

Cell = tuple[str, str]
Point = OperatorPoint | MeasuredPoint


@dataclass(frozen=True, slots=True)
class Look:
    """How a kind of roof is drawn: so many cells on, so many off; its sign and its ASCII sign."""

    on: int
    off: int
    sign: str
    ascii_sign: str
    colour: str


LOOKS: Mapping[str, Look] = {
    MEASURED_CLOCK: Look(1, 2, "· ·", ". .", palette.CLOCK),
    SUSTAINED: Look(3, 2, "╌╌╌", "= =", palette.POWER),
    DATASHEET: Look(1, 0, "───", "---", palette.TEXT),
}
"""By kind; the first of those that share a cell gives it its colour."""


@dataclass(frozen=True, slots=True)
class Frame:
    """What part of the plane is drawn (decimal logarithms) on how many cells."""

    left: float
    right: float
    bottom: float
    top: float
    width: int
    height: int

    def intensity(self, dot: int) -> float:
        """Return the FLOP/byte of a column of dots; there are two to a cell."""
        share = dot / (2 * self.width - 1)
        return float(10 ** (self.left + share * (self.right - self.left)))

    def level(self, flops_per_s: float) -> float:
        """Return the height of FLOP/s: 0 at the bottom, 1 at the top."""
        return (math.log10(flops_per_s) - self.bottom) / (self.top - self.bottom)

    def column(self, flop_per_byte: float) -> int:
        """Return the cell of an intensity."""
        share = (math.log10(flop_per_byte) - self.left) / (self.right - self.left)
        return round(share * (2 * self.width - 1)) // 2

    def row(self, flops_per_s: float) -> int:
        """Return the row of cells, the top one being 0; there are four dots to a cell."""
        most = self.height * 4 - 1
        return (most - round(self.level(flops_per_s) * most)) // 4

    def holds(self, row: int, column: int) -> bool:
        """Tell whether a cell is inside."""
        return 0 <= row < self.height and 0 <= column < self.width


@dataclass(frozen=True, slots=True)
class Drawing:
    """The lines of a plot, and which points share which cell, the one that is seen first."""

    lines: tuple[Text, ...]
    cells: Mapping[tuple[int, int], tuple[Point, ...]]


def draw(picture: Roofline, width: int, height: int, *, ascii_only: bool = False) -> Drawing:
    """Draw a roofline on ``height`` lines of at most ``width`` cells, both axes included."""
    frame = frame_of(
        picture,
        max(LEAST_WIDTH, width - AXIS_WIDTH - LABEL_WIDTH),
        max(LEAST_HEIGHT, height - 2),
    )
    grid = _roofs(picture.roofs, frame, ascii_only=ascii_only)
    cells = places(picture, frame)
    for (row, column), points in cells.items():
        grid[row][column] = points[0].mark, _colour(points[0])
    datasheet = [roof for roof in picture.roofs if roof.kind == DATASHEET]
    labels = _labels(datasheet, frame)
    upright = "|" if ascii_only else "│"
    ticks = {frame.row(10.0**power): power for power in _decades(frame.bottom, frame.top)}
    lines = []
    for row in range(frame.height):
        tick = _flops(10.0 ** ticks[row]) if row in ticks else ""
        line = Text(f"{tick:>{AXIS_WIDTH - 1}}{upright}", style=palette.DIM)
        for colour, run in groupby(grid[row], key=lambda cell: cell[1]):
            line.append("".join(character for character, _ in run), style=f"not dim {colour}")
        line.append(labels.get(row, ""), style=palette.TEXT)
        lines.append(line)
    lines += _foot([roof.ridge_flop_per_byte for roof in datasheet], frame, ascii_only=ascii_only)
    return Drawing(tuple(lines), cells)


def frame_of(picture: Roofline, width: int, height: int) -> Frame:
    """Return the part of the plane that holds every point, the ridges and some of each slope."""
    points = points_of(picture)
    ridges = [roof.ridge_flop_per_byte for roof in picture.roofs]
    intensities = [one.flop_per_byte for one in points]
    left = min([min(ridges) / LEFT_OF_RIDGE, *(one / MARGIN for one in intensities)])
    right = max([max(ridges) * RIGHT_OF_RIDGE, *(one * MARGIN for one in intensities)])
    speeds = [one.flops_per_s for one in points]
    low = min([*(roof.at(left) for roof in picture.roofs), *(one / MARGIN for one in speeds)])
    high = max([*(roof.flops_per_s for roof in picture.roofs), *speeds]) * MARGIN
    left, right, low, high = (math.log10(edge) for edge in (left, right, low, high))
    return Frame(left, right, low, high, width, height)


def points_of(picture: Roofline) -> list[Point]:
    """Return all points, in the order in which they are seen where they share a cell."""
    step = [] if picture.step is None else [picture.step]
    return [*picture.measured.points, *step, *picture.operators]


def _roofs(roofs: Sequence[Roof], frame: Frame, *, ascii_only: bool) -> list[list[Cell]]:
    """Return the cells with all roofs in them."""
    lines = [
        (look, _line(roof, look, frame))
        for kind, look in LOOKS.items()
        for roof in roofs
        if roof.kind == kind
    ]
    if not ascii_only:
        return chart.grid([line for _, line in lines], frame.width, frame.height)
    grid: list[list[Cell]] = [[(" ", "")] * frame.width for _ in range(frame.height)]
    for look, line in reversed(lines):
        for row, cells in enumerate(chart.grid([line], frame.width, frame.height)):
            for column, (character, colour) in enumerate(cells):
                if character != " ":
                    grid[row][column] = look.ascii_sign[0], colour
    return grid


def _line(roof: Roof, look: Look, frame: Frame) -> chart.Line:
    values: list[float | None] = []
    # The clock moves the roof and not the slope: only what differs is drawn a second time.
    start = roof.ridge_flop_per_byte if roof.kind == MEASURED_CLOCK else 0.0
    for dot in range(2 * frame.width):
        intensity = frame.intensity(dot)
        level = frame.level(roof.at(intensity))
        is_on = dot // 2 % (look.on + look.off) < look.on and intensity >= start
        values.append(level if is_on and level >= 0 else None)
    return chart.Line(roof.dtype, values, look.colour, top=1.0)


def places(picture: Roofline, frame: Frame) -> dict[tuple[int, int], tuple[Point, ...]]:
    """Return the points that each cell (row, column) of a frame holds, the one seen first ahead."""
    cells: dict[tuple[int, int], tuple[Point, ...]] = {}
    for point in points_of(picture):
        cell = frame.row(point.flops_per_s), frame.column(point.flop_per_byte)
        if frame.holds(*cell):
            cells[cell] = (*cells.get(cell, ()), point)
    return cells


def _colour(point: Point) -> str:
    if isinstance(point, MeasuredPoint):
        return f"bold {palette.COMPUTE}"
    return f"bold {palette.BRIGHT}" if point.mark == STEP_MARK else palette.MEMORY


def _labels(roofs: Sequence[Roof], frame: Frame) -> dict[int, str]:
    """Name each roof at its right end; those of one row share the label."""
    named: dict[int, list[Roof]] = {}
    for roof in roofs:
        named.setdefault(frame.row(roof.flops_per_s), []).append(roof)
    return {
        row: f" {'/'.join(roof.dtype for roof in shared)} {_flops(shared[0].flops_per_s)}"
        for row, shared in named.items()
    }


def _foot(ridges: Sequence[float], frame: Frame, *, ascii_only: bool) -> list[Text]:
    """Return the intensity axis with a mark under each ridge, and its numbers."""
    corner, flat, tick, ridge = "+-+^" if ascii_only else "└─┴▲"
    axis = [flat] * frame.width
    numbers = [" "] * (frame.width + LABEL_WIDTH)
    for power in _decades(frame.left, frame.right):
        column, text = frame.column(10.0**power), f"{10.0**power:,.15g}"
        axis[column] = tick
        start = max(0, min(column - len(text) // 2, frame.width - len(text)))
        numbers[start : start + len(text)] = text
    for intensity in ridges:
        axis[frame.column(intensity)] = ridge
    unit = "FLOP/byte"
    numbers[frame.width + 1 : frame.width + 1 + len(unit)] = unit
    margin = " " * (AXIS_WIDTH - 1)
    return [
        Text(f"{margin}{corner}{''.join(axis)}", style=palette.DIM),
        Text(f"{margin} {''.join(numbers).rstrip()}", style=palette.DIM),
    ]


def _decades(low: float, high: float) -> range:
    return range(math.ceil(low), math.floor(high) + 1)


def _flops(value: float) -> str:
    """Return ``989 T``, ``1.98 P``, ``30 G``: FLOP/s, three digits at most."""
    for scale, prefix in ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M")):
        if value >= scale * 0.9995:
            return f"{value / scale:.3g} {prefix}"
    return f"{value:.3g}"
