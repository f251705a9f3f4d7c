"""What a scenario is given, and what it gives back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random

from lab.scenarios.gpu import Gpu
from lab.scenarios.truth import Injected


def _nothing() -> None:
    return None


@dataclass(frozen=True, slots=True)
class Stage:
    """One run: its GPU, its seed, and whether the fault is switched on."""

    gpu: Gpu
    seed: int
    fault: bool

    @property
    def random(self) -> Random:
        """Parameters are drawn from here; the control of a seed draws the same ones."""
        return Random(f"scenario {self.seed}")

    def variant(self, names: Sequence[str]) -> str:
        """Return the variant of a seed: seeds 0 and 1 have the first, 2 and 3 the second.

        So the even ones, for development, and the odd ones, for scoring, have them all.
        """
        return names[self.seed // 2 % len(names)]


@dataclass(slots=True)
class Program:
    """A workload ready to run.

    ``step`` does one step; ``begin`` switches the fault on, after the warm-up and before the
    window; ``injected`` says what it did since, asked at the end of the window; ``close`` ends
    what was started. ``accepted``: other names for the same cause, in this variant.
    """

    step: Callable[[], None]
    injected: Callable[[], Injected]
    variant: str
    begin: Callable[[], None] = _nothing
    close: Callable[[], None] = _nothing
    accepted: tuple[str, ...] = field(default=())


@dataclass(frozen=True, slots=True)
class Scenario:
    """A cause, how it is brought about, and what its control does instead.

    ``is_loss``: False where the cause is worth knowing and no alarm, so that information suffices.
    """

    name: str
    cause: str
    shows: str
    control: str
    build: Callable[[Stage], Program]
    is_loss: bool = True
