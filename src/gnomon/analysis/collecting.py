"""Counters taken apart: for each GPU, MIG instance and source its own arrays.

A row of ``gpu_counters`` has 57 columns, half of them null, because a source fills its own only.
What is not null goes into arrays of one source, straight from Arrow's memory: a day of eight
GPUs is 45 million numbers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

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

Key = tuple[str, str | None, str]  # GPU uuid, MIG uuid, source
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Collected:
    """What one source wrote of one GPU, n rows in the order of time.

    ``columns`` holds those with at least one value, shape (n,), NaN where null.
    """

    ts_ns: Ints
    duration_ns: Ints
    columns: Mapping[str, Floats]
    clock_sources: frozenset[str]


NOTHING = Collected(np.empty(0, np.int64), np.empty(0, np.int64), {}, frozenset())


def read_counters(measurements: Measurements, from_ns: int | None, to_ns: int | None) -> Any:
    """Return the rows of ``gpu_counters`` of a range, with what the analysis needs of them."""
    columns = [*KEYS, *COLUMNS]
    return measurements.read(
        "gpu_counters", from_ns=from_ns, to_ns=to_ns, columns=columns, encoded=True
    )


def take_apart(
    table: Any, gpu_uuid: str | None = None, before: Mapping[Key, Collected] | None = None
) -> dict[Key, Collected]:
    """Hand the rows of a table to their GPU, MIG instance and source; of all GPUs or of one.

    Rows of ``before`` come first.
    """
    before = before or {}
    if table.num_rows == 0:
        return dict(before)
    places = _places(table, gpu_uuid)
    first = {key: before.get(key, NOTHING) for key in places}
    columns = _columns(table, places, first)
    ts_ns, duration_ns = (filled(table.column(name)) for name in KEYS[:2])
    clocks, clock_names = encode(table, "sm_clock_source")
    return dict(before) | {
        key: Collected(
            np.concatenate([first[key].ts_ns, ts_ns[where]]),
            np.concatenate([first[key].duration_ns, duration_ns[where]]),
            columns[key],
            first[key].clock_sources | set(_names(clocks[where], clock_names)),
        )
        for key, where in places.items()
    }


def _columns(
    table: Any, places: Mapping[Key, Ints | slice], first: Mapping[Key, Collected]
) -> dict[Key, dict[str, Floats]]:
    """Return the columns with a value at each place, after those that come first."""
    found: dict[Key, dict[str, Floats]] = {key: {} for key in places}
    rows = {source: np.zeros(table.num_rows, dtype=bool) for _, _, source in places}
    for (_, _, source), where in places.items():
        rows[source][where] = True
    sizes = {source: np.count_nonzero(own) for source, own in rows.items()}
    for name in COLUMNS:
        written = table.column(name)
        is_empty = written.null_count == table.num_rows
        if is_empty and not any(name in one.columns for one in first.values()):
            continue
        values, is_known = known_values(written)
        # A source fills a column in all of its rows or in none, as a rule: looked at once.
        counts = {source: np.count_nonzero(is_known & own) for source, own in rows.items()}
        for key, where in places.items():
            source, before = key[2], first[key].columns.get(name)
            if before is None and (counts[source] == 0 or not is_known[where].any()):
                continue
            here, begin = values[where], len(first[key].ts_ns)
            column = np.empty(begin + len(here))
            column[:begin] = np.nan if before is None else before
            column[begin:] = here
            if counts[source] < sizes[source]:
                column[begin:][~is_known[where]] = np.nan
            found[key][name] = column
    return found


def _places(table: Any, gpu_uuid: str | None) -> dict[Key, Ints | slice]:
    """Return where the rows of each GPU, MIG instance and source stand; of all GPUs or of one."""
    codes, names = zip(
        *(encode(table, name) for name in ("gpu_uuid", "mig_uuid", "source")), strict=True
    )
    places: dict[Key, Ints | slice] = {}
    for rows in groups(codes, [len(values) for values in names]):
        uuid, mig_uuid, source = (names[at][codes[at][rows[0]]] for at in range(3))
        if uuid is not None and source is not None and gpu_uuid in (None, uuid):
            places[uuid, mig_uuid, source] = evenly(rows)
    return places


def since(collected: Mapping[Key, Collected], ts_ns: int) -> dict[Key, Collected]:
    """Return the rows after a moment."""
    kept = {}
    for key, one in collected.items():
        first = int(np.searchsorted(one.ts_ns, ts_ns, side="right"))
        if first < len(one.ts_ns):
            columns = {name: values[first:] for name, values in one.columns.items()}
            kept[key] = Collected(
                one.ts_ns[first:], one.duration_ns[first:], columns, one.clock_sources
            )
    return kept


def groups(codes: Sequence[Ints], sizes: Sequence[int]) -> list[Ints]:
    """Return the row numbers of each combination of codes, in their order.

    ``sizes``: how many values each code has.
    """
    # Numbers of 16 bits are sorted by counting, at four times the speed.
    combined = np.zeros(len(codes[0]), np.min_scalar_type(math.prod(sizes)))
    for code, size in zip(codes, sizes, strict=True):
        combined *= size
        np.add(combined, code, out=combined, casting="unsafe")
    order = np.argsort(combined, kind="stable")
    edges = [0, *(np.flatnonzero(np.diff(combined[order])) + 1).tolist(), len(order)]
    return [order[begin:end] for begin, end in pairwise(edges)]


def evenly(rows: Ints) -> Ints | slice:
    """Return row numbers at equal distances as a slice, which copies at three times the speed."""
    step = int(rows[1] - rows[0]) if len(rows) > 1 else 1
    is_even = bool((np.diff(rows) == step).all())
    return slice(int(rows[0]), int(rows[-1]) + 1, step) if is_even else rows


def known_values(column: Any) -> tuple[npt.NDArray[Any], Bools]:
    """Return the numbers of a column and which of them are known; what is null reads anything."""
    values, known = zip(*(_chunk(chunk) for chunk in column.chunks), strict=True)
    if len(values) == 1:
        return values[0], known[0]
    return np.concatenate(values), np.concatenate(known)


def _chunk(chunk: Any) -> tuple[npt.NDArray[Any], Bools]:
    """Look at an Arrow array's own memory: a bit a row says what is known, a word what it is."""
    if chunk.null_count == len(chunk):
        empty = np.zeros(len(chunk), dtype=chunk.type.to_pandas_dtype())
        return empty, np.zeros(len(chunk), dtype=bool)
    validity, data = chunk.buffers()
    rows = slice(chunk.offset, chunk.offset + len(chunk))
    values = np.frombuffer(data, dtype=chunk.type.to_pandas_dtype())[rows]
    if chunk.null_count == 0:
        return values, np.ones(len(chunk), dtype=bool)
    bits = np.unpackbits(np.frombuffer(validity, np.uint8), count=rows.stop, bitorder="little")
    return values, bits[rows].view(bool)


def filled(column: Any) -> Ints:
    """Return whole numbers, 0 where null."""
    values, is_known = known_values(column)
    return values if is_known.all() else np.where(is_known, values, 0)


def _names(codes: Ints, names: Sequence[str | None]) -> list[str]:
    """Return what the codes that occur stand for, without null."""
    found = (names[code] for code in np.flatnonzero(np.bincount(codes)).tolist())
    return [name for name in found if name is not None]


def encode(table: Any, column: str) -> tuple[Ints, Sequence[str | None]]:
    """Return a small code for each row of an encoded column, and what the codes stand for.

    The last one stands for null.
    """
    values = table.column(column)
    if values.null_count == len(values):
        return np.zeros(len(values), np.uint8), [None]
    encoded = values.unify_dictionaries().combine_chunks()
    names = [*encoded.dictionary.to_pylist(), None]
    codes, is_known = _chunk(encoded.indices)
    codes = codes.astype(np.min_scalar_type(len(names)))
    return np.where(is_known, codes, codes.dtype.type(len(names) - 1)), names
