"""``gnomon kernels --gaps`` and ``--steps``: what lies between kernels, and what they make up."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from gnomon._errors import CommandError
from gnomon.cli import base

if TYPE_CHECKING:
    from gnomon.analysis.gpu_work import Gpu
    from gnomon.analysis.kernel_names import Families
    from gnomon.analysis.questions import Span

Decorated = TypeVar("Decorated", bound=Callable[..., Any])
NOTHING = "nothing can be told: no kernel ran in a window of recording"


def view_option(function: Decorated) -> Decorated:
    """Add ``--gaps`` and ``--steps``; the one chosen arrives as ``view``, None for neither."""
    steps = "What steps and ranges are made of: compute, collectives, copies, host."
    gaps = "Why no kernel ran: gaps between kernels, and what the GPU really ran."
    function = click.option("--steps", "view", flag_value="steps", help=steps)(function)
    return click.option("--gaps", "view", flag_value="gaps", help=gaps)(function)


def print_view(
    view: str,
    recording: Any,
    span: Span,
    families: Families,
    gpu: Gpu | None,
    *,
    as_json: bool,
) -> None:
    """Print what was asked for. Raises CommandError where there is nothing to tell."""
    from gnomon.analysis.gpu_gaps import gpu_gaps  # noqa: PLC0415  numpy
    from gnomon.analysis.gpu_steps import gpu_steps  # noqa: PLC0415
    from gnomon.cli import kernel_gaps_text, kernel_steps_text, rendering  # noqa: PLC0415  rich

    out = rendering.console()
    with recording.session() as session:
        gaps = gpu_gaps(recording, session, span, families, gpu) if view == "gaps" else []
        steps = gpu_steps(recording, session, span, families, gpu) if view == "steps" else []
    rendering.print_skipped(recording.skipped(), rendering.console(stderr=True))
    if as_json:
        told = [*(one.to_json() for one in gaps), *(one.to_json() for one in steps)]
        base.print_json({"schema": 1, "gpus": told})
    elif not gaps and not steps:
        raise CommandError(NOTHING)
    else:
        of_gpus = (*map(kernel_gaps_text.lines, gaps), *map(kernel_steps_text.lines, steps))
        for number, lines in enumerate(of_gpus):
            if number:
                out.print()
            for line in lines:
                out.print(line, no_wrap=line.no_wrap, overflow=line.overflow)
