"""Kernels recorded inside of a workload: its environment, the windows, the recorder around it."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import click

from gnomon._errors import SourceError
from gnomon.cli import footprint
from gnomon.cli.quantities import parse_duration_ns
from gnomon.configuration import KernelsRequest, Settings

NS_PER_S = 1_000_000_000
SHORTEST_WINDOW_S = 0.1
ALWAYS = "always"
Decorated = TypeVar("Decorated", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Window:
    """Kernels are recorded ``on_s`` of every ``every_s``; all the time where both are the same."""

    on_s: float
    every_s: float

    @property
    def is_always(self) -> bool:
        return self.every_s <= self.on_s


DEFAULT_WINDOW = Window(1.0, 20.0)


@dataclass(frozen=True, slots=True)
class Kernels:
    """What of a workload's kernels is recorded."""

    window: Window = DEFAULT_WINDOW
    with_ranges: bool = False


def parse_window(text: str) -> Window:
    """Read ``always``, or ``1s/20s``: one second of every twenty. Raises ValueError."""
    if text.strip() == ALWAYS:
        return Window(1.0, 1.0)
    found = re.fullmatch(r"([^/]+)/([^/]+)", text)
    if not found:
        raise ValueError(f"{text!r} is no window; write 1s/20s (one second of every 20) or always")
    on_s, every_s = (parse_duration_ns(part) / NS_PER_S for part in found.groups())
    if on_s < SHORTEST_WINDOW_S or every_s < on_s:
        raise ValueError(f"{text!r}: a window lasts 0.1s at least, and no longer than its period")
    return Window(on_s, every_s)


class WindowType(click.ParamType[Any]):
    """A ``Window``."""

    name = "on/every|always"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, str):
            return value
        try:
            return parse_window(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


def window_option(name: str) -> Callable[[Decorated], Decorated]:
    """Add an option that says when kernels are recorded; it arrives as a `Window` or None."""
    text = "When kernels are recorded: 1s/20s (one second of every 20) or always. [default: 1s/20s]"
    return click.option(name, "window", type=WindowType(), help=text)


def ranges_option() -> Callable[[Decorated], Decorated]:
    """Add ``--ranges``; it arrives as ``with_ranges``."""
    text = "Record NVTX ranges, too: CUPTI is then loaded at CMD's first range, before any window."
    return click.option("--ranges", "with_ranges", is_flag=True, help=text)


@contextlib.contextmanager
def prepared(settings: Settings, asked: Kernels) -> Iterator[tuple[Settings, Mapping[str, str]]]:
    """Yield settings with the request for kernels, and the variables that a workload needs.

    Raises SourceError where kernels cannot be recorded here at all.
    """
    # NVML and the list of libraries are of no use to other commands.
    from gnomon.sources import _kernels_control, _kernels_injection  # noqa: PLC0415

    kinds = dict(_kernels_control.KINDS)
    if not asked.with_ranges:
        del kinds["ranges"]
    directory = _kernels_control.make_directory(sum(kinds.values()))
    try:
        variables = _kernels_injection.environment_of(
            directory, footprint.users_environment(), with_ranges=asked.with_ranges
        )
        request = KernelsRequest(directory, asked.window.on_s, asked.window.every_s)
        yield replace(settings, kernels=request), variables
    finally:
        _kernels_control.remove_directory(directory)


def record(
    output: Path,
    settings: Settings,
    workload: Sequence[str],
    asked: Kernels,
    duration_ns: int | None = None,
) -> int:
    """Run a workload with everything that `gnomon record` measures, and its kernels.

    Where kernels cannot be recorded the user is told, and the workload runs all the same. Returns
    its exit status.
    """
    from gnomon.cli.recorder import Recorder  # noqa: PLC0415  pyarrow

    with contextlib.ExitStack() as stack:
        variables: Mapping[str, str] = {}
        try:
            settings, variables = stack.enter_context(prepared(settings, asked))
        except SourceError as error:
            remedy = f"; try: {error.remedy}" if error.remedy else ""
            click.echo(f"gnomon: kernels are not recorded: {error.reason}{remedy}", err=True)
        return Recorder(output, settings, variables=variables).run(workload, duration_ns)


def record_kernels(output: Path, workload: Sequence[str], asked: Kernels) -> int:
    """Run a workload for its kernels: every hardware sample of their windows is kept, too.

    Returns its exit status. Raises UsageError where there is none to run.
    """
    from gnomon import configuration  # noqa: PLC0415

    if not workload:
        raise click.UsageError("kernels are recorded inside of a workload: give it behind --")
    footprint.stay_small()
    # A kernel's own speed of light is worked out from samples of throughput while it runs.
    chosen: dict[str, object] = {"pm_samples": True, "pm_counter_sets": "throughput"}
    if asked.window.is_always:
        chosen["pm_every_s"] = 0
    return record(output, configuration.load(chosen), workload, asked)
