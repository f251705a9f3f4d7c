"""The windows a range is summarized over: the whole, the phases in it, or equal periods."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from gnomon.recording.base import Measurements
from gnomon.recording.marks import phases


@dataclass(frozen=True, slots=True)
class Window:
    """A stretch of time, with what the workload said of it.

    ``model_flops`` and ``tokens`` are those of the whole phase, so they count only where the
    window is the whole phase.
    """

    from_ns: int
    to_ns: int
    name: str | None = None
    model_flops: float | None = None
    flops_dtype: str | None = None
    tokens: float | None = None

    @property
    def flops_per_s(self) -> float | None:
        return self._per_second(self.model_flops)

    @property
    def tokens_per_s(self) -> float | None:
        return self._per_second(self.tokens)

    def _per_second(self, amount: float | None) -> float | None:
        if amount is None or self.to_ns <= self.from_ns:
            return None
        return amount / ((self.to_ns - self.from_ns) / 1e9)


def windows(
    measurements: Measurements, begin: int, end: int, by: Literal["phase"] | int | None
) -> Iterator[Window]:
    """Yield the windows of [begin, end] in the order of their starts."""
    if by == "phase":
        yield from _phases(measurements, begin, end)
    elif by is None:
        yield Window(begin, end)
    else:
        for start in range(begin, end, by):
            yield Window(start, min(start + by, end))


def _phases(measurements: Measurements, begin: int, end: int) -> Iterator[Window]:
    for phase in sorted(phases(measurements), key=lambda one: one.from_ns):
        if phase.to_ns <= begin or phase.from_ns >= end:
            continue
        whole = phase.from_ns >= begin and phase.to_ns <= end
        yield Window(
            max(phase.from_ns, begin),
            min(phase.to_ns, end),
            phase.name,
            phase.model_flops if whole else None,
            phase.flops_dtype,
            phase.tokens if whole else None,
        )
