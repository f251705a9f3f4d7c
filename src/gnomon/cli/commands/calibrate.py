"""``gnomon calibrate``: measure on this GPU what ceilings are computed from."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import click

from gnomon._errors import CommandError
from gnomon.cli import base


@click.command(
    "calibrate",
    cls=base.Command,
    examples=[
        ("gnomon calibrate", "the first idle GPU, in at most 90 s"),
        ("gnomon calibrate --gpu 3", "another one"),
        (
            "gnomon calibrate -o h200.json",
            "into a file, for `gnomon ceiling --constants h200.json`",
        ),
        ("gnomon calibrate --json | jq .flops", "the roofs, for a program"),
    ],
)
@click.option("--gpu", metavar="UUID|INDEX", help="Which GPU. [default: the first idle one]")
@click.option("--force", is_flag=True, help="Measure a GPU that is not idle: it will seem slow.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write here, and not where `--constants calibrated` looks.",
)
@base.json_option()
def command(*, gpu: str | None, force: bool, output: Path | None, as_json: bool) -> None:
    """Measure on this GPU what ceilings are computed from.

    Products by dtype, memory, attention, launches, PCIe and NVLink, each short and cool and the
    most important ones for seconds under full power. Needs PyTorch: pip install
    'gnomon[calibrate]'. Clocks, power limits and MIG are left as they are.
    """
    from gnomon import configuration  # noqa: PLC0415
    from gnomon.cli import calibration_rendering, progress, rendering  # noqa: PLC0415  rich
    from gnomon.cli.calibrator import calibrate  # noqa: PLC0415
    from gnomon.hardware import calibration_files  # noqa: PLC0415
    from gnomon.hardware.calibration import document  # noqa: PLC0415

    settings = configuration.load()
    _refuse_unwritable(output or calibration_files.path_of(settings.state_directory, "a gpu"))
    with progress.shares("calibrating") as show:
        found = calibrate(settings, gpu, show, force=force)
    kept = calibration_files.path_of(settings.state_directory, found.document["gpu_uuid"])
    before = _former(kept)
    path = output or kept
    try:
        document.write(found.document, path)
    except OSError as error:
        base.print_json(found.document)
        raise CommandError(
            f"{path}: {error.strerror}; the calibration stands on stdout instead: keep it in a "
            "file for --constants FILE"
        ) from error
    if as_json:
        base.print_json(found.document)
        return
    change = document.largest_change(before, found.document) if before else None
    out = rendering.console()
    calibration_rendering.show(found.document, found.profile, found.true_clock_missing, change, out)
    click.echo(f"written to {path}")


def _refuse_unwritable(path: Path) -> None:
    """Raise CommandError where a file of this folder cannot be made: 90 s would be lost."""
    folder = path.parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise CommandError(
            f"{folder}: {error.strerror}, so a calibration could not be kept there, and none was "
            "made; choose another file with -o"
        ) from error


def _former(path: Path) -> Any:
    """Return the calibration that is replaced; None where there is none that can be read."""
    from gnomon._errors import GnomonError  # noqa: PLC0415
    from gnomon.hardware import calibration_files  # noqa: PLC0415

    try:
        return calibration_files.load(path)
    except GnomonError:
        return None
