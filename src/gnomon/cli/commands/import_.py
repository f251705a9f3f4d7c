"""``gnomon import``: measurements of another program, turned into a recording."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from gnomon.cli import base, import_formats, progress

MOST_BAD_LINES_SHOWN = 5


@click.group("import")
def command() -> None:
    """Turn measurements of another program into a recording."""


@command.command(
    "gpm-csv",
    cls=base.Command,
    examples=[
        (
            "gnomon import gpm-csv run.csv --gpu H200-SXM-141GB -o run1",
            "then: gnomon summary run1; gnomon top run1",
        ),
        (
            "gnomon import gpm-csv run.csv --phases phases.jsonl --gpu H100-SXM5-80GB -o run1",
            "then: gnomon summary run1 --by phase",
        ),
    ],
)
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--gpu", "sku", required=True, metavar="SKU", help="The GPU, as in the GPU table.")
@click.option(
    "-o", "--output", required=True, type=base.RECORDING_DIRECTORY, help="New recording's place."
)
@click.option(
    "--phases",
    "phases_file",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help='JSON lines {"phase", "t0", "t1", ...}, times in Unix seconds.',
)
@base.json_option("Print the result as JSON.")
def gpm_csv(*, file: Path, sku: str, output: Path, phases_file: Path | None, as_json: bool) -> None:
    """Import a CSV of NVML and GPM readings, one row an interval.

    Lines that cannot be read are left out, counted, and told with their number.
    """
    from gnomon.hardware import sku_facts  # noqa: PLC0415
    from gnomon.recording.importers.importing import import_gpm_csv  # noqa: PLC0415  pyarrow

    facts = sku_facts(sku)
    result = import_gpm_csv(file, output, facts, phases_file=phases_file, lines=progress.lines_of)
    if as_json:
        base.print_json({"schema": 1} | asdict(result))
        return
    bad = result.bad_lines
    for each in bad[:MOST_BAD_LINES_SHOWN]:
        click.echo(f"{each.file} line {each.line}: {each.reason}", err=True)
    if len(bad) > MOST_BAD_LINES_SHOWN:
        click.echo(f"and {len(bad) - MOST_BAD_LINES_SHOWN} more (--json lists all)", err=True)
    click.echo(
        f"{output}: {result.intervals:,} intervals and {result.phases} phases of "
        f"{facts['name']}, {len(bad)} lines skipped"
    )


@command.command(
    "ingero",
    cls=base.Command,
    examples=[
        (
            "gnomon import ingero ingero.db -o run1",
            "then: gnomon query run1 'SELECT operation, count(*) FROM host_calls GROUP BY ALL'",
        ),
    ],
)
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option(
    "-o", "--output", required=True, type=base.RECORDING_DIRECTORY, help="New recording's place."
)
@base.json_option("Print the result as JSON.")
def ingero(*, file: Path, output: Path, as_json: bool) -> None:
    """Import an SQLite recording of Ingero: CUDA calls, scheduling, block and socket I/O.

    The file is only read. Each call gets the time in it that its thread was off the CPU. What
    the file's numbers cannot be trusted for is told here, and kept as events of the recording.
    """
    from gnomon.recording.importers.ingero import import_ingero  # noqa: PLC0415  pyarrow

    with progress.shares(file.name) as tell:
        outcome = import_ingero(file, output, tell)
    import_formats.show(outcome, output, as_json=as_json)


for _one in import_formats.COMMANDS:
    command.add_command(_one)
