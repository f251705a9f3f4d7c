"""The budget as values, and its one sentence: known without the model that it came from."""

from __future__ import annotations

from dataclasses import dataclass

from gnomon.enums import BoundBy


@dataclass(frozen=True, slots=True)
class Side:
    """Compute or memory: what is attainable of its peak, and what was reached of it.

    ``model_pct``: what the tokens that were made must have taken, by the model. Percent; None
    where it is not known.
    """

    name: str
    attainable_pct: float
    achieved_pct: float | None = None
    model_pct: float | None = None
    budget_pct: float | None = None


@dataclass(frozen=True, slots=True)
class Budget:
    """What a model could reach on this GPU, and how much of that is left.

    ``traffic`` says in words what was assumed. ``attainable_tokens_per_s`` is that of all ``gpus``
    that the model runs on. The budget of the side that does not bind is physics too: more of it
    is no gain.
    """

    model: str
    phase: str
    traffic: str
    gpus: int
    constants: str
    bound_by: str
    attainable_tokens_per_s: float
    compute: Side
    memory: Side

    @property
    def binding(self) -> Side:
        """The side that keeps the ceiling from being higher."""
        return self.memory if self.bound_by == BoundBy.MEMORY.value else self.compute


def budget_text(budget: Budget) -> str:
    """Return ``compute SOL 45 %, attainable 73: budget 28``."""
    side = budget.binding
    if side.achieved_pct is None or side.budget_pct is None:
        return f"{side.name} SOL not known, attainable {side.attainable_pct:.0f} %"
    left = f"budget {side.budget_pct:.0f}" if side.budget_pct >= 0 else "above it"
    return (
        f"{side.name} SOL {side.achieved_pct:.0f} %, attainable {side.attainable_pct:.0f}: {left}"
    )
