"""Time charts in braille: two columns and four rows of dots a character. Pure.

Three looks that stay apart without colour: ``fill`` (an area), ``line`` (joined up) and
``dots`` (loose).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Literal

from rich.text import Text

from gnomon.tui import palette

BRAILLE = 0x2800
# Bit of each dot, by row (top first) and column; the Unicode block "Braille Patterns".
DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
AXIS_WIDTH = 4
LABEL_WIDTH = 13
LEAST_NAME_CELLS = 6


@dataclass(frozen=True, slots=True)
class Line:
    """One series over equal bins of time; None is a gap. ``top`` is the value at the top edge."""

    label: str
    values: Sequence[float | None]
    colour: str
    look: Literal["fill", "line", "dots"] = "line"
    top: float = 100.0
    unit: str = ""


@dataclass(frozen=True, slots=True)
class Mark:
    """A moment on the time axis (0 = left edge, 1 = right edge) with a name."""

    at: float
    name: str


def draw(
    lines: Sequence[Line], width: int, height: int, marks: Sequence[Mark] = (), back: str = ""
) -> list[Text]:
    """Return ``height`` lines of ``width`` cells: the plot, and under it the names of the marks.

    Each series is labelled with its newest value at the right edge, beside where it ends.
    ``back`` is written at the left end of the time axis.
    """
    plot_width = max(2, width - AXIS_WIDTH - LABEL_WIDTH)
    plot_height = max(1, height - 1)
    plot = grid(lines, plot_width, plot_height)
    labels = _labels(lines, plot_height)
    columns = {min(plot_width - 1, int(mark.at * plot_width)) for mark in marks}
    rows = []
    for row in range(plot_height):
        text = Text(_axis(row, plot_height), style=palette.FAINT)
        cells = [
            ("┊", palette.FAINT) if cell[0] == " " and column in columns else cell
            for column, cell in enumerate(plot[row])
        ]
        for colour, run in groupby(cells, key=lambda cell: cell[1]):
            text.append("".join(character for character, _ in run), style=colour)
        text.append_text(labels.get(row, Text()))
        rows.append(_fit(text, width))
    rows.append(_fit(_names(marks, plot_width, back), width))
    return rows


def columns_of(values: Sequence[float | None], count: int) -> list[float | None]:
    """Return ``count`` means of neighbouring values (or repeats, where there are fewer)."""
    result: list[float | None] = []
    for column in range(count):
        first = column * len(values) // count
        last = max(first + 1, (column + 1) * len(values) // count)
        known = [value for value in values[first:last] if value is not None]
        result.append(sum(known) / len(known) if known else None)
    return result


def _fit(text: Text, width: int) -> Text:
    text.truncate(width, pad=True)
    return text


def _axis(row: int, plot_height: int) -> str:
    if row == 0:
        return "100│"
    if row == plot_height - 1:
        return "  0│"
    return " 50│" if plot_height >= 5 and row == plot_height // 2 else "   │"


def grid(lines: Sequence[Line], width: int, height: int) -> list[list[tuple[str, str]]]:
    """Return rows of cells (character, colour): a line hides what is under it, areas join dots."""
    layers = [(line, _dots(line, width, height)) for line in lines]
    rows = []
    for row in range(height):
        cells = []
        for column in range(width):
            bits, colour = _cell([(line, dots[row][column]) for line, dots in layers])
            cells.append((chr(BRAILLE + bits) if bits else " ", colour))
        rows.append(cells)
    return rows


def _cell(layers: Iterable[tuple[Line, int]]) -> tuple[int, str]:
    present = [(line, bits) for line, bits in layers if bits]
    over = [item for item in present if item[0].look == "line"] or present
    bits = 0
    for _, layer in over:
        bits |= layer
    solid = [line for line, _ in over if line.look != "dots"]
    winner = solid[0] if solid else (over[0][0] if over else None)
    return bits, winner.colour if winner else ""


def _dots(line: Line, width: int, height: int) -> list[list[int]]:
    """Return the braille bits of one series, ``height`` rows of ``width`` cells."""
    grid = [[0] * width for _ in range(height)]
    most = height * 4 - 1
    previous: int | None = None
    for column, value in enumerate(columns_of(line.values, width * 2)):
        if value is None:
            previous = None
            continue
        level = round(min(max(value / line.top, 0.0), 1.0) * most)
        for dot in _levels(line.look, level, previous):
            row, in_cell = divmod(most - dot, 4)
            grid[row][column // 2] |= DOTS[in_cell][column % 2]
        previous = level
    return grid


def _levels(look: str, level: int, previous: int | None) -> Iterable[int]:
    if look == "fill":
        return range(level + 1)
    if look == "dots":
        return (level,)
    if previous is None or abs(previous - level) <= 1:
        return (level,)
    step = 1 if level > previous else -1
    return range(previous + step, level + step, step)


def _labels(lines: Sequence[Line], plot_height: int) -> dict[int, Text]:
    """Place each label beside its newest value, on the nearest row that is still free."""
    placed: dict[int, Text] = {}
    for line in lines:
        newest = next((value for value in reversed(line.values) if value is not None), None)
        if newest is None:
            continue
        level = min(max(newest / line.top, 0.0), 1.0)
        wanted = round((1 - level) * (plot_height - 1))
        free = [row for row in range(plot_height) if row not in placed]
        if free:
            row = min(free, key=lambda row: abs(row - wanted))
            placed[row] = Text(f" {line.label} {newest:,.0f}{line.unit}", style=line.colour)
    return placed


def _names(marks: Sequence[Mark], plot_width: int, back: str) -> Text:
    """Write each name under its mark, cut before the next mark; the last one may run over.

    The left end says how far back the chart goes, where no name is in the way.
    """
    ordered = sorted(marks, key=lambda mark: mark.at)
    starts = [int(mark.at * plot_width) for mark in ordered]
    ends = [*starts[1:], plot_width + LABEL_WIDTH][: len(starts)]
    row = [" "] * (plot_width + LABEL_WIDTH)
    for mark, start, end in zip(ordered, starts, ends, strict=True):
        room = end - start - 1
        if len(mark.name) <= room:
            row[start : start + len(mark.name)] = mark.name
        elif room >= LEAST_NAME_CELLS:
            row[start : start + room] = mark.name[: room - 1] + "…"
    if back and not any(character != " " for character in row[: len(back) + 1]):
        row[: len(back)] = back
    return Text(" " * AXIS_WIDTH + "".join(row), style=palette.DIM)
