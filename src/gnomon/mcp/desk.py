"""What every tool works with: one recording, and how to understand what is asked of it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from gnomon._errors import GnomonError
from gnomon.analysis.budget import CeilingOf
from gnomon.recording.base import Meta
from gnomon.recording.reader import Recording

NS_PER_S = 1_000_000_000

Time = str | int
Bounds = tuple[int, int]
OfGpu = TypeVar("OfGpu")


class QuestionError(GnomonError):
    """A tool was asked for what makes no sense; says what would."""


@dataclass(frozen=True, slots=True)
class Grammar:
    """How times, periods and models are written: the command line's own ways.

    ``moment_ns`` reads a time against the recording's bounds, ``period_ns`` a duration; both
    raise ValueError with a sentence. ``ceilings`` gives the ceiling of a model (None: the one
    that the server was started with, if any) under some traffic, and raises GnomonError.
    """

    moment_ns: Callable[[str, Bounds], int]
    period_ns: Callable[[str], int]
    ceilings: Callable[[str | None, Mapping[str, Any]], CeilingOf | None]


@dataclass(frozen=True, slots=True)
class Desk:
    """A recording, live or old, and the grammar of questions. Raises QuestionError throughout."""

    recording: Recording
    grammar: Grammar

    def bounds(self) -> Bounds:
        """Return the first and the last moment that is recorded, Unix ns."""
        bounds = self.recording.bounds()
        if bounds is None:
            raise QuestionError("nothing is recorded yet; ask again in a few seconds")
        return bounds

    def window(self, since: Time | None, until: Time | None) -> Bounds:
        """Return the range that is asked for, inside the recording; all of it by default."""
        bounds = self.bounds()
        from_ns = bounds[0] if since is None else self._moment_ns("since", since, bounds)
        to_ns = bounds[1] if until is None else self._moment_ns("until", until, bounds)
        from_ns, to_ns = max(from_ns, bounds[0]), min(to_ns, bounds[1])
        if from_ns >= to_ns:
            raise QuestionError(
                f"there is nothing between since and until: the recording lasts from {bounds[0]} "
                f"({iso(bounds[0])}) to {bounds[1]} ({iso(bounds[1])})"
            )
        return from_ns, to_ns

    def split(self, by: str | None) -> Any:
        """Return "phase", a period in ns, or None."""
        if by is None or by == "phase":
            return by
        try:
            return self.grammar.period_ns(by)
        except ValueError as error:
            raise QuestionError(f"by: {error}, or phase") from None

    def _moment_ns(self, name: str, value: Time, bounds: Bounds) -> int:
        try:
            return self.grammar.moment_ns(str(value), bounds)
        except (ValueError, OverflowError) as error:
            raise QuestionError(f"{name}: {error}") from None


def only_gpu(
    found: Iterable[OfGpu],
    gpu: str | int | None,
    meta: Meta,
    uuids_of: Callable[[OfGpu], tuple[str | None, ...]],
) -> list[OfGpu]:
    """Keep what belongs to a GPU, named by its index, its uuid or the start of its uuid."""
    every = list(found)
    if gpu is None:
        return every
    wanted = str(gpu)

    def belongs(one: OfGpu) -> bool:
        known = [uuid for uuid in uuids_of(one) if uuid]
        return any(
            uuid.startswith(wanted) or str(meta.gpus.get(uuid, {}).get("index")) == wanted
            for uuid in known
        )

    kept = [one for one in every if belongs(one)]
    is_known = any(
        uuid.startswith(wanted) or str(facts.get("index")) == wanted
        for uuid, facts in meta.gpus.items()
    )
    if not kept and not is_known:
        raise QuestionError(f"gpu: none is called {wanted}; get_status lists them")
    return kept


def iso(unix_ns: int) -> str:
    """Return UTC to the millisecond; in Unix ns where a calendar does not reach."""
    try:
        when = dt.datetime.fromtimestamp(unix_ns // NS_PER_S, dt.UTC)
    except (ValueError, OverflowError, OSError):
        return str(unix_ns)
    return f"{when:%Y-%m-%dT%H:%M:%S}.{unix_ns % NS_PER_S // 1_000_000:03d}Z"
