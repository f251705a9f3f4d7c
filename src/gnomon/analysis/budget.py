"""The ceiling beside what was reached: the budget is what lies between.

Attainable minus achieved can be won back; 100 % minus attainable is physics. The same ceiling
checks what it was computed of: measurements above it, or counters that disagree with the model's
own work, mean that the model or the traffic was described wrongly.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from gnomon.analysis.budget_types import Budget, Side
from gnomon.analysis.cross_check import Derived, findings
from gnomon.analysis.summary_types import GpuSummary
from gnomon.performance_model.ceiling import Ceiling

CeilingOf = Callable[[GpuSummary], "Target | None"]


@dataclass(frozen=True, slots=True)
class Target:
    """A ceiling, the name of the model that it is of, and the traffic in words."""

    model: str
    traffic: str
    ceiling: Ceiling


def with_budgets(summaries: Sequence[GpuSummary], target_of: CeilingOf) -> list[GpuSummary]:
    """Return the summaries with the budget of those GPUs that have a target, and its findings."""
    return [
        one if (target := target_of(one)) is None else with_budget(one, target) for one in summaries
    ]


def with_budget(summary: GpuSummary, target: Target) -> GpuSummary:
    """Return the summary with its budget; what does not fit together becomes a warning."""
    best = target.ceiling
    derived = Derived.of(summary.tokens_per_s, best)
    compute_pct, memory_pct = (
        (None, None) if derived is None else (derived.compute_sol_pct, derived.memory_sol_pct)
    )
    budget = Budget(
        model=target.model,
        phase=best.phase,
        traffic=target.traffic,
        gpus=best.gpus,
        constants=best.constants.source,
        bound_by=best.bound_by.value,
        attainable_tokens_per_s=best.tokens_per_s,
        compute=_side("compute", best.compute_sol_pct, summary.compute_sol_pct, compute_pct),
        memory=_side("memory", best.memory_sol_pct, summary.memory_sol_pct, memory_pct),
    )
    found = findings(summary, best, derived)
    return replace(summary, budget=budget, warnings=(*summary.warnings, *found))


def _side(
    name: str, attainable_pct: float, achieved_pct: float | None, model_pct: float | None
) -> Side:
    left = None if achieved_pct is None else attainable_pct - achieved_pct
    return Side(name, attainable_pct, achieved_pct, model_pct, left)
