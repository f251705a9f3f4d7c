"""``gnomon roofline``: a GPU's roofs, a model's operators under them, and what was measured."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gnomon._errors import CommandError
from gnomon.cli import base, model_options, opening
from gnomon.cli.model_options import Asked
from gnomon.cli.quantities import Moment

if TYPE_CHECKING:
    from gnomon.analysis.roofline_types import Roofline
    from gnomon.analysis.summary_types import GpuSummary
    from gnomon.hardware import HardwareProfile
    from gnomon.recording.base import Meta

# More points than marks and colours; a plot of them would be a cloud.
MOST_WINDOWS = 200
# Always among the options, given or not.
_FLAGS = frozenset({"is_eager", "is_attention_fused"})


@click.command(
    "roofline",
    cls=base.Command,
    examples=[
        (
            "gnomon roofline --model Llama-3.1-8B --gpu H200-SXM-141GB --phase decode",
            "where each operator of a step lies, and what bounds it",
        ),
        ("gnomon roofline run1", "what was measured, one point a phase, under its GPU's roofs"),
        (
            "gnomon roofline run1 --model Llama-3.1-8B --phase prefill -o prefill.html",
            "both, as a page to look around in (or .png, .svg)",
        ),
    ],
)
@click.argument("directory", metavar="[DIR]", required=False, type=base.RECORDING_DIRECTORY)
@model_options.model_options
@click.option(
    "--gpu",
    "gpu_name",
    metavar="NAME",
    help="A GPU by its name in the GPU table, or by NVML's. [default: the recorded one]",
)
@base.range_options
@base.by_option
@click.option(
    "-o",
    "--image",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Draw into this file instead: .png, .svg or .html.",
)
@click.option("--operators", "has_tables", is_flag=True, help="Print every point in tables too.")
@base.json_option()
def command(  # noqa: PLR0913  one parameter an option
    *,
    asked: Asked,
    directory: Path | None,
    gpu_name: str | None,
    since: Moment | None,
    until: Moment | None,
    by: str | int | None,
    image: Path | None,
    has_tables: bool,
    as_json: bool,
) -> None:
    """Draw the roofs of a GPU, a model under them, and what was measured.

    Both axes are logarithmic: FLOP/s over FLOP per byte of DRAM traffic. Operators stand where the
    best kernels take them, measured points where hardware counters saw them.
    """
    if directory is None and gpu_name is None:
        raise click.UsageError("give --gpu, a recording, or both")
    if directory is None and (since, until, by) != (None, None, None):
        raise click.UsageError("--from, --to and --by are of a recording: name its directory")
    recorded = None if directory is None else _Recorded(directory, since, until, by)
    gpu, warnings = _gpu(gpu_name, recorded)
    picture = _picture(asked, gpu, recorded, warnings)
    if image is not None:
        from gnomon.cli import roofline_image  # noqa: PLC0415

        roofline_image.write(picture, image)
    if as_json:
        base.print_json(picture.to_json())
    elif image is None:
        from gnomon.cli import rendering, roofline_rendering  # noqa: PLC0415  rich

        roofline_rendering.print_roofline(picture, rendering.console(), has_tables=has_tables)


class _Recorded:
    """The windows of a recording: its phases where it has some and nothing else is asked for."""

    def __init__(
        self, directory: Path, since: Moment | None, until: Moment | None, by: str | int | None
    ) -> None:
        from gnomon.analysis.summary import summarize  # noqa: PLC0415  numpy
        from gnomon.cli import rendering  # noqa: PLC0415  rich

        recording, from_ns, to_ns = opening.open_range(directory, since, until)
        if isinstance(by, int) and (to_ns - from_ns) / by > MOST_WINDOWS:
            raise CommandError(
                f"--by makes more than {MOST_WINDOWS} points: take a longer period, or less time "
                "with --from and --to",
                exit_code=2,
            )
        found: list[GpuSummary] = []
        for split in ("phase", None) if by is None else (by,):
            found = found or summarize(recording, from_ns=from_ns, to_ns=to_ns, by=split)  # type: ignore[arg-type]
        rendering.print_skipped(recording.skipped(), rendering.console(stderr=True))
        if not found:
            raise CommandError(
                f"{directory}: no GPU was recorded{', or no phase' if by == 'phase' else ''}; "
                "`gnomon summary` says what there is"
            )
        self.directory = directory
        self.summaries = found
        self.meta: Meta = recording.meta()


def _gpu(
    gpu_name: str | None, recorded: _Recorded | None
) -> tuple[HardwareProfile, tuple[str, ...]]:
    """Return the GPU whose roofs are drawn, and keep the windows of its kind alone."""
    named = None if gpu_name is None else model_options.gpus(gpu_name)
    if named is not None and len(named) > 1:
        raise CommandError(f"--gpu {gpu_name}: a roofline is of one GPU: name one", exit_code=2)
    if recorded is None:
        return _only(named), ()
    from gnomon.analysis.roofline_points import of_kind, profiles_of  # noqa: PLC0415

    profiles = profiles_of(recorded.summaries, recorded.meta)
    wanted = _only(named or tuple(profiles.values())[:1])
    kept, left_out = of_kind(recorded.summaries, profiles, wanted)
    if not kept:
        raise CommandError(
            f"--gpu {gpu_name}: {recorded.directory} has none; recorded are: {', '.join(left_out)}",
            exit_code=2,
        )
    recorded.summaries = kept
    drawn = profiles[kept[0].uuid, kept[0].mig_uuid]
    told = f"{', '.join(left_out)}: recorded too, and not drawn; choose with --gpu"
    return drawn, (told,) if left_out else ()


def _only(gpus: tuple[HardwareProfile, ...] | None) -> HardwareProfile:
    (gpu,) = gpus or ()
    return gpu


def _picture(
    asked: Asked, gpu: HardwareProfile, recorded: _Recorded | None, warnings: tuple[str, ...]
) -> Roofline:
    from gnomon.analysis.roofline_points import measured_points, roofline  # noqa: PLC0415
    from gnomon.performance_model.report import assumptions  # noqa: PLC0415

    uuid = recorded.summaries[0].uuid if recorded else None
    with model_options.usage_errors():
        constants = model_options.read_constants(asked.constants, gpu, uuid)
        modelled = None
        if asked.model is not None or set(asked.options) - _FLAGS:
            workload = asked.workload(gpu, uuid)
            answer = workload.ceiling()
            modelled = workload.architecture, answer
            constants = workload.constants
            warnings = (*workload.warnings, *assumptions(answer), *warnings)
        measured = None
        if recorded is not None:
            dtype = modelled[1].totals.leading_dtype if modelled else None
            measured = measured_points(recorded.summaries, recorded.meta, dtype)
        return _of_its_size(roofline(gpu, constants, modelled, measured, warnings))


def _of_its_size(picture: Roofline) -> Roofline:
    """Keep what others published of models of this size: other sizes run on other machines."""
    from gnomon.performance_model.parameters import count  # noqa: PLC0415
    from gnomon.performance_model.typical import size_of  # noqa: PLC0415

    if picture.model is None:
        return picture
    size = size_of(count(picture.model).total)
    return replace(picture, typical=tuple(band for band in picture.typical if band.size == size))
