"""Slices of one place on as few tracks as need be, so that on each they are well nested."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from gnomon.exporters.perfetto_file import PerfettoFile, Value


class Nest:
    """What happens in one place: a thread, a stream. Slices come in the order of their begins.

    A slice that overlaps another one in part goes to a further track of the same place. Of slices
    that begin together the longer ones come first.
    """

    def __init__(
        self, file: PerfettoFile, new_track: Callable[[], int], *, may_nest: bool = True
    ) -> None:
        """``may_nest``: a slice may lie inside another one, as a call in a call."""
        self._file = file
        self._new_track = new_track
        self._may_nest = may_nest
        # Track -> ends of its open slices, the innermost last.
        self._open: dict[int, list[int]] = {}

    def add(
        self,
        begin_ns: int,
        end_ns: int,
        name: str,
        args: Mapping[str, Value],
        *,
        starts_flows: Sequence[int] = (),
        ends_flow: int | None = None,
    ) -> None:
        track = self._track_for(begin_ns, end_ns)
        self._open[track].append(end_ns)
        self._file.begin(
            track, begin_ns, name, args, starts_flows=starts_flows, ends_flow=ends_flow
        )

    def mark(self, at_ns: int, name: str, args: Mapping[str, Value]) -> None:
        """Write an instant, on the first track."""
        track = next(iter(self._open), None)
        if track is None:
            track = self._track_for(at_ns, at_ns)
        self._file.instant(track, at_ns, name, args)

    def close(self) -> None:
        """End what is open."""
        for track, ends in self._open.items():
            self._end_until(track, ends, None)

    def _track_for(self, begin_ns: int, end_ns: int) -> int:
        for track, ends in self._open.items():
            self._end_until(track, ends, begin_ns)
            if not ends or (self._may_nest and ends[-1] >= end_ns):
                return track
        track = self._new_track()
        self._open[track] = []
        return track

    def _end_until(self, track: int, ends: list[int], at_ns: int | None) -> None:
        while ends and (at_ns is None or ends[-1] <= at_ns):
            self._file.end(track, ends.pop())
