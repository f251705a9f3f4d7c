"""What may be told of one kernel, and why the rest may not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from gnomon.analysis.kernel_columns import Columns
from gnomon.analysis.kernel_fit import (
    LEAST_BLOCKS,
    LEAST_SAMPLES,
    MOST_ERROR,
    MOST_INFLATION,
    Fit,
    named,
)
from gnomon.analysis.kernel_sol_types import GroupValues

MEMBERS_TOLD = 3


@dataclass(slots=True)
class Told:
    """Counter -> value of one kernel, errors, and the reasons of what is left out."""

    values_pct: dict[str, float] = field(default_factory=dict)
    errors_pct: dict[str, float] = field(default_factory=dict)
    unavailable: dict[str, str] = field(default_factory=dict)
    samples: int = 0
    clock_mhz: float | None = None
    group: GroupValues | None = None


def told(group: int, fits: Sequence[Fit], columns: Columns, labels: Sequence[str]) -> Told:
    """Return what the fits (one a set of counters) say of a group; the first to have one counts."""
    answer = Told()
    column = columns.alone.get(group)
    if column is None:
        column = columns.together.get(group)
    if column is None:
        reason = "it always ran with others, seldom with the same"
        answer.unavailable = {name: reason for one in fits for name in one.names}
        return answer
    if not columns.is_own(column):
        _share(answer, fits, column, columns, labels)
        return answer
    for one in fits:
        answer.samples += int(one.samples[column])
        if answer.clock_mhz is None and not np.isnan(one.clock_mhz[column]):
            answer.clock_mhz = float(one.clock_mhz[column])
        _take(answer, one, column, columns, labels)
    return answer


def _share(
    answer: Told, fits: Sequence[Fit], column: int, columns: Columns, labels: Sequence[str]
) -> None:
    """Tell what a kernel has in common with those in its column, and nothing of its own."""
    members = named(columns, (column,), labels)
    if len(columns.sets[column]) == 1:
        reason = f"never ran by itself: {members[0]}"
    else:
        reason = f"too little time of its own: pooled with {len(members) - 1} others"
    values: dict[str, float] = {}
    errors: dict[str, float] = {}
    for one in fits:
        answer.samples += int(one.samples[column])
        holds = _blanket_reason(one, column) is None
        for at, name in enumerate(one.names):
            answer.unavailable.setdefault(name, reason)
            if holds and one.errors[column, at] <= MOST_ERROR:
                values.setdefault(name, float(one.values[column, at]))
                errors.setdefault(name, float(one.errors[column, at]))
    if values:
        answer.group = GroupValues(members, values, errors)


def _take(answer: Told, given: Fit, column: int, columns: Columns, labels: Sequence[str]) -> None:
    tie = given.ties.get(column)
    members = named(columns, tie.columns, labels) if tie else ()
    blanket = _blanket_reason(given, column)
    for at, name in enumerate(given.names):
        if name in answer.errors_pct or name in answer.unavailable:
            continue
        error = float(given.errors[column, at])
        if given.samples[column]:
            answer.errors_pct[name] = error
        reason = blanket or (f"its error is {error:.0f} points" if error > MOST_ERROR else None)
        if reason is None:
            answer.values_pct[name] = float(given.values[column, at])
        else:
            answer.unavailable[name] = reason + _tied(members, columns, column, labels)
    if tie and tie.holds and answer.group is None:
        answer.group = GroupValues(
            members,
            dict(zip(given.names, tie.values.tolist(), strict=True)),
            dict(zip(given.names, tie.errors.tolist(), strict=True)),
        )


def _blanket_reason(given: Fit, column: int) -> str | None:
    samples = int(given.samples[column])
    if samples < LEAST_SAMPLES or given.blocks[column] < LEAST_BLOCKS:
        return f"it was met in {samples} samples, at too few times"
    if given.inflation[column] > MOST_INFLATION:
        return "the sequence makes it indistinguishable"
    return None


def _tied(members: Sequence[str], columns: Columns, column: int, labels: Sequence[str]) -> str:
    own = named(columns, (column,), labels)
    others = [one for one in members if one not in own]
    if not others:
        return ""
    more = len(others) - MEMBERS_TOLD
    return f", tied with {', '.join(others[:MEMBERS_TOLD])}" + (
        f" and {more} more" if more > 0 else ""
    )
