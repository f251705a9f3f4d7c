"""What a recording says of each GPU in a window: the numbers, both ledgers, the verdict.

``summarize`` is the one way from measurements to a ``GpuSummary``: ``gnomon summary``, ``top``
and ``demo`` all call it, live and in replay alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from gnomon.analysis import host
from gnomon.analysis.bounds import THRESHOLDS, BoundEvidence, bound_by
from gnomon.analysis.comparison import outlier_warnings
from gnomon.analysis.intervals import Floats, weighted_mean
from gnomon.analysis.ledger import (
    ComputeMeans,
    compute_ledger,
    has_noise,
    memory_ledger,
)
from gnomon.analysis.missing import unavailable
from gnomon.analysis.sol import PIPES_WITH_WRONG_NVML_CLOCK, SolRows, sol_rows
from gnomon.analysis.summary_types import ComputeLedger, GpuSummary
from gnomon.analysis.throttle import throttle_reasons
from gnomon.analysis.tracks import Track, load_tracks
from gnomon.analysis.verdict import verdict
from gnomon.analysis.windows import Window, windows
from gnomon.enums import Pipe
from gnomon.hardware import HardwareProfile, profile
from gnomon.recording.base import Measurements, Meta

# A reading that straddles the window's end carries a later timestamp, and power limits are read
# every 5 s only.
READ_MARGIN_NS = 2_000_000_000
LOOK_BACK_NS = 6_000_000_000

# Pipes whose instructions have one dtype only, so that cycles can be turned into FLOP/s.
SINGLE_DTYPE_PIPES = frozenset({Pipe.FP64_TENSOR, Pipe.FP64, Pipe.FP32, Pipe.FP16})


def summarize(
    measurements: Measurements,
    *,
    from_ns: int | None = None,
    to_ns: int | None = None,
    by: Literal["phase"] | int | None = None,
) -> list[GpuSummary]:
    """Summarize each GPU over each window of a time range.

    ``by`` splits the range: ``"phase"`` at the phases that the workload marked, an integer into
    periods of that many nanoseconds. The list is ordered by window, then by GPU.
    """
    bounds = measurements.bounds()
    if bounds is None:
        return []
    begin = bounds[0] if from_ns is None else from_ns
    end = bounds[1] if to_ns is None else to_ns
    meta = measurements.meta()
    machine = host.load(measurements, begin, end + READ_MARGIN_NS)
    tracks = load_tracks(measurements, begin - LOOK_BACK_NS, end + READ_MARGIN_NS)
    prepared = [_Prepared.of(track, meta) for track in tracks]
    lost = _losses(measurements, begin, end)
    summaries = []
    for window in windows(measurements, begin, end, by):
        of_window = [_summarize(one, window, meta, machine, lost) for one in prepared]
        summaries.extend(_compare(of_window))
    return summaries


@dataclass(frozen=True, slots=True)
class _Prepared:
    """A track with what all of its windows share."""

    track: Track
    profile: HardwareProfile
    rows: SolRows | None
    name: str
    has_nvlink: bool

    @classmethod
    def of(cls, track: Track, meta: Meta) -> _Prepared:
        facts = meta.gpus.get(track.gpu_uuid, {})
        hardware = profile(facts, mig_uuid=track.mig_uuid)
        name = str(facts.get("name") or hardware.name or "unknown GPU")
        has_nvlink = bool(facts.get("nvlink_count"))
        return cls(track, hardware, sol_rows(track, hardware), name, has_nvlink)


def _summarize(
    one: _Prepared, window: Window, meta: Meta, machine: host.Host, lost: int
) -> GpuSummary:
    track, begin, end = one.track, window.from_ns, window.to_ns
    summary = GpuSummary(
        uuid=track.gpu_uuid,
        mig_uuid=track.mig_uuid,
        name=one.name,
        phase=window.name,
        from_ns=begin,
        to_ns=end,
        samples=_samples(track, begin, end),
        losses={"samples_lost": lost},
        peak_source=one.profile.peak_source,
        warnings=tuple(one.profile.notes),
        **_plain_means(track, begin, end),
        **_links(one, begin, end),
        **_power(track, begin, end),
        throttle_reasons=throttle_reasons(track, begin, end),
        cpu_pct=machine.cpu_pct(begin, end),
        busiest_thread_cpu_pct=machine.busiest_thread_cpu_pct(track.gpu_uuid, begin, end),
    )
    summary = _with_memory(summary, one)
    summary = _with_compute(summary, one, window)
    summary = replace(summary, unavailable=unavailable(summary, meta))
    return replace(summary, verdict=verdict(summary))


def _samples(track: Track, begin: int, end: int) -> int:
    sources = [track.base] if track.base is not None else list(track.sources.values())
    counts = []
    for source in sources:
        where = source.intervals.inside(begin, end)
        counts.append(where.stop - where.start)
    return max(counts, default=0)


def _plain_means(track: Track, begin: int, end: int) -> dict[str, Any]:
    names = (
        "busy_pct",
        "memory_busy_pct",
        "engine_active_pct",
        "sm_active_pct",
        "sm_occupancy_pct",
        "integer_active_pct",
        "memory_clock_mhz",
        "temperature_celsius",
    )
    values: dict[str, Any] = {name: track.mean(name, begin, end) for name in names}
    for name in ("vram_used_bytes", "vram_total_bytes"):
        last = track.last(name, end)
        values[name] = None if last is None else int(last)
    return values


def _power(track: Track, begin: int, end: int) -> dict[str, Any]:
    return {
        "power_watts": track.mean("power_watts", begin, end),
        "energy_joules": track.share_sum("energy_joules", begin, end),
        "power_limit_watts": track.last("power_limit_watts", end),
    }


def _links(one: _Prepared, begin: int, end: int) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for link, peak in (
        ("pcie", one.profile.pcie_bytes_per_s),
        ("nvlink", one.profile.nvlink_bytes_per_s),
    ):
        rates = [one.track.mean(f"{link}_{way}_bytes_per_s", begin, end) for way in ("rx", "tx")]
        if link == "nvlink" and not one.has_nvlink and not any(rates):
            rates = [None, None]  # GPM answers 0 for links that are not there
        values[f"{link}_rx_bytes_per_s"], values[f"{link}_tx_bytes_per_s"] = rates
        known = [rate for rate in rates if rate is not None]
        values[f"{link}_sol_pct"] = max(known) / peak * 100 if known and peak else None
    return values


def _with_memory(summary: GpuSummary, one: _Prepared) -> GpuSummary:
    dram = one.track.mean("dram_active_pct", summary.from_ns, summary.to_ns)
    if dram is None:
        return summary
    maximum = one.profile.max_memory_clock_mhz
    share = (
        summary.memory_clock_mhz / maximum
        if maximum and summary.memory_clock_mhz is not None
        else None
    )
    ledger = memory_ledger(summary.engine_active_pct, dram, share)
    peak = one.profile.dram_bytes_per_s
    achieved = ledger.achieved_pct
    return replace(
        summary,
        memory_ledger=ledger,
        memory_sol_pct=achieved,
        dram_bytes_per_s=achieved / 100 * peak if peak and achieved is not None else None,
    )


def _with_compute(summary: GpuSummary, one: _Prepared, window: Window) -> GpuSummary:
    rows = one.rows
    if rows is None or not rows.products:
        return summary
    where = rows.intervals.inside(window.from_ns, window.to_ns)
    weights = rows.intervals.take(where).weights(window.from_ns, window.to_ns)
    weights = np.where(rows.usable[where], weights, 0.0)
    if not (weights > 0).any():
        return summary
    means = _compute_means(rows, where, weights)
    useful = _useful_pct(window, one.profile)
    ledger = compute_ledger(means, useful)
    true_share = float(weights[rows.clock_is_true[where]].sum() / weights.sum())
    is_true = true_share >= 0.5
    reference_mhz = one.profile.reference_clock_mhz(means.pipe)
    evidence = BoundEvidence(
        ledger=ledger,
        pipe_active_pct=means.pipe_active_pct,
        engine_active_pct=means.engine_active_pct,
        dram_pct=summary.memory_sol_pct,
        nvlink_sol_pct=summary.nvlink_sol_pct,
        idle_in_gaps=_idle_in_gaps(rows, where, weights),
        copy_over_nvlink=(summary.nvlink_sol_pct or 0.0) > (summary.pcie_sol_pct or 0.0),
    )
    tflops = _tflops(means, window, one.profile)
    return replace(
        summary,
        pipe=means.pipe.value,
        pipe_active_pct=means.pipe_active_pct,
        sm_clock_mhz=_working_clock_mhz(rows, where, weights, means, reference_mhz),
        reference_clock_mhz=reference_mhz,
        compute_sol_pct=means.product_pct,
        sm_clock_source=one.track.true_clock_source if is_true else "nvml",
        ledger=ledger,
        achieved_basis="pipe" if useful is None else "model",
        at_most=means.pipe in PIPES_WITH_WRONG_NVML_CLOCK and true_share < 0.99,
        bound_by=bound_by(evidence).value,
        tflops=tflops,
        tflops_per_watt=tflops / summary.power_watts if tflops and summary.power_watts else None,
        warnings=(*summary.warnings, *_noise_warning(ledger)),
    )


def _compute_means(rows: SolRows, where: slice, weights: Floats) -> ComputeMeans:
    def mean(values: Floats) -> float:
        return weighted_mean(values[where], weights) or 0.0

    pipe = max(rows.products, key=lambda name: mean(rows.products[name]))
    gaps = np.clip(rows.engine_active - rows.sm_active, 0.0, None)
    return ComputeMeans(
        copying_pct=mean(rows.copying),
        engine_active_pct=mean(rows.engine_active),
        sm_empty_pct=mean(gaps),
        pipe=pipe,
        pipe_active_pct=mean(rows.pipes[pipe]),
        product_pct=mean(rows.products[pipe]),
    )


def _working_clock_mhz(
    rows: SolRows,
    where: slice,
    weights: Floats,
    means: ComputeMeans,
    reference_mhz: float | None,
) -> float | None:
    """Mean SM clock while the pipe worked, so that pipe active x clock / reference is SOL.

    Where the pipe did next to nothing, the mean over the time in which SMs held warps.
    """
    if reference_mhz and means.pipe_active_pct > 0.01:
        return means.product_pct / means.pipe_active_pct * reference_mhz
    active = weights * np.nan_to_num(rows.sm_active[where])
    mean = weighted_mean(rows.clock_mhz[where], active)
    return mean if mean is not None else weighted_mean(rows.clock_mhz[where], weights)


def _idle_in_gaps(rows: SolRows, where: slice, weights: Floats) -> float | None:
    engine = rows.engine_active[where]
    idle = np.clip(100.0 - engine, 0.0, None) * weights
    known = ~np.isnan(idle)
    total = float(idle[known].sum())
    if total <= 0:
        return None
    in_gaps = known & (engine >= THRESHOLDS["idle_engine_pct"].value)
    return float(idle[in_gaps].sum()) / total


def _useful_pct(window: Window, hardware: HardwareProfile) -> float | None:
    if window.model_flops is None or window.flops_dtype is None:
        return None
    peak = hardware.flops(window.flops_dtype)
    return window.flops_per_s / peak * 100 if peak and window.flops_per_s else None


def _tflops(means: ComputeMeans, window: Window, hardware: HardwareProfile) -> float | None:
    if window.flops_per_s is not None:
        return window.flops_per_s / 1e12
    peak = hardware.pipe_flops(means.pipe) if means.pipe in SINGLE_DTYPE_PIPES else None
    return means.product_pct / 100 * peak / 1e12 if peak else None


def _noise_warning(ledger: ComputeLedger) -> tuple[str, ...]:
    if not has_noise(ledger):
        return ()
    return ("counters of one interval disagree by more than 1 %: the ledger's residual is noise",)


def _losses(measurements: Measurements, begin: int, end: int) -> int:
    table = measurements.read(
        "losses", from_ns=begin, to_ns=end + READ_MARGIN_NS, columns=["table", "rows"]
    )
    rows = zip(table.column("table").to_pylist(), table.column("rows").to_pylist(), strict=True)
    return sum(count or 0 for name, count in rows if name == "gpu_counters")


def _compare(summaries: Sequence[GpuSummary]) -> list[GpuSummary]:
    warnings = outlier_warnings(summaries)
    return [
        replace(one, warnings=(*one.warnings, *extra))
        for one, extra in zip(summaries, warnings, strict=True)
    ]
