"""The shape of a roofline: what ``gnomon roofline`` draws, and prints as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from gnomon.hardware import HardwareProfile
from gnomon.performance_model.architecture import Architecture
from gnomon.performance_model.ceiling import Ceiling
from gnomon.performance_model.constants import Constants
from gnomon.performance_model.typical import Band

SCHEMA = 1

DATASHEET = "datasheet"
SUSTAINED = "sustained"
MEASURED_CLOCK = "measured_clock"

STEP_MARK = "@"


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
    """Everything that a plot shows, of one GPU.

    ``unplaced``: operators without FLOPs, with their share of time in percent. ``typical``: what
    others published of this phase. Without a model there are no operators, and ``model``,
    ``answer`` and ``step`` are None.
    """

    gpu: HardwareProfile
    constants: Constants
    roofs: tuple[Roof, ...]
    model: Architecture | None
    answer: Ceiling | None
    step: OperatorPoint | None
    operators: tuple[OperatorPoint, ...]
    unplaced: Mapping[str, float]
    typical: tuple[Band, ...]
    measured: Measured
    warnings: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return plain data for ``json.dumps``; units are in the names."""
        clock = self.measured.clock
        return {
            "schema": SCHEMA,
            "gpu": {"name": self.gpu.name, "sku": self.gpu.sku, "peaks": self.gpu.peak_source},
            "model": self.model.name if self.model else None,
            "phase": self.answer.phase if self.answer else None,
            "per_gpu": True,
            "roofs": [_plain(roof, "ridge_flop_per_byte") for roof in self.roofs],
            "step": None if self.step is None else _placed(self.step),
            "operators": [_placed(one) for one in self.operators],
            "operators_without_flops": [
                {"name": name, "share_pct": share} for name, share in self.unplaced.items()
            ],
            "measured": [_plain(one, "flop_per_byte") for one in self.measured.points],
            "measured_clock": None if clock is None else asdict(clock),
            "left_out": [asdict(one) for one in self.measured.left_out],
            "typical": [
                {**band._asdict(), "figures": [one._asdict() for one in band.figures]}
                for band in self.typical
            ],
            "constants": {
                "source": self.constants.source,
                "created_ns": self.constants.created_ns,
            },
            "warnings": list(self.warnings),
        }


def _placed(point: OperatorPoint) -> dict[str, Any]:
    return _plain(point, "flop_per_byte", "flops_per_s")


def _plain(point: Roof | OperatorPoint | MeasuredPoint, *derived: str) -> dict[str, Any]:
    return {**asdict(point), **{name: getattr(point, name) for name in derived}}
