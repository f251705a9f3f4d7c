"""All GPUs of one window together: what the host as a whole reached and used."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from gnomon.analysis.summary_types import GpuSummary


@dataclass(frozen=True, slots=True)
class Totals:
    """Sums and means over whole GPUs (MIG instances are parts of one, and left out).

    A mean is taken over the GPUs that measured the number, a sum is None unless all did:
    half a sum reads like a whole one.
    """

    gpus: int
    phase: str | None
    from_ns: int
    to_ns: int
    busy_pct: float | None
    compute_sol_pct: float | None
    memory_sol_pct: float | None
    idle_pct: float | None
    power_watts: float | None
    energy_joules: float | None
    tflops: float | None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def totals(summaries: Sequence[GpuSummary]) -> list[Totals]:
    """Return one ``Totals`` a window, in the order of the windows."""
    by_window: dict[tuple[int, int, str | None], list[GpuSummary]] = {}
    for one in summaries:
        if one.mig_uuid is None:
            by_window.setdefault((one.from_ns, one.to_ns, one.phase), []).append(one)
    return [_total(group) for group in by_window.values()]


def _total(group: Sequence[GpuSummary]) -> Totals:
    first = group[0]
    return Totals(
        gpus=len(group),
        phase=first.phase,
        from_ns=first.from_ns,
        to_ns=first.to_ns,
        busy_pct=_mean([one.busy_pct for one in group]),
        compute_sol_pct=_mean([one.compute_sol_pct for one in group]),
        memory_sol_pct=_mean([one.memory_sol_pct for one in group]),
        idle_pct=_mean([one.ledger.idle_pct for one in group]),
        power_watts=_sum([one.power_watts for one in group]),
        energy_joules=_sum([one.energy_joules for one in group]),
        tflops=_sum([one.tflops for one in group]),
    )


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _sum(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if len(known) == len(values) else None
