"""``gnomon top``: the screen; or the same as one block of text, or as JSON."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gnomon._errors import CommandError
from gnomon.cli import base
from gnomon.cli.budgets import ceilings
from gnomon.cli.counter_options import counters_option
from gnomon.cli.model_options import Asked, model_options
from gnomon.cli.quantities import Duration

if TYPE_CHECKING:
    from gnomon.analysis.budget import CeilingOf
    from gnomon.cli.live import Feed

NS_PER_S = 1_000_000_000
NO_GPU = "no GPU was measured; `gnomon demo` shows what it looks like with one"


@click.command(
    "top",
    cls=base.Command,
    examples=[
        ("gnomon top", "watch this machine's GPUs; attaches to a running `gnomon record`"),
        ("gnomon top run1", "look through a recording: left and right move in time"),
        ("gnomon top --once", "one reading as text"),
        (
            "gnomon top --model Llama-3.1-8B --phase serve --batch 64 --prompt 1000 --output 200",
            "with the ceiling of this workload beside what is reached",
        ),
        ("gnomon top --json --interval 5s", "a JSON document a line, every five seconds"),
    ],
)
@click.argument("directory", metavar="[DIR]", type=base.RECORDING_DIRECTORY, required=False)
@click.option("--once", is_flag=True, help="Print one summary and exit.")
@click.option(
    "--interval",
    "interval_ns",
    type=Duration(),
    help="How often to show, and over how long each reading is taken. [default: 1s]",
)
@counters_option
@model_options
@base.json_option("Print one JSON document; with --interval one a line, without end.")
def command(
    *,
    asked: Asked,
    directory: Path | None,
    once: bool,
    interval_ns: int | None,
    counters: str | None,
    as_json: bool,
) -> None:
    """Watch how close the GPUs run to their peak, live or in a recording."""
    from gnomon.cli import live  # noqa: PLC0415  pyarrow

    if once or as_json:
        forever = as_json and interval_ns is not None and not once
        with live.feed(directory, once=True, counters=counters) as feed:
            ceiling_of = ceilings(asked, feed.measurements.meta)
            _print(feed, interval_ns or NS_PER_S, ceiling_of, as_json=as_json, forever=forever)
        return
    from gnomon.tui import app  # noqa: PLC0415

    with live.feed(directory, counters=counters) as feed:
        refresh_s = (interval_ns or NS_PER_S) / NS_PER_S
        app.run(
            feed.measurements,
            refresh_s=refresh_s,
            title=feed.title,
            ceiling_of=ceilings(asked, feed.measurements.meta),
        )


def _print(
    feed: Feed, window_ns: int, ceiling_of: CeilingOf | None, *, as_json: bool, forever: bool
) -> None:
    from gnomon.cli import rendering  # noqa: PLC0415  rich

    after_ns = 0
    while True:
        started_s = time.monotonic()
        summaries = feed.latest(window_ns, only=not forever, after_ns=after_ns)
        after_ns = max((each.to_ns for each in summaries), default=after_ns)
        if ceiling_of is not None:
            from gnomon.analysis.budget import with_budgets  # noqa: PLC0415

            summaries = with_budgets(summaries, ceiling_of)
        if forever:
            click.echo(json.dumps(rendering.json_document(summaries), allow_nan=False))
        elif as_json:
            base.print_json(rendering.json_document(summaries))
            if not summaries:
                raise CommandError("\n".join([NO_GPU, *feed.missing()]))
        elif summaries:
            rendering.print_summaries(summaries, feed.measurements.meta(), rendering.console())
        else:
            raise CommandError("\n".join([NO_GPU, *feed.missing()]))
        if not forever:
            return
        time.sleep(max(0.0, started_s + window_ns / NS_PER_S - time.monotonic()))
