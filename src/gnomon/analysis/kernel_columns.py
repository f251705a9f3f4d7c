"""Which stretches of time share one unknown value: the columns of the per-kernel regression.

A kernel (its name and shape) that ran by itself is a column of its own, and so is each set of
kernels that ran at the same time. Those of least time are pooled, kernels of one name first and
then everything, because each column costs its square.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gnomon.analysis.intervals import Ints
from gnomon.analysis.kernel_overlap import Stretches

MOST_COLUMNS = 400
MOST_NAMES = 99


@dataclass(frozen=True, slots=True)
class Columns:
    """m columns: the column of each set of a ``Stretches``, and the groups in each column.

    ``of_set`` (sets,). ``sets`` of a column are those that it pools, ``time_ns`` (m,) is their
    time. ``alone`` maps a group to the column that holds its time by itself, ``together`` to that
    of most time among those in which it ran with others.
    """

    of_set: Ints
    sets: tuple[tuple[tuple[int, ...], ...], ...]
    time_ns: Ints
    alone: dict[int, int]
    together: dict[int, int]

    def __len__(self) -> int:
        return len(self.sets)

    def groups(self, column: int) -> tuple[int, ...]:
        """Return the groups that ran in a column, ascending."""
        return tuple(sorted({group for one in self.sets[column] for group in one}))

    def is_own(self, column: int) -> bool:
        """Return whether a column is one kernel by itself and nothing else."""
        return len(self.sets[column]) == 1 and len(self.sets[column][0]) == 1


def columns_of(
    found: Stretches, names: Sequence[str], most: int = MOST_COLUMNS, most_names: int = MOST_NAMES
) -> Columns:
    """Give each set its column; ``names`` (groups,) are what groups are pooled by."""
    by_time = np.argsort(-found.set_ns, kind="stable")
    key_of: dict[int, tuple[str, object]] = {int(at): ("own", int(at)) for at in by_time[:most]}
    name_ns: dict[str, int] = {}
    for at in by_time[most:]:
        name = _name(found.sets[at], names)
        name_ns[name] = name_ns.get(name, 0) + int(found.set_ns[at])
    kept = set(sorted(name_ns, key=lambda name: (-name_ns[name], name))[:most_names])
    for at in by_time[most:]:
        name = _name(found.sets[at], names)
        key_of[int(at)] = ("name", name) if name in kept and name else ("other", None)
    number = {key: at for at, key in enumerate(dict.fromkeys(key_of.values()))}
    of_set = np.array([number[key_of[at]] for at in range(len(found.sets))], dtype=np.int64)
    pooled: list[list[tuple[int, ...]]] = [[] for _ in number]
    for at, column in enumerate(of_set):
        pooled[column].append(found.sets[at])
    time_ns = np.bincount(of_set, found.set_ns, len(number)).astype(np.int64)
    together: dict[int, int] = {}
    for at in np.argsort(time_ns[of_set], kind="stable").tolist():
        if len(found.sets[at]) > 1:
            together |= dict.fromkeys(found.sets[at], int(of_set[at]))
    return Columns(
        of_set,
        tuple(tuple(one) for one in pooled),
        time_ns,
        {one[0]: int(of_set[at]) for at, one in enumerate(found.sets) if len(one) == 1},
        together,
    )


def _name(groups: tuple[int, ...], names: Sequence[str]) -> str:
    """Return the name that a set is pooled by; none for kernels that ran together."""
    return names[groups[0]] if len(groups) == 1 else ""
