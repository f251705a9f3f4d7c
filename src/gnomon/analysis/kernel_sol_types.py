"""The shape of per-kernel speed of light. Shares are in percent; None is "not known", never 0."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from gnomon.analysis.clock_offset import ClockOffset
from gnomon.analysis.kernel_types import Shape
from gnomon.analysis.summary_types import ComputeLedger, MemoryLedger


@dataclass(frozen=True, slots=True)
class KernelKey:
    """A kernel by name and shape, or a kind of copy, which has no shape."""

    name: str
    shape: Shape | None = None

    @property
    def is_kernel(self) -> bool:
        return self.shape is not None

    @property
    def label(self) -> str:
        """Name and shape, for people."""
        if self.shape is None or self.shape.grid is None or self.shape.block is None:
            return self.name
        grid = "x".join(map(str, self.shape.grid))
        block = "x".join(map(str, self.shape.block))
        return f"{self.name} <{grid}, {block}>"


@dataclass(frozen=True, slots=True)
class GroupValues:
    """What is known of kernels only in common: counter -> value, and its standard error."""

    members: tuple[str, ...]
    values_pct: Mapping[str, float]
    errors_pct: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class KernelSol:
    """What one kernel reaches while it runs by itself.

    ``calls`` and ``time_ns`` are of all of its records, ``alone_pct`` is the share of that time
    in which nothing else ran, ``samples`` those that it has a part in. ``values_pct`` maps
    counters to values and ``errors_pct`` to their standard errors, also of those that are too
    uncertain to be told. ``unavailable``: metric -> why it is not told. ``group``: what is known
    of it in common with others, where it is not known by itself or seldom ran so.
    ``lost_pct``: share of time x (100 - the larger of compute and memory SOL).
    """

    key: KernelKey
    calls: int
    time_ns: int
    time_share_pct: float
    alone_pct: float
    samples: int
    values_pct: Mapping[str, float] = field(default_factory=dict)
    errors_pct: Mapping[str, float] = field(default_factory=dict)
    pipe: str | None = None
    pipe_active_pct: float | None = None
    compute_sol_pct: float | None = None
    memory_sol_pct: float | None = None
    sm_clock_mhz: float | None = None
    reference_clock_mhz: float | None = None
    ledger: ComputeLedger | None = None
    memory_ledger: MemoryLedger | None = None
    bound_by: str | None = None
    lost_pct: float | None = None
    group: GroupValues | None = None
    unavailable: Mapping[str, str] = field(default_factory=dict)
    verdict: str = ""


@dataclass(frozen=True, slots=True)
class GpuKernelSol:
    """All kernels of one GPU, those that lose most first; those of unknown loss by their time.

    ``samples`` were used, at a median length of ``sample_ns``. ``unrecorded_pct`` is the share of
    samples without any record in which something ran nevertheless.
    """

    gpu_uuid: str
    offset: ClockOffset
    samples: int
    sample_ns: int
    unrecorded_pct: float | None
    kernels: tuple[KernelSol, ...]
    warnings: tuple[str, ...] = ()
    unavailable: str | None = None

    def by_shape(self) -> dict[Shape, KernelSol]:
        """Return the kernels, without copies, by what the table of kernels joins them by."""
        return {one.key.shape: one for one in self.kernels if one.key.shape is not None}

    def to_json(self) -> dict[str, Any]:
        """Return plain data for ``json.dumps``."""
        plain: dict[str, Any] = to_plain(self)
        return plain


def to_plain(value: Any) -> Any:
    """Return dataclasses, mappings and tuples as plain data."""
    if isinstance(value, Shape):
        return value._asdict()
    if hasattr(value, "__dataclass_fields__"):
        return {name: to_plain(getattr(value, name)) for name in value.__dataclass_fields__}
    if isinstance(value, Mapping):
        return {str(name): to_plain(one) for name, one in value.items()}
    if isinstance(value, tuple | list):
        return [to_plain(one) for one in value]
    return value
