"""What is drawn of a GPU's counters reading by reading, in the places where it was read.

Compute SOL of an interval is that of the pipe that did most in it (``sol``).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from gnomon.analysis.collecting import known_values
from gnomon.analysis.intervals import Floats, Intervals, intervals
from gnomon.analysis.sol import sol_rows
from gnomon.analysis.tracks import SourceColumns, Track
from gnomon.hardware import HardwareProfile

PLAIN = (
    ("memory SOL (DRAM active)", "%", "dram_active_pct"),
    ("SM active", "%", "sm_active_pct"),
    ("tensor active", "%", "tensor_active_pct"),
    ("busy (as nvidia-smi tells)", "%", "busy_pct"),
    ("power", "W", "power_watts"),
)
SAMPLED = (
    *PLAIN[:3],
    ("DRAM read", "%", "dram_read_pct"),
    ("DRAM write", "%", "dram_write_pct"),
    ("SM occupancy", "%", "sm_occupancy_pct"),
    ("issue active", "%", "issue_active_pct"),
    ("L2 active", "%", "l2_active_pct"),
    ("L2 hit", "%", "l2_hit_pct"),
    ("L1 active", "%", "l1_active_pct"),
    ("L1 hit", "%", "l1_hit_pct"),
    ("shared memory active", "%", "shared_active_pct"),
    ("sectors per request", "sectors", "sectors_per_request"),
)
SM_CLOCK = ("SM clock", "MHz")
# What PM samples call other than `gpu_counters`: the pipes that compute SOL is made of.
PIPE_COLUMNS = {
    "tensor_active_pct": "tensor_active_pct",
    "tensor_dmma_active_pct": "tensor_dmma_active_pct",
    "fp64_active_pct": "fp64_active_pct",
    "fma_active_pct": "fp32_active_pct",
    "sm_active_pct": "sm_active_pct",
    "sm_clock_mhz": "sm_clock_mhz",
}
SAMPLED_COLUMNS = tuple(dict.fromkeys([*PIPE_COLUMNS, *(column for _, _, column in SAMPLED)]))


@dataclass(frozen=True, slots=True)
class Line:
    """Readings of one quantity, none of them NaN; shape (n,)."""

    name: str
    unit: str
    intervals: Intervals
    values: Floats


def lines(track: Track, profile: HardwareProfile) -> Iterator[Line]:
    """Yield what a track knows."""
    rows = sol_rows(track, profile)
    if rows is not None:
        yield from _sol(track, profile)
        yield from _line(*SM_CLOCK, rows.intervals, rows.clock_mhz)
    elif (clock := track.readings("sm_clock_mhz")) is not None:
        yield from _line(*SM_CLOCK, *clock)
    for name, unit, column in PLAIN:
        readings = track.readings(column)
        if readings is not None:
            yield from _line(name, unit, *readings)


def sampled_lines(rows: Any, profile: HardwareProfile) -> Iterator[Line]:
    """Yield what PM samples of one GPU and counter set know.

    ``rows``: a ``pyarrow.Table`` of ``pm_samples``, ordered by ts_ns.
    """
    columns = {name: _floats(rows.column(name)) for name in SAMPLED_COLUMNS}
    known = {name: values for name, values in columns.items() if not np.isnan(values).all()}
    where = intervals(
        *(rows.column(name).to_numpy().astype(np.int64) for name in ("ts_ns", "duration_ns"))
    )
    pipes = {PIPE_COLUMNS[name]: known[name] for name in PIPE_COLUMNS if name in known}
    samples = SourceColumns(where, pipes, "cupti")
    yield from _sol(Track("", None, {"pm": samples}), profile)
    for name, unit, column in (*SAMPLED, (*SM_CLOCK, "sm_clock_mhz")):
        if column in known:
            yield from _line(name, unit, where, known[column])


def _sol(track: Track, profile: HardwareProfile) -> Iterator[Line]:
    rows = sol_rows(track, profile)
    if rows is not None and rows.products:
        # NaN only where no pipe is known.
        most = np.fmax.reduce(list(rows.products.values()))
        yield from _line("compute SOL", "%", rows.intervals, most)


def _line(name: str, unit: str, where: Intervals, values: Floats) -> Iterator[Line]:
    is_known = ~np.isnan(values)
    if is_known.any():
        read = Intervals(where.start_ns[is_known], where.end_ns[is_known])
        yield Line(name, unit, read, values[is_known])


def _floats(column: Any) -> Floats:
    values, is_known = known_values(column)
    return np.where(is_known, values, np.nan).astype(np.float64)
