"""``gnomon kernels``: what each kernel took, how it varies, and what lies before it.

With ``-o`` a workload's kernels are recorded first.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gnomon._errors import CommandError
from gnomon.cli import base, kernel_recorder, kernel_times, opening
from gnomon.cli.quantities import Moment

if TYPE_CHECKING:
    from gnomon.analysis.kernels import Gpu
    from gnomon.analysis.questions import Span

# The words of ``analysis.kernel_types.By``, which imports numpy.
ROWS = ("name", "shape", "family")
HOW_TO_RECORD = "`gnomon record -o DIR --kernels -- CMD` records those of a workload"


@click.command(
    "kernels",
    cls=base.Command,
    examples=[
        ("gnomon kernels -o run1 -- python train.py", "record a workload's, then print them"),
        ("gnomon kernels run1", "every kernel, the one that took most time first"),
        ("gnomon kernels run1 --by shape --from -10s", "grids and blocks apart, of the last 10 s"),
        ("gnomon kernels run1 --by family", "GEMM, attention, copies and the like"),
        ("gnomon kernels run1 --roofline", "where each lies under the roofs of its GPU"),
        ("gnomon kernels run1 --gaps", "why no kernel ran, and what the GPU really ran"),
        ("gnomon kernels run1 --steps", "steps and ranges: compute, collectives, copies, host"),
        ("gnomon kernels run1 --json | jq '.kernels[] | select(.outliers > 0)'", "for a program"),
    ],
)
@base.range_options
@click.option(
    "--by",
    type=click.Choice(ROWS),
    default=ROWS[0],
    show_default=True,
    help="What a row is.",
)
@click.option("--gpu", metavar="UUID|INDEX", help="One GPU only.")
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    metavar="N",
    help="At most so many rows.  [default: 30; all of them with --json]",
)
@click.option(
    "--times", "has_times", is_flag=True, help="Times and gaps, though counters tell what is lost."
)
@click.option("--roofline", "has_roofline", is_flag=True, help="Draw the kernels under the roofs.")
@kernel_times.view_option
@base.json_option()
@click.option(
    "-o",
    "--output",
    type=base.RECORDING_DIRECTORY,
    help="Record CMD's kernels there (experimental).",
)
@kernel_recorder.window_option("--window")
@kernel_recorder.ranges_option()
@click.argument("words", metavar="DIR | -o DIR -- CMD...", nargs=-1, type=click.UNPROCESSED)
@click.pass_context
def command(  # noqa: PLR0913  one parameter an option
    ctx: click.Context,
    *,
    output: Path | None,
    window: kernel_recorder.Window | None,
    with_ranges: bool,
    words: tuple[str, ...],
    since: Moment | None,
    until: Moment | None,
    by: str,
    gpu: str | None,
    limit: int | None,
    has_times: bool,
    has_roofline: bool,
    view: str | None,
    as_json: bool,
) -> None:
    """Say what each kernel loses; without counters what it took and what lies before it.

    Counters are those of PM sampling beside the kernels (`gnomon record --counters cupti`): then
    the table says how near each kernel comes to the speed of light, those that lose most first.

    Slow calls are those far beyond the usual of the same kernel in the same shape. A gap is the
    time for which the GPU had no kernel before this one.
    """
    directory, status = output, 0
    if directory is None:
        directory = _directory(ctx, words)
        if window or with_ranges:
            raise click.UsageError("--window and --ranges are about recording: give -o, too")
    else:
        asked = kernel_recorder.Kernels(window or kernel_recorder.DEFAULT_WINDOW, with_ranges)
        status = kernel_recorder.record_kernels(directory, words, asked)
    recording = opening.open_recording(directory)
    bounds = opening.bounds_of(recording, directory)

    from gnomon import configuration  # noqa: PLC0415
    from gnomon.analysis.kernel_names import load_families  # noqa: PLC0415
    from gnomon.analysis.kernel_types import By  # noqa: PLC0415
    from gnomon.analysis.kernels import kernel_table  # noqa: PLC0415  numpy
    from gnomon.cli import kernels_view, rendering  # noqa: PLC0415  rich

    span = _span(bounds, since, until)
    families = load_families(configuration.load().kernel_families_file)
    wanted = None if gpu is None else _gpu(recording, directory, gpu)
    if view is not None:
        kernel_times.print_view(view, recording, span, families, wanted, as_json=as_json)
        ctx.exit(status)
    table = kernel_table(recording, span, By(by), wanted, families)
    rendering.print_skipped(recording.skipped(), rendering.console(stderr=True))
    if as_json:
        kernels_view.print_json(recording, table, limit)
        ctx.exit(status)
    if not table.rows:
        # The status of a workload is its own.
        raise CommandError(_why_nothing(recording, directory), status or 1)
    kernels_view.print_view(recording, table, limit, has_times=has_times, has_roofline=has_roofline)
    ctx.exit(status)


def _directory(ctx: click.Context, words: tuple[str, ...]) -> Path:
    """Return the recording that is to be read. Raises UsageError unless one is named."""
    if len(words) != 1:
        raise click.UsageError("give one recording, or -o DIR -- CMD to make one")
    return Path(base.RECORDING_DIRECTORY.convert(words[0], None, ctx))


def _span(bounds: tuple[int, int], since: Moment | None, until: Moment | None) -> Span:
    """Return the range asked for; all of the recording, its first instant included, by default."""
    from gnomon.analysis.questions import Span  # noqa: PLC0415

    from_ns, to_ns = opening.resolve_range(bounds, since, until)
    return Span(from_ns - 1 if since is None else from_ns, to_ns)


def _gpu(recording: Any, directory: Path, gpu: str) -> Gpu:
    """Return the GPU, or the MIG instance, that ran kernels and is meant."""
    from gnomon.analysis.kernels import kernel_gpus  # noqa: PLC0415

    known = kernel_gpus(recording)
    if not known:
        raise CommandError(_why_nothing(recording, directory))
    of_uuid: dict[str, Gpu] = {uuid: (uuid, None) for uuid, _ in known if uuid}
    of_uuid |= {mig: (uuid, mig) for uuid, mig in known if mig}
    return of_uuid[opening.gpu_named(gpu, of_uuid, recording.meta())]


def _why_nothing(recording: Any, directory: Path) -> str:
    """Say why there is no kernel to tell of."""
    from gnomon.analysis.kernels import kernel_gpus  # noqa: PLC0415

    if kernel_gpus(recording):
        return f"{directory}: no kernel was recorded between --from and --to"
    if recording.read("kernel_windows", columns=["ts_ns"]).num_rows:
        return f"{directory}: kernels were recorded, and none ran in those windows"
    return f"{directory}: no kernels are recorded here; {HOW_TO_RECORD}"
