"""``gnomon import``: the files that NVIDIA's tools and PyTorch write."""

from __future__ import annotations

import datetime as dt
import zoneinfo
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gnomon.cli import base, progress
from gnomon.cli.quantities import Duration, Moment, MomentType

if TYPE_CHECKING:
    from gnomon.recording.importers.sink import ImportOutcome

FILE = click.Path(path_type=Path, exists=True, dir_okay=False)
output_option = click.option(
    "-o", "--output", required=True, type=base.RECORDING_DIRECTORY, help="New recording's place."
)


class Zone(click.ParamType[dt.tzinfo]):
    """A time zone by its name."""

    name = "zone"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> dt.tzinfo:
        if isinstance(value, dt.tzinfo):
            return value
        try:
            return zoneinfo.ZoneInfo(str(value))
        except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
            self.fail(f"{value!r} is no time zone; write Europe/Berlin or Asia/Tokyo", param, ctx)


class BeginType(MomentType):
    """A ``Moment`` that is not counted from a recording, which there is none of yet."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        moment = super().convert(value, param, ctx)
        if isinstance(moment, Moment) and moment.relative_to != "epoch":
            self.fail("write Unix nanoseconds or 2026-01-31T12:00:00 (UTC)", param, ctx)
        return moment


def show(outcome: ImportOutcome, output: Path, *, as_json: bool) -> None:
    """Print what came of an import."""
    if as_json:
        base.print_json({"schema": 1} | asdict(outcome))
        return
    for warning in outcome.warnings:
        click.echo(warning, err=True)
    rows = ", ".join(f"{count:,} {table}" for table, count in sorted(outcome.rows.items()))
    left_out = ", ".join(f"{count:,} {reason}" for reason, count in outcome.left_out.items())
    click.echo(f"{output}: {rows}; left out: {left_out or 'nothing'}")


@click.command(
    "kineto",
    cls=base.Command,
    examples=[
        ("gnomon import kineto trace.json.gz -o run1", "then: gnomon kernels run1"),
        ("gnomon import kineto rank*.json -o job1", "the traces of all ranks together"),
    ],
)
@click.argument("files", type=FILE, nargs=-1, required=True, metavar="FILE...")
@output_option
@base.json_option("Print the result as JSON.")
def kineto(*, files: tuple[Path, ...], output: Path, as_json: bool) -> None:
    """Import traces of PyTorch (torch.profiler, Kineto), plain or compressed.

    Kernels, copies, fills and waits of GPUs, calls into CUDA and annotations. Operators are left
    out.
    """
    from gnomon.recording.importers.kineto import import_kineto  # noqa: PLC0415  pyarrow

    with progress.shares(files[0].name) as tell:
        outcome = import_kineto(files, output, tell)
    show(outcome, output, as_json=as_json)


@click.command(
    "nsys",
    cls=base.Command,
    examples=[
        (
            "gnomon import nsys run.sqlite -o run1",
            "what `nsys export --type sqlite -o run.sqlite run.nsys-rep` wrote",
        ),
    ],
)
@click.argument("file", type=FILE)
@output_option
@click.option("--begin", type=BeginType(), help="When its session began, if it does not say.")
@base.json_option("Print the result as JSON.")
def nsys(*, file: Path, output: Path, begin: Moment | None, as_json: bool) -> None:
    """Import an SQLite export of Nsight Systems.

    Kernels, copies, fills and waits of GPUs, calls into CUDA and NVTX ranges. Made from NVIDIA's
    published schema, and not tried on a real export yet.
    """
    from gnomon.recording.importers.nsys import import_nsys  # noqa: PLC0415  pyarrow

    with progress.shares(file.name) as tell:
        begin_ns = begin.ns if begin else None
        outcome = import_nsys(file, output, begin_ns=begin_ns, progress=tell)
    show(outcome, output, as_json=as_json)


@click.command(
    "ncu",
    cls=base.Command,
    examples=[
        (
            "gnomon import ncu run.csv -o run1",
            "what `ncu --import run.ncu-rep --csv --page raw > run.csv` wrote",
        ),
    ],
)
@click.argument("file", type=FILE)
@output_option
@click.option(
    "--begin", type=BeginType(), help="Where the first launch shall stand; default: file's time."
)
@base.json_option("Print the result as JSON.")
def ncu(*, file: Path, output: Path, begin: Moment | None, as_json: bool) -> None:
    """Import a CSV of Nsight Compute (pages raw and details, or --metrics).

    One row of kernels a launch, with its durations, sizes and shares of the peaks. A replayed
    launch has no time: they stand one after the other.
    """
    from gnomon.recording.importers.ncu import import_ncu  # noqa: PLC0415  pyarrow

    begin_ns = begin.ns if begin else file.stat().st_mtime_ns
    outcome = import_ncu(file, output, begin_ns=begin_ns, lines=progress.lines_of)
    show(outcome, output, as_json=as_json)


def _counters(
    name: str, example: tuple[str, str], help_text: str, columns: str, *, has_times: bool
) -> click.Command:
    """Return the command of one kind of counters' text."""

    def run(  # noqa: PLR0913  one parameter an option
        *,
        file: Path,
        output: Path,
        columns: str | None,
        sku: str | None,
        begin: Moment | None = None,
        period: int | None = None,
        timezone: dt.tzinfo = dt.UTC,
        as_json: bool,
    ) -> None:
        from gnomon.hardware import sku_facts  # noqa: PLC0415
        from gnomon.recording.importers.counters import (  # noqa: PLC0415  pyarrow
            FORMATS,
            Told,
            import_counters,
        )

        told = Told(
            begin.ns if begin else None,
            period,
            timezone,
            tuple(name.strip() for name in columns.split(",")) if columns else (),
            sku_facts(sku) if sku else {},
        )
        outcome = import_counters(FORMATS[name], file, output, told, progress.lines_of)
        show(outcome, output, as_json=as_json)

    options: list[Callable[[Any], Any]] = [
        click.argument("file", type=FILE),
        output_option,
        click.option("--gpu", "sku", metavar="SKU", help="The GPUs, as in the GPU table."),
        click.option("--columns", metavar="NAMES", help=f"Of a file without headings: {columns}"),
        click.option("--begin", type=BeginType(), help="First reading, of a file without times."),
        click.option("--period", type=Duration(), help="Between two readings of a GPU [1s]."),
        base.json_option("Print the result as JSON."),
    ]
    if has_times:
        zone = click.option("--timezone", type=Zone(), default=dt.UTC, help="Of its times [UTC].")
        options.insert(-1, zone)
    for option in reversed(options):
        run = option(run)
    return click.command(name, cls=base.Command, examples=[example], help=help_text)(run)


COMMANDS = (
    kineto,
    nsys,
    _counters(
        "dmon",
        (
            "gnomon import dmon dmon.txt --gpu H100-SXM5-80GB -o run1",
            "what `nvidia-smi dmon -s pucm -o DT > dmon.txt` wrote",
        ),
        "Import what `nvidia-smi dmon` printed, as text or CSV.",
        "gpu,pwr,gtemp.",
        has_times=True,
    ),
    _counters(
        "query-gpu",
        (
            "gnomon import query-gpu g.csv --timezone Europe/Berlin -o run1",
            "`nvidia-smi --query-gpu=timestamp,uuid,utilization.gpu,power.draw --format=csv`",
        ),
        "Import a CSV of `nvidia-smi --query-gpu`, with or without header and units.",
        "what was queried.",
        has_times=True,
    ),
    _counters(
        "dcgmi",
        (
            "gnomon import dcgmi dcgm.txt --begin 2026-01-31T12:00:00 -o run1",
            "what `dcgmi dmon -e 203,1002,1004,1005,155 -d 1000 > dcgm.txt` wrote",
        ),
        "Import what `dcgmi dmon` printed. It has no times: --begin and --period say them.",
        "203,1002,1004.",
        has_times=False,
    ),
    ncu,
)
