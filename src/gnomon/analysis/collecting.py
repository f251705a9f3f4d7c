"""Counters of a time range, taken apart: for each GPU, MIG instance and source its own arrays.

A day of eight GPUs has 1.4 million rows of 70 columns, half of them null, because a source
fills its own columns only. Here they are read some hours at a time, and what is not null goes
straight into the arrays that the analysis works on.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from gnomon.analysis.intervals import Floats, Ints
from gnomon.recording.base import Measurements

KEYS = ("ts_ns", "duration_ns", "gpu_uuid", "mig_uuid", "source", "sm_clock_source")
COLUMNS: tuple[str, ...] = (
    "busy_pct",
    "memory_busy_pct",
    "engine_active_pct",
    "sm_active_pct",
    "sm_occupancy_pct",
    "integer_active_pct",
    "tensor_active_pct",
    "tensor_dfma_active_pct",
    "tensor_dmma_active_pct",
    "fp64_active_pct",
    "fp32_active_pct",
    "fp16_active_pct",
    "dram_active_pct",
    "pcie_rx_bytes_per_s",
    "pcie_tx_bytes_per_s",
    "nvlink_rx_bytes_per_s",
    "nvlink_tx_bytes_per_s",
    "link_only_pct",
    "sm_clock_mhz",
    "memory_clock_mhz",
    "power_watts",
    "energy_joules",
    "power_limit_watts",
    "temperature_celsius",
    "vram_used_bytes",
    "vram_total_bytes",
    "throttle_reasons",
    "throttle_sw_power_cap_ns",
    "throttle_sync_boost_ns",
    "throttle_sw_thermal_ns",
    "throttle_hw_thermal_ns",
    "throttle_hw_power_brake_ns",
)

# As one table, a day of eight GPUs takes 1 GB before half of it (nulls) can be dropped.
READ_AT_ONCE_NS = 3 * 3_600_000_000_000
# Beyond this, arrays grow as rows come in: a recording may have long gaps.
MOST_BATCHES_TO_COME = 64.0

Key = tuple[str, str | None, str]  # GPU uuid, MIG uuid, source
Range = tuple[int | None, int | None]


def collect(
    measurements: Measurements,
    from_ns: int | None,
    to_ns: int | None,
    gpu_uuid: str | None = None,
) -> dict[Key, Collected]:
    """Read the counters of (from_ns, to_ns], of all GPUs or of one."""
    collected: dict[Key, Collected] = {}
    for batch in _batches(measurements, from_ns, to_ns):
        _collect(batch, collected, to_ns, gpu_uuid)
        del batch  # or its memory lives on while the next part is read
    return collected


def _batches(measurements: Measurements, from_ns: int | None, to_ns: int | None) -> Iterator[Any]:
    """Yield the counters of a range in the order of time, in batches of some hours at most."""
    parts: list[Range] = [(from_ns, to_ns)]
    if from_ns is not None and to_ns is not None and to_ns - from_ns > READ_AT_ONCE_NS:
        parts = list(pairwise([*range(from_ns, to_ns, READ_AT_ONCE_NS), to_ns]))
    for part in parts:
        table = _read(measurements, *part)
        yield from (batch for batch in table.to_batches() if batch.num_rows)
        del table  # or its memory lives on while the next one is read


def _read(measurements: Measurements, from_ns: int | None, to_ns: int | None) -> Any:
    """Return the counters of a range in one piece: every piece is taken apart for itself."""
    columns = [*KEYS, *COLUMNS]
    table = measurements.read("gpu_counters", from_ns=from_ns, to_ns=to_ns, columns=columns)
    return table.combine_chunks()


class Collected:
    """What one source wrote of one GPU, as it comes in, in arrays with room for what will come.

    ``capacity`` may be generous: memory that nothing is written to is never taken.
    """

    def __init__(self, capacity: int) -> None:
        self.rows = 0
        self.clock_sources: set[str] = set()
        self._capacity = capacity
        self._times = {name: np.empty(capacity, np.int64) for name in ("ts_ns", "duration_ns")}
        self._columns: dict[str, Floats] = {}
        self._filled: dict[str, int] = {}
        # Name -> (value, rows): a third of all counters read the same for hours, mostly 0.
        self._constant: dict[str, tuple[float, int]] = {}

    def make_room(self, rows: int) -> slice:
        """Return where the next ``rows`` go."""
        self.rows += rows
        if self.rows > self._capacity:
            more = 2 * self.rows - self._capacity
            self._capacity += more
            self._times = {name: np.pad(held, (0, more)) for name, held in self._times.items()}
            self._columns = {name: np.pad(held, (0, more)) for name, held in self._columns.items()}
        return slice(self.rows - rows, self.rows)

    def put_times(self, name: str, where: slice, times: Ints) -> None:
        self._times[name][where] = times

    def put(self, name: str, where: slice, values: Floats) -> None:
        """Keep a column's values; one without a single known value takes no memory."""
        if name not in self._columns and not self._materialize(name, where, values):
            return
        self._columns[name][self._filled[name] : where.start] = np.nan
        self._columns[name][where] = values
        self._filled[name] = where.stop

    def times(self, name: str) -> Ints:
        """Return ``ts_ns`` or ``duration_ns`` of all rows."""
        return self._times[name][: self.rows]

    def columns(self) -> dict[str, Floats]:
        """Return the columns that have values, of all rows; those that never changed read-only."""
        for name, (value, filled) in self._constant.items():
            if filled < self.rows:
                self._columns[name] = np.full(self._capacity, value)
                self._filled[name] = filled
        for name, filled in self._filled.items():
            self._columns[name][filled : self.rows] = np.nan
        still = {name: value for name, (value, _) in self._constant.items()}
        return {
            name: np.broadcast_to(np.float64(value), self.rows) for name, value in still.items()
        } | {name: values[: self.rows] for name, values in self._columns.items()}

    def _materialize(self, name: str, where: slice, values: Floats) -> bool:
        """Make a column's array where it needs one; one value all along is kept as that value."""
        value, filled = self._constant.get(name, (values[0], 0))
        if filled == where.start and bool((values == value).all()):
            self._constant[name] = value, where.stop
            return False
        if name not in self._constant and np.isnan(values).all():
            return False
        self._constant.pop(name, None)
        self._columns[name] = np.empty(self._capacity)
        self._columns[name][:filled] = value
        self._filled[name] = filled
        return True


def _collect(
    batch: Any, collected: dict[Key, Collected], to_ns: int | None, gpu_uuid: str | None
) -> None:
    """Hand the rows of a batch to their GPU, MIG instance and source, in their order."""
    codes, names = zip(
        *(_encode(batch, n) for n in ("gpu_uuid", "mig_uuid", "source", "sm_clock_source")),
        strict=True,
    )
    group = np.ravel_multi_index(codes[:3], [len(values) for values in names[:3]])
    order = np.argsort(group, kind="stable")
    edges = [0, *(np.flatnonzero(np.diff(group[order])) + 1).tolist(), batch.num_rows]
    to_come = _batches_to_come(batch, to_ns)
    places: list[tuple[Ints | slice, Collected, slice]] = []
    for begin, end in pairwise(edges):
        rows = order[begin:end]
        uuid, mig_uuid, source = (names[at][codes[at][rows[0]]] for at in range(3))
        if uuid is None or source is None or gpu_uuid not in (None, uuid):
            continue
        key = (uuid, mig_uuid, source)
        if key not in collected:
            collected[key] = Collected(round(len(rows) * to_come))
        target = collected[key]
        target.clock_sources |= {
            name for code in np.unique(codes[3][rows]) if (name := names[3][code]) is not None
        }
        places.append((_slice(rows), target, target.make_room(len(rows))))
    for name in ("ts_ns", "duration_ns"):
        times = batch.column(name).fill_null(0).to_numpy()
        for picked, target, where in places:
            target.put_times(name, where, times[picked])
    for name in COLUMNS:
        column = batch.column(name)
        if column.null_count == batch.num_rows:
            continue
        values = column.cast("float64").to_numpy(zero_copy_only=False)
        for picked, target, where in places:
            target.put(name, where, values[picked])


def _batches_to_come(batch: Any, to_ns: int | None) -> float:
    """Return how many times the rows of this batch there may be in the rest of the range."""
    times = batch.column("ts_ns")
    span_ns = times[-1].as_py() - times[0].as_py()
    if to_ns is None or span_ns <= 0:
        return 1.0
    left_ns = to_ns - int(times[0].as_py())
    return min(max(1.05 * left_ns / int(span_ns), 1.0), MOST_BATCHES_TO_COME)


def _slice(rows: Ints) -> Ints | slice:
    """Return row numbers at equal distances as a slice, which copies at twice the speed."""
    step = int(rows[1] - rows[0]) if len(rows) > 1 else 1
    is_even = bool((np.diff(rows) == step).all())
    return slice(int(rows[0]), int(rows[-1]) + 1, step) if is_even else rows


def _encode(batch: Any, column: str) -> tuple[Ints, Sequence[str | None]]:
    """Return a code for each row, and what the codes stand for; the last one is null."""
    encoded = batch.column(column).dictionary_encode()
    names = [*encoded.dictionary.to_pylist(), None]
    codes = encoded.indices.fill_null(len(names) - 1).to_numpy().astype(np.int64)
    return codes, names
