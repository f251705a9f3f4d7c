"""When a loss was: the shortest stretch that holds nearly all of it.

A cause costs a little all the time in a healthy program, and a lot while something is wrong. From
first to last loss is then the whole recording. So what comes first and last is left out where it is
thin: less than ``THIN`` of the usual loss a second (the mean of seconds, weighted by what was lost
in each). It may hold any number of seconds with less than ``BACKGROUND`` of the usual, and of all
that was lost in others no more than ``LEFT_OUT``. Several stretches have one around them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gnomon.analysis.gpu_idle import Stretch
from gnomon.analysis.intervals import Floats
from gnomon.analysis.questions import Span

BIN_NS = 1_000_000_000
BACKGROUND = 0.1
THIN = 0.25
LEFT_OUT = 0.05


@dataclass(frozen=True, slots=True)
class Concentration:
    """``stretches`` that hold nearly all of a loss: of those it is made ``of``.

    They end in ``bins``, whole seconds; ``is_all``: all of them do.
    """

    stretches: Sequence[Stretch]
    of: Sequence[Stretch]
    bins: Span

    @property
    def is_all(self) -> bool:
        return len(self.stretches) == len(self.of)


def span_of(stretches: Sequence[Stretch]) -> Span:
    """Return the span from the begin of the first to the end of the last of some stretches."""
    return Span(min(one.from_ns for one in stretches), max(one.to_ns for one in stretches))


def concentration(stretches: Sequence[Stretch]) -> Concentration | None:
    """Return where a loss is, by the ends of its stretches; None where nothing was lost."""
    lost = [one for one in stretches if one.lost_ns > 0]
    if not lost:
        return None
    numbers = np.array([(one.to_ns - 1) // BIN_NS for one in lost])
    first = int(numbers.min())
    ns = np.zeros(int(numbers.max()) - first + 1)
    np.add.at(ns, numbers - first, [one.lost_ns for one in lost])
    begin, end = _shortest(ns)
    chosen = [
        one for one, number in zip(lost, numbers, strict=True) if begin <= number - first < end
    ]
    bins = Span((first + begin) * BIN_NS, (first + end) * BIN_NS)
    return Concentration(chosen, lost, bins)


def _shortest(ns: Floats) -> tuple[int, int]:
    """Return the begin and the end, exclusive, of the bins to tell; ``ns``: of each, (bins,)."""
    # A long wait counts where it ends, as if it had been there for as long as the bin is.
    density = np.minimum(ns, BIN_NS)
    usual = float(np.sum(density * density)) / float(np.sum(density))
    so_far = _sums(np.where(density < BACKGROUND * usual, 0, ns))
    places = np.arange(len(ns) + 1)
    before, after = _sums(density), _sums(density[::-1])[::-1]
    begins = places[(places == 0) | (before < THIN * usual * places)]
    ends = places[(places == len(ns)) | (after < THIN * usual * (len(ns) - places))]
    needed = so_far[begins] + (1 - LEFT_OUT) * so_far[-1]
    first = np.searchsorted(so_far[ends], needed)
    is_enough = first < len(ends)
    begins, ends = begins[is_enough], ends[first[is_enough]]
    best = int(np.argmin(ends - begins))
    return int(begins[best]), int(ends[best])


def _sums(values: Floats) -> Floats:
    """Return the sums up to each edge; shape (n + 1,) for n values."""
    return np.concatenate([[0.0], np.cumsum(values)])
