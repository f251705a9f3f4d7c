"""How much of each call its thread was off the CPU, by intersecting intervals per thread.

Calls come in the order in which they were entered, stays off the CPU and block reads in the
order in which they ended, all in one stream by time. A call waits here until no later stay can
reach into it: until its thread came back to the CPU after the call's end, or until more time has
passed than any stay of the thread lasted. So a file of any size needs little memory.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Any

Row = dict[str, Any]
# What is kept of one thread at most, so that no file can fill the memory.
MOST_READS_KEPT = 4096
MOST_WAKEUPS_KEPT = 64
MOST_STAYS_KEPT = 1024


@dataclass(slots=True)
class Call:
    """A call that may still meet a stay off the CPU; its times in Unix ns."""

    entered_ns: int
    left_ns: int
    row: Row


@dataclass(frozen=True, slots=True)
class Stay:
    """A stay off the CPU in consecutive parts: (from, to, column of its class or None)."""

    parts: tuple[tuple[int, int, str | None], ...]

    def within(self, from_ns: int, to_ns: int) -> dict[str, int]:
        """Return ns inside a span, by column; ``off_cpu_ns`` holds all of them."""
        found: dict[str, int] = {}
        for begin_ns, end_ns, column in self.parts:
            inside_ns = min(end_ns, to_ns) - max(begin_ns, from_ns)
            if inside_ns > 0:
                found["off_cpu_ns"] = found.get("off_cpu_ns", 0) + inside_ns
                if column is not None:
                    found[column] = found.get(column, 0) + inside_ns
        return found


@dataclass(slots=True)
class Thread:
    """One thread of one host, and what of it is still open.

    ``longest_stay_ns`` is the longest stay off the CPU that the whole file has of it.
    """

    host: str
    tid: int
    longest_stay_ns: int = 0
    first_ns: int = 0
    last_ns: int = 0
    calls: int = 0
    stays: int = 0
    contradictions: int = 0
    facts: Row = field(default_factory=dict)
    _back_ns: int = 0
    _stays: deque[Stay] = field(default_factory=lambda: deque(maxlen=MOST_STAYS_KEPT))
    _open: list[tuple[int, str]] = field(default_factory=list)
    _pending: list[Call] = field(default_factory=list)
    _reads: deque[tuple[int, int]] = field(default_factory=lambda: deque(maxlen=MOST_READS_KEPT))
    _wakeups: deque[tuple[int, int | None, int]] = field(
        default_factory=lambda: deque(maxlen=MOST_WAKEUPS_KEPT)
    )

    @property
    def pending(self) -> int:
        return len(self._pending)

    def nest(self, entered_ns: int, left_ns: int, operation: str) -> tuple[int, str | None]:
        """Return how many calls of this thread hold this one, and the innermost of them."""
        around = self._open
        while around and around[-1][0] <= entered_ns:
            around.pop()
        # Calls of one thread hold one another or follow one another; nothing else can be.
        while around and around[-1][0] < left_ns:
            around.pop()
            self.contradictions += 1
        place = len(around), around[-1][1] if around else None
        around.append((left_ns, operation))
        return place

    def wait(self, call: Call) -> None:
        """Take a call whose overlap is not known yet."""
        call.row["off_cpu_ns"] = 0
        self._pending.append(call)

    def inside(self, begin_ns: int, end_ns: int) -> Row:
        """Return the overlap of a call that is told of at its end, when all stays are known.

        Nothing is returned where the call is longer than what is kept of the thread's stays.
        """
        kept = self._stays
        if len(kept) == MOST_STAYS_KEPT and kept[0].parts[0][0] > begin_ns:
            return {}
        found: Row = {"off_cpu_ns": 0}
        for stay in kept:
            for column, inside_ns in stay.within(begin_ns, end_ns).items():
                found[column] = found.get(column, 0) + inside_ns
        return found

    def read(self, begin_ns: int, end_ns: int) -> None:
        self._reads.append((begin_ns, end_ns))

    def wake(self, ts_ns: int, pid: int | None, tid: int) -> None:
        self._wakeups.append((ts_ns, pid, tid))

    def back_on_cpu(self, left_ns: int, back_ns: int) -> tuple[Row, list[Row]]:
        """End a stay off the CPU; returns its columns, and rows of calls that are complete.

        Where a file says that stays of one thread overlap, the later one counts only from the
        end of the earlier: no time is counted twice.
        """
        if left_ns < self._back_ns:
            self.contradictions += 1
            left_ns = min(self._back_ns, back_ns)
        self._back_ns = back_ns
        self.stays += 1
        stay, waker = self._classify(left_ns, back_ns)
        self._stays.append(stay)
        for call in self._pending:
            for column, inside_ns in stay.within(call.entered_ns, call.left_ns).items():
                call.row[column] = call.row.get(column, 0) + inside_ns
        about: Row = {k: v for k, v in stay.within(left_ns, back_ns).items() if k != "off_cpu_ns"}
        if waker is not None:
            about |= {"waker_pid": waker[1], "waker_tid": waker[2]}
        return about, self.complete(back_ns)

    def complete(self, until_ns: int) -> list[Row]:
        """Return the rows of calls that ended by a moment, and forget them."""
        done = [call.row for call in self._pending if call.left_ns <= until_ns]
        if done:
            self._pending = [call for call in self._pending if call.left_ns > until_ns]
        return done

    def _classify(
        self, left_ns: int, back_ns: int
    ) -> tuple[Stay, tuple[int, int | None, int] | None]:
        """Split a stay at the moment when the thread was woken, and by its own block reads.

        From then on it was runnable. Before, it waited for a disk while a read of its own was
        under way; writes say nothing, as the kernel mostly does them later. The rest is unknown:
        this recorder does not keep the state in which a thread left.
        """
        waker = next((wake for wake in self._wakeups if left_ns <= wake[0] <= back_ns), None)
        self._wakeups.clear()
        woken_ns = back_ns if waker is None else waker[0]
        parts: list[tuple[int, int, str | None]] = []
        at_ns = left_ns
        for begin_ns, end_ns in _union(self._reads):
            begin_ns, end_ns = max(begin_ns, at_ns), min(end_ns, woken_ns)  # noqa: PLW2901
            if begin_ns < end_ns:
                parts += [(at_ns, begin_ns, None), (begin_ns, end_ns, "io_ns")]
                at_ns = end_ns
        parts.append((at_ns, woken_ns, None))
        if waker is not None:
            parts.append((woken_ns, back_ns, "run_queue_ns"))
        self._reads.clear()  # they ended before this stay did, and so before the next begins
        return Stay(tuple(parts)), waker


def _union(spans: deque[tuple[int, int]]) -> list[tuple[int, int]]:
    joined: list[tuple[int, int]] = []
    for begin_ns, end_ns in sorted(spans):
        if joined and begin_ns <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(joined[-1][1], end_ns))
        else:
            joined.append((begin_ns, end_ns))
    return joined
