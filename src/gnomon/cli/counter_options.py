"""The options that say where hardware counters are read, and how finely; ``record`` and ``top``."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any, cast

import click

from gnomon.cli.base import Decorated
from gnomon.cli.quantities import Duration
from gnomon.enums import Counters, CounterSet

NS_PER_S = 1_000_000_000


def counters_option(function: Decorated) -> Decorated:
    """Add ``--counters``: which source of counters; None where nothing is said."""
    return click.option(
        "--counters",
        type=click.Choice([each.value for each in Counters]),
        help="Where hardware counters are read: gpm (the driver; Hopper and newer), cupti (PM "
        "sampling; one program a GPU), or auto: gpm, and cupti where that is missing. "
        "[default: auto]",
    )(function)


def counter_options(function: Decorated) -> Decorated:
    """Add the options of ``record``; the command gets one ``counters``: settings by their names."""

    @functools.wraps(function)
    def with_settings(*args: Any, **kwargs: Any) -> Any:
        given = {name: kwargs.pop(name) for name in _GIVEN}
        return function(*args, counters=_settings(**given), **kwargs)

    decorated = with_settings
    for option in reversed(_OPTIONS):
        decorated = option(decorated)
    return cast("Decorated", decorated)


_OPTIONS = (
    counters_option,
    click.option(
        "--pm/--no-pm",
        "pm",
        default=None,
        help="Sample hardware counters through CUPTI, or do not.",
    ),
    click.option(
        "--pm-always",
        is_flag=True,
        help="Enable PM sampling all the time, not in turns: the true clock of every row, at 0.6 % "
        "of a power-capped GEMM. Implies --pm.",
    ),
    click.option(
        "--pm-samples",
        is_flag=True,
        help="Keep every sample of PM sampling, not only rows of 0.1 s. Implies --pm.",
    ),
    click.option(
        "--pm-interval",
        "pm_interval_ns",
        type=Duration(),
        help="Length of a sample, 20us to 1s. [default: 10ms; with --pm-samples 1ms]",
    ),
    click.option(
        "--pm-sets",
        "pm_sets",
        metavar="SET,...",
        help="What the turns of --pm-samples read, the first in every other turn: "
        f"{', '.join(CounterSet)}. [default: all]",
    ),
)
_GIVEN = ("counters", "pm", "pm_always", "pm_samples", "pm_interval_ns", "pm_sets")


def _settings(
    *,
    counters: str | None,
    pm: bool | None,
    pm_always: bool,
    pm_samples: bool,
    pm_interval_ns: int | None,
    pm_sets: str | None,
) -> Mapping[str, object]:
    if pm_sets is not None and not pm_samples:
        raise click.UsageError("--pm-sets says what --pm-samples reads: give that, too")
    asking = {
        "--counters cupti": counters == Counters.CUPTI.value,
        "--pm-always": pm_always,
        "--pm-samples": pm_samples,
        "--pm-interval": pm_interval_ns is not None,
    }
    named = next((option for option, is_given in asking.items() if is_given), None)
    refusing = {"--no-pm": pm is False, "--counters gpm": counters == Counters.GPM.value}
    refused = next((option for option, is_given in refusing.items() if is_given), None)
    if named and refused:
        raise click.UsageError(f"{refused} and {named} exclude each other: give one of them")
    if counters is None and (named or pm is not None):
        counters = Counters.AUTO.value  # what is said here goes before what a file says
    return {
        "counters": counters,
        "pm_enabled": False if counters == Counters.GPM.value else True if named else pm,
        "pm_every_s": 0 if pm_always else None,
        "pm_samples": pm_samples or None,
        "pm_interval_s": None if pm_interval_ns is None else pm_interval_ns / NS_PER_S,
        "pm_counter_sets": pm_sets,
    }
