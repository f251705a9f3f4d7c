"""What each operation took, from exact counts: for a trace while it runs, and when it is over.

Calls, percentiles and time off the CPU come from `call_histograms`, which counts every call. The
longest, and who ran or woke, come from the rows that were kept, counted by their weights.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from gnomon.recording.base import Measurements

NS_PER_S = 1_000_000_000
QUANTILES = (0.5, 0.95, 0.99)
MOST_OTHERS = 3
COUNT_COLUMNS = (
    *("operation", "layer", "ts_ns", "duration_ns"),
    *("covered_ns", "shortest_ns", "longest_ns", "calls"),
    *("total_ns", "failures", "calls_interrupted", "off_cpu_ns", "run_queue_ns", "io_ns"),
    "voluntary_ns",
)
SUMS = (
    *("total_ns", "failures", "calls_interrupted", "off_cpu_ns", "run_queue_ns", "io_ns"),
    "voluntary_ns",
)
STAY_COLUMNS = (
    *("operation", "run_queue_ns", "io_ns", "voluntary_ns", "waker_name", "preemptor_name"),
    *("preemptor_tid", "weight"),
)

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Other:
    """Who took the CPU, or ended a wait: ``ns`` of the time off the CPU in calls."""

    name: str
    ns: float
    share_pct: float


@dataclass(frozen=True, slots=True)
class CallRow:
    """One operation of all threads. Times off the CPU are None where they were not recorded.

    ``other_off_cpu_ns``: asleep on something that no signal ends and is no disk, such as a page or
    a lock of the kernel. ``preemptors`` had the CPU while calls waited for one, ``wakers`` ended
    what else they waited for; both are of the stays that were kept.
    """

    layer: str
    operation: str
    calls: float
    calls_per_s: float
    total_ns: float
    p50_ns: float
    p95_ns: float
    p99_ns: float
    longest_ns: float
    failures: float
    interrupted_pct: float | None
    run_queue_ns: float | None
    io_ns: float | None
    voluntary_ns: float | None
    other_off_cpu_ns: float | None
    preemptors: Sequence[Other]
    wakers: Sequence[Other]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def call_table(measurements: Measurements, from_ns: int, to_ns: int) -> Sequence[CallRow]:
    """Return every operation that was counted in a window, the one that took most time first.

    Intervals belong to the window by their ends. What windows of launches stand for is made up.
    """
    counts = measurements.read(
        "call_histograms", from_ns=from_ns, to_ns=to_ns, columns=COUNT_COLUMNS
    )
    if not counts.num_rows:
        return ()
    columns = {name: _numbers(counts, name) for name in COUNT_COLUMNS[2:]}
    scale = _scale(columns["duration_ns"], columns["covered_ns"])
    operations = counts.column("operation").dictionary_encode().combine_chunks()
    codes = operations.indices.to_numpy()
    longest = _longest(measurements, from_ns, to_ns)
    others = _others(measurements, from_ns, to_ns)
    begins_ns = float((columns["ts_ns"] - columns["duration_ns"]).min())
    seconds = (float(columns["ts_ns"].max()) - begins_ns) / NS_PER_S
    layers = counts.column("layer").to_pylist()
    rows = []
    for code, name in enumerate(operations.dictionary.to_pylist()):
        mine = np.flatnonzero(codes == code)
        some = {key: column[mine] for key, column in columns.items()}
        row = _row(some, scale[mine], seconds, longest.get(name))
        waits = others.get(name, ((), ()))
        rows.append(CallRow(layers[mine[0]], name, **row, preemptors=waits[0], wakers=waits[1]))
    return sorted((row for row in rows if row.calls), key=lambda row: -row.total_ns)


def quantiles(shortest: Floats, longest: Floats, calls: Floats, wanted: Sequence[float]) -> Floats:
    """Return durations from counts by bucket: where in its bucket a rank lies is interpolated."""
    order = np.argsort(shortest, kind="stable")
    shortest, longest, calls = shortest[order], longest[order], calls[order]
    # A bucket without an end has its beginning.
    longest = np.where(np.isnan(longest), shortest, longest)
    upto = np.cumsum(calls)
    rank = np.array(wanted) * upto[-1]
    place = np.minimum(np.searchsorted(upto, rank), len(upto) - 1)
    inside = (rank - (upto[place] - calls[place])) / np.maximum(calls[place], 1e-9)
    found: Floats = shortest[place] + np.clip(inside, 0, 1) * (longest[place] - shortest[place])
    return found


def _row(
    some: Mapping[str, Floats], scale: Floats, seconds: float, longest_ns: float | None
) -> dict[str, Any]:
    is_bucket = ~np.isnan(some["shortest_ns"])
    calls_by_bucket = (some["calls"] * scale)[is_bucket]
    calls = float(np.nansum(calls_by_bucket))
    sums = {
        name: None if np.isnan(some[name]).all() else float(np.nansum(some[name] * scale))
        for name in SUMS
    }
    bounds = some["shortest_ns"][is_bucket], some["longest_ns"][is_bucket]
    has_calls = calls_by_bucket > 0
    if not has_calls.any():
        return dict.fromkeys(("calls", "calls_per_s", "total_ns"), 0.0) | _nothing()
    shortest, ends = bounds[0][has_calls], bounds[1][has_calls]
    p50, p95, p99 = quantiles(shortest, ends, calls_by_bucket[has_calls], QUANTILES)
    most = float(np.nanmax(np.append(ends, shortest))) if longest_ns is None else longest_ns
    classes = [sums[name] for name in ("run_queue_ns", "io_ns", "voluntary_ns")]
    known = [one for one in classes if one is not None]
    away, cut = sums["off_cpu_ns"], sums["calls_interrupted"]
    return {
        "calls": calls,
        "calls_per_s": calls / seconds if seconds > 0 else 0.0,
        "total_ns": sums["total_ns"] or 0.0,
        "p50_ns": min(float(p50), most),
        "p95_ns": min(float(p95), most),
        "p99_ns": min(float(p99), most),
        "longest_ns": most,
        "failures": sums["failures"] or 0.0,
        "interrupted_pct": None if cut is None else min(100.0, 100 * cut / calls),
        "run_queue_ns": sums["run_queue_ns"],
        "io_ns": sums["io_ns"],
        "voluntary_ns": sums["voluntary_ns"],
        "other_off_cpu_ns": None if away is None else max(0.0, away - sum(known)),
    }


def _nothing() -> dict[str, Any]:
    times = ("p50_ns", "p95_ns", "p99_ns", "longest_ns", "failures")
    unknown = ("interrupted_pct", "run_queue_ns", "io_ns", "voluntary_ns", "other_off_cpu_ns")
    return dict.fromkeys(times, 0.0) | dict.fromkeys(unknown)


def _scale(duration_ns: Floats, covered_ns: Floats) -> Floats:
    """How much longer an interval is than the time in which its calls were counted."""
    is_part = (covered_ns > 0) & (covered_ns < duration_ns)
    return np.where(is_part, duration_ns / np.where(is_part, covered_ns, 1.0), 1.0)


def _longest(measurements: Measurements, from_ns: int, to_ns: int) -> dict[str, float]:
    """The longest call of each operation: those are always kept."""
    rows = measurements.read(
        "host_calls", from_ns=from_ns, to_ns=to_ns, columns=("operation", "duration_ns")
    )
    if not rows.num_rows:
        return {}
    found = rows.group_by("operation").aggregate([("duration_ns", "max")])
    pairs = zip(*(found.column(name).to_pylist() for name in _GROUPED), strict=True)
    return {name: float(most) for name, most in pairs if most is not None}


_GROUPED = ("operation", "duration_ns_max")


def _others(
    measurements: Measurements, from_ns: int, to_ns: int
) -> Mapping[str, tuple[Sequence[Other], Sequence[Other]]]:
    """By operation: who ran while its calls waited for a CPU, and who ended their other waits."""
    rows = measurements.read("off_cpu", from_ns=from_ns, to_ns=to_ns, columns=STAY_COLUMNS)
    import pyarrow.compute as pc  # noqa: PLC0415

    rows = rows.filter(pc.is_valid(rows.column("operation")))
    if not rows.num_rows:
        return {}
    weight = np.nan_to_num(_numbers(rows, "weight"), nan=1.0)
    queued = np.nan_to_num(_numbers(rows, "run_queue_ns")) * weight
    blocked = sum(np.nan_to_num(_numbers(rows, name)) for name in ("io_ns", "voluntary_ns"))
    operations = rows.column("operation").to_pylist()
    found: dict[str, tuple[Sequence[Other], Sequence[Other]]] = {}
    # Thread 0 is the idle task: then the CPU was free, and waking up took the time.
    is_idle = pc.equal(rows.column("preemptor_tid"), 0)
    preemptors = pc.if_else(is_idle, None, rows.column("preemptor_name"))
    preempted = _by_name(operations, preemptors.to_pylist(), queued)
    woken = _by_name(operations, rows.column("waker_name").to_pylist(), blocked * weight)
    for operation in set(operations):
        found[operation] = (_most(preempted.get(operation, {})), _most(woken.get(operation, {})))
    return found


def _by_name(
    operations: Sequence[str], names: Sequence[str | None], ns: Floats
) -> dict[str, dict[str | None, float]]:
    sums: dict[str, dict[str | None, float]] = {}
    for operation, name, value in zip(operations, names, ns.tolist(), strict=True):
        of_operation = sums.setdefault(operation, {})
        of_operation[name] = of_operation.get(name, 0.0) + value
    return sums


def _most(sums: Mapping[str | None, float]) -> Sequence[Other]:
    """The largest with a name; shares are of all, those without a name included."""
    total = sum(sums.values())
    named = [(name, ns) for name, ns in sums.items() if name is not None and ns > 0]
    largest = sorted(named, key=lambda one: -one[1])[:MOST_OTHERS]
    return [Other(name, ns, 100 * ns / total) for name, ns in largest]


def _numbers(table: Any, name: str) -> Floats:
    """A column as floats; null is NaN."""
    values: Floats = table.column(name).cast("float64", safe=False).to_numpy()
    return values
