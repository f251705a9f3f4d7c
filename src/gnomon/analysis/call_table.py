"""What each operation took, from counts: for a trace while it runs, and when it is over.

Calls, percentiles and time off the CPU come from `call_histograms`, which counts every call while
its operation is covered. The longest, and who ran or woke, come from the rows that were kept,
counted by their weights.
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

    ``covered_pct``: the share of the time in which calls were counted. Below 100 all else but the
    percentiles is made up to the whole, and ``longest_ns`` is the longest that was seen.
    ``other_off_cpu_ns``: asleep on something that no signal ends and is no disk, such as a page or
    a lock of the kernel. ``preemptors`` had the CPU while calls waited for one, ``wakers`` ended
    what else they waited for; both are of the stays that were kept.
    """

    layer: str
    operation: str
    calls: int
    calls_per_s: float
    covered_pct: float
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
    layers = counts.column("layer").to_pylist()
    rows = []
    for code, name in enumerate(operations.dictionary.to_pylist()):
        mine = np.flatnonzero(codes == code)
        if not np.nansum(columns["calls"][mine]):
            continue
        some = {key: column[mine] for key, column in columns.items()}
        row = _row(some, scale[mine], longest.get(name))
        waits = others.get(name, ((), ()))
        rows.append(CallRow(layers[mine[0]], name, **row, preemptors=waits[0], wakers=waits[1]))
    return sorted(rows, key=lambda row: -row.total_ns)


def quantiles(shortest: Floats, longest: Floats, calls: Floats, wanted: Sequence[float]) -> Floats:
    """Return durations from counts by bucket: where in its bucket a rank lies is interpolated.

    A bucket may come more than once, with counts of several threads or intervals.
    """
    begins, first, place = np.unique(shortest, return_index=True, return_inverse=True)
    # A bucket without an end has its beginning.
    ends = np.where(np.isnan(longest[first]), begins, longest[first])
    inside = np.bincount(place, calls)
    upto = np.cumsum(inside)
    rank = np.array(wanted) * upto[-1]
    bucket = np.minimum(np.searchsorted(upto, rank), len(upto) - 1)
    share = (rank - (upto[bucket] - inside[bucket])) / np.maximum(inside[bucket], 1e-9)
    found: Floats = begins[bucket] + np.clip(share, 0, 1) * (ends[bucket] - begins[bucket])
    return found


def _row(some: Mapping[str, Floats], scale: Floats, longest_ns: float | None) -> dict[str, Any]:
    is_bucket = ~np.isnan(some["shortest_ns"])
    calls_by_bucket = (some["calls"] * scale)[is_bucket]
    calls = float(np.nansum(calls_by_bucket))
    sums = {
        name: None if np.isnan(some[name]).all() else float(np.nansum(some[name] * scale))
        for name in SUMS
    }
    bounds = some["shortest_ns"][is_bucket], some["longest_ns"][is_bucket]
    has_calls = calls_by_bucket > 0
    seconds, covered_pct = _covered(some)
    shortest, ends = bounds[0][has_calls], bounds[1][has_calls]
    p50, p95, p99 = quantiles(shortest, ends, calls_by_bucket[has_calls], QUANTILES)
    most = float(np.nanmax(np.append(ends, shortest))) if longest_ns is None else longest_ns
    classes = [sums[name] for name in ("run_queue_ns", "io_ns", "voluntary_ns")]
    known = [one for one in classes if one is not None]
    away, cut = sums["off_cpu_ns"], sums["calls_interrupted"]
    return {
        "calls": round(calls),
        "calls_per_s": calls / seconds if seconds > 0 else 0.0,
        "covered_pct": covered_pct,
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


def _covered(some: Mapping[str, Floats]) -> tuple[float, float]:
    """The seconds from the first interval of an operation to its last, and how much was covered."""
    _, first = np.unique(some["ts_ns"], return_index=True)
    whole_ns, covered_ns = some["duration_ns"][first], some["covered_ns"][first]
    covered_ns = np.where(np.isnan(covered_ns), whole_ns, np.minimum(covered_ns, whole_ns))
    seconds = (some["ts_ns"].max() - (some["ts_ns"] - some["duration_ns"]).min()) / NS_PER_S
    whole = float(whole_ns.sum())
    return float(seconds), 100.0 * float(covered_ns.sum()) / whole if whole else 100.0


def _scale(duration_ns: Floats, covered_ns: Floats) -> Floats:
    """How much longer an interval is than the time in which its calls were counted."""
    is_part = (covered_ns > 0) & (covered_ns < duration_ns)
    return np.where(is_part, duration_ns / np.where(is_part, covered_ns, 1.0), 1.0)


def _longest(measurements: Measurements, from_ns: int, to_ns: int) -> dict[str, float]:
    """The longest call of each operation: where it was covered, that has a row of its own."""
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
