"""``gnomon mark``: the workload says what it is doing, by name and with the work it does."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from gnomon._errors import CommandError, RecordingError
from gnomon.cli import base
from gnomon.cli.workload import Workload, finish, stop_on_signals
from gnomon.enums import PhaseEdge
from gnomon.hardware.specs import DTYPES

# `gnomon record -- CMD` tells its workload where it records.
RECORDING_VARIABLE = "GNOMON_RECORDING"


@click.command(
    "mark",
    cls=base.Command,
    examples=[
        ("gnomon mark prefill", "from now on it is prefill, until the next mark"),
        ("gnomon mark prefill --end --flops 2.6e15 --dtype bf16", "it is over; this was its work"),
        ("gnomon mark epoch-1 -- python train.py --epochs 1", "as long as a program runs"),
    ],
)
@click.argument("name")
@click.option("--end", is_flag=True, help="The phase ends now.")
@click.option("--recording", "directory", type=base.RECORDING_DIRECTORY, help="Which recording.")
@click.option("--flops", "model_flops", type=float, help="Useful work of the whole phase, FLOP.")
@click.option("--dtype", "flops_dtype", type=click.Choice(DTYPES), help="Type of that work.")
@click.option("--bytes", "model_bytes", type=float, help="DRAM bytes that the phase must move.")
@click.option("--tokens", type=float, help="Tokens processed in the phase.")
@click.argument("workload", metavar="[-- CMD...]", nargs=-1, type=click.UNPROCESSED)
@click.pass_context
def command(  # noqa: PLR0913  one parameter an option
    ctx: click.Context,
    *,
    name: str,
    end: bool,
    directory: Path | None,
    model_flops: float | None,
    flops_dtype: str | None,
    model_bytes: float | None,
    tokens: float | None,
    workload: tuple[str, ...],
) -> None:
    """Name what the workload is doing from now on.

    Without --recording the mark goes into the recording that runs on this host.
    """
    if end and workload:
        raise click.UsageError("--end and a command exclude each other")
    if (model_flops is None) != (flops_dtype is None):
        raise click.UsageError("--flops and --dtype need each other")
    work = {
        "model_flops": model_flops,
        "flops_dtype": flops_dtype,
        "model_bytes": model_bytes,
        "tokens": tokens,
    }
    if workload:
        ctx.exit(_around(workload, name, directory, work))
    edge = PhaseEdge.END if end else PhaseEdge.BEGIN
    _mark(find_recording(directory), name, edge, work)


def find_recording(directory: Path | None) -> Path:
    """Return the recording that marks go into. Raises CommandError where there is none."""
    from gnomon import configuration  # noqa: PLC0415
    from gnomon.recording.announcement import find_current  # noqa: PLC0415

    inherited = os.environ.get(RECORDING_VARIABLE)
    found = directory or (Path(inherited) if inherited else None)
    found = found or find_current(configuration.load().runtime_directory)
    if found is None:
        raise CommandError(
            "no recording runs on this host: start `gnomon record -o DIR`, "
            "or give an old one with --recording DIR"
        )
    if not found.is_dir():
        raise CommandError(f"{found}: no such recording")
    return found


def _mark(directory: Path, name: str, edge: PhaseEdge, work: dict[str, Any]) -> None:
    from gnomon.recording.marks import mark  # noqa: PLC0415  pyarrow

    mark(directory, name, edge, **work)


def _around(
    arguments: Sequence[str], name: str, directory: Path | None, work: dict[str, Any]
) -> int:
    """Run a program between the two edges; a mark that fails is told and stops no workload."""
    try:
        recording: Path | None = find_recording(directory)
    except CommandError as error:
        click.echo(f"gnomon: {error}; running without a mark", err=True)
        recording = None
    with stop_on_signals() as stop:
        _try_mark(recording, name, PhaseEdge.BEGIN, {})
        program = Workload(arguments, on_end=stop.wake)
        stop.wait(None)
        status = finish(program, stop)
        _try_mark(recording, name, PhaseEdge.END, work)
    return status


def _try_mark(directory: Path | None, name: str, edge: PhaseEdge, work: dict[str, Any]) -> None:
    if directory is None:
        return
    try:
        _mark(directory, name, edge, work)
    except RecordingError as error:
        click.echo(f"gnomon: {error}", err=True)
