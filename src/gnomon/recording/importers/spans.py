"""Calls and ranges of threads, held in few bytes until all are known: nesting and correlation."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterator
from typing import NamedTuple

# Deeper nesting is no program's, but a file's that was made to keep a reader busy.
MOST_DEPTH = 1_000
UNKNOWN = -1


class Span(NamedTuple):
    """What a thread did from ``begin_ns`` to ``end_ns`` (Unix ns).

    ``label`` and ``note`` are the caller's. ``depth`` is how many others of its thread lie around
    it, ``parent`` the name of the innermost of them.
    """

    thread: tuple[int, int]
    begin_ns: int
    end_ns: int
    name: str
    label: int
    note: int
    depth: int
    parent: str | None


class Spans:
    """Spans of all threads: 48 bytes each."""

    def __init__(self) -> None:
        self._threads: dict[tuple[int, int], int] = {}
        self._names: dict[str, int] = {}
        self._columns = tuple(array("q") for _ in range(6))

    def __len__(self) -> int:
        return len(self._columns[0])

    def add(
        self,
        thread: tuple[int, int],
        times: tuple[int, int],
        name: str,
        label: int = UNKNOWN,
        note: int = 0,
    ) -> None:
        """Take one: (pid, tid), (begin_ns, end_ns), and numbers of up to 64 bits."""
        whose = self._threads.setdefault(thread, len(self._threads))
        code = self._names.setdefault(name, len(self._names))
        values = (whose, *times, code, label, note)
        for column, value in zip(self._columns, values, strict=True):
            column.append(value)

    def shift(self, by_ns: int) -> None:
        """Move all of them in time."""
        import numpy as np  # noqa: PLC0415

        for column in self._columns[1:3]:
            np.frombuffer(column, np.int64)[:] += by_ns

    def nested(self) -> Iterator[Span]:
        """Yield all spans with their nesting, thread by thread in the order of their begin."""
        import numpy as np  # noqa: PLC0415  60 ms that other commands need not pay

        if not len(self):
            return
        thread, begin, end, *_ = (np.frombuffer(column, np.int64) for column in self._columns)
        threads, names = list(self._threads), list(self._names)
        around: list[tuple[int, str]] = []
        last = None
        for at in np.lexsort((-end, begin, thread)).tolist():
            whose, begin_ns, end_ns, code, label, note = (column[at] for column in self._columns)
            if whose != last:
                around, last = [], whose
            while around and around[-1][0] <= begin_ns:
                around.pop()
            outer = [name for until_ns, name in around if until_ns >= end_ns]
            name = names[code]
            yield Span(
                threads[whose], begin_ns, end_ns, name, label, note,
                len(outer), outer[-1] if outer else None,
            )  # fmt: skip
            around.append((end_ns, name))
            del around[:-MOST_DEPTH]

    def begins_by_label(self) -> Begins:
        """Return when the spans with each label (but ``UNKNOWN``) began, by process."""
        import numpy as np  # noqa: PLC0415

        thread, begin, _, _, label, _ = (
            np.frombuffer(column, np.int64) for column in self._columns
        )
        pids = np.array([pid for pid, _ in self._threads] or [0])
        found: dict[int, tuple[array[int], array[int]]] = {}
        for pid in set(pids.tolist()) if len(self) else ():
            of = np.flatnonzero((pids[thread] == pid) & (label != UNKNOWN))
            # The outermost begins first: of a runtime call and the driver call in it, the former.
            of = of[np.lexsort((begin[of], label[of]))]
            found[pid] = (array("q", label[of].tobytes()), array("q", begin[of].tobytes()))
        return Begins(found)


class Begins:
    """When the call with a correlation id began, by process."""

    def __init__(self, found: dict[int, tuple[array[int], array[int]]]) -> None:
        self._found = found

    def of(self, pid: int, label: int | None) -> int | None:
        """Return Unix ns, None where no call with this label is known."""
        if label is None or pid not in self._found:
            return None
        labels, begins = self._found[pid]
        at = bisect_left(labels, label)
        return begins[at] if at < len(labels) and labels[at] == label else None
