"""From what the user typed to measurements: a directory, a time range, a GPU."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Any

from gnomon._errors import CommandError
from gnomon.analysis.summary_types import GpuSummary
from gnomon.cli import footprint
from gnomon.cli.quantities import Moment
from gnomon.recording.base import Measurements, Meta

NS_PER_S = 1_000_000_000


def open_recording(directory: Path) -> Any:
    """Return the recording in a directory. Raises CommandError where there is none."""
    from gnomon.recording.reader import Recording  # noqa: PLC0415  brings pyarrow

    if not directory.exists():
        raise CommandError(
            f"{directory}: no such directory; `gnomon record -o {directory}` makes a recording"
        )
    footprint.keep_pandas_out()
    return Recording.open(directory)


def open_together(directories: Sequence[Path]) -> Any:
    """Return the recording in a directory, or those in several as one."""
    recordings = [open_recording(one) for one in directories]
    if len(recordings) == 1:
        return recordings[0]
    from gnomon.recording.together import Together  # noqa: PLC0415

    return Together(recordings)


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
    if from_ns >= to_ns and since is not None and until is not None:
        raise CommandError("--from is not before --to", exit_code=2)
    if from_ns >= to_ns or to_ns <= bounds[0] or from_ns >= bounds[1]:
        raise CommandError(
            f"the recording has nothing {_asked(from_ns, to_ns, since, until)}: "
            f"it lasts from {_iso(bounds[0])} to {_iso(bounds[1])}",
            exit_code=2,
        )
    return from_ns, to_ns


def open_range(directory: Path, since: Moment | None, until: Moment | None) -> tuple[Any, int, int]:
    """Return the recording in a directory and the range that was asked for, as above."""
    recording = open_recording(directory)
    return recording, *resolve_range(bounds_of(recording, directory), since, until)


def _asked(from_ns: int, to_ns: int, since: Moment | None, until: Moment | None) -> str:
    """Say the range in the user's own terms: an end that was not given is not named."""
    asked = [f"from {_iso(from_ns)}"] if since is not None else []
    return " ".join([*asked, f"to {_iso(to_ns)}"] if until is not None else asked)


def _iso(unix_ns: int) -> str:
    """Return a time as ``--from`` takes it; in Unix ns where a calendar does not reach."""
    try:
        when = dt.datetime.fromtimestamp(unix_ns // NS_PER_S, dt.UTC)
    except (ValueError, OverflowError, OSError):
        return str(unix_ns)
    return when.isoformat().replace("+00:00", "Z")


def only_gpu(summaries: Iterable[GpuSummary], gpu: str | None, meta: Meta) -> list[GpuSummary]:
    """Keep one GPU's summaries, named by its index, its uuid or the start of its uuid."""
    kept = list(summaries)
    if gpu is None:
        return kept
    uuids = {each.uuid for each in kept} | {each.mig_uuid for each in kept if each.mig_uuid}
    wanted = gpu_named(gpu, uuids, meta)
    return [each for each in kept if wanted in {each.uuid, each.mig_uuid}]


def gpu_named(gpu: str, uuids: Collection[str], meta: Meta) -> str:
    """Return the one of these uuids that is meant by an index, a uuid or the start of one.

    Raises CommandError (a usage error) where none is meant, or more than one.
    """
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
    return wanted.pop()
