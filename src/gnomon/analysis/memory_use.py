"""Memory in use over time, by whoever holds it, and whether it keeps growing.

Device memory of a process is what it allocated less what it released: matched by address where
addresses were recorded, so that a release without a size gives back what was allocated there.
Readings (of a GPU, of a process on a GPU, resident memory of a process) count with the lowest in
each window, because a leak raises the floor and a working set only the top. All windows of a
series are equally long.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

import numpy as np
import numpy.typing as npt

from gnomon.analysis.intervals import Floats
from gnomon.analysis.latency import Operation, among
from gnomon.analysis.operations import CUDA_LAYERS, Kind
from gnomon.analysis.questions import Scope, Span, literal
from gnomon.enums import CallLayer
from gnomon.recording.base import Session

Bools = npt.NDArray[np.bool_]

# Memory of the host, and addresses without memory behind them.
NOT_DEVICE = ("Host", "Map", "Unmap", "Address")
# More than any device has is no size.
MOST_BYTES = 1 << 48
# Kendall's tau of a series that only ever grows is 1; of noise, 0.8 and more over 8 windows is
# less than one in 1,000.
FEWEST_WINDOWS = 8
STEADY_TAU = 0.8
# In its second half, and in its last quarter, a leak grows at least this much of its pace; a cache
# fills and stays, and whatever loads has loaded in the end.
STILL_GROWING = 0.5

OUTSTANDING_SQL = """\
WITH calls AS (
  SELECT host, pid, tid, operation, ts_ns, address,
    CASE WHEN bytes BETWEEN 1 AND {most} THEN bytes END AS bytes, {is_release} AS is_release
  FROM host_calls
  WHERE {where} AND ({is_release} OR {is_allocation}) AND layer IN ({layers})
    AND coalesce(depth, 0) = 0 AND coalesce(return_code, 0) = 0
), matched AS (
  SELECT *, CASE WHEN address IS NOT NULL THEN
      lag(CASE WHEN NOT is_release THEN bytes END)
      OVER (PARTITION BY host, pid, address ORDER BY ts_ns) END AS held_bytes
  FROM calls
)
SELECT host, pid, tid, operation, ts_ns,
  (CASE WHEN is_release THEN -coalesce(held_bytes, bytes, 0)
    ELSE coalesce(bytes, 0) - coalesce(held_bytes, 0) END)::BIGINT AS grown_bytes,
  is_release
FROM matched"""
WINDOWS_SQL = """\
SELECT host, pid, ((ts_ns - 1 - {from_ns}) // {window_ns})::INT AS place,
  sum(grown_bytes)::BIGINT AS bytes,
  count(*) FILTER (NOT is_release) AS allocations, count(*) FILTER (is_release) AS releases
FROM ({pieces}) GROUP BY ALL"""
READINGS_SQL = """\
SELECT {names}, ((ts_ns - 1 - {from_ns}) // {window_ns})::INT AS place,
  min({column})::BIGINT AS bytes
FROM {table} WHERE {where} AND {column} IS NOT NULL GROUP BY ALL"""

WORKING_SQL = """\
SELECT DISTINCT pid, ((ts_ns - 1 - {from_ns}) // {window_ns})::INT AS place
FROM host_calls WHERE {where} AND {is_launch}"""


class Memory(StrEnum):
    """Whose memory a series is of, and who measured it."""

    CALLS = "calls"
    PROCESS_ON_GPU = "process_on_gpu"
    GPU = "gpu"
    RESIDENT = "resident"


# Table, column, and the columns that say whose it is.
READINGS = {
    Memory.PROCESS_ON_GPU: ("gpu_processes", "vram_used_bytes", ("gpu_uuid", "pid")),
    Memory.GPU: ("gpu_counters", "vram_used_bytes", ("gpu_uuid", "mig_uuid")),
    Memory.RESIDENT: ("process_samples", "rss_bytes", ("pid",)),
}


@dataclass(frozen=True, slots=True)
class MemoryUse:
    """Bytes that were held at the end of each window; shape (windows,), NaN where not read.

    ``sql`` gives a row for each allocation and release (``grown_bytes``), or the readings.
    ``allocations`` and ``releases`` are counts, of calls only.
    """

    memory: Memory
    span: Span
    bytes: Floats
    sql: str
    host: str | None = None
    pid: int | None = None
    gpu_uuid: str | None = None
    allocations: int = 0
    releases: int = 0

    def until(self, end_ns: int) -> MemoryUse:
        """Return the same without the windows that begin at ``end_ns`` or later."""
        window_ns = _window_ns(self.span, len(self.bytes))
        kept = max(0, min(len(self.bytes), -(-(end_ns - self.span.from_ns) // window_ns)))
        end_ns = min(self.span.to_ns, self.span.from_ns + kept * window_ns)
        return replace(self, span=Span(self.span.from_ns, end_ns), bytes=self.bytes[:kept])

    def while_at_work(self, is_at_work: Bools) -> MemoryUse:
        """Return the same as if nothing had grown in other windows; ``is_at_work``: (windows,)."""
        known = np.flatnonzero(~np.isnan(self.bytes))
        grown = np.diff(self.bytes[known], prepend=self.bytes[known][:1])
        held = self.bytes.copy()
        held[known] = self.bytes[known][:1] + np.cumsum(np.where(is_at_work[known], grown, 0.0))
        return replace(self, bytes=held)

    def after(self, warm_up: float) -> MemoryUse:
        """Return the same without its first windows: ``warm_up`` (0 to 1) of those with memory."""
        held = np.flatnonzero(np.nan_to_num(self.bytes))
        begin = int(held[0]) if len(held) else 0
        skipped = begin + math.ceil(warm_up * (len(self.bytes) - begin))
        window_ns = _window_ns(self.span, len(self.bytes))
        span = Span(self.span.from_ns + skipped * window_ns, self.span.to_ns)
        return replace(self, span=span, bytes=self.bytes[skipped:])


@dataclass(frozen=True, slots=True)
class Growth:
    """How a series grows: ``bytes`` over its whole length, by the median of all slopes.

    ``tau``: Kendall's, 1 where every later window holds more than every earlier one.
    """

    bytes: float
    bytes_per_s: float
    from_bytes: float
    to_bytes: float
    tau: float
    is_steady: bool


def growth(one: MemoryUse) -> Growth | None:
    """Return how a series grows (Theil and Sen, Mann and Kendall); None where it is too short."""
    known = np.flatnonzero(~np.isnan(one.bytes))
    if len(known) < FEWEST_WINDOWS:
        return None
    values = one.bytes[known]
    slope = _slope(known, values)
    half = len(known) // 2
    later, earlier = np.triu_indices(len(values), 1)[::-1]
    signs = np.sign(values[later] - values[earlier])
    tau = float(signs.mean())
    window_s = one.span.seconds / len(one.bytes)
    second_half = _slope(known[half:], values[half:])
    last = len(known) - max(3, len(known) // 4)
    at_the_end = _slope(known[last:], values[last:])
    return Growth(
        bytes=slope * (known[-1] - known[0]),
        bytes_per_s=slope / window_s if window_s else 0.0,
        from_bytes=float(values[0]),
        to_bytes=float(values[-1]),
        tau=tau,
        is_steady=tau >= STEADY_TAU
        and slope > 0
        and min(second_half, at_the_end) >= STILL_GROWING * slope,
    )


def _slope(places: Any, values: Floats) -> float:
    """Return the median of the slopes between all pairs, bytes a window."""
    earlier, later = np.triu_indices(len(values), 1)
    return float(np.median((values[later] - values[earlier]) / (places[later] - places[earlier])))


def allocated(
    session: Session, scope: Scope, operations: Sequence[Operation], windows: int
) -> Sequence[MemoryUse]:
    """Return what each process holds of device memory, from nothing at the begin of the span.

    None of a process whose allocations were not all kept, or whose releases a recorder may not
    see at all: of the driver's functions it must have seen one.
    """
    device = [
        one
        for one in operations
        if one.layer in CUDA_LAYERS
        and one.kind in {Kind.ALLOCATION, Kind.RELEASE}
        and not any(word in one.operation for word in NOT_DEVICE)
    ]
    releases_of_driver = any(
        one.layer == CallLayer.CUDA_DRIVER and one.kind is Kind.RELEASE for one in device
    )
    layers = CUDA_LAYERS if releases_of_driver else (CallLayer.CUDA_RUNTIME,)
    device = [one for one in device if one.layer in layers]
    if not any(one.kind is Kind.ALLOCATION for one in device):
        return ()
    partly = {(one.thread.host, one.thread.pid) for one in device if _is_partly_kept(one)}
    window_ns = _window_ns(scope.span, windows)
    pieces = OUTSTANDING_SQL.format(
        where=scope.condition,
        is_release=among(device, Kind.RELEASE),
        is_allocation=among(device, Kind.ALLOCATION),
        layers=", ".join(literal(layer.value) for layer in layers),
        most=MOST_BYTES,
    )
    rows = session.rows(
        WINDOWS_SQL.format(from_ns=scope.span.from_ns, window_ns=window_ns, pieces=pieces)
    )
    by_process: dict[tuple[str | None, int | None], list[dict[str, Any]]] = {}
    for row in rows:
        by_process.setdefault((row["host"], row["pid"]), []).append(row)
    return [
        _held(scope.span, windows, host, pid, group, pieces)
        for (host, pid), group in by_process.items()
        if (host, pid) not in partly
    ]


def _is_partly_kept(one: Operation) -> bool:
    return one.biased or one.is_sampled


def _held(
    span: Span,
    windows: int,
    host: str | None,
    pid: int | None,
    rows: Sequence[dict[str, Any]],
    pieces: str,
) -> MemoryUse:
    grown = np.zeros(windows)
    for row in rows:
        grown[row["place"]] += row["bytes"]
    whose = " AND ".join(
        f"{name} IS NULL" if value is None else f"{name} = {literal(value)}"
        for name, value in (("host", host), ("pid", pid))
    )
    return MemoryUse(
        memory=Memory.CALLS,
        span=span,
        bytes=np.cumsum(grown),
        sql=f"SELECT * FROM ({pieces}) WHERE {whose}",
        host=host,
        pid=pid,
        allocations=sum(row["allocations"] for row in rows),
        releases=sum(row["releases"] for row in rows),
    )


def working(
    session: Session, span: Span, operations: Sequence[Operation], windows: int
) -> Mapping[int | None, Bools]:
    """Return pid -> whether it launched kernels or graphs in each window; shape (windows,)."""
    query = WORKING_SQL.format(
        from_ns=span.from_ns,
        window_ns=_window_ns(span, windows),
        where=span.condition,
        is_launch=among(operations, Kind.LAUNCH, Kind.GRAPH_LAUNCH),
    )
    found: dict[int | None, Bools] = {}
    for row in session.rows(query):
        found.setdefault(row["pid"], np.zeros(windows, np.bool_))[row["place"]] = True
    return found


def readings(session: Session, span: Span, memory: Memory, windows: int) -> Sequence[MemoryUse]:
    """Return the lowest readings in each window, of everybody whom a table tells of."""
    table, column, names = READINGS[memory]
    rows = session.rows(
        READINGS_SQL.format(
            names=", ".join(names),
            from_ns=span.from_ns,
            window_ns=_window_ns(span, windows),
            column=column,
            table=table,
            where=span.condition,
        )
    )
    found: dict[tuple[Any, ...], Floats] = {}
    for row in rows:
        key = tuple(row[name] for name in names)
        found.setdefault(key, np.full(windows, np.nan))[row["place"]] = row["bytes"]
    return [
        _read(span, memory, dict(zip(names, key, strict=True)), held) for key, held in found.items()
    ]


def _read(span: Span, memory: Memory, whose: dict[str, Any], held: Floats) -> MemoryUse:
    table, column, _ = READINGS[memory]
    where = " AND ".join(
        f"{name} IS NULL" if value is None else f"{name} = {literal(value)}"
        for name, value in whose.items()
    )
    return MemoryUse(
        memory=memory,
        span=span,
        bytes=held,
        sql=f"SELECT ts_ns, {column} AS bytes FROM {table} "
        f"WHERE {span.condition} AND {where} AND {column} IS NOT NULL",
        pid=whose.get("pid"),
        gpu_uuid=whose.get("gpu_uuid"),
    )


def _window_ns(span: Span, windows: int) -> int:
    return max(1, -(-(span.to_ns - span.from_ns) // windows))
