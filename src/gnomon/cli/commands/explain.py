"""``gnomon explain``: what was lost, when, where and why, with the evidence."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from gnomon._errors import CommandError
from gnomon.cli import base, opening
from gnomon.cli.quantities import Moment
from gnomon.enums import Severity

if TYPE_CHECKING:
    from gnomon.analysis.questions import Span


@click.command(
    "explain",
    cls=base.Command,
    examples=[
        ("gnomon explain run1", "what was lost, the worst first"),
        ("gnomon explain run1 --from 10s --to 20s --sql", "ten seconds, with every query"),
        ("gnomon explain run1 --html run1.html", "one page to look at, and to send"),
        ("gnomon explain rank0 rank1 rank2 rank3", "the ranks of a job together"),
        ("gnomon explain run1 --severity warning --markdown", "for an incident report"),
        ("gnomon explain run1 --json | jq '.findings[].cause'", "for a program"),
    ],
)
@click.argument(
    "directories", metavar="DIR...", nargs=-1, required=True, type=base.RECORDING_DIRECTORY
)
@base.range_options
@click.option(
    "--cause", "causes", metavar="NAME", multiple=True, help="Look for this only (repeatable)."
)
@click.option(
    "--severity",
    type=click.Choice([each.value for each in Severity]),
    default=Severity.INFO.value,
    show_default=True,
    help="Tell what is at least so severe.",
)
@click.option("--sql", "has_queries", is_flag=True, help="Show the query behind each number.")
@base.json_option()
@click.option("--markdown", "as_markdown", is_flag=True, help="Print Markdown for a report.")
@click.option(
    "--html",
    "page",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write one page that needs no network, with a chart.",
)
def command(  # noqa: PLR0913  one parameter an option
    *,
    directories: tuple[Path, ...],
    since: Moment | None,
    until: Moment | None,
    causes: tuple[str, ...],
    severity: str,
    has_queries: bool,
    as_json: bool,
    as_markdown: bool,
    page: Path | None,
) -> None:
    """Say what was lost, when, where and why, with the evidence.

    A cause is blamed only where measured nanoseconds of it explain the loss. Every number comes
    with the query that gives it again (gnomon query DIR "..."). Where nothing is wrong it says so,
    and what it could not see.
    """
    if as_json and as_markdown:
        raise click.UsageError("--json and --markdown exclude each other")
    measurements = opening.open_together(directories)
    bounds = opening.bounds_of(measurements, directories[0])
    span = _span(bounds, since, until)

    from gnomon.cli import rendering  # noqa: PLC0415  rich
    from gnomon.cli.explain_text import print_explanation  # noqa: PLC0415
    from gnomon.cli.explain_words import Frame  # noqa: PLC0415
    from gnomon.detectors import report  # noqa: PLC0415  numpy

    _check(causes)
    with report.opened(measurements, span) as case:
        explanation = report.explain_case(case, causes=causes, at_least=Severity(severity))
        frame = Frame(measurements.meta(), bounds[0])
        if page is not None:
            from gnomon.cli import explain_page  # noqa: PLC0415
            from gnomon.detectors.picture import picture  # noqa: PLC0415

            name = " ".join(one.name or str(one) for one in directories)
            explain_page.write(page, explanation, frame, picture(case), name)
            click.echo(f"{page}: written", err=True)
    rendering.print_skipped(explanation.skipped, rendering.console(stderr=True))
    if as_json:
        base.print_json(explanation.to_json())
    elif as_markdown:
        from gnomon.cli.explain_markdown import markdown  # noqa: PLC0415

        click.echo(markdown(explanation, frame), nl=False)
    else:
        print_explanation(explanation, frame, rendering.console(), has_queries=has_queries)


def _span(bounds: tuple[int, int], since: Moment | None, until: Moment | None) -> Span:
    """Return the range asked for; all of the recording, its first instant included, by default."""
    from gnomon.analysis.questions import Span  # noqa: PLC0415
    from gnomon.detectors.report import whole  # noqa: PLC0415

    if since is until is None:
        return whole(bounds)
    return Span(*opening.resolve_range(bounds, since, until))


def _check(causes: tuple[str, ...]) -> None:
    from gnomon.detectors.registry import detectors  # noqa: PLC0415

    known = detectors()
    for name in causes:
        if name not in known:
            raise CommandError(
                f"--cause {name}: there is no detector of this name; there are: "
                f"{', '.join(sorted(known))}",
                exit_code=2,
            )
