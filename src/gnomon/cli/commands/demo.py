"""``gnomon demo``: a real H200 recording, replayed into the very same screen as ``gnomon top``."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from gnomon._errors import CommandError
from gnomon.analysis.summary_types import GpuSummary
from gnomon.cli import base, opening

EXIT_WRONG_VERDICT = 1


@click.command(
    "demo",
    cls=base.Command,
    examples=[
        ("gnomon demo", "watch an H200 at work; q leaves, ? tells the keys"),
        ("gnomon demo --speed 4 --phase prefill_8x2048", "four times as fast, from a phase on"),
        ("gnomon demo --headless", "no screen: each phase with its verdict, as text"),
    ],
)
@click.option("--headless", is_flag=True, help="Print the summary by phase instead of a screen.")
@click.option(
    "--speed",
    type=click.FloatRange(min=0, min_open=True),
    default=1.0,
    show_default=True,
    help="How many times as fast as it happened.",
)
@click.option("--phase", metavar="NAME", help="Start at this phase, or print only this one.")
@click.option("--recording", "directory", type=base.RECORDING_DIRECTORY, hidden=True)
@base.json_option("With --headless: print JSON for programs.")
@click.pass_context
def command(
    ctx: click.Context,
    *,
    headless: bool,
    speed: float,
    phase: str | None,
    directory: Path | None,
    as_json: bool,
) -> None:
    """Replay a real H200 recording: no GPU needed."""
    if as_json and not headless:
        raise click.UsageError("--json needs --headless")
    directory = directory or bundled_directory()
    recording = opening.open_recording(directory)
    opening.bounds_of(recording, directory)
    if headless:
        ctx.exit(_headless(recording, directory, phase, as_json=as_json))
    _show(recording, speed, phase or _first_at_work(directory))


def bundled_directory() -> Path:
    """Return the directory of the recording that comes with gnomon."""
    # Not by importlib.resources: an editable install has the package in two places.
    directory = Path(__file__).parents[2] / "data" / "demo"
    if not directory.is_dir():
        raise CommandError(f"the bundled recording is not there ({directory}); reinstall gnomon")
    return directory


def _headless(recording: Any, directory: Path, phase: str | None, *, as_json: bool) -> int:
    from gnomon.analysis.summary import summarize  # noqa: PLC0415  numpy
    from gnomon.cli import rendering  # noqa: PLC0415  rich

    every = summarize(recording, by="phase")
    summaries = [each for each in every if phase is None or each.phase == phase]
    if not summaries:
        raise _no_phase(phase, [each.phase for each in every])
    if as_json:
        base.print_json(rendering.json_document(summaries))
    else:
        out = rendering.console()
        rendering.print_summaries(summaries, recording.meta(), out, split=True)
    skipped = list(recording.skipped())
    rendering.print_skipped(skipped, rendering.console(stderr=True))
    wrong = wrong_verdicts(summaries, expected_bounds(directory))
    for sentence in wrong:
        click.echo(sentence, err=True)
    return EXIT_WRONG_VERDICT if wrong or skipped else 0


def _show(recording: Any, speed: float, phase: str | None) -> None:
    from gnomon.recording.marks import phases  # noqa: PLC0415  pyarrow
    from gnomon.recording.replay import Replay  # noqa: PLC0415
    from gnomon.tui import app  # noqa: PLC0415

    spans = phases(recording)
    replay = Replay(recording, speed=speed, loop=True)
    if phase is not None:
        begin_ns = next((each.from_ns for each in spans if each.name == phase), None)
        if begin_ns is None:
            raise _no_phase(phase, [each.name for each in spans])
        replay.seek(begin_ns)
    app.run(replay, title="demo: a real H200, replayed", phases=spans)


def _first_at_work(directory: Path) -> str | None:
    """Return the first phase in which something runs: a demo should not open with a GPU at rest."""
    at_work = (name for name, bounds in expected_bounds(directory).items() if "idle" not in bounds)
    return next(at_work, None)


def _no_phase(phase: str | None, names: Sequence[str | None]) -> CommandError:
    known = ", ".join(dict.fromkeys(name for name in names if name)) or "none"
    return CommandError(f"no phase {phase!r} in the recording; it has: {known}", exit_code=2)


def expected_bounds(directory: Path) -> Mapping[str, Sequence[str]]:
    """Return phase -> what may be said to bound it, by ``phases.json`` beside the recording."""
    try:
        text = (directory / "phases.json").read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    phases = json.loads(text)["phases"]
    return {each["name"]: each["bounds"] for each in phases if each.get("bounds")}


def wrong_verdicts(
    summaries: Sequence[GpuSummary], expected: Mapping[str, Sequence[str]]
) -> list[str]:
    """Return a sentence for each phase whose verdict is not what is known of its workload."""
    wrong = []
    for each in summaries:
        known = expected.get(each.phase or "")
        if known is not None and each.bound_by not in known:
            words = " or ".join(known)
            wrong.append(f"phase {each.phase}: diagnosed as {each.bound_by}, known to be {words}")
    seen = {each.phase for each in summaries}
    # With --phase only one is looked at; without it a phase that is not there is an error too.
    absent = [name for name in expected if name not in seen] if len(seen) > 1 else []
    return wrong + [f"phase {name}: not in the recording" for name in absent]
