"""Which view of the kernels is printed: what they lose, their times, a roofline, JSON."""

from __future__ import annotations

from collections.abc import Sequence

from gnomon._errors import CommandError
from gnomon.analysis.kernel_losses import RowSol, document, points, speed_of_light
from gnomon.analysis.kernel_sol_types import GpuKernelSol
from gnomon.analysis.kernel_types import KernelTable
from gnomon.analysis.roofline_points import roofline
from gnomon.cli import (
    base,
    kernel_losses_text,
    kernels_text,
    model_options,
    rendering,
    roofline_rendering,
)
from gnomon.hardware import profile
from gnomon.recording.base import Measurements, Meta


def print_json(recording: Measurements, table: KernelTable, limit: int | None) -> None:
    """Print the table, with the speed of light where counters were sampled."""
    rows, found = speed_of_light(recording, table)
    base.print_json(document(table, rows, found, recording.meta(), limit))


def print_view(
    recording: Measurements,
    table: KernelTable,
    limit: int | None,
    *,
    has_times: bool,
    has_roofline: bool,
) -> None:
    """Print what kernels lose; their times where that is asked for, or no counters were sampled.

    Raises CommandError where a roofline is asked for without counters.
    """
    most, out = limit or kernels_text.MOST_ROWS, rendering.console()
    if has_times and not has_roofline:
        kernels_text.print_kernels(table, most, out)
        return
    rows, found = speed_of_light(recording, table)
    if has_roofline:
        _print_rooflines(rows[:most], found, recording.meta())
    elif found:
        kernel_losses_text.print_losses(table, rows, found, most, out)
    else:
        kernels_text.print_kernels(table, most, out)


def _print_rooflines(rows: Sequence[RowSol], found: Sequence[GpuKernelSol], meta: Meta) -> None:
    """Draw a roofline a GPU, its kernels under the roofs."""
    if not found:
        raise CommandError(
            "--roofline: no counters were sampled beside these kernels; record with "
            "--counters cupti"
        )
    for one in found:
        gpu = profile(meta.gpus.get(one.gpu_uuid, {}))
        measured = points(rows, one.gpu_uuid, meta)
        with model_options.usage_errors():
            constants = model_options.read_constants("default", gpu, one.gpu_uuid)
            picture = roofline(gpu, constants, measured=measured, warnings=one.warnings)
        roofline_rendering.print_roofline(picture, rendering.console(), has_tables=True)
