"""``gnomon timeline``: a recording second by second."""

from __future__ import annotations

import math
from pathlib import Path

import click

from gnomon._errors import CommandError
from gnomon.cli import base, opening
from gnomon.cli.quantities import Duration, Moment

MOST_PERIODS = 10_000


@click.command(
    "timeline",
    cls=base.Command,
    examples=[
        ("gnomon timeline run1", "second by second"),
        ("gnomon timeline run1 --from -10m --by 10s", "the last ten minutes"),
        ("gnomon timeline rank0 rank1", "the ranks of a job together"),
        ("gnomon timeline run1 --json | jq '.periods[].waited_for'", "for a program"),
    ],
)
@click.argument(
    "directories", metavar="DIR...", nargs=-1, required=True, type=base.RECORDING_DIRECTORY
)
@base.range_options
@click.option("--by", type=Duration(), default="1s", show_default=True, help="Length of a period.")
@base.json_option()
def command(
    *,
    directories: tuple[Path, ...],
    since: Moment | None,
    until: Moment | None,
    by: int,
    as_json: bool,
) -> None:
    """Say second by second what was done, and what the GPU waited for.

    Busy is what nvidia-smi shows; compute and memory are shares of the peak. What the GPU waited
    for is what the threads that feed it did most, other than waiting for the GPU.
    """
    measurements = opening.open_together(directories)
    bounds = opening.bounds_of(measurements, directories[0])
    from_ns, to_ns = opening.resolve_range(bounds, since, until)
    if (to_ns - from_ns) / by > MOST_PERIODS:
        raise CommandError(
            f"--by makes {math.ceil((to_ns - from_ns) / by):,} rows, at most {MOST_PERIODS:,} are "
            "told: take a longer period, or less time with --from and --to",
            exit_code=2,
        )

    from gnomon.analysis.questions import Span  # noqa: PLC0415
    from gnomon.analysis.timeline import timeline  # noqa: PLC0415  numpy
    from gnomon.cli import rendering, timeline_text  # noqa: PLC0415  rich
    from gnomon.detectors.report import opened  # noqa: PLC0415

    with opened(measurements, Span(from_ns, to_ns)) as case:
        threads = [one.thread for one in case.dispatch_threads or case.workers]
        told = timeline(measurements, case.session, case.scope, by, threads)
    rendering.print_skipped(measurements.skipped(), rendering.console(stderr=True))
    if as_json:
        base.print_json(told.to_json())
    else:
        timeline_text.print_timeline(told, bounds[0], rendering.console())
