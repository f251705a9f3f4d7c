"""What all commands share: examples in the help, and the options that many of them take."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from gnomon.cli.quantities import MomentType, Split

Decorated = TypeVar("Decorated", bound=Callable[..., Any])

RECORDING_DIRECTORY = click.Path(path_type=Path, file_okay=False)


class Command(click.Command):
    """A command whose help shows examples before its options."""

    def __init__(
        self, *args: Any, examples: Sequence[tuple[str, str]] = (), **settings: Any
    ) -> None:
        """``examples``: pairs of a command line and what it is for."""
        super().__init__(*args, **settings)
        self.examples = tuple(examples)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        if self.examples:
            with formatter.section("Examples"):
                for line, purpose in self.examples:
                    indent = " " * formatter.current_indent
                    formatter.write(f"{indent}{line}\n{indent}    {purpose}\n")
        super().format_options(ctx, formatter)


def json_option(help_text: str = "Print JSON for programs.") -> Callable[[Decorated], Decorated]:
    return click.option("--json", "as_json", is_flag=True, help=help_text)


def range_options(function: Decorated) -> Decorated:
    """Add ``--from`` and ``--to``; both arrive as a ``Moment`` or None."""
    moment = MomentType()
    remark = "Unix ns, 10s (from the start), -30s (before the end) or ISO time (UTC)."
    function = click.option("--to", "until", type=moment, help="End: as --from.")(function)
    return click.option("--from", "since", type=moment, help=f"Start: {remark}")(function)


def by_option(function: Decorated) -> Decorated:
    return click.option("--by", type=Split(), help="One entry a phase, or a period such as 10s.")(
        function
    )


def print_json(document: Any, *, indent: int | None = 2) -> None:
    """Print strict JSON: NaN is refused, because no JSON parser has to take it."""
    click.echo(json.dumps(document, indent=indent, allow_nan=False))
