"""What a recording covers: which sources worked, where nothing was measured, what was lost."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np

from gnomon.analysis.collecting import encode, filled, groups
from gnomon.analysis.intervals import Ints
from gnomon.recording.base import Measurements

# Sources jitter by a part of their period, and the default period is 1 s. The collector itself
# calls a source stalled later than this.
SHORTEST_GAP_NS = 2_000_000_000
# ... and whoever measures every 10 s leaves no gap in between.
GAP_OF_USUAL_INTERVAL = 2.5
NOTHING: Ints = np.empty(0, np.int64)


@dataclass(frozen=True, slots=True)
class Gap:
    """A stretch of the recording in which no source measured this GPU."""

    gpu_uuid: str
    from_ns: int
    to_ns: int


@dataclass(frozen=True, slots=True)
class SourceRecord:
    """What a source did over a range: readings, and how it stood at the end of it."""

    source: str
    state: str | None
    reason: str | None
    period_ns: int | None
    reads: int
    failures: int
    longest_read_ns: int | None
    last_ns: int


@dataclass(frozen=True, slots=True)
class Loss:
    """Rows that were measured and could not be kept."""

    source: str | None
    table: str | None
    reason: str | None
    rows: int


def gaps(measurements: Measurements, *, from_ns: int, to_ns: int) -> list[Gap]:
    """Return the gaps of every GPU in [from_ns, to_ns], by GPU, then by time.

    A GPU that is known and was never measured is one gap.
    """
    rows = measurements.read(
        "gpu_counters",
        from_ns=from_ns,
        to_ns=to_ns,
        columns=["gpu_uuid", "ts_ns", "duration_ns"],
        encoded=True,
    )
    found: list[Gap] = []
    by_gpu = dict.fromkeys(measurements.meta().gpus, (NOTHING, NOTHING)) | _intervals_of(rows)
    for uuid, (starts, ends) in sorted(by_gpu.items()):
        found += _gaps_of(uuid, starts, ends, from_ns, to_ns)
    return found


def _intervals_of(rows: Any) -> dict[str, tuple[Ints, Ints]]:
    """Return the starts and ends of each GPU's rows."""
    if rows.num_rows == 0:
        return {}
    codes, uuids = encode(rows, "gpu_uuid")
    ends = filled(rows.column("ts_ns"))
    starts = ends - filled(rows.column("duration_ns"))
    found = ((uuids[codes[one[0]]], one) for one in groups([codes], [len(uuids)]))
    return {uuid: (starts[one], ends[one]) for uuid, one in found if uuid is not None}


def _gaps_of(uuid: str, starts: Ints, ends: Ints, from_ns: int, to_ns: int) -> list[Gap]:
    if len(starts) == 0:
        return [Gap(uuid, from_ns, to_ns)]
    order = np.argsort(starts, kind="stable")
    starts, ends = starts[order], ends[order]
    usual_ns = float(np.median(ends - starts))
    shortest_ns = max(SHORTEST_GAP_NS, GAP_OF_USUAL_INTERVAL * usual_ns)
    covered_to = np.concatenate(([from_ns], np.maximum.accumulate(ends)))
    next_start = np.concatenate((starts, [to_ns]))
    where = np.flatnonzero(next_start - covered_to > shortest_ns)
    return [Gap(uuid, int(covered_to[at]), int(next_start[at])) for at in where]


def sources(measurements: Measurements, *, from_ns: int, to_ns: int) -> list[SourceRecord]:
    """Return what each source did in (from_ns, to_ns], by name; none where nobody kept books."""
    rows = measurements.read("source_health", from_ns=from_ns, to_ns=to_ns)
    aggregates = [
        *_last_ones("state", "reason", "period_ns", "ts_ns"),
        ("reads", "sum"),
        ("failures", "sum"),
        ("longest_read_ns", "max"),
    ]
    # In one thread the rows stay in their order: "last" is that of time.
    grouped = rows.group_by("source", use_threads=False).aggregate(aggregates).to_pylist()
    return [
        SourceRecord(
            source=row["source"],
            state=row["state_last"],
            reason=row["reason_last"],
            period_ns=row["period_ns_last"],
            reads=row["reads_sum"] or 0,
            failures=row["failures_sum"] or 0,
            longest_read_ns=row["longest_read_ns_max"],
            last_ns=row["ts_ns_last"],
        )
        for row in sorted(grouped, key=lambda row: row["source"] or "")
    ]


def losses(measurements: Measurements, *, from_ns: int, to_ns: int) -> list[Loss]:
    """Return what was lost in (from_ns, to_ns], the most rows first."""
    columns = ["source", "table", "reason", "rows"]
    rows = measurements.read("losses", from_ns=from_ns, to_ns=to_ns, columns=columns)
    lost: Counter[tuple[str | None, str | None, str | None]] = Counter()
    for row in rows.to_pylist():
        lost[row["source"], row["table"], row["reason"]] += row["rows"] or 0
    found = [Loss(*where, count) for where, count in lost.items()]
    return sorted(found, key=lambda loss: (-loss.rows, loss.source or "", loss.reason or ""))


def _last_ones(*columns: str) -> list[Any]:
    import pyarrow.compute as pc  # noqa: PLC0415  40 ms that only this answer should pay

    # A null is an answer here: a source that works again has no reason.
    keep_null = pc.ScalarAggregateOptions(skip_nulls=False)
    return [(column, "last", keep_null) for column in columns]
