"""Options that say whom to trace."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

Decorated = TypeVar("Decorated", bound=Callable[..., Any])


def pid_option(name: str, help_text: str) -> Callable[[Decorated], Decorated]:
    """Add an option that may be given several times: numbers of processes."""
    kind = click.IntRange(min=1)
    return click.option(name, "pids", metavar="PID", multiple=True, type=kind, help=help_text)


def name_option(name: str, help_text: str) -> Callable[[Decorated], Decorated]:
    """Add an option that may be given several times: short names of processes."""
    return click.option(name, "names", metavar="NAME", multiple=True, help=help_text)
