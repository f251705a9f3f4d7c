"""Totals that the programs keep: a slot a thread, and a cell for each of its operations.

Programs take free indices from queues. What an exited thread had stays until it is read here and
given back, so that nothing is lost between two looks, and nothing is ever full for good.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from gnomon.tracing import layouts
from gnomon.tracing.layouts import SlotState
from gnomon.tracing.maps import Map

Totals = npt.NDArray[np.void]


class Taken(NamedTuple):
    """Totals of THREAD and CELL, copied.

    ``numbers`` are the slots of ``threads``, one by one; a cell's ``thread`` is one of them.
    """

    numbers: "npt.NDArray[np.intp]"
    threads: Totals
    cells: Totals


class Slots:
    """The slots of a tracer. ``maps`` are those of its objects; their queues are filled here.

    ``threads`` and ``cells`` are the arrays that the programs write to, of THREAD and CELL.
    """

    def __init__(self, maps: Mapping[str, Map]) -> None:
        self._free_threads, self._free_cells = maps["free_threads"], maps["free_cells"]
        self.threads: Totals = maps["threads"].view(layouts.THREAD)
        self.cells: Totals = maps["cells"].view(layouts.CELL)
        # Index 0 stands for "none".
        _push(self._free_threads, np.arange(1, len(self.threads)))
        _push(self._free_cells, np.arange(1, len(self.cells)))

    def read(self) -> Taken:
        """The totals of all threads that have a slot, living or exited, as they stand now."""
        index = np.flatnonzero(self.threads["state"] != SlotState.FREE)
        is_used = self.cells["state"] != SlotState.FREE
        return Taken(index, self.threads[index], self.cells[is_used])

    def reclaim(self) -> Taken:
        """Take the totals of exited threads, and give their slots and cells back."""
        index = np.flatnonzero(self.threads["state"] == SlotState.EXITED)
        is_used = self.cells["state"] != SlotState.FREE
        cells = np.flatnonzero(is_used & np.isin(self.cells["thread"], index))
        taken = Taken(index, self.threads[index], self.cells[cells])
        # Cleared before they are given back: from then on a program may write to them.
        self.threads[index] = np.zeros((), layouts.THREAD)
        self.cells[cells] = np.zeros((), layouts.CELL)
        _push(self._free_cells, cells)
        _push(self._free_threads, index)
        return taken


def bucket_edges_ns() -> "npt.NDArray[np.int64]":
    """Lower edges of a histogram's buckets, then the upper edge of the last.

    Four buckets an octave, each a quarter of the octave's beginning wide. Below 4 ns there are no
    quarters: their buckets have no width and stay empty. What is longer than the last is in it.
    """
    octave, quarter = np.divmod(np.arange(layouts.BUCKETS), 4)
    begins = np.int64(1) << octave
    edges = np.where(octave >= 2, begins + quarter * (begins >> 2), begins << (quarter > 0))
    edges[0] = 0
    return np.append(edges, np.int64(1 << (layouts.BUCKETS // 4)))


def _push(queue: Map, indices: "npt.NDArray[np.intp]") -> None:
    for index in indices.tolist():
        queue.push(index.to_bytes(4, "little"))
