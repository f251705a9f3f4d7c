"""From what the user typed to measurements: a directory, a time range, a GPU."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from gnomon._errors import CommandError
from gnomon.analysis.summary_types import GpuSummary
from gnomon.cli.quantities import Moment
from gnomon.recording.base import Measurements, Meta


def open_recording(directory: Path) -> Any:
    """Return the recording in a directory. Raises CommandError where there is none."""
    from gnomon.recording.reader import Recording  # noqa: PLC0415  brings pyarrow

    if not directory.exists():
        raise CommandError(
            f"{directory}: no such directory; `gnomon record -o {directory}` makes a recording"
        )
    return Recording.open(directory)


def bounds_of(measurements: Measurements, directory: Path) -> tuple[int, int]:
    bounds = measurements.bounds()
    if bounds is None:
        raise CommandError(f"{directory}: nothing is recorded here")
    return bounds


def resolve_range(
    bounds: tuple[int, int], since: Moment | None, until: Moment | None
) -> tuple[int, int]:
    """Return the range in Unix ns; the whole recording where none is given.

    Raises CommandError (a usage error) for a range that is empty or outside the recording.
    """
    from_ns = bounds[0] if since is None else since.resolve(bounds)
    to_ns = bounds[1] if until is None else until.resolve(bounds)
    if from_ns >= to_ns:
        raise CommandError("--from is not before --to", exit_code=2)
    if to_ns <= bounds[0] or from_ns >= bounds[1]:
        raise CommandError(
            f"the recording has nothing from {from_ns} to {to_ns}: "
            f"it lasts from {bounds[0]} to {bounds[1]} (Unix ns)",
            exit_code=2,
        )
    return from_ns, to_ns


def only_gpu(summaries: Iterable[GpuSummary], gpu: str | None, meta: Meta) -> list[GpuSummary]:
    """Keep one GPU's summaries, named by its index, its uuid or the start of its uuid."""
    kept = list(summaries)
    if gpu is None:
        return kept
    uuids = {each.uuid for each in kept} | {each.mig_uuid for each in kept if each.mig_uuid}
    wanted = {
        uuid
        for uuid in uuids
        if uuid.startswith(gpu) or str(meta.gpus.get(uuid, {}).get("index")) == gpu
    }
    if len(wanted) != 1:
        problem = "no GPU" if not wanted else f"{len(wanted)} GPUs"
        raise CommandError(
            f"--gpu {gpu}: {problem} of this name; recorded are: {', '.join(sorted(uuids))}",
            exit_code=2,
        )
    return [each for each in kept if each.uuid in wanted or each.mig_uuid in wanted]
