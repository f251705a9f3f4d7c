"""GPUs of one host against each other: the one that stands out is named.

A GPU is an outlier when it lies further from the median of its peers (same name, same window)
than the tolerance of the metric, while most of them lie within it: GPUs that do different work
are no peers. The median of few values is robust to the outlier itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from gnomon.analysis.summary_types import GpuSummary

LEAST_PEERS = 3
# Where fewer of the GPUs agree with their median, they do different work and none stands out.
LEAST_AGREEMENT = 2 / 3


@dataclass(frozen=True, slots=True)
class Comparison:
    """A metric to compare; ``tolerance`` is absolute, in the metric's own unit."""

    field: str
    label: str
    unit: str
    tolerance: float
    bad_when: int  # +1: higher is worse, -1: lower is worse


COMPARISONS = (
    Comparison("compute_sol_pct", "compute SOL", "%", 10.0, -1),
    Comparison("memory_sol_pct", "memory SOL", "%", 10.0, -1),
    # Chips of one bin differ by 2 to 3 % in clock at the same power.
    Comparison("sm_clock_mhz", "SM clock", "MHz", 100.0, -1),
    Comparison("temperature_celsius", "temperature", "°C", 12.0, +1),
)


def outlier_warnings(summaries: Sequence[GpuSummary]) -> list[tuple[str, ...]]:
    """Return, for each summary of one window, the sentences that name what stands out."""
    return [
        tuple(
            text
            for comparison in COMPARISONS
            if (text := _outlier(one, summaries, comparison)) is not None
        )
        for one in summaries
    ]


def _outlier(
    one: GpuSummary, summaries: Sequence[GpuSummary], comparison: Comparison
) -> str | None:
    peers = [
        value
        for other in summaries
        if other.name == one.name and other.mig_uuid is None
        if (value := getattr(other, comparison.field)) is not None
    ]
    own = getattr(one, comparison.field)
    if own is None or one.mig_uuid is not None or len(peers) < LEAST_PEERS:
        return None
    middle = median(peers)
    agreeing = sum(abs(value - middle) <= comparison.tolerance for value in peers)
    if agreeing < LEAST_AGREEMENT * len(peers):
        return None
    if (own - middle) * comparison.bad_when <= comparison.tolerance:
        return None
    word = "above" if comparison.bad_when > 0 else "below"
    return (
        f"{comparison.label} {own:,.0f} {comparison.unit} is far {word} "
        f"its peers' median of {middle:,.0f} {comparison.unit}"
    )
