"""A roofline as numbers: the roofs of a GPU, a step's operators, and what a recording measured.

    roof(intensity) = min(peak FLOP/s, intensity x DRAM bandwidth)

An operator lies at its FLOPs over its DRAM bytes, as high as the best kernels take it. A measured
window lies at the FLOP/s of its counters over its DRAM bytes/s: the pipe's share of its peak times
that peak, so that padding and recomputed work count as the hardware counts them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from string import ascii_lowercase, ascii_uppercase, digits
from typing import Any

from gnomon._errors import ModelError
from gnomon.analysis.summary_types import GpuSummary
from gnomon.enums import Pipe
from gnomon.hardware import HardwareProfile
from gnomon.hardware.peaks import DTYPES_OF_PIPE, PIPE_OF_DTYPE
from gnomon.performance_model.ceiling import Ceiling
from gnomon.performance_model.constants import Constants
from gnomon.performance_model.roofline import Timed, ridge_flop_per_byte, roofs
from gnomon.performance_model.typical import bands

SCHEMA = 1
OPERATOR_MARKS = ascii_lowercase
MEASURED_MARKS = digits[1:] + ascii_uppercase
# Below this share of a peak (percent) counters read noise, and an intensity would be made of it.
LEAST_PCT = 0.01

DATASHEET = "datasheet"
SUSTAINED = "sustained"
MEASURED_CLOCK = "measured_clock"


@dataclass(frozen=True, slots=True)
class Roof:
    """What one dtype can reach at most, in FLOP/s, and the DRAM slope under it, in bytes/s.

    ``kind``: by the datasheet, sustained on this device (calibrated), or by the datasheet at the
    SM clock that was measured.
    """

    dtype: str
    kind: str
    flops_per_s: float
    dram_bytes_per_s: float
    sm_clock_mhz: float | None = None

    @property
    def ridge_flop_per_byte(self) -> float:
        """The intensity at which slope and roof meet."""
        return self.flops_per_s / self.dram_bytes_per_s

    def at(self, flop_per_byte: float) -> float:
        """Return the FLOP/s that an arithmetic intensity allows."""
        return min(self.flops_per_s, flop_per_byte * self.dram_bytes_per_s)


@dataclass(frozen=True, slots=True)
class OperatorPoint:
    """An operator of a step, or the whole step: where it lies at best, on one GPU."""

    mark: str
    name: str
    dtype: str
    flops: float
    bytes: float
    time_s: float
    share_pct: float
    bound_by: str

    @property
    def flop_per_byte(self) -> float:
        """FLOPs that are executed for each byte of DRAM traffic."""
        return self.flops / self.bytes

    @property
    def flops_per_s(self) -> float:
        """Attainable FLOP/s: launch, memory and compute at the best kernels' efficiencies."""
        return self.flops / self.time_s


@dataclass(frozen=True, slots=True)
class MeasuredPoint:
    """What counters say of a GPU over a window.

    ``dtype`` is the one whose peak turned the pipe's share into FLOP/s: counters do not tell which
    one ran. ``roof_pct``: FLOP/s over the datasheet's roof at this intensity. ``at_most``: the SM
    clock may read high, and with it FLOP/s and intensity.
    """

    mark: str
    name: str
    uuid: str
    mig_uuid: str | None
    from_ns: int
    to_ns: int
    pipe: str
    dtype: str
    flops_per_s: float
    dram_bytes_per_s: float
    compute_sol_pct: float
    memory_sol_pct: float
    roof_pct: float
    sm_clock_mhz: float | None
    sm_clock_source: str | None
    ridge_flop_per_byte: float
    at_most: bool
    bound_by: str | None

    @property
    def flop_per_byte(self) -> float:
        """FLOP/s over DRAM bytes/s."""
        return self.flops_per_s / self.dram_bytes_per_s


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A window that has no point on a roofline, and why."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class MeasuredClock:
    """The mean SM clock while the pipes of the measured windows worked, in MHz."""

    mhz: float
    sources: tuple[str, ...]
    is_at_most: bool


@dataclass(frozen=True, slots=True)
class Measured:
    """The points of a recording, what has none, and the clock they ran at."""

    points: tuple[MeasuredPoint, ...] = ()
    left_out: tuple[LeftOut, ...] = ()
    clock: MeasuredClock | None = None


@dataclass(frozen=True, slots=True)
class Roofline:
    """Everything that a plot shows. ``unplaced``: operators without FLOPs, by their share of time.

    ``step`` and ``answer`` are None without a model.
    """

    gpu: HardwareProfile
    roofs: tuple[Roof, ...]
    answer: Ceiling | None
    step: OperatorPoint | None
    operators: tuple[OperatorPoint, ...]
    unplaced: Mapping[str, float]
    measured: Measured
    warnings: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return plain data for ``json.dumps``; units are in the names."""
        step, constants = self.step, self.answer.constants if self.answer else None
        clock = self.measured.clock
        return {
            "schema": SCHEMA,
            "gpu": {"name": self.gpu.name, "sku": self.gpu.sku, "peaks": self.gpu.peak_source},
            "phase": self.answer.phase if self.answer else None,
            "per_gpu": True,
            "roofs": [_plain(roof, "ridge_flop_per_byte") for roof in self.roofs],
            "step": None if step is None else _placed(step),
            "operators": [_placed(one) for one in self.operators],
            "operators_without_flops": dict(self.unplaced),
            "measured": [_plain(one, "flop_per_byte") for one in self.measured.points],
            "measured_clock": None if clock is None else asdict(clock),
            "left_out": [asdict(one) for one in self.measured.left_out],
            "typical": [
                {**band._asdict(), "figures": [one._asdict() for one in band.figures]}
                for band in (bands(self.answer.phase) if self.answer else ())
            ],
            "constants": {
                "source": constants.source if constants else None,
                "created_ns": constants.created_ns if constants else None,
            },
            "warnings": list(self.warnings),
        }


def roofline(
    gpu: HardwareProfile,
    constants: Constants,
    answer: Ceiling | None = None,
    measured: Measured | None = None,
    warnings: Sequence[str] = (),
) -> Roofline:
    """Put roofs, operators and measured points together.

    Raises ModelError where the peaks of the GPU are not known.
    """
    measured = measured or Measured()
    operators, unplaced = operator_points(answer.operators) if answer else ((), {})
    dtypes = _dtypes(gpu, operators, measured.points)
    return Roofline(
        gpu=gpu,
        roofs=roofs_of(gpu, dtypes, constants, measured.clock),
        answer=answer,
        step=None if answer is None else step_point(answer),
        operators=operators,
        unplaced=unplaced,
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
            found.append(
                Roof(dtype, SUSTAINED, peak * constants.compute[dtype], bandwidth * share)
            )
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
        mark="@",
        name=f"{answer.phase} step",
        dtype=answer.totals.leading_dtype,
        flops=answer.executed_flops,
        bytes=answer.bytes.total,
        time_s=answer.time_s,
        share_pct=100.0,
        bound_by=str(answer.bound_by),
    )


def measured_points(
    summaries: Iterable[GpuSummary],
    profiles: Mapping[tuple[str, str | None], HardwareProfile],
    dtype: str | None = None,
) -> Measured:
    """Return a point for each summary; ``profiles`` by (uuid, MIG uuid).

    ``dtype`` is what the tensor pipe computes in, the 16-bit type where it is None.
    """
    points: list[MeasuredPoint] = []
    left_out = []
    marks = _marks(MEASURED_MARKS)
    for summary in summaries:
        found = _measured_point(summary, profiles[summary.uuid, summary.mig_uuid], dtype)
        if isinstance(found, LeftOut):
            left_out.append(found)
        else:
            points.append(replace(found, mark=marks(len(points))))
    return Measured(tuple(points), tuple(left_out), _clock(points))


def _measured_point(
    summary: GpuSummary, gpu: HardwareProfile, dtype: str | None
) -> MeasuredPoint | LeftOut:
    name = summary.phase or summary.name
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
    """Return the dtype whose peak a pipe's share is of: the model's, else the pipe's leading one."""
    if dtype in gpu.peak_flops and PIPE_OF_DTYPE[dtype] is pipe:
        return dtype
    return next((one for one in DTYPES_OF_PIPE[pipe] if one in gpu.peak_flops), None)


def _clock(points: Sequence[MeasuredPoint]) -> MeasuredClock | None:
    """Return the mean clock, weighted by the work that was done: time x the pipe's FLOP/s."""
    known = [(one, one.sm_clock_mhz) for one in points if one.sm_clock_mhz is not None]
    weights = [(one.to_ns - one.from_ns) * one.compute_sol_pct for one, _ in known]
    if not known:
        return None
    mhz = sum(clock * weight for (_, clock), weight in zip(known, weights, strict=True))
    sources = dict.fromkeys(one.sm_clock_source or "unknown" for one, _ in known)
    return MeasuredClock(
        mhz / sum(weights), tuple(sources), any(one.at_most for one, _ in known)
    )


def _dtypes(
    gpu: HardwareProfile, operators: Iterable[OperatorPoint], measured: Iterable[MeasuredPoint]
) -> list[str]:
    """Return the dtypes that matter, the highest roof first: what runs, else what most run."""
    used = {one.dtype for one in operators} | {one.dtype for one in measured}
    if not used:
        leading = next((one for one in DTYPES_OF_PIPE[Pipe.TENSOR] if one in gpu.peak_flops), None)
        used = {one for one in (leading, "fp8") if one in gpu.peak_flops}
    if not used:
        raise ModelError(f"--gpu {gpu.name}: its peaks are not known; name one of the GPU table")
    return sorted(used, key=lambda dtype: -gpu.peak_flops[dtype])


def _marks(characters: str) -> Callable[[int], str]:
    """Return a function from a position to its mark; beyond the last one all share a plus."""
    return lambda at: characters[at] if at < len(characters) else "+"


def _placed(point: OperatorPoint) -> dict[str, Any]:
    return _plain(point, "flop_per_byte", "flops_per_s")


def _plain(point: Roof | OperatorPoint | MeasuredPoint, *derived: str) -> dict[str, Any]:
    return {**asdict(point), **{name: getattr(point, name) for name in derived}}
