"""What the counters of GPUs read, as numbers over time.

A Perfetto counter keeps its value until the next one. So a value that stays the same is written
once, and a stretch in which nothing was read is a slice of a track of its own: there the drawn
value is none.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np

from gnomon.analysis.counter_lines import SAMPLED_COLUMNS, Line, lines, sampled_lines
from gnomon.analysis.coverage import GAP_OF_USUAL_INTERVAL
from gnomon.analysis.intervals import Intervals
from gnomon.analysis.slices import slices
from gnomon.analysis.tracks import tracks_of
from gnomon.exporters.nest import Nest
from gnomon.exporters.places import SAMPLED_RANK, GpuKey, Places
from gnomon.exporters.rows import Chosen, edges
from gnomon.hardware import profile
from gnomon.recording.base import Measurements, Session

LEAST_GAP_NS = 1_000_000
KEYS = ("gpu_uuid", "mig_uuid", "counter_set")
NOT_READ = "not read"


class _Counter:
    """One counter's track, and how far it is written."""

    def __init__(self, places: Places, gpu: int, line: Line, rank: int) -> None:
        self._file = places.file
        self._track = self._file.counter(line.name, line.unit, parent=gpu, rank=rank)
        self._gaps: Nest = Nest(
            self._file,
            lambda: self._file.track(f"{line.name}: {NOT_READ}", parent=gpu, rank=rank),
        )
        self._end_ns: int | None = None
        self._value: float | None = None

    def write(self, where: Intervals, values: Any) -> int:
        """Write readings after those that were written; return how many numbers it took."""
        for begin_ns, end_ns in self._unread(where):
            self._gaps.add(begin_ns, end_ns, NOT_READ, {})
        begins_ns = np.maximum(where.start_ns, 0)
        before = np.concatenate([[np.nan if self._value is None else self._value], values[:-1]])
        is_new = np.flatnonzero(values != before)
        for at_ns, value in zip(begins_ns[is_new].tolist(), values[is_new].tolist(), strict=True):
            self._file.reading(self._track, at_ns, value)
        self._end_ns, self._value = int(where.end_ns[-1]), float(values[-1])
        return len(is_new)

    def close(self) -> None:
        self._gaps.close()

    def _unread(self, where: Intervals) -> list[tuple[int, int]]:
        """Return the stretches between readings that are longer than readings jitter."""
        first_ns = int(where.start_ns[0]) if self._end_ns is None else self._end_ns
        ends_ns = np.concatenate([[first_ns], where.end_ns[:-1]])
        usual_ns = GAP_OF_USUAL_INTERVAL * (where.end_ns - where.start_ns)
        is_gap = where.start_ns - ends_ns > np.maximum(usual_ns, LEAST_GAP_NS)
        return list(zip(ends_ns[is_gap].tolist(), where.start_ns[is_gap].tolist(), strict=True))


class Counters:
    """All counters of a trace."""

    def __init__(self, measurements: Measurements, places: Places, written: Counter[str]) -> None:
        self._measurements = measurements
        self._gpus = measurements.meta().gpus
        self._places = places
        self._written = written
        self._counters: dict[tuple[GpuKey, str, str], _Counter] = {}
        self._groups: dict[GpuKey, int] = {}

    def write(self, session: Session, chosen: Chosen) -> None:
        """Write what was read of GPUs, and then what was sampled in between; count the rows."""
        self._write_read(chosen)
        for rows in self._sampled(session, chosen):
            gpu = GpuKey(rows.column("gpu_uuid")[0].as_py(), rows.column("mig_uuid")[0].as_py())
            if chosen.gpu_uuid in (None, gpu.gpu_uuid):
                for line in sampled_lines(rows, self._profile(gpu)):
                    self._write(gpu, line, "sampled", slice(None))
                self._written["pm_samples"] += rows.num_rows
        for counter in self._counters.values():
            counter.close()

    def _write_read(self, chosen: Chosen) -> None:
        span = chosen.span
        for piece in slices(self._measurements, span.from_ns, span.to_ns):
            for track in tracks_of(piece.counters):
                gpu = GpuKey(track.gpu_uuid, track.mig_uuid)
                if chosen.gpu_uuid not in (None, gpu.gpu_uuid):
                    continue
                for line in lines(track, self._profile(gpu)):
                    ends_ns = line.intervals.end_ns
                    first, last = np.searchsorted(ends_ns, [piece.from_ns, piece.to_ns], "right")
                    self._write(gpu, line, "read", slice(int(first), int(last)))

    def _write(self, gpu: GpuKey, line: Line, how: str, where: slice) -> None:
        values = line.values[where]
        if not len(values):
            return
        key = (gpu, line.name, how)
        if key not in self._counters:
            parent, rank = self._parent(gpu, how), len(self._counters) + 1
            self._counters[key] = _Counter(self._places, parent, line, rank)
        self._written["counter values"] += self._counters[key].write(
            line.intervals.take(where), values
        )

    def _parent(self, gpu: GpuKey, how: str) -> int:
        track = self._places.gpu(gpu)
        if how == "read":
            return track
        if gpu not in self._groups:
            self._groups[gpu] = self._places.file.group(
                "PM samples", parent=track, rank=SAMPLED_RANK
            )
        return self._groups[gpu]

    def _profile(self, gpu: GpuKey) -> Any:
        return profile(self._gpus.get(gpu.gpu_uuid or "", {}), mig_uuid=gpu.mig_uuid)

    def _sampled(self, session: Session, chosen: Chosen) -> Iterator[Any]:
        """Yield PM samples in the order of time, each table of one GPU and counter set."""
        import pyarrow.compute as pc  # noqa: PLC0415

        columns = ["ts_ns", "duration_ns", *KEYS, *SAMPLED_COLUMNS]
        select = f"SELECT ts_ns AS begin_ns FROM pm_samples WHERE {chosen.gpu_condition}"
        cuts = edges(session, select, chosen.span)
        bounds = [chosen.span.from_ns, *cuts, chosen.span.to_ns]
        for from_ns, to_ns in pairwise(bounds):
            rows = self._measurements.read(
                "pm_samples", from_ns=from_ns, to_ns=to_ns, columns=columns
            )
            for kind in rows.select(KEYS).group_by(list(KEYS)).aggregate([]).to_pylist():
                wanted = [
                    pc.is_null(rows.column(name)) if value is None else pc.equal(rows[name], value)
                    for name, value in kind.items()
                ]
                is_wanted = pc.and_(pc.and_(wanted[0], wanted[1]), wanted[2])
                yield rows.filter(pc.fill_null(is_wanted, False))
