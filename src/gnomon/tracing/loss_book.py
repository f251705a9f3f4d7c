"""What was lost on the way from the kernel to the recording, as rows of `losses`."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping

import numpy as np
import numpy.typing as npt

from gnomon.tracing import layouts
from gnomon.tracing.clock import Clock

Row = dict[str, object]
SOURCE = "trace"

# Of each counter of the programs: the table that lacks something, and why.
MEANING: Mapping[str, tuple[str, str]] = {
    "call_records": ("host_calls", "ring_full"),
    "stay_records": ("off_cpu", "ring_full"),
    "thread_records": ("threads", "ring_full"),
    "block_records": ("host_calls", "ring_full"),
    "nccl_records": ("nccl_calls", "ring_full"),
    "communicator_records": ("nccl_calls", "ring_full"),
    "network_records": ("host_calls", "ring_full"),
    "threads_without_state": ("threads", "no_slot"),
    "threads_without_slot": ("threads", "no_slot"),
    "calls_without_slot": ("call_histograms", "no_slot"),
    "calls_without_cell": ("call_histograms", "no_slot"),
    "calls_too_deep": ("host_calls", "too_deep"),
    "calls_abandoned": ("host_calls", "abandoned"),
    "calls_cut": ("host_calls", "probes_removed"),
    "returns_unmatched": ("host_calls", "late_attach"),
    "stacks": ("stacks", "no_slot"),
    "block_requests": ("host_calls", "no_slot"),
    "communicators": ("nccl_calls", "no_slot"),
    "sockets": ("host_calls", "no_slot"),
}
CALLS_LOST = ("call_records",)


class LossBook:
    """Reads the programs' counters; `count` adds what is lost on this side."""

    def __init__(self, counters: npt.NDArray[np.void], clock: Clock) -> None:
        """``counters``: the live view of the map ``losses``."""
        self._counters, self._clock = counters, clock
        self._before = counters[0].copy()
        self._ours: dict[tuple[str, str], int] = {}
        self._closed_ns = time.monotonic_ns()

    def count(self, table: str, reason: str, rows: int) -> None:
        """Note ``rows`` that will not reach a table."""
        if rows:
            self._ours[table, reason] = self._ours.get((table, reason), 0) + rows

    def forget(self, *names: str) -> None:
        """Do not tell what these counters have counted so far."""
        for name in names:
            self._before[name] = self._counters[0][name]

    def has_lost_calls(self) -> bool:
        """Whether records of calls have been lost since the last `rows`."""
        return any(self._counters[0][name] != self._before[name] for name in CALLS_LOST)

    def rows(self, now_ns: int) -> Iterator[Row]:
        """Rows of what was lost since the last call; ``now_ns`` on CLOCK_MONOTONIC."""
        since_ns = self._closed_ns
        now, self._closed_ns = self._counters[0].copy(), now_ns
        lost, self._ours = self._ours, {}
        for name in layouts.LOSSES.names or ():
            rows = int(now[name]) - int(self._before[name])
            if rows:
                key = MEANING[name]
                lost[key] = lost.get(key, 0) + rows
        self._before = now
        for (table, reason), rows in lost.items():
            yield {
                "ts_ns": self._clock.unix(now_ns),
                "duration_ns": now_ns - since_ns,
                "source": SOURCE,
                "table": table,
                "rows": rows,
                "reason": reason,
            }
