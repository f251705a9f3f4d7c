"""Counters of a GPU laid over ranges: means, speed of light and the ledger of each.

PM samples where there are any, else what `gpu_counters` has. A range that is hardly longer than a
sample shares it with what ran before and after: then nothing is told.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gnomon.analysis.collecting import encode, filled, known_values
from gnomon.analysis.gpu_parts import GpuParts
from gnomon.analysis.gpu_step_types import RangeCounters
from gnomon.analysis.gpu_work import GpuWork
from gnomon.analysis.interval_sets import Covered, union
from gnomon.analysis.intervals import Floats, Intervals, intervals
from gnomon.analysis.kernel_sol import PIPE_COLUMNS
from gnomon.analysis.ledger import ComputeMeans, compute_ledger
from gnomon.analysis.sol import pipe_shares, sol_rows
from gnomon.analysis.tracks import load_tracks
from gnomon.enums import CounterSet, Pipe
from gnomon.hardware import HardwareProfile, profile
from gnomon.recording.base import Measurements

# With as many samples in the median instance, edges blur a tenth of it.
LEAST_SAMPLES = 10
# Counters and records differ by their clocks and edges; beyond this, something was not recorded.
MOST_UNRECORDED_PCT = 5.0
# Samples come by the million: evenly spread windows, each up to this long, say as much.
MOST_WINDOWS, LONGEST_NS = 120, 10_000_000_000
SAMPLE_COLUMNS = ("sm_active_pct", "dram_active_pct", "sm_clock_mhz", *PIPE_COLUMNS)


@dataclass(frozen=True, slots=True)
class CounterRows:
    """n samples of one source: disjoint ordered intervals, and columns (n,) in percent."""

    source: str
    intervals: Intervals
    sm_active: Floats
    dram: Floats | None
    pipes: Mapping[Pipe, Floats]
    products: Mapping[Pipe, Floats]

    @property
    def usual_ns(self) -> float:
        """How long a sample is."""
        return float(np.median(self.intervals.end_ns - self.intervals.start_ns))


def pm_samples(measurements: Measurements, work: GpuWork, columns: Sequence[str]) -> Any:
    """Return the throughput samples of a GPU in some of its windows; None where there are none."""
    import pyarrow as pa  # noqa: PLC0415

    many = len(work.known)
    chosen = np.unique(np.linspace(0, many - 1, min(many, MOST_WINDOWS)).astype(np.int64))
    parts = []
    for begin_ns, end_ns in zip(
        work.known.start_ns[chosen].tolist(), work.known.end_ns[chosen].tolist(), strict=True
    ):
        rows = measurements.read(
            "pm_samples",
            from_ns=begin_ns,
            to_ns=min(end_ns, begin_ns + LONGEST_NS),
            columns=["ts_ns", "duration_ns", "gpu_uuid", "counter_set", *dict.fromkeys(columns)],
            encoded=True,
        )
        wanted = {"gpu_uuid": work.gpu_uuid, "counter_set": CounterSet.THROUGHPUT.value}
        kept = np.ones(rows.num_rows, dtype=bool)
        for column, word in wanted.items():
            codes, words = encode(rows, column)
            kept &= codes == words.index(word) if word in words else np.bool_(0)
        parts.append(rows.filter(pa.array(kept)))
    found = pa.concat_tables(parts) if parts else None
    return found if found is not None and found.num_rows else None


def counter_rows(measurements: Measurements, work: GpuWork) -> CounterRows | None:
    """Return the finest counters of a GPU in its windows; None without any."""
    hardware = profile(measurements.meta().gpus.get(work.gpu_uuid, {}), mig_uuid=work.mig_uuid)
    sampled = pm_samples(measurements, work, SAMPLE_COLUMNS)
    if sampled is not None:
        return _of_samples(sampled, hardware)
    from_ns, to_ns = int(work.known.start_ns[0]), int(work.known.end_ns[-1])
    for track in load_tracks(measurements, from_ns, to_ns, gpu_uuid=work.gpu_uuid):
        rows = sol_rows(track, hardware)
        if track.mig_uuid == work.mig_uuid and rows is not None and track.base is not None:
            dram = track.base.columns.get("dram_active_pct")
            return CounterRows(
                "gpu_counters", rows.intervals, rows.sm_active, dram, rows.pipes, rows.products
            )
    return None


def counters_in(rows: CounterRows, spans: Intervals, ran: GpuParts) -> RangeCounters | str:
    """Return what counters read in n instances of a range; else why nothing is told."""
    if np.median(spans.end_ns - spans.start_ns) < LEAST_SAMPLES * rows.usual_ns:
        return f"shorter than {LEAST_SAMPLES} samples of {rows.usual_ns / 1e3:,.0f} us"
    weights = Covered(union(spans)).inside(rows.intervals).astype(np.float64)
    sm_active = _mean(rows.sm_active, weights)
    if sm_active is None:
        return "no counters were read while it ran"
    dram = None if rows.dram is None else _mean(rows.dram, weights)
    products = {pipe: _mean(values, weights) for pipe, values in rows.products.items()}
    known = {pipe: value for pipe, value in products.items() if value is not None}
    pipe = max(known, key=lambda one: known[one], default=None)
    active = None if pipe is None else _mean(rows.pipes[pipe], weights)
    ledger, no_ledger = None, "no true SM clock, or no arithmetic pipe, was sampled"
    if pipe is not None and active is not None:
        total_ns, engine_ns, anything_ns = (
            int(values.sum())
            for values in (
                spans.end_ns - spans.start_ns,
                ran.engine.inside(spans),
                ran.anything.inside(spans),
            )
        )
        engine_pct = 100.0 * engine_ns / total_ns
        copying_pct = 100.0 * (anything_ns - engine_ns) / total_ns
        if sm_active > engine_pct + MOST_UNRECORDED_PCT:
            no_ledger = (
                f"SMs were active for {sm_active:.0f} % of the time and what was recorded ran for "
                f"{engine_pct:.0f} %: something else ran"
            )
        else:
            empty_pct = max(engine_pct - sm_active, 0.0)
            means = ComputeMeans(copying_pct, engine_pct, empty_pct, pipe, active, known[pipe])
            ledger, no_ledger = compute_ledger(means), ""
    return RangeCounters(
        rows.source,
        int(np.count_nonzero(weights)),
        sm_active,
        dram,
        None if pipe is None else pipe.value,
        active,
        None if pipe is None else known[pipe],
        ledger,
        no_ledger,
    )


def _of_samples(sampled: Any, hardware: HardwareProfile) -> CounterRows:
    columns = {}
    for name in dict.fromkeys(SAMPLE_COLUMNS):
        values, is_known = known_values(sampled.column(name))
        if is_known.any():
            columns[name] = np.where(is_known, values, np.nan).astype(np.float64)
    spans = intervals(filled(sampled.column("ts_ns")), filled(sampled.column("duration_ns")))
    pipes = pipe_shares(
        {name: columns[one] for one, name in PIPE_COLUMNS.items() if one in columns}
    )
    clock_mhz = columns.get("sm_clock_mhz")
    products = {}
    for pipe, share in pipes.items():
        reference_mhz = hardware.reference_clock_mhz(pipe)
        if reference_mhz and clock_mhz is not None:
            products[pipe] = share * clock_mhz / reference_mhz
    nothing = np.full(len(spans), np.nan)
    return CounterRows(
        "pm_samples",
        spans,
        columns.get("sm_active_pct", nothing),
        columns.get("dram_active_pct"),
        pipes,
        products,
    )


def _mean(values: Floats, weights: Floats) -> float | None:
    kept = ~np.isnan(values) & (weights > 0)
    return float(np.average(values[kept], weights=weights[kept])) if kept.any() else None
