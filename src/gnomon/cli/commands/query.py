"""``gnomon query``: SQL over a recording."""

from __future__ import annotations

import csv
import itertools
import json
import math
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import click

from gnomon.cli import base, opening

ROWS_AT_ONCE = 10_000
WIDEST_CELL = 40


@click.command(
    "query",
    cls=base.Command,
    examples=[
        ("gnomon query run1 'SELECT * FROM phases'", "the phases that were marked"),
        (
            "gnomon query run1 'SELECT quantile_cont(power_watts, 0.99) FROM gpu_counters'",
            "the 99th percentile of power",
        ),
        ("gnomon query run1 'SHOW TABLES'", "what can be asked; docs/reference tells the columns"),
        (
            "gnomon query rank0 rank1 'SELECT host, count(*) FROM nccl_calls GROUP BY host'",
            "the ranks of a job together",
        ),
        ("gnomon query run1 --csv --limit 0 'SELECT * FROM gpu_counters' > all.csv", "everything"),
    ],
)
@click.argument(
    "directories", metavar="DIR...", nargs=-1, required=True, type=base.RECORDING_DIRECTORY
)
@click.argument("sql")
@base.json_option("Print one JSON array of objects.")
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV with a header.")
@click.option(
    "--limit",
    type=click.IntRange(min=0),
    default=1000,
    show_default=True,
    help="Most rows to print; 0 is all, up to a million.",
)
def command(
    *, directories: tuple[Path, ...], sql: str, as_json: bool, as_csv: bool, limit: int
) -> None:
    """Ask a recording in SQL.

    Several recordings are asked as one.
    """
    if as_json and as_csv:
        raise click.UsageError("--json and --csv exclude each other")
    result = opening.open_together(directories).sql(sql)
    names = list(result.column_names)
    rows = _rows(result, limit or None)
    if as_json:
        _print_json(names, rows)
    elif as_csv:
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(names)
        writer.writerows(rows)
    else:
        _print_table(names, list(rows))
    if limit and result.num_rows > limit:
        click.echo(f"{result.num_rows - limit:,} more rows; --limit 0 prints all", err=True)


def _rows(result: Any, limit: int | None) -> Iterator[tuple[Any, ...]]:
    """Yield rows as tuples, converting a part of the result at a time."""
    pieces = result.slice(0, limit).to_batches(max_chunksize=ROWS_AT_ONCE)
    for piece in pieces:
        yield from zip(*(column.to_pylist() for column in piece.columns), strict=True)


def _print_json(names: list[str], rows: Iterable[tuple[Any, ...]]) -> None:
    """Print an array, a row a line, while the rows come."""
    separator = "[\n"
    for row in rows:
        values = dict(zip(names, map(_json_value, row), strict=True))
        click.echo(separator + json.dumps(values, default=str, allow_nan=False), nl=False)
        separator = ",\n"
    click.echo("[]" if separator == "[\n" else "\n]")


def _json_value(value: Any) -> Any:
    # JSON knows no NaN; null is what "not a number" means to a reader.
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _print_table(names: list[str], rows: list[tuple[Any, ...]]) -> None:
    """Print aligned columns; numbers to the right. Nothing is cut but long text."""
    cells = [[_cell(value) for value in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(names, *cells, strict=True)]
    numeric = [
        all(isinstance(value, int | float) or value is None for value in column)
        for column in itertools.islice(zip(*rows, strict=True), len(names))
    ] or [False] * len(names)
    click.echo(_line(names, widths, numeric))
    click.echo("  ".join("-" * width for width in widths))
    for row in cells:
        click.echo(_line(row, widths, numeric))


def _line(cells: list[str], widths: list[int], numeric: list[bool]) -> str:
    aligned = (
        cell.rjust(width) if is_number else cell.ljust(width)
        for cell, width, is_number in zip(cells, widths, numeric, strict=True)
    )
    return "  ".join(aligned).rstrip()


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.6g}"
    text = " ".join(str(value).split())
    return text if len(text) <= WIDEST_CELL else text[: WIDEST_CELL - 1] + "…"
