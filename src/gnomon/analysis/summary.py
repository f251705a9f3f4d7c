"""What a recording says of each GPU in a window: the numbers, both ledgers, the verdict.

``summarize`` is the one way from measurements to a ``GpuSummary``: ``gnomon summary``, ``top``
and ``demo`` all call it, live and in replay alike.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from gnomon.analysis.bounds import BoundEvidence, bound_by
from gnomon.analysis.comparison import outlier_warnings
from gnomon.analysis.coverage import losses
from gnomon.analysis.host import Host, hosts
from gnomon.analysis.ledger import (
    ComputeMeans,
    compute_ledger,
    has_noise,
    memory_ledger,
)
from gnomon.analysis.missing import unavailable
from gnomon.analysis.slices import slices
from gnomon.analysis.sol import PIPES_WITH_WRONG_NVML_CLOCK, sol_rows
from gnomon.analysis.summary_types import ComputeLedger, GpuSummary
from gnomon.analysis.tally import TOLD_MEANS, Piece, Tally
from gnomon.analysis.tracks import Track, tracks_of
from gnomon.analysis.verdict import verdict
from gnomon.analysis.windows import Window, windows
from gnomon.enums import Pipe
from gnomon.hardware import HardwareProfile, profile
from gnomon.recording.base import Measurements, Meta

# A reading that straddles the window's end carries a later timestamp.
READ_MARGIN_NS = 2_000_000_000

# Pipes whose instructions have one dtype only, so that cycles can be turned into FLOP/s.
SINGLE_DTYPE_PIPES = frozenset({Pipe.FP64_TENSOR, Pipe.FP64, Pipe.FP32, Pipe.FP16})

# With fewer of its own samples of the true clock a window rests on its neighbours': replayed with
# turns of 1 s in 10, an H200's phases of 4 to 8 s then erred by 1 % in the middle and up to 15,
# those with samples of their own by 0.2 and up to 1.5.
OWN_SAMPLES = 0.05
# A share that reads 0.0 has nothing to doubt.
LEAST_SHOWN = 0.05

GpuKey = tuple[str, str | None]


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
    asked = list(windows(measurements, begin, end, by))
    machine = hosts(measurements, asked, begin, end + READ_MARGIN_NS)
    gpus, tallies = _tallies(measurements, asked, begin, end)
    lost = sum(
        loss.rows
        for loss in losses(measurements, from_ns=begin, to_ns=end + READ_MARGIN_NS)
        if loss.table == "gpu_counters"
    )
    summaries = []
    for number, window in enumerate(asked):
        of_window = [
            _summarize(
                gpu, tallies.get((key, number), Tally()), window, meta, machine[number], lost
            )
            for key, gpu in sorted(gpus.items(), key=lambda item: (item[0][0], item[0][1] or ""))
        ]
        summaries.extend(_compare(of_window))
    return summaries


@dataclass(frozen=True, slots=True)
class _Gpu:
    """A GPU or MIG instance, with what all of its windows share."""

    uuid: str
    mig_uuid: str | None
    profile: HardwareProfile
    name: str
    has_nvlink: bool

    @classmethod
    def of(cls, track: Track, meta: Meta) -> _Gpu:
        facts = meta.gpus.get(track.gpu_uuid, {})
        hardware = profile(facts, mig_uuid=track.mig_uuid)
        name = str(facts.get("name") or hardware.name or "unknown GPU")
        return cls(track.gpu_uuid, track.mig_uuid, hardware, name, bool(facts.get("nvlink_count")))


def _tallies(
    measurements: Measurements, asked: Sequence[Window], from_ns: int, to_ns: int
) -> tuple[dict[GpuKey, _Gpu], dict[tuple[GpuKey, int], Tally]]:
    """Sum up each GPU in each window (by its number), slice by slice.

    ``asked`` are in the order of their starts; those that begin outside of a slice wait.
    """
    meta = measurements.meta()
    gpus: dict[GpuKey, _Gpu] = {}
    tallies: defaultdict[tuple[GpuKey, int], Tally] = defaultdict(Tally)
    waiting = deque(enumerate(asked))
    current: list[tuple[int, Window]] = []
    for piece in slices(measurements, from_ns, to_ns):
        while waiting and waiting[0][1].from_ns <= piece.to_ns:
            current.append(waiting.popleft())
        for track in tracks_of(piece.counters):
            key = track.gpu_uuid, track.mig_uuid
            if key not in gpus:
                gpus[key] = _Gpu.of(track, meta)
            rows = sol_rows(track, gpus[key].profile)
            for number, window in current:
                begin_ns = max(piece.from_ns, window.from_ns)
                end_ns = min(piece.to_ns, window.to_ns)
                part = Piece(track, rows, begin_ns, end_ns, is_last=window.to_ns <= piece.to_ns)
                tallies[key, number].add(part)
        current = [(number, window) for number, window in current if window.to_ns > piece.to_ns]
    return gpus, tallies


def _summarize(
    gpu: _Gpu, tally: Tally, window: Window, meta: Meta, machine: Host, lost: int
) -> GpuSummary:
    begin, end = window.from_ns, window.to_ns
    summary = GpuSummary(
        uuid=gpu.uuid,
        mig_uuid=gpu.mig_uuid,
        name=gpu.name,
        phase=window.name,
        from_ns=begin,
        to_ns=end,
        samples=tally.samples,
        losses={"samples_lost": lost},
        peak_source=gpu.profile.peak_source,
        warnings=tuple(gpu.profile.notes),
        **_plain(tally),
        **_links(gpu, tally),
        tokens_per_s=window.tokens_per_s,
        throttle_reasons=tally.throttle.reasons(end - begin),
        cpu_pct=machine.cpu_pct,
        busiest_thread_cpu_pct=machine.busiest_thread_cpu_pct(gpu.uuid),
    )
    summary = _with_memory(summary, gpu, tally)
    summary = _with_compute(summary, gpu, tally, window)
    summary = replace(summary, unavailable=unavailable(summary, meta))
    return replace(summary, verdict=verdict(summary))


def _plain(tally: Tally) -> dict[str, Any]:
    values: dict[str, Any] = {name: tally.mean(name) for name in TOLD_MEANS}
    for name in ("vram_used_bytes", "vram_total_bytes"):
        last = tally.last(name)
        values[name] = None if last is None else int(last)
    values["energy_joules"] = tally.amount("energy_joules")
    values["power_limit_watts"] = tally.last("power_limit_watts")
    return values


def _links(gpu: _Gpu, tally: Tally) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for link, peak in (
        ("pcie", gpu.profile.pcie_bytes_per_s),
        ("nvlink", gpu.profile.nvlink_bytes_per_s),
    ):
        rates = [tally.mean(f"{link}_{way}_bytes_per_s") for way in ("rx", "tx")]
        if link == "nvlink" and not gpu.has_nvlink and not any(rates):
            rates = [None, None]  # GPM answers 0 for links that are not there
        values[f"{link}_rx_bytes_per_s"], values[f"{link}_tx_bytes_per_s"] = rates
        known = [rate for rate in rates if rate is not None]
        values[f"{link}_sol_pct"] = max(known) / peak * 100 if known and peak else None
    return values


def _with_memory(summary: GpuSummary, gpu: _Gpu, tally: Tally) -> GpuSummary:
    dram = tally.mean("dram_active_pct")
    if dram is None:
        return summary
    maximum = gpu.profile.max_memory_clock_mhz
    share = (
        summary.memory_clock_mhz / maximum
        if maximum and summary.memory_clock_mhz is not None
        else None
    )
    ledger = memory_ledger(summary.engine_active_pct, dram, share)
    peak = gpu.profile.dram_bytes_per_s
    achieved = ledger.achieved_pct
    return replace(
        summary,
        memory_ledger=ledger,
        memory_sol_pct=achieved,
        dram_bytes_per_s=achieved / 100 * peak if peak and achieved is not None else None,
    )


def _with_compute(summary: GpuSummary, gpu: _Gpu, tally: Tally, window: Window) -> GpuSummary:
    compute = tally.compute
    if compute is None:
        return summary
    means = compute.means()
    is_doubtful = means.pipe in PIPES_WITH_WRONG_NVML_CLOCK and means.product_pct >= LEAST_SHOWN
    source = tally.clock_source if compute.known_share >= 0.5 else "nvml"
    useful = _useful_pct(window, gpu.profile)
    ledger = compute_ledger(means, useful)
    reference_mhz = gpu.profile.reference_clock_mhz(means.pipe)
    evidence = BoundEvidence(
        ledger=ledger,
        pipe_active_pct=means.pipe_active_pct,
        engine_active_pct=means.engine_active_pct,
        dram_pct=summary.memory_sol_pct,
        nvlink_sol_pct=summary.nvlink_sol_pct,
        idle_in_gaps=compute.idle_in_gaps,
        copy_over_nvlink=(summary.nvlink_sol_pct or 0.0) > (summary.pcie_sol_pct or 0.0),
    )
    tflops = _tflops(means, window, gpu.profile)
    return replace(
        summary,
        pipe=means.pipe.value,
        pipe_active_pct=means.pipe_active_pct,
        sm_clock_mhz=compute.working_clock_mhz(reference_mhz),
        reference_clock_mhz=reference_mhz,
        compute_sol_pct=means.product_pct,
        sm_clock_source=source,
        sm_clock_measured_pct=compute.true_share * 100,
        ledger=ledger,
        achieved_basis="pipe" if useful is None else "model",
        sm_clock_estimated=is_doubtful and source != "nvml" and compute.sampled_share < OWN_SAMPLES,
        at_most=is_doubtful and compute.known_share < 0.99,
        bound_by=bound_by(evidence).value,
        tflops=tflops,
        tflops_per_watt=tflops / summary.power_watts if tflops and summary.power_watts else None,
        warnings=(*summary.warnings, *_noise_warning(ledger)),
    )


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


def _compare(summaries: Sequence[GpuSummary]) -> list[GpuSummary]:
    warnings = outlier_warnings(summaries)
    return [
        replace(one, warnings=(*one.warnings, *extra))
        for one, extra in zip(summaries, warnings, strict=True)
    ]
