"""Faults with a known cost: what each does to a step, and what it took."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from tests.detectors.worlds_jobs import VRAM_BYTES, Job, allocate, handed_over_by, release
from tests.detectors.worlds_machine import MS, SECOND, US, Thread, Who

CAUSES = (
    "cold_start",
    "first_use_loading",
    "transfer_size",
    "transfer_rate",
    "cpu_contention",
    "host_bound",
    "launch_bound",
    "io_wait",
    "voluntary_wait",
    "input_pipeline_stall",
    "lock_contention",
    "synchronization",
    "collective_straggler",
    "allocator_thrash",
    "memory_leak",
    "oom",
    "host_memory_spill",
    "busy_without_throughput",
    "data_loss",
)
BACKUP = Who(9001, 9001, "backup.sh")
FASTEST_LINK = 50e9
NEXT_DATA, TAKE_GIL, SLEEP, SWAP = 101, 102, 103, 104


@dataclass
class Fault:
    """A cause that takes ``share`` of the time in [from_ns, to_ns], of one rank or of all.

    ``lost_ns`` sums up what it took; ``stretches`` are when, for each job.
    """

    cause: str
    share: float
    from_ns: int
    to_ns: int
    rank: int | None = None
    mode: str = ""
    lost_ns: dict[int, int] = field(default_factory=dict)
    stretches: dict[int, list[tuple[int, int]]] = field(default_factory=dict)
    debt_ns: dict[int, float] = field(default_factory=dict)
    count: int = 0

    def stall(self, job: Job) -> None:
        """Do to a job what one step of it suffers."""
        now = job.thread.now
        if self.cause not in STALLS or not self.from_ns <= now < self.to_ns:
            return
        if self.rank is not None and job.rank != self.rank:
            return
        key = job.thread.number
        due = job.knobs.step_ns * self.share / (1 - self.share) + self.debt_ns.get(key, 0.0)
        lost = STALLS[self.cause](self, job, int(due))
        # What came out longer or shorter than asked for is made up for by the next step.
        self.debt_ns[key] = due - lost
        if lost and self.cause != "collective_straggler":
            self.lost_ns[key] = self.lost_ns.get(key, 0) + lost
            self.stretches.setdefault(key, []).append((now, job.thread.now))


def _contend(_: Fault, job: Job, ns: int) -> int:
    """Have the CPU taken away, every other time inside a launch."""
    thread, lost = job.thread, 0
    while ns - lost > 100 * US:
        piece = min(ns - lost, job.random.randint(1 * MS, 6 * MS))
        thread.run(20 * US)
        if job.random.random() < 0.5:
            thread.preempted(piece, BACKUP)
        else:
            begun = thread.begin()
            thread.run(3 * US)
            thread.preempted(piece, BACKUP)
            job.gpu.enqueue(thread.now, 2 * US)
            thread.end(begun, "cudaLaunchKernel", address=1)
        lost += piece
    return lost


def _compute(_: Fault, job: Job, ns: int) -> int:
    begin = job.thread.now
    job.thread.run(max(0, ns))
    return job.thread.now - begin


def _launch_short(_: Fault, job: Job, ns: int) -> int:
    """Launch kernels that last a tenth of what it takes to ask for them."""
    thread, begin, number = job.thread, job.thread.now, 0
    while thread.now - begin < ns:
        thread.run(thread.spreads.around(8 * US))
        job.stream.launch(US, number % 40)
        number += 1
    return thread.now - begin


def _read_disk(fault: Fault, job: Job, ns: int, stack: int | None = None) -> int:
    """Miss the page cache again and again: each time one request of its own."""
    thread, lost = job.thread, 0
    while ns - lost > 100 * US:
        piece = min(ns - lost, job.random.randint(300 * US, 1500 * US))
        thread.run(15 * US)
        begun = (thread.now + 5 * US, 0, 0, 0, 0)
        thread.read(piece, stack)
        thread.rows.calls.append(_block_read(thread, begun[0], job.random.randint(1, 32) * 4096))
        lost += piece
        fault.count += 1
    return lost


def _block_read(thread: Thread, begin: int, nbytes: int) -> tuple:
    """Return a row of a block request, which is done shortly before the thread runs again."""
    end = thread.now - 8 * US
    nothing = (None,) * 2
    return (
        end,
        end - begin,
        thread.number,
        "block_io",
        "block_read",
        *nothing,
        nbytes,
        *(None,) * 10,
        "all",
        1.0,
    )


def _swap(fault: Fault, job: Job, ns: int) -> int:
    """Wait for pages that were swapped out; the spill itself is of managed memory."""
    if not fault.count:
        job.thread.call("cudaMallocManaged", 900 * US, nbytes=int(1.2 * VRAM_BYTES), address=99)
    job.memory["spilled"] = True
    return _read_disk(fault, job, ns, SWAP)


def _sleep(_: Fault, job: Job, ns: int) -> int:
    begin = job.thread.now
    job.thread.sleep(max(100 * US, ns) + job.thread.spreads.around(20 * US), stack=SLEEP)
    return job.thread.now - begin


def _starve(fault: Fault, job: Job, ns: int) -> int:
    """Wait for the next batch: its loader is still decoding it, or reading it ("disk")."""
    begin = job.thread.now
    worker = job.worker(len(job.steps))
    if fault.mode == "thread":
        readers = job.memory.setdefault("readers", [])
        if not readers:
            readers.append(job.new_thread(Who(job.pid, job.pid + 61, "reader")))
            readers[0].now = begin - 100 * US
        worker = readers[0]
    if worker.now < begin - 50 * US:
        worker.sleep(begin - 50 * US - worker.now, job.thread.who)
    waker = handed_over_by(job, worker, begin + max(100 * US, ns))
    job.thread.sleep(max(100 * US, ns), waker, NEXT_DATA)
    if fault.mode and worker.now < job.thread.now - 60 * US:
        worker.read(job.thread.now - 20 * US - worker.now)
    worker.now = job.thread.now
    return job.thread.now - begin


def _lock(fault: Fault, job: Job, ns: int) -> int:
    """Wait for the interpreter's lock, which another thread of the process holds for 5 ms."""
    holders = job.memory.setdefault("holders", [])
    if not holders:
        holders.append(job.new_thread(Who(job.pid, job.pid + 60, job.name("asyncio_0"))))
        holders[0].now = job.thread.now
    holder, thread, lost = holders[0], job.thread, 0
    if thread.now > holder.now:
        holder.sleep(thread.now - holder.now, thread.who, TAKE_GIL)
    while ns - lost > 100 * US:
        piece = min(ns - lost, thread.spreads.around(5 * MS, 0.03))
        thread.sleep(piece, holder.who, TAKE_GIL)
        thread.run(40 * US)
        lost += piece
    holder.now = thread.now
    fault.count += 1
    return lost


def _synchronize(_: Fault, job: Job, ns: int) -> int:
    """Wait for each small kernel, and let the GPU run dry before the next."""
    thread, lost = job.thread, 0
    while lost < ns:
        job.stream.launch(40 * US, 1)
        job.stream.synchronize()
        begin = thread.now
        thread.run(thread.spreads.around(250 * US))
        lost += thread.now - begin + int(job.stream.launch_ns)
    return lost


def _allocate(_: Fault, job: Job, ns: int) -> int:
    begin = job.thread.now
    while job.thread.now - begin < ns - 400 * US:
        address = allocate(job, 64 << 20, 600 * US)
        release(job, address, 64 << 20, 400 * US)
    return job.thread.now - begin


def _copy_small(_: Fault, job: Job, ns: int) -> int:
    """Copy in pieces of 16 KiB what one copy would bring in less time."""
    thread, lost, nbytes = job.thread, 0, 16 << 10
    while lost < ns:
        begun = thread.begin()
        thread.run(thread.spreads.around(40 * US, 0.1))
        thread.end(begun, "cudaMemcpy", nbytes=nbytes, direction="h2d")
        lost += thread.now - begun[0] - int(nbytes / FASTEST_LINK * SECOND)
    return lost


def _copy_slowly(_: Fault, job: Job, ns: int) -> int:
    """Copy from pageable memory, at 3 GB/s."""
    rate = 3e9
    nbytes = int(max(4 << 20, ns / SECOND / (1 / rate - 1 / FASTEST_LINK)))
    begin = job.thread.now
    job.stream.copy(nbytes, "h2d", wait=True, rate=rate)
    return job.thread.now - begin - int(nbytes / FASTEST_LINK * SECOND)


def _load(fault: Fault, job: Job, ns: int) -> int:
    """Launch functions that were never launched before, each of which takes 40 ms to load."""
    stream, lost = job.stream, 0
    usual, stream.loading_ns = stream.loading_ns, 40 * MS
    while ns - lost > 40 * MS:
        fault.count += 1
        begin = job.thread.now
        stream.launch(20 * US, 10_000 + fault.count)
        lost += job.thread.now - begin - int(stream.launch_ns)
    stream.loading_ns = usual
    return lost


def _initialise(fault: Fault, job: Job, _: int) -> int:
    """Create the context at the first step, for a share of the whole window."""
    if job.memory.setdefault("initialised", False):
        return 0
    job.memory["initialised"] = True
    fault.count += 1
    begin = job.thread.now
    whole = fault.share * (fault.to_ns - fault.from_ns)
    job.thread.call("cudaFree", int(whole), nbytes=0, first=1)
    return job.thread.now - begin


def _leak(fault: Fault, job: Job, _: int) -> int:
    """Allocate and never free: ``share`` of the GPU's memory over the window."""
    so_far = (job.thread.now - fault.from_ns) / (fault.to_ns - fault.from_ns)
    leaked = job.memory.setdefault("leaked", 0)
    nbytes = int(fault.share * VRAM_BYTES * so_far) - leaked
    if nbytes > fault.share * VRAM_BYTES / 80:
        allocate(job, nbytes)
        job.memory["leaked"] = leaked + nbytes
        fault.count += nbytes
    return 0


def _run_out(fault: Fault, job: Job, _: int) -> int:
    """Fail to allocate, three times, in the last tenth of the window."""
    late = job.thread.now > fault.from_ns + 0.9 * (fault.to_ns - fault.from_ns)
    if late and fault.count < 3:
        fault.count += 1
        job.thread.call("cudaMalloc", 2 * MS, nbytes=80 << 30, code=2)
    return 0


def _straggle(fault: Fault, job: Job, ns: int) -> int:
    """Come late to the collective: with the launches, or with the kernels alone."""
    if fault.mode == "gpu":
        job.gpu.enqueue(job.thread.now, ns)
        return ns
    return _compute(fault, job, ns)


STALLS: dict[str, Callable[[Fault, Job, int], int]] = {
    "cold_start": _initialise,
    "first_use_loading": _load,
    "transfer_size": _copy_small,
    "transfer_rate": _copy_slowly,
    "cpu_contention": _contend,
    "host_bound": _compute,
    "launch_bound": _launch_short,
    "io_wait": _read_disk,
    "voluntary_wait": _sleep,
    "input_pipeline_stall": _starve,
    "lock_contention": _lock,
    "synchronization": _synchronize,
    "collective_straggler": _straggle,
    "allocator_thrash": _allocate,
    "memory_leak": _leak,
    "oom": _run_out,
    "host_memory_spill": _swap,
}
