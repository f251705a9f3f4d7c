"""Cutting tables to a range of time, and putting them in its order.

A recorder comes through here twice a second: it does without ``pyarrow.compute`` (12 MB) unless
rows are out of order.
"""

from __future__ import annotations

from typing import Any


def condition(from_ns: int | None, to_ns: int | None) -> Any:
    """Return the Arrow expression for from_ns < ts_ns <= to_ns; None where nothing is bounded."""
    import pyarrow.compute as pc  # noqa: PLC0415

    conditions = []
    if from_ns is not None:
        conditions.append(pc.field("ts_ns") > from_ns)
    if to_ns is not None:
        conditions.append(pc.field("ts_ns") <= to_ns)
    if not conditions:
        return None
    return conditions[0] if len(conditions) == 1 else conditions[0] & conditions[1]


def cut(table: Any, from_ns: int | None, to_ns: int | None) -> Any:
    """Keep the rows with from_ns < ts_ns <= to_ns; a slice where they are in order."""
    import numpy as np  # noqa: PLC0415

    if from_ns is None and to_ns is None:
        return table
    times = table.column("ts_ns").to_numpy()
    if not np.all(times[1:] >= times[:-1]):
        return table.filter(condition(from_ns, to_ns))
    first = 0 if from_ns is None else int(np.searchsorted(times, from_ns, side="right"))
    after = len(times) if to_ns is None else int(np.searchsorted(times, to_ns, side="right"))
    return table.slice(first, max(0, after - first))


def ordered(table: Any) -> Any:
    """Return the rows in the order of ts_ns; equal ones stay as they were."""
    import numpy as np  # noqa: PLC0415

    times = table.column("ts_ns").to_numpy()
    if np.all(times[1:] >= times[:-1]):
        return table
    # Sources write in turns, so that rows are nearly sorted: numpy's stable sort then needs
    # little more than one pass.
    return table.take(np.argsort(times, kind="stable"))


def first_start_ns(rows: Any) -> int:
    """Return the earliest begin of the intervals in a table of ts_ns and duration_ns."""
    import numpy as np  # noqa: PLC0415

    # Nulls make floats of them, which hold durations of up to 104 days exactly.
    lengths = np.nan_to_num(rows["duration_ns"].to_numpy(zero_copy_only=False)).astype(np.int64)
    return int((rows["ts_ns"].to_numpy(zero_copy_only=False) - lengths).min())
