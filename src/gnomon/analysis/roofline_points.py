"""A roofline as numbers: the roofs of a GPU, a step's operators, and what a recording measured.

    roof(intensity) = min(peak FLOP/s, intensity x DRAM bandwidth)

An operator lies at its FLOPs over its DRAM bytes, as high as the best kernels take it. A measured
window lies at the FLOP/s of its counters over its DRAM bytes/s: the pipe's share of its peak times
that peak, so that padding and recomputed work count as the hardware counts them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from string import ascii_lowercase, ascii_uppercase, digits

from gnomon._errors import ModelError
from gnomon.analysis.roofline_types import (
    DATASHEET,
    MEASURED_CLOCK,
    STEP_MARK,
    SUSTAINED,
    LeftOut,
    Measured,
    MeasuredClock,
    MeasuredPoint,
    OperatorPoint,
    Roof,
    Roofline,
)
from gnomon.analysis.summary_types import GpuSummary
from gnomon.enums import Pipe
from gnomon.hardware import HardwareProfile, profile
from gnomon.hardware.peaks import DTYPES_OF_PIPE, PIPE_OF_DTYPE
from gnomon.performance_model.architecture import Architecture
from gnomon.performance_model.ceiling import Ceiling
from gnomon.performance_model.constants import Constants
from gnomon.performance_model.roofline import Timed, ridge_flop_per_byte, roofs
from gnomon.performance_model.typical import bands
from gnomon.recording.base import Meta

OPERATOR_MARKS = ascii_lowercase
MEASURED_MARKS = digits[1:] + ascii_uppercase
# Below this share of a peak (percent) counters read noise, and an intensity would be made of it.
LEAST_PCT = 0.01


def roofline(
    gpu: HardwareProfile,
    constants: Constants,
    modelled: tuple[Architecture, Ceiling] | None = None,
    measured: Measured | None = None,
    warnings: Sequence[str] = (),
) -> Roofline:
    """Put roofs, a model's operators and measured points together.

    Raises ModelError where the peaks of the GPU are not known.
    """
    measured = measured or Measured()
    model, answer = modelled or (None, None)
    operators, unplaced = operator_points(answer.operators) if answer else ((), {})
    dtypes = _dtypes(gpu, operators, measured.points)
    return Roofline(
        gpu=gpu,
        constants=constants,
        roofs=roofs_of(gpu, dtypes, constants, measured.clock),
        model=model,
        answer=answer,
        step=step_point(answer) if answer else None,
        operators=operators,
        unplaced=unplaced,
        typical=bands(answer.phase) if answer else (),
        measured=measured,
        warnings=(*(answer.warnings if answer else ()), *warnings),
    )


def roofs_of(
    gpu: HardwareProfile,
    dtypes: Iterable[str],
    constants: Constants,
    clock: MeasuredClock | None = None,
) -> tuple[Roof, ...]:
    """Return the roofs of each dtype, the datasheet's first.

    A sustained roof stands where this device was calibrated, one at the measured clock where the
    reference clock of the dtype's pipe is known.
    """
    roof = roofs(gpu)
    bandwidth = roof.dram_bytes_per_s
    found = []
    for dtype in dtypes:
        peak = ridge_flop_per_byte(gpu, dtype) * bandwidth
        found.append(Roof(dtype, DATASHEET, peak, bandwidth))
        if constants.origins.get(f"compute {dtype}") == "calibrated":
            share = constants.memory if constants.origins.get("memory") == "calibrated" else 1.0
            found.append(Roof(dtype, SUSTAINED, peak * constants.compute[dtype], bandwidth * share))
        if clock is not None and gpu.reference_clock_mhz(PIPE_OF_DTYPE[dtype]):
            at_clock = ridge_flop_per_byte(gpu, dtype, clock.mhz) * bandwidth
            found.append(Roof(dtype, MEASURED_CLOCK, at_clock, bandwidth, clock.mhz))
    return tuple(found)


def operator_points(
    timed: Sequence[Timed],
) -> tuple[tuple[OperatorPoint, ...], dict[str, float]]:
    """Return the operators that have FLOPs, and name -> share of time (%) of those without.

    In the order of their time, the longest first; there are marks for the first 26.
    """
    whole_s = sum(one.time_s for one in timed)
    ordered = sorted(timed, key=lambda one: -one.time_s)
    points = []
    unplaced: dict[str, float] = {}
    for one in ordered:
        operator, share = one.operator, 100 * one.time_s / whole_s
        if not (operator.executed_flops and operator.total_bytes):
            unplaced[operator.name] = unplaced.get(operator.name, 0.0) + share
            continue
        points.append(
            OperatorPoint(
                mark="",
                name=operator.name,
                dtype=operator.dtype,
                flops=operator.executed_flops,
                bytes=operator.total_bytes,
                time_s=one.time_s,
                share_pct=share,
                bound_by=str(one.bound_by),
            )
        )
    marks = _marks(OPERATOR_MARKS)
    return tuple(replace(one, mark=marks(at)) for at, one in enumerate(points)), unplaced


def step_point(answer: Ceiling) -> OperatorPoint:
    """Return the step as a whole: all of its FLOPs over all of its bytes and its time."""
    return OperatorPoint(
        mark=STEP_MARK,
        name=f"{answer.phase} step",
        dtype=answer.totals.leading_dtype,
        flops=answer.executed_flops,
        bytes=answer.bytes.total,
        time_s=answer.time_s,
        share_pct=100.0,
        bound_by=str(answer.bound_by),
    )


def measured_points(
    summaries: Sequence[GpuSummary], meta: Meta, dtype: str | None = None
) -> Measured:
    """Return a point for each summary that has one.

    ``dtype`` is what the tensor pipe computes in, the 16-bit type where it is None.
    """
    profiles = profiles_of(summaries, meta)
    points: list[MeasuredPoint] = []
    left_out = []
    marks = _marks(MEASURED_MARKS)
    for summary, name in zip(summaries, _names(summaries, meta), strict=True):
        found = _measured_point(summary, profiles[summary.uuid, summary.mig_uuid], dtype, name)
        if isinstance(found, LeftOut):
            left_out.append(found)
        else:
            points.append(replace(found, mark=marks(len(points))))
    return Measured(tuple(points), tuple(left_out), _clock(points))


def profiles_of(
    summaries: Iterable[GpuSummary], meta: Meta
) -> dict[tuple[str, str | None], HardwareProfile]:
    """Return the profile of each GPU or MIG instance of these summaries, by (uuid, MIG uuid)."""
    keys = dict.fromkeys((one.uuid, one.mig_uuid) for one in summaries)
    return {key: profile(meta.gpus.get(key[0], {}), mig_uuid=key[1]) for key in keys}


def of_kind(
    summaries: Iterable[GpuSummary],
    profiles: Mapping[tuple[str, str | None], HardwareProfile],
    wanted: HardwareProfile,
) -> tuple[list[GpuSummary], list[str]]:
    """Return the summaries of GPUs of one kind, and the names of the other GPUs.

    A kind is a SKU, or a name that the GPU table does not have; bandwidth tells MIG sizes apart.
    """
    kept = []
    others: dict[str, None] = {}
    for summary in summaries:
        found = profiles[summary.uuid, summary.mig_uuid]
        if _kind(found) == _kind(wanted):
            kept.append(summary)
        else:
            others[found.name] = None
    return kept, list(others)


def _kind(gpu: HardwareProfile) -> tuple[str, float | None]:
    return gpu.sku or gpu.name, gpu.dram_bytes_per_s


def _names(summaries: Sequence[GpuSummary], meta: Meta) -> list[str]:
    """Name each window: its phase, or when it began; and its GPU where there are several."""
    first_ns = min((one.from_ns for one in summaries), default=0)
    has_many_windows = len({one.from_ns for one in summaries}) > 1
    has_many_gpus = len({(one.uuid, one.mig_uuid) for one in summaries}) > 1
    names = []
    for one in summaries:
        began = f"from {(one.from_ns - first_ns) / 1e9:g} s" if has_many_windows else "all of it"
        index = meta.gpus.get(one.uuid, {}).get("index")
        gpu = one.mig_uuid or (one.uuid if index is None else f"GPU {index}")
        names.append(f"{gpu} {one.phase or began}" if has_many_gpus else one.phase or began)
    return names


def _measured_point(
    summary: GpuSummary, gpu: HardwareProfile, dtype: str | None, name: str
) -> MeasuredPoint | LeftOut:
    compute, memory = summary.compute_sol_pct, summary.memory_sol_pct
    if compute is None or memory is None or summary.pipe is None:
        metric = "memory_sol_pct" if compute is not None else "compute_sol_pct"
        return LeftOut(name, summary.unavailable.get(metric, f"{metric} was not measured"))
    if compute < LEAST_PCT or memory < LEAST_PCT:
        lacks = "arithmetic" if compute < LEAST_PCT else "DRAM traffic"
        return LeftOut(name, f"next to no {lacks}")
    ran = _dtype_of(Pipe(summary.pipe), gpu, dtype)
    bandwidth = gpu.dram_bytes_per_s
    if ran is None or bandwidth is None:
        return LeftOut(name, f"the peaks of {gpu.name} are not known")
    peak = gpu.peak_flops[ran]
    flops, moved = compute / 100 * peak, memory / 100 * bandwidth
    roof = Roof(ran, DATASHEET, peak, bandwidth)
    return MeasuredPoint(
        mark="",
        name=name,
        uuid=summary.uuid,
        mig_uuid=summary.mig_uuid,
        from_ns=summary.from_ns,
        to_ns=summary.to_ns,
        pipe=summary.pipe,
        dtype=ran,
        flops_per_s=flops,
        dram_bytes_per_s=moved,
        compute_sol_pct=compute,
        memory_sol_pct=memory,
        roof_pct=100 * flops / roof.at(flops / moved),
        sm_clock_mhz=summary.sm_clock_mhz,
        sm_clock_source=summary.sm_clock_source,
        ridge_flop_per_byte=ridge_flop_per_byte(gpu, ran, summary.sm_clock_mhz),
        at_most=summary.at_most,
        bound_by=summary.bound_by,
    )


def _dtype_of(pipe: Pipe, gpu: HardwareProfile, dtype: str | None) -> str | None:
    """Return the dtype whose peak a pipe's share is of: the model's, else the leading one."""
    if dtype is not None and dtype in gpu.peak_flops and PIPE_OF_DTYPE[dtype] is pipe:
        return dtype
    return next((one for one in DTYPES_OF_PIPE[pipe] if one in gpu.peak_flops), None)


def _clock(points: Sequence[MeasuredPoint]) -> MeasuredClock | None:
    """Return the mean clock, weighted by the time in which the pipes issued.

    SOL = active x clock / reference, so that time x SOL / clock is in proportion to that time.
    """
    worked = [(one, one.sm_clock_mhz) for one in points if one.sm_clock_mhz]
    if not worked:
        return None
    cycles = [(one.to_ns - one.from_ns) * one.compute_sol_pct for one, _ in worked]
    active = [count / clock for count, (_, clock) in zip(cycles, worked, strict=True)]
    sources = dict.fromkeys(one.sm_clock_source or "unknown" for one, _ in worked)
    is_at_most = any(one.at_most for one, _ in worked)
    return MeasuredClock(sum(cycles) / sum(active), tuple(sources), is_at_most)


def _dtypes(
    gpu: HardwareProfile, operators: Iterable[OperatorPoint], measured: Iterable[MeasuredPoint]
) -> list[str]:
    """Return the dtypes that matter, the highest roof first: what runs, else what most run."""
    used = {one.dtype for one in operators} | {one.dtype for one in measured}
    if not used:
        known = [one for one in DTYPES_OF_PIPE[Pipe.TENSOR] if one in gpu.peak_flops]
        used = set(known[:1]) | ({"fp8"} & set(known))
    if not used:
        raise ModelError(f"--gpu {gpu.name}: its peaks are not known; name one of the GPU table")
    return sorted(used, key=lambda dtype: -gpu.peak_flops[dtype])


def _marks(characters: str) -> Callable[[int], str]:
    """Return a function from a position to its mark; beyond the last one all share a plus."""
    return lambda at: characters[at] if at < len(characters) else "+"
