"""Counters that a process shares with those it forks: each worker adds up in a row of its own."""

from __future__ import annotations

import mmap
from collections.abc import Mapping, Sequence

ROWS = 32
WORD = 8


class SharedCounts:
    """Named totals over ``ROWS`` processes; a row has one writer, so nothing is locked."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = tuple(names)
        memory = mmap.mmap(-1, ROWS * len(self._names) * WORD)
        self._words = memoryview(memory).cast("q")

    def add(self, row: int, **amounts: int) -> None:
        for name, amount in amounts.items():
            self._words[row * len(self._names) + self._names.index(name)] += amount

    def totals(self) -> Mapping[str, int]:
        width = len(self._names)
        return {
            name: sum(self._words[place + row * width] for row in range(ROWS))
            for place, name in enumerate(self._names)
        }
