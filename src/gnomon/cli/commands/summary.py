"""``gnomon summary``: what a recording says of each GPU, the verdict first."""

from __future__ import annotations

import math
from pathlib import Path

import click

from gnomon._errors import CommandError
from gnomon.cli import base, opening
from gnomon.cli.budgets import ceilings
from gnomon.cli.model_options import Asked, model_options
from gnomon.cli.quantities import Moment

# An hour second by second, a day by ten seconds; for every sample there is `gnomon query`.
MOST_WINDOWS = 10_000


@click.command(
    "summary",
    cls=base.Command,
    examples=[
        ("gnomon summary run1", "every GPU over the whole recording"),
        ("gnomon summary run1 --by phase", "one entry for each phase that `gnomon mark` named"),
        ("gnomon summary run1 --from -5m --by 1m", "the last five minutes, minute by minute"),
        (
            "gnomon summary run1 --model Llama-3.1-8B --phase decode --batch 64 --context 2048",
            "what this model could reach beside what was reached",
        ),
        ("gnomon summary run1 --json | jq '.gpus[].compute_sol_pct'", "numbers for a program"),
    ],
)
@click.argument("directory", metavar="DIR", type=base.RECORDING_DIRECTORY)
@base.range_options
@base.by_option
@click.option("--gpu", metavar="UUID|INDEX", help="One GPU only.")
@model_options
@base.json_option()
def command(
    *,
    asked: Asked,
    directory: Path,
    since: Moment | None,
    until: Moment | None,
    by: str | int | None,
    gpu: str | None,
    as_json: bool,
) -> None:
    """Say how close the GPUs ran to their peak, and where the rest went."""
    recording, from_ns, to_ns = opening.open_range(directory, since, until)

    if isinstance(by, int) and (to_ns - from_ns) / by > MOST_WINDOWS:
        raise CommandError(
            f"--by makes {math.ceil((to_ns - from_ns) / by):,} entries, at most "
            f"{MOST_WINDOWS:,} are told: take a longer period, or less time with --from and --to",
            exit_code=2,
        )

    from gnomon.analysis.summary import summarize  # noqa: PLC0415  numpy
    from gnomon.cli import rendering  # noqa: PLC0415  rich

    meta = recording.meta()
    ceiling_of = ceilings(asked, recording.meta)
    every = summarize(recording, from_ns=from_ns, to_ns=to_ns, by=by)  # type: ignore[arg-type]
    summaries = opening.only_gpu(every, gpu, meta)
    if ceiling_of is not None:
        from gnomon.analysis.budget import with_budgets  # noqa: PLC0415

        summaries = with_budgets(summaries, ceiling_of)
    rendering.print_skipped(recording.skipped(), rendering.console(stderr=True))
    if as_json:
        base.print_json(rendering.json_document(summaries))
        return
    if not summaries:
        has_kernels = recording.read("kernels", columns=("ts_ns",)).num_rows > 0
        is_whole = since is until is None
        raise CommandError(_why_nothing(directory, by, is_whole=is_whole, has_kernels=has_kernels))
    rendering.print_summaries(summaries, meta, rendering.console(), split=by is not None)


def _why_nothing(
    directory: Path, by: str | int | None, *, is_whole: bool, has_kernels: bool
) -> str:
    if by == "phase" and not is_whole:
        return f"{directory}: no phase between --from and --to"
    if by == "phase":
        return f"{directory}: no phases are recorded; `gnomon mark NAME` names one while recording"
    if has_kernels:
        return (
            f"{directory}: kernels are recorded, and no counters; see `gnomon kernels {directory}`"
        )
    return f"{directory}: no GPU was recorded; `gnomon doctor` says what keeps it from being"
