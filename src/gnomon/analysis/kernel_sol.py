"""Speed of light of every kernel, from counters of the whole GPU and the times of its kernels.

A sample of a counter is the mean over what ran in it, weighted by time. Over many samples that
mix kernels in different parts, each kernel's own value follows by regression (``kernel_fit``).
SOL is as in ``sol``: pipe active x SM clock / reference clock, formed in every sample with the
clock of that sample, and then attributed like a counter. The ledger is that of ``ledger`` for the
time in which the kernel runs: nothing is idle or copying then.

Pure functions of arrays, the same for a live recording and a replayed one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from gnomon.analysis.bounds import THRESHOLDS, BoundEvidence, bound_by
from gnomon.analysis.clock_offset import ClockOffset, clock_offset
from gnomon.analysis.intervals import Floats, Intervals
from gnomon.analysis.kernel_columns import Columns, columns_of
from gnomon.analysis.kernel_fit import Fit, Responses, fit
from gnomon.analysis.kernel_overlap import Operations, Stretches, busy, stretches
from gnomon.analysis.kernel_sol_types import GpuKernelSol, KernelKey, KernelSol
from gnomon.analysis.kernel_told import Told, told
from gnomon.analysis.kernel_verdict import verdict
from gnomon.analysis.ledger import ComputeMeans, compute_ledger, memory_ledger
from gnomon.analysis.sol import pipe_shares
from gnomon.enums import BoundBy, Pipe
from gnomon.hardware import HardwareProfile

# Counters that are shares of time or of a peak, so that parts of a sample add up.
ADDITIVE = (
    "sm_active_pct",
    "sm_occupancy_pct",
    "issue_active_pct",
    "alu_active_pct",
    "dram_active_pct",
    "dram_read_pct",
    "dram_write_pct",
    "l1_active_pct",
    "l2_active_pct",
    "shared_active_pct",
)
# What `gpu_counters` calls the columns of `pm_samples` that arithmetic pipes are read from.
PIPE_COLUMNS = {
    "tensor_active_pct": "tensor_active_pct",
    "tensor_dmma_active_pct": "tensor_dmma_active_pct",
    "fp64_active_pct": "fp64_active_pct",
    "fma_active_pct": "fp32_active_pct",
}
# Counters that the offset between the clocks is looked for in.
ALIGNED_BY = ("sm_active_pct", "tensor_active_pct", "dram_active_pct")
# A sample this much longer than the others spans a gap: it says little, and weighs much.
LONGEST = 10
# Above this, something ran in a sample.
RAN_PCT = 5.0
UNRECORDED_TOLD_PCT = 5.0


@dataclass(frozen=True, slots=True)
class SampleSet:
    """n samples of one set of counters, ordered and disjoint.

    ``columns`` (n,) are those of `pm_samples`, NaN where null.
    """

    name: str
    intervals: Intervals
    columns: Mapping[str, Floats]


@dataclass(frozen=True, slots=True)
class Ran:
    """Operations of one GPU; ``keys`` (groups,) say what each group is.

    ``on_sms`` tells groups whose work the SMs do: kernels, and copies within the device.
    """

    operations: Operations
    keys: tuple[KernelKey, ...]
    on_sms: tuple[bool, ...]


def kernel_sol(
    gpu_uuid: str, sets: Sequence[SampleSet], ran: Ran, hardware: HardwareProfile
) -> GpuKernelSol:
    """Estimate the speed of light of every kernel of one GPU.

    ``sets`` hold samples of times in which everything that ran was recorded, the one with SM
    activity first.
    """
    sets = [whole for one in sets if len((whole := _without_gaps(one)).intervals)]
    if not sets or not len(ran.operations.group):
        what = "counters were sampled" if len(ran.operations.group) else "kernels were recorded"
        return _nothing(gpu_uuid, f"no {what} in the windows in which kernels were recorded")
    main = sets[0]
    offset = _offset(main, ran)
    found = stretches(ran.operations)
    names = [key.name for key in ran.keys]
    columns = columns_of(found, names)
    fits = [
        fit(
            one.intervals, responses, one.columns.get("sm_clock_mhz"), found, columns, offset, names
        )
        for one, responses in ((one, _responses(one, hardware)) for one in sets)
    ]
    kernels = [
        replace(one, verdict=verdict(one)) for one in _kernels(fits, ran, found, columns, hardware)
    ]
    kernels.sort(key=lambda one: (one.lost_pct is None, -(one.lost_pct or 0.0), -one.time_ns))
    unrecorded = _unrecorded_pct(main, found, offset)
    lengths = main.intervals.end_ns - main.intervals.start_ns
    return GpuKernelSol(
        gpu_uuid,
        offset,
        sum(len(one.intervals) for one in sets),
        int(np.median(lengths)),
        unrecorded,
        tuple(kernels),
        _warnings(offset, unrecorded),
    )


def _nothing(gpu_uuid: str, reason: str) -> GpuKernelSol:
    return GpuKernelSol(
        gpu_uuid, ClockOffset(0, 0, None, None, 0, reason), 0, 0, None, (), (), reason
    )


def _without_gaps(given: SampleSet) -> SampleSet:
    """Leave out samples that are far too long, and those with a counter missing."""
    lengths = given.intervals.end_ns - given.intervals.start_ns
    present = {
        name: values
        for name, values in given.columns.items()
        if np.count_nonzero(~np.isnan(values)) * 2 >= len(values)
    }
    kept = (lengths > 0) & (lengths <= LONGEST * np.median(lengths) if len(lengths) else True)
    for values in present.values():
        kept &= ~np.isnan(values)
    spans = Intervals(given.intervals.start_ns[kept], given.intervals.end_ns[kept])
    return SampleSet(given.name, spans, {name: one[kept] for name, one in present.items()})


def _offset(main: SampleSet, ran: Ran) -> ClockOffset:
    operations = ran.operations
    on_sms = np.array(ran.on_sms)[operations.group]
    spans = operations.intervals
    counters = {name: main.columns[name] for name in ALIGNED_BY if name in main.columns}
    return clock_offset(
        main.intervals, counters, busy(Intervals(spans.start_ns[on_sms], spans.end_ns[on_sms]))
    )


def _responses(given: SampleSet, hardware: HardwareProfile) -> Responses:
    """Return what is attributed: counters, the pipes' shares, and their SOL in every sample."""
    values = {name: given.columns[name] for name in ADDITIVE if name in given.columns}
    bounds = dict.fromkeys(values, 100.0)
    pipes = pipe_shares(
        {name: given.columns[one] for one, name in PIPE_COLUMNS.items() if one in given.columns}
    )
    clock_mhz = given.columns.get("sm_clock_mhz")
    for pipe, share in pipes.items():
        values[active(pipe)], bounds[active(pipe)] = share, 100.0
        reference_mhz = hardware.reference_clock_mhz(pipe)
        if reference_mhz and clock_mhz is not None:
            values[sol(pipe)] = share * clock_mhz / reference_mhz
            bounds[sol(pipe)] = 100.0 * float(clock_mhz.max()) / reference_mhz
    stacked = (
        np.stack(list(values.values()), axis=1) if values else np.zeros((len(given.intervals), 0))
    )
    return Responses(tuple(values), stacked, np.array(list(bounds.values())))


def active(pipe: Pipe) -> str:
    """Return the name of a pipe's active share among the counters of a kernel."""
    return f"{pipe}_pipe_pct"


def sol(pipe: Pipe) -> str:
    """Return the name of a pipe's SOL among the counters of a kernel."""
    return f"{pipe}_sol_pct"


def _kernels(
    fits: Sequence[Fit],
    ran: Ran,
    found: Stretches,
    columns: Columns,
    hardware: HardwareProfile,
) -> list[KernelSol]:
    spans, group, many = ran.operations.intervals, ran.operations.group, len(ran.keys)
    calls = np.bincount(group, minlength=many)
    time_ns = np.bincount(group, spans.end_ns - spans.start_ns, many)
    total_ns = max(float(time_ns.sum()), 1.0)
    alone_ns = {one[0]: int(found.set_ns[at]) for at, one in enumerate(found.sets) if len(one) == 1}
    labels = [key.label for key in ran.keys]
    kernels = []
    for at, key in enumerate(ran.keys):
        if not calls[at]:
            continue
        known = told(at, fits, columns, labels)
        bare = KernelSol(
            key,
            int(calls[at]),
            int(time_ns[at]),
            float(100.0 * time_ns[at] / total_ns),
            float(100.0 * alone_ns.get(at, 0) / max(time_ns[at], 1.0)),
            known.samples,
            known.values_pct,
            known.errors_pct,
            sm_clock_mhz=known.clock_mhz,
            group=known.group,
            unavailable=known.unavailable,
        )
        kernels.append(judged(bare, known, hardware))
    return kernels


def judged(kernel: KernelSol, known: Told, hardware: HardwareProfile) -> KernelSol:
    """Add SOL, ledgers, bound and loss to what was measured of a kernel."""
    missing = dict(kernel.unavailable)
    dram = known.values_pct.get("dram_active_pct")
    if dram is None:
        missing["memory_sol_pct"] = missing.get("dram_active_pct", "DRAM was not sampled")
    else:
        kernel = replace(
            kernel, memory_sol_pct=dram, memory_ledger=memory_ledger(100.0, dram, None)
        )
    pipe, reason = _winner(known)
    if pipe is not None:
        kernel = replace(
            kernel,
            pipe=pipe.value,
            pipe_active_pct=known.values_pct[active(pipe)],
            compute_sol_pct=known.values_pct.get(sol(pipe)),
            reference_clock_mhz=hardware.reference_clock_mhz(pipe),
        )
    if reason:
        missing["compute_sol_pct"] = reason
    if pipe is None or kernel.compute_sol_pct is None:
        return replace(kernel, unavailable=missing)
    return _with_ledger(replace(kernel, unavailable=missing), known, pipe)


def _with_ledger(kernel: KernelSol, known: Told, pipe: Pipe) -> KernelSol:
    share, product = known.values_pct[active(pipe)], known.values_pct[sol(pipe)]
    dram, sm_active = kernel.memory_sol_pct, known.values_pct.get("sm_active_pct")
    if dram is not None:
        lost = max(100.0 - max(product, dram), 0.0) * kernel.time_share_pct / 100.0
        kernel = replace(kernel, lost_pct=lost)
    if sm_active is None:
        reason = kernel.unavailable.get("sm_active_pct", "SM activity was not sampled")
        return replace(kernel, unavailable={**kernel.unavailable, "ledger": reason})
    ledger = compute_ledger(ComputeMeans(0.0, 100.0, 100.0 - sm_active, pipe, share, product))
    evidence = BoundEvidence(ledger, share, 100.0, dram, None, None)
    bound = bound_by(evidence) if kernel.key.is_kernel else _bound_of_copy(dram)
    return replace(kernel, ledger=ledger, bound_by=bound.value)


def _winner(known: Told) -> tuple[Pipe | None, str]:
    """Return the pipe of the highest SOL, and why there is no SOL where there is none.

    A pipe whose share is not certain leaves open which one wins. Without a clock the pipe that
    is active most is told, and no SOL.
    """
    for pipe in Pipe:
        for name in (sol(pipe), active(pipe)):
            if name in known.unavailable:
                return None, known.unavailable[name]
    shares = {
        pipe: known.values_pct[active(pipe)] for pipe in Pipe if active(pipe) in known.values_pct
    }
    products = {
        pipe: known.values_pct[sol(pipe)] for pipe in shares if sol(pipe) in known.values_pct
    }
    if not shares:
        return None, "no arithmetic pipe was sampled"
    if not products:
        return max(shares, key=lambda pipe: shares[pipe]), "the SM clock was not sampled"
    return max(products, key=lambda pipe: products[pipe]), ""


def _bound_of_copy(dram_pct: float | None) -> BoundBy:
    near = THRESHOLDS["near_roof"].value * THRESHOLDS["attainable_dram_pct"].value
    return BoundBy.MEMORY if dram_pct is not None and dram_pct >= near else BoundBy.COPY


def _unrecorded_pct(main: SampleSet, found: Stretches, offset: ClockOffset) -> float | None:
    """Return the share of samples without a record, nor beside one, in which SMs or DRAM worked."""
    busy_ns = busy(found.intervals)
    margin_ns = int((main.intervals.end_ns - main.intervals.start_ns).max())
    begin = np.searchsorted(
        busy_ns.end_ns + offset.offset_ns, main.intervals.start_ns - margin_ns, side="right"
    )
    end = np.searchsorted(
        busy_ns.start_ns + offset.offset_ns, main.intervals.end_ns + margin_ns, side="left"
    )
    empty = begin >= end
    if not empty.any():
        return None
    worked = np.zeros(len(empty), dtype=bool)
    for name in ("sm_active_pct", "dram_active_pct"):
        if name in main.columns:
            worked |= main.columns[name] > RAN_PCT
    return float(100.0 * worked[empty].mean())


def _warnings(offset: ClockOffset, unrecorded_pct: float | None) -> tuple[str, ...]:
    warnings = []
    if offset.reason:
        warnings.append(f"the clocks could not be aligned: {offset.reason}")
    if offset.also_fits_ns is not None:
        warnings.append(
            f"the work repeats itself: an offset of {offset.also_fits_ns / 1e3:.0f} us between the "
            f"clocks fits as well as the {offset.offset_ns / 1e3:.0f} us that is taken"
        )
    if unrecorded_pct is not None and unrecorded_pct > UNRECORDED_TOLD_PCT:
        warnings.append(
            f"the GPU worked in {unrecorded_pct:.0f} % of the samples in which nothing was "
            "recorded: another process, or operations that were not recorded, share its counters"
        )
    return tuple(warnings)
