"""What a simulated world is made of: threads with a clock of their own, GPUs, and rows.

A thread's clock only moves forwards. Whatever takes it off the CPU adds to totals by class, and a
call's share is the difference between its end and its begin, as a tracer in the kernel counts it.
"""

from __future__ import annotations

import itertools
from collections import deque
from dataclasses import dataclass, field
from random import Random

import numpy as np

US, MS, SECOND = 1_000, 1_000_000, 1_000_000_000
QUEUE_DEPTH = 1024  # launches that a stream takes before the next one blocks
ENQUEUE_NS = 2 * US  # from a launch to its kernel on an empty GPU
RUNNABLE, INTERRUPTIBLE, UNINTERRUPTIBLE = "runnable", "interruptible", "uninterruptible"

CALL = (
    "ts_ns",
    "duration_ns",
    "thread",
    "layer",
    "operation",
    "depth",
    "parent_operation",
    "bytes",
    "direction",
    "address",
    "stream",
    "return_code",
    "first_call",
    "off_cpu_ns",
    "run_queue_ns",
    "io_ns",
    "voluntary_ns",
    "stack_hash",
    "selection",
    "weight",
)
STAY = (
    "ts_ns",
    "duration_ns",
    "thread",
    "state",
    "run_queue_ns",
    "io_ns",
    "voluntary_ns",
    "waker_pid",
    "waker_tid",
    "waker_name",
    "preemptor_tid",
    "preemptor_name",
    "stack_hash",
)


class Spreads:
    """Positive numbers around 1 without a bound above, as latencies are spread; drawn fast."""

    def __init__(self, seed: int) -> None:
        draw = np.random.default_rng(seed)
        self._by_sigma = {
            sigma: itertools.cycle(np.exp(draw.normal(0, sigma, 4093)).tolist())
            for sigma in (0.03, 0.1, 0.3, 0.6)
        }

    def around(self, value: float, sigma: float = 0.3) -> int:
        """Return a number whose median is ``value``; sigma is one of four."""
        return int(value * next(self._by_sigma[sigma]))


@dataclass
class Rows:
    """Everything that a recorder would have written."""

    calls: list[tuple] = field(default_factory=list)
    stays: list[tuple] = field(default_factory=list)
    others: dict[str, list[dict]] = field(default_factory=dict)

    def add(self, table: str, /, **row: object) -> None:
        self.others.setdefault(table, []).append(row)


@dataclass(frozen=True)
class Who:
    """A thread, as wakers and preemptors are named."""

    pid: int
    tid: int
    name: str


IDLE = Who(0, 0, "swapper/3")
KERNEL = (Who(52, 52, "kworker/3:1"), Who(28, 28, "ksoftirqd/2"), Who(871, 871, "systemd-journal"))


class Gpu:
    """One in-order queue; ``loads`` name what the GPU is busy with."""

    def __init__(self, uuid: str) -> None:
        self.uuid = uuid
        self.free_at = 0
        self.starts: list[int] = []
        self.ends: list[int] = []
        self.loads: list[str] = []

    def enqueue(self, now: int, ns: int, load: str = "work") -> int:
        """Queue ``ns`` of work; returns when it will be done."""
        start = max(now + ENQUEUE_NS, self.free_at)
        self.free_at = start + ns
        if self.ends and start - self.ends[-1] < US and self.loads[-1] == load:
            self.ends[-1] = self.free_at
        else:
            self.starts.append(start)
            self.ends.append(self.free_at)
            self.loads.append(load)
        return self.free_at

    def busy_seconds(self, edges: np.ndarray, load: str | None = None) -> np.ndarray:
        """Return the seconds of each bin in which it ran kernels, or one load; shape (bins,)."""
        chosen = [one == load if load else one != "copy" for one in self.loads]
        ends = np.array(self.ends, dtype=np.float64)[chosen]
        lengths = ends - np.array(self.starts, dtype=np.float64)[chosen]
        if not len(ends):
            return np.zeros(len(edges) - 1)
        knots = np.stack([ends - lengths, ends], axis=1).ravel() - edges[0]
        total = np.zeros(len(knots))
        total[1::2] = np.cumsum(lengths)
        total[2::2] = total[1:-1:2]
        return np.diff(np.interp((edges - edges[0]).astype(np.float64), knots, total)) / SECOND

    def idle_ns_in(self, stretches: list[tuple[int, int]]) -> int:
        """Return how much of some disjoint stretches of time it was idle."""
        if not stretches:
            return 0
        edges = np.array(sorted(itertools.chain(*stretches)), dtype=np.int64)
        busy = self.busy_seconds(edges)[::2].sum()
        return int(sum(end - begin for begin, end in stretches) - busy * SECOND)


class Thread:
    """One thread of a process, from ``now`` on."""

    def __init__(self, number: int, who: Who, rows: Rows, spreads: Spreads, random: Random) -> None:
        self.number = number
        self.who = who
        self.rows = rows
        self.spreads = spreads
        self.random = random
        self.now = 0
        self.off_ns = self.queued_ns = self.io_ns = self.voluntary_ns = 0
        self.depth = 0
        self.outer: str | None = None
        self.stack: int | None = None
        self.first_ns: int | None = None
        # On-CPU time between interruptions by the kernel's own threads.
        self.calm_ns = 200 * MS
        self._left_ns = random.expovariate(1) * self.calm_ns

    def run(self, ns: int) -> None:
        """Be on the CPU, but for a preemption now and then."""
        self._left_ns -= ns
        if self._left_ns > 0:
            self.now += ns
            return
        half = ns // 2
        self.now += half
        self._left_ns = self.random.expovariate(1) * self.calm_ns
        self.preempted(self.spreads.around(25 * US, 0.6), self.random.choice(KERNEL))
        self.now += ns - half

    def spin_until(self, moment: int) -> None:
        """Wait for the GPU on the CPU."""
        if moment > self.now:
            self.run(moment - self.now)

    def preempted(self, ns: int, by: Who, stack: int | None = None) -> None:
        """Want the CPU while another thread has it."""
        self._stay(RUNNABLE, ns, 0, 0, None, by, stack)

    def read(self, ns: int, stack: int | None = None) -> None:
        """Wait for the disk, uninterruptibly."""
        wake = min(ns // 2, self.spreads.around(6 * US))
        self._stay(UNINTERRUPTIBLE, wake, ns - wake, 0, IDLE, IDLE, stack)

    def sleep(self, ns: int, waker: Who = IDLE, stack: int | None = None) -> None:
        """Leave the CPU by itself until somebody (or a timer) wakes it."""
        wake = min(ns // 2, self.spreads.around(6 * US))
        self._stay(INTERRUPTIBLE, wake, 0, ns - wake, waker, IDLE, stack)

    def _stay(
        self,
        state: str,
        queued: int,
        io: int,
        voluntary: int,
        waker: Who | None,
        before: Who,
        stack: int | None,
    ) -> None:
        ns = queued + io + voluntary
        self.now += ns
        self.off_ns += ns
        self.queued_ns += queued
        self.io_ns += io
        self.voluntary_ns += voluntary
        woken = (None, None, None) if waker is None else (waker.pid, waker.tid, waker.name)
        self.rows.stays.append(
            (
                self.now,
                ns,
                self.number,
                state,
                queued,
                io,
                voluntary,
                *woken,
                before.tid,
                before.name,
                self.stack if stack is None else stack,
            )
        )

    def begin(self) -> tuple[int, int, int, int, int]:
        """Return what ``end`` needs to know of the begin of a call."""
        self.depth += 1
        return self.now, self.off_ns, self.queued_ns, self.io_ns, self.voluntary_ns

    def end(
        self,
        begun: tuple[int, int, int, int, int],
        operation: str,
        *,
        layer: str = "cuda_runtime",
        nbytes: int | None = None,
        direction: str | None = None,
        address: int | None = None,
        first: int = 0,
        code: int | None = 0,
        weight: float = 1.0,
        parent: str | None = None,
    ) -> None:
        """Write the row of a call that ends now; a ``weight`` above 1 says that it was sampled."""
        self.depth -= 1
        self.rows.calls.append(
            (
                self.now,
                self.now - begun[0],
                self.number,
                layer,
                operation,
                self.depth,
                parent,
                nbytes,
                direction,
                address,
                7 if layer == "cuda_runtime" else None,
                code,
                first,
                self.off_ns - begun[1],
                self.queued_ns - begun[2],
                self.io_ns - begun[3],
                self.voluntary_ns - begun[4],
                self.stack,
                "all" if weight == 1.0 else "uniform",
                weight,
            )
        )

    def call(self, operation: str, ns: int, **what: object) -> None:
        """Make a call that takes ``ns`` on the CPU."""
        begun = self.begin()
        self.run(ns)
        self.end(begun, operation, **what)  # type: ignore[arg-type]


class Stream:
    """A thread's way to its GPU: launches, copies and waits."""

    def __init__(self, thread: Thread, gpu: Gpu, *, sample_every: int, nested: bool) -> None:
        self.thread = thread
        self.gpu = gpu
        self.sample_every = sample_every
        self.nested = nested
        self.blocking = False
        self.load = "work"
        self.launch_ns = 6.0 * US
        self.link_bytes_per_s = 50e9
        self.loading_ns = 0  # how long the first launch of a function takes to load it
        self._seen: set[int | str] = set()
        self._pending: deque[int] = deque()

    def launch(self, kernel_ns: int, function: int, operation: str = "cudaLaunchKernel") -> None:
        """Launch a kernel, or a graph; blocks where the stream's queue is full."""
        thread = self.thread
        begun = thread.begin()
        first = self._first(function)
        pending = self._pending
        while pending and pending[0] <= thread.now:
            pending.popleft()
        if len(pending) >= QUEUE_DEPTH:
            thread.spin_until(pending.popleft())
        ns = thread.spreads.around(self.launch_ns)
        if first and self.loading_ns:
            ns += thread.spreads.around(self.loading_ns)
        thread.run(ns)
        pending.append(self.gpu.enqueue(thread.now, kernel_ns, self.load))
        self._kept(begun, operation, function, first)

    def copy(self, nbytes: int, direction: str, *, wait: bool = False, rate: float = 0.0) -> None:
        """Copy between host and device, asynchronously from pinned memory, or waiting for it.

        With a ``rate`` the caller copies through a staging buffer, and blocks for that long.
        """
        thread = self.thread
        operation = "cudaMemcpy" if wait else "cudaMemcpyAsync"
        begun = thread.begin()
        first = self._first(operation)
        thread.run(thread.spreads.around(5 * US))
        transfer = int(nbytes / (rate or self.link_bytes_per_s) * SECOND) + 2 * US
        done = self.gpu.enqueue(thread.now, transfer, "copy")
        if wait or rate:
            thread.spin_until(done)
        thread.end(begun, operation, nbytes=nbytes, direction=direction, first=first)

    def synchronize(self, until: int | None = None, operation: str = "") -> None:
        """Wait until the GPU has done all (or what is done at a moment)."""
        thread = self.thread
        done = self.gpu.free_at if until is None else until
        begun = thread.begin()
        operation = operation or "cudaStreamSynchronize"
        first = self._first(operation)
        thread.run(2 * US)
        if self.blocking and done > thread.now + 20 * US:
            thread.sleep(done - thread.now)
        else:
            thread.spin_until(done)
        thread.run(thread.spreads.around(1.5 * US))
        thread.end(begun, operation, first=first)

    def _kept(
        self, begun: tuple[int, int, int, int, int], operation: str, function: int, first: int
    ) -> None:
        """Write a launch's row, or leave it out where launches are sampled."""
        thread = self.thread
        every = 1 if first or operation != "cudaLaunchKernel" else self.sample_every
        if every > 1 and thread.random.random() * every >= 1:
            thread.depth -= 1
            return
        if self.nested and operation == "cudaLaunchKernel":
            # The driver's call lies inside: 1 us after the begin, until now.
            inside = begun[0] + min(US, thread.now - begun[0]), *begun[1:]
            thread.depth += 1
            thread.end(
                inside,
                "cuLaunchKernel",
                layer="cuda_driver",
                address=function,
                first=first,
                parent=operation,
                weight=float(every),
            )
        thread.end(begun, operation, address=function, first=first, weight=float(every))

    def _first(self, function: int | str) -> int:
        if function in self._seen:
            return 0
        self._seen.add(function)
        return 1
