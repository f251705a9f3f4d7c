"""What threads' cells counted since the last look, as rows of `call_histograms`.

Durations are counted by bucket, all other sums by thread and operation alone: those have a row of
their own, without bounds, so that nothing is spread over buckets by guess and rows still add up.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from gnomon.tracing import layouts
from gnomon.tracing.clock import Clock
from gnomon.tracing.columns import Column, Integers, Known, Words, arrow_batch
from gnomon.tracing.process_table import ProcessTable
from gnomon.tracing.rows import OperationFacts
from gnomon.tracing.slots import Taken, bucket_edges_ns

Records = npt.NDArray[np.void]
SUMS = (
    "calls",
    "failed",
    "interrupted",
    "total_ns",
    "bytes",
    "run_queue_ns",
    "io_ns",
    "voluntary_ns",
    "uninterruptible_ns",
)
NOTHING = np.empty(0, np.int64)


@dataclass(frozen=True, slots=True)
class Spans:
    """By operation: the time that counts stand for, and the part of it in which they were taken.

    ``from_ns`` on CLOCK_MONOTONIC. Where ``is_told`` is False, what was counted is dropped: probes
    were being attached or detached.
    """

    to_ns: int
    from_ns: Integers
    covered_ns: Integers
    is_told: npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Counted:
    """What some cells counted: arrays by cell, ``histogram`` by cell and bucket."""

    tid: Integers
    pid: Integers
    operation: Integers
    sums: dict[str, Integers]
    histogram: npt.NDArray[np.int64]


@dataclass(slots=True)
class CallTotals:
    """Differences of cells. Give it first what was reclaimed, then what was read."""

    facts: OperationFacts
    clock: Clock
    processes: ProcessTable
    has_scheduler: bool
    _before: dict[int, np.void] = field(default_factory=dict)
    _stored: list[tuple[Integers, Integers]] = field(default_factory=list)

    def count_stored(self, records: Records) -> None:
        """Count calls that became rows of their own."""
        buckets = bucket_of(records["duration_ns"].astype(np.int64))
        keys = records["tid"].astype(np.int64) << 16 | records["operation"]
        self._stored.append((keys, buckets))

    def difference(self, taken: Taken, *, are_gone: bool) -> Counted:
        """What was counted since the last look; ``are_gone``: slots are free from now on."""
        cells = taken.cells
        threads = dict(zip(taken.numbers.tolist(), taken.threads, strict=True))
        cells = cells[np.isin(cells["thread"], taken.numbers)]
        keys = (cells["thread"].astype(np.int64) << 16 | cells["operation"]).tolist()
        blank = np.zeros((), layouts.CELL)
        before = np.array([self._before.get(key, blank) for key in keys], layouts.CELL)
        for key, cell in zip(keys, cells, strict=True):
            if are_gone:
                self._before.pop(key, None)
            else:
                self._before[key] = cell
        owners = [threads[number] for number in cells["thread"].tolist()]
        return Counted(
            tid=np.array([int(one["tid"]) for one in owners], np.int64),
            pid=np.array([int(one["pid"]) for one in owners], np.int64),
            operation=cells["operation"].astype(np.int64),
            sums={name: (cells[name] - before[name]).astype(np.int64) for name in SUMS},
            histogram=(cells["histogram"] - before["histogram"]).astype(np.int64),
        )

    def batch(self, counted: Counted, spans: Spans) -> Any:
        """A batch of `call_histograms`: a row a bucket, and one of sums a thread and operation."""
        stored = self._take_stored(counted)
        is_told = spans.is_told[counted.operation]
        cell, bucket = np.nonzero(((counted.histogram > 0) | (stored > 0)) & is_told[:, None])
        moved = (counted.histogram > 0).any(1) | (counted.sums["total_ns"] > 0)
        sums = np.flatnonzero(moved & is_told)
        # First the rows of buckets, then those of sums.
        place = np.concatenate([cell, sums])
        is_sum = np.arange(len(place)) >= len(cell)
        edges = bucket_edges_ns()
        bucket = np.concatenate([bucket, np.zeros(len(sums), bucket.dtype)])
        numbers, pid = counted.operation[place], counted.pid[place].astype(np.uint32)
        from_ns = spans.from_ns[numbers]
        columns: dict[str, Column] = {
            "ts_ns": np.full(len(place), self.clock.unix(spans.to_ns)),
            "duration_ns": spans.to_ns - from_ns,
            "process_id": self.processes.ids(pid),
            "pid": pid,
            "tid": counted.tid[place],
            "layer": Words(self.facts.layer[numbers], self.facts.layers),
            "operation": Words(numbers, self.facts.names),
            "shortest_ns": Known(edges[bucket], ~is_sum),
            "longest_ns": Known(edges[bucket + 1] - 1, ~is_sum & (bucket < layouts.BUCKETS - 1)),
            "calls": np.where(is_sum, 0, counted.histogram[place, bucket]),
            "calls_stored": np.where(is_sum, 0, stored[place, bucket]),
            "covered_ns": spans.covered_ns[numbers],
            **self._sum_columns(counted, place, is_sum),
        }
        return arrow_batch("call_histograms", len(place), columns)

    def _sum_columns(
        self, counted: Counted, place: Integers, is_sum: npt.NDArray[np.bool_]
    ) -> dict[str, Column]:
        sums = {name: values[place] for name, values in counted.sums.items()}
        classes = ("run_queue_ns", "io_ns", "voluntary_ns")
        away = sum((sums[name] for name in classes), sums["uninterruptible_ns"])
        known = is_sum & self.has_scheduler
        has_bytes = self.facts.has_bytes[counted.operation[place]] & (sums["bytes"] >= 0)
        return {
            "total_ns": Known(sums["total_ns"], is_sum),
            "bytes": Known(sums["bytes"], is_sum & has_bytes),
            "off_cpu_ns": Known(away, known),
            **{name: Known(sums[name], known) for name in classes},
            "failures": Known(sums["failed"], is_sum),
            "calls_interrupted": Known(sums["interrupted"], known),
        }

    def _take_stored(self, counted: Counted) -> npt.NDArray[np.int64]:
        """By cell and bucket, how many calls became rows; threads without cells have none."""
        stored = np.zeros_like(counted.histogram)
        if not self._stored or not len(stored):
            return stored
        keys = np.concatenate([keys for keys, _ in self._stored])
        buckets = np.concatenate([buckets for _, buckets in self._stored])
        cells = counted.tid << 16 | counted.operation
        order = np.argsort(cells)
        place = order[np.minimum(np.searchsorted(cells, keys, sorter=order), len(cells) - 1)]
        found = cells[place] == keys
        np.add.at(stored, (place[found], buckets[found]), 1)
        self._stored = []
        return stored


def bucket_of(duration_ns: Integers) -> Integers:
    """The bucket of a histogram that a duration is counted in."""
    found = np.searchsorted(bucket_edges_ns(), duration_ns, "right") - 1
    return np.minimum(found, layouts.BUCKETS - 1)


def joined(one: Counted, other: Counted) -> Counted:
    """What two lots of cells counted."""
    return Counted(
        tid=np.concatenate([one.tid, other.tid]),
        pid=np.concatenate([one.pid, other.pid]),
        operation=np.concatenate([one.operation, other.operation]),
        sums={name: np.concatenate([one.sums[name], other.sums[name]]) for name in one.sums},
        histogram=np.concatenate([one.histogram, other.histogram]),
    )
