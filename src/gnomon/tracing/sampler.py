"""Which Python a thread was in, at moments that a clock chooses: of threads that make traced calls.

Each look reads the stacks of some threads from outside, and whether one of their calls was open
before and after. It measures what it costs in CPU time, and looks less often where that is dear.
"""

import hashlib
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import NamedTuple

import numpy as np

from gnomon._errors import TracingError
from gnomon.tracing.layouts import SlotState
from gnomon.tracing.operations import OPERATIONS
from gnomon.tracing.python_finder import NoPythonError
from gnomon.tracing.python_stacks import PythonFrame, PythonReader
from gnomon.tracing.slots import Slots, Totals

# At most 1 % of a core.
CPU_SHARE = 0.01
SHORTEST_PERIOD_NS, LONGEST_PERIOD_NS = 20_000_000, 200_000_000
CHOICE_NS = 1_000_000_000  # how often it is decided which threads make calls
# A process may load Python late, or execute another program: after so long without a stack its
# interpreter is looked for anew.
RETRY_NS = 30_000_000_000
MOST_STACKS = 1 << 14

Stack = tuple[PythonFrame, ...]


class Sample(NamedTuple):
    """What a thread was in at ``at_ns`` (CLOCK_MONOTONIC).

    ``operation`` is the number of the outermost traced call that was open all the time that the
    stack was read, ``call_start_ns`` when it began. Both are None where there was no such call:
    between calls, or where calls began or ended meanwhile.
    """

    at_ns: int
    pid: int
    tid: int
    operation: int | None
    call_start_ns: int | None
    stack_hash: int


class _Process:
    """What can be read of a process: ``reader`` or ``error``, tried again at ``retry_ns``."""

    def __init__(self, pid: int, now_ns: int) -> None:
        self.reader: PythonReader | None = None
        self.error: TracingError | None = None
        self.retry_ns = now_ns + RETRY_NS
        try:
            self.reader = PythonReader(pid)
        except TracingError as error:
            self.error = error


class Sampler:
    """Looks at threads of ``slots``, but not at those of the processes ``exclude``.

    ``settings`` is the programs' map of that name: launches that it closed are not taken for open.
    Finding the interpreter of a process costs some milliseconds once, which the budget leaves out.
    """

    def __init__(
        self,
        slots: Slots,
        *,
        exclude: Collection[int] = (),
        settings: Totals | None = None,
        share: float = CPU_SHARE,
        clock: Callable[[], int] = time.monotonic_ns,
        cpu_clock: Callable[[], int] = time.thread_time_ns,
    ) -> None:
        self._threads, self._cells = slots.threads, slots.cells
        self._settings = settings
        self._exclude = np.array(sorted(exclude), np.uint32)
        self._share, self._clock, self._cpu_clock = share, clock, cpu_clock
        self._due_ns = self._choice_ns = 0
        self._calls = np.zeros(len(self._threads), np.int64)
        # Slots of threads that make calls, the one looked at longest ago first.
        self._chosen: list[int] = []
        self._processes: dict[int, _Process] = {}
        self._hashes: dict[Stack, int] = {}
        self._stacks: dict[int, Stack] = {}

    def due_ns(self) -> int:
        """When the next look is due, on CLOCK_MONOTONIC."""
        return self._due_ns

    def stack(self, stack_hash: int) -> Stack:
        """The frames of a stack that the last look saw, innermost first."""
        return self._stacks[stack_hash]

    def unreadable(self) -> Mapping[int, TracingError]:
        """Why stacks of a process cannot be read, by pid; those without Python are left out."""
        return {
            pid: one.error
            for pid, one in self._processes.items()
            if one.error is not None and not isinstance(one.error, NoPythonError)
        }

    def sample(self, now_ns: int) -> list[Sample]:
        """Look at threads, those first whose call has been open longest, as the budget allows."""
        begin_ns = self._cpu_clock()
        if now_ns >= self._choice_ns:
            self._choice_ns = now_ns + CHOICE_NS
            self._choose()
        if len(self._stacks) > MOST_STACKS:
            self._hashes.clear()
            self._stacks.clear()
        most_ns = round(LONGEST_PERIOD_NS * self._share)
        found, seen, set_up_ns = [], [], 0
        for slot in self._in_order():
            spent_ns = self._cpu_clock() - begin_ns - set_up_ns
            if spent_ns >= most_ns:
                break
            seen.append(slot)
            pid = int(self._threads["pid"][slot])
            if self._is_to_be_set_up(pid, now_ns):
                if set_up_ns:
                    continue
                at_ns = self._cpu_clock()
                self._processes[pid] = _Process(pid, now_ns)
                set_up_ns = max(1, self._cpu_clock() - at_ns)
            if sample := self._look(slot, self._processes[pid], now_ns):
                found.append(sample)
        rest = set(seen)
        self._chosen = [one for one in self._chosen if one not in rest] + seen
        spent_ns = self._cpu_clock() - begin_ns - set_up_ns
        period_ns = max(SHORTEST_PERIOD_NS, round(spent_ns / self._share))
        self._due_ns = now_ns + min(period_ns, LONGEST_PERIOD_NS)
        return found

    def _choose(self) -> None:
        """Choose the threads that made calls since the last time, or are in one."""
        threads, cells = self._threads, self._cells
        calls = np.bincount(cells["thread"], cells["calls"], len(threads)).astype(np.int64)
        is_live = threads["state"] == SlotState.LIVE
        is_calling = (calls != self._calls) | (threads["open_since_ns"] != 0)
        self._calls = calls
        is_chosen = is_live & is_calling & ~np.isin(threads["pid"], self._exclude)
        before = [slot for slot in self._chosen if is_chosen[slot]]
        is_chosen[before] = False
        self._chosen = np.flatnonzero(is_chosen).tolist() + before
        pids = set(threads["pid"][is_live].tolist())
        self._processes = {pid: one for pid, one in self._processes.items() if pid in pids}

    def _in_order(self) -> Iterator[int]:
        """The chosen slots: those in a call by how long it is open, then the others in turn."""
        opened = {slot: self._open(slot) for slot in self._chosen}
        in_calls = [(call[0], slot) for slot, call in opened.items() if call is not None]
        yield from (slot for _, slot in sorted(in_calls))
        yield from (slot for slot, call in opened.items() if call is None)

    def _is_to_be_set_up(self, pid: int, now_ns: int) -> bool:
        process = self._processes.get(pid)
        return process is None or now_ns >= process.retry_ns

    def _look(self, slot: int, process: _Process, now_ns: int) -> Sample | None:
        thread = self._threads[slot]
        pid, tid = int(thread["pid"]), int(thread["tid"])
        if process.reader is None:
            return None
        before = self._open(slot)
        try:
            stack = process.reader.stack(int(thread["namespace_tid"]))
        except TracingError as error:
            process.reader, process.error = None, error
            return None
        at_ns, after = self._clock(), self._open(slot)
        # The slot may be another thread's by now.
        if not stack or int(self._threads["tid"][slot]) != tid:
            return None
        process.retry_ns = now_ns + RETRY_NS
        since_ns, operation = before if before and before == after else (None, None)
        return Sample(at_ns, pid, tid, operation, since_ns, self._hash(stack))

    def _open(self, slot: int) -> tuple[int, int] | None:
        """(since when, operation) of the outermost call that is open, or None."""
        thread = self._threads[slot]
        since_ns, operation = int(thread["open_since_ns"]), int(thread["open_operation"])
        # Written while it was read: then one call follows another closely, and none is open long.
        if not since_ns or int(thread["open_since_ns"]) != since_ns:
            return None
        if self._settings is not None and OPERATIONS[operation].is_launch:
            closed_ns = int(self._settings["launches_closed_ns"][0])
            if since_ns < closed_ns:
                return None
        return since_ns, operation

    def _hash(self, stack: Stack) -> int:
        """64 bits, signed, of what the frames say: the same in every process and run."""
        found = self._hashes.get(stack)
        if found is None:
            text = "\0".join(f"{frame.function}\0{frame.file}\0{frame.line}" for frame in stack)
            digest = hashlib.blake2b(text.encode(errors="replace"), digest_size=8).digest()
            found = self._hashes[stack] = int.from_bytes(digest, "little", signed=True)
            self._stacks[found] = stack
        return found
