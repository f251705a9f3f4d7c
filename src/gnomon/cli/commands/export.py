"""``gnomon export``: a recording in the format of another program."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import IO, TYPE_CHECKING

import click

from gnomon._errors import CommandError
from gnomon.cli import base, opening
from gnomon.cli.quantities import Moment

if TYPE_CHECKING:
    from gnomon.exporters.perfetto_export import Exported


@click.command(
    "export",
    cls=base.Command,
    examples=[
        ("gnomon export run1 --perfetto run1.pftrace", "then open it at ui.perfetto.dev"),
        ("gnomon export run1 --perfetto part.pftrace --from 10s --to 12s", "two seconds"),
        ("gnomon export rank0 rank1 --perfetto job.pftrace", "the ranks of a job together"),
    ],
)
@click.argument(
    "directories", metavar="DIR...", nargs=-1, required=True, type=base.RECORDING_DIRECTORY
)
@click.option(
    "--perfetto",
    "path",
    metavar="FILE",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write a trace for ui.perfetto.dev.",
)
@base.range_options
@click.option("--gpu", metavar="GPU", help="One GPU: its index, uuid or the start of it.")
@click.option("--findings/--no-findings", "has_findings", default=True, help="Run the detectors.")
@base.json_option("Print what was written as JSON.")
def command(
    *,
    directories: tuple[Path, ...],
    path: Path,
    since: Moment | None,
    until: Moment | None,
    gpu: str | None,
    has_findings: bool,
    as_json: bool,
) -> None:
    """Write a recording as a Perfetto trace: counters, streams, threads, findings.

    Each row of the recording that lies on a time line becomes a slice or a number, with its
    columns as arguments. What is left out is told at the end.
    """
    measurements = opening.open_together(directories)
    bounds = opening.bounds_of(measurements, directories[0])

    from gnomon.analysis.questions import Span  # noqa: PLC0415
    from gnomon.detectors.report import whole  # noqa: PLC0415  numpy
    from gnomon.exporters.perfetto_export import export  # noqa: PLC0415
    from gnomon.exporters.rows import Chosen  # noqa: PLC0415

    is_all = since is until is None
    span = whole(bounds) if is_all else Span(*opening.resolve_range(bounds, since, until))
    meta = measurements.meta()
    chosen = Chosen(span, None if gpu is None else opening.gpu_named(gpu, meta.gpus, meta))
    hosts = _hosts(directories) if len(directories) > 1 else {}
    with _whole_file(path) as file:
        try:
            done = export(measurements, chosen, file, hosts=hosts, has_findings=has_findings)
        except ImportError as error:
            raise CommandError(
                f"--perfetto {path}: traces need the perfetto package, which is not installed: "
                "pip install 'gnomon[perfetto]'"
            ) from error
    if as_json:
        base.print_json({"schema": 1} | asdict(done))
    else:
        _tell(path, done)


@contextlib.contextmanager
def _whole_file(path: Path) -> Iterator[IO[bytes]]:
    """Yield a file that takes its name when it is whole, and leaves nothing else behind."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with partial.open("wb") as file:
            yield file
        partial.replace(path)
    except OSError as error:
        raise CommandError(f"--perfetto {path}: {error.strerror or error}") from error
    finally:
        partial.unlink(missing_ok=True)


def _hosts(directories: Sequence[Path]) -> dict[str, str]:
    """Return the host of each GPU, where its recording names one."""
    from gnomon.recording.together import host_name  # noqa: PLC0415

    metas = [opening.open_recording(one).meta() for one in directories]
    return {uuid: name for meta in metas if (name := host_name(meta)) for uuid in meta.gpus}


def _tell(path: Path, done: Exported) -> None:
    from gnomon.cli import rendering  # noqa: PLC0415  rich

    rendering.print_skipped(done.skipped, rendering.console(stderr=True))
    written = dict(done.written)
    sampled, flows = written.pop("sampled", 0), written.pop("flows", 0)
    click.echo(f"{path}: {done.bytes / 1e6:,.1f} MB, {done.tracks:,} tracks: {_listed(written)}")
    if flows:
        click.echo(f"arrows from a call to what it launched: {flows:,}")
    if sampled:
        click.echo(f"rows that stand for more than themselves, by their weight: {sampled:,}")
    click.echo(f"left out: {_listed(done.left_out)}")
    for one in done.losses:
        click.echo(f"not recorded: {one.rows:,} rows of {one.table} ({one.reason})")
    for name, reason in done.failed.items():
        click.echo(f"detector {name} failed: {reason}", err=True)


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{rows:,} {what}" for what, rows in counts.items() if rows) or "nothing"
