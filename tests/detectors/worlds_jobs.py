"""What healthy workloads do, step by step: training, serving, batches; one ``Job`` a rank."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from random import Random
from typing import Any

from tests.detectors.worlds_machine import MS, SECOND, US, Gpu, Stream, Thread, Who

KINDS = ("training", "decode_server", "idle_server", "batch_inference", "eager_small")
# Rows of calls that a world of 20 s may have, about.
CALLS = 18_000
LAUNCH_NS = 20 * US  # of a thread, with the Python around it
VRAM_BYTES = 150_754_820_096


@dataclass(frozen=True)
class Knobs:
    """What differs between healthy worlds; ``launches`` a step, ``ahead``: steps kept in flight.

    ``follow``: whose stays off the CPU are recorded ("all", "dispatch", "none"); ``classes``:
    whether their kind is. ``python_pct``: of a step, on the CPU between a wait and its launches.

    The last ones are plain unless asked for (``World.varied``): a thread of its own that copies
    batches in, one that looks after collectives, a process that serves; whether rows name their
    host, and which stays off the CPU were kept ("all" or "long"); how an idle server ``polls``: it
    spins until requests come "seldom" or "evenly", else it sleeps; ``names`` of threads, processes
    and files: "usual", "treacherous" (all are called as data loaders are), or "plain" (none is);
    whether batches come through a thread that pins them.
    """

    kind: str
    step_ns: int
    launches: int
    graph: bool
    ahead: int
    ranks: int
    hosts: int
    blocking: bool
    follow: str
    classes: bool
    counters: bool
    sample_every: int
    nested: bool
    from_start: bool
    stacks: bool
    workers: int
    python_pct: float
    copy_bytes: int
    functions: int
    checkpoint_every_s: float
    collective_ns: int
    marks: bool
    prefetcher: bool = False
    watchdog: bool = False
    api_server: bool = False
    named_host: bool = True
    stays_kept: str = "all"
    polls: str = ""
    names: str = "usual"
    pinning: bool = False


def variation(random: Random) -> dict[str, object]:
    """Draw what is plain by default."""
    return {
        "prefetcher": random.random() < 0.3,
        "watchdog": random.random() < 0.3,
        "api_server": random.random() < 0.3,
        "named_host": random.random() < 0.5,
        "stays_kept": random.choice(("all", "all", "long")),
        "polls": random.choice(("", "seldom", "evenly")),
        "names": random.choice(("usual", "treacherous", "plain")),
        "pinning": random.random() < 0.3,
    }


def healthy_knobs(kind: str, random: Random, seconds: float) -> Knobs:
    """Draw what a healthy workload of this kind may be."""
    step_ns = int(10 ** random.uniform(*SHORTEST_LONGEST[kind]))
    graph = kind in {"decode_server", "batch_inference"} and random.random() < 0.7
    room = CALLS / (seconds * SECOND / step_ns) - 7
    enough = int(min(400, room, 0.4 * step_ns / LAUNCH_NS))
    if enough < 3:
        graph = True
    ranks = random.choice((1, 1, 2, 4)) if kind == "training" else 1
    follow = random.choice(("all", "all", "dispatch", "none"))
    return Knobs(
        kind=kind,
        step_ns=step_ns,
        launches=1 if graph else max(3, enough // ranks),
        graph=graph,
        ahead=random.choice((0, 0, 1)),
        ranks=ranks,
        hosts=random.choice((1, ranks)),
        blocking=random.random() < 0.25,
        follow=follow,
        classes=random.random() < 0.75,
        counters=random.random() < 0.7,
        sample_every=random.choice((1, 1, 1, 4, 10)),
        nested=random.random() < 0.15,
        from_start=random.random() < 0.3,
        stacks=random.random() < 0.6,
        workers=random.choice((0, 2, 8)),
        python_pct=random.uniform(0.2, 2.0),
        copy_bytes=int(min(10 ** random.uniform(4, 8), 0.01 * step_ns * 50)),
        functions=random.randint(8, 60),
        checkpoint_every_s=random.uniform(6, 15),
        collective_ns=int(step_ns * random.uniform(0.01, 0.1)),
        marks=random.random() < 0.3,
    )


# What things are called where it is not as usual; files are in ``worlds_tables``.
NAMES = {
    "usual": {},
    "plain": {"pt_data_worker": "python3", "pt_data_pin": "python3"},
    "treacherous": {
        "python3": "dali_train",
        "poller": "prefetch_worker",
        "APIServer": "data_loader_api",
        "asyncio_0": "tf_data_loader",
    },
}

# Length of a step, log10 of ns.
SHORTEST_LONGEST = {
    "training": (7.3, 9.0),
    "decode_server": (6.7, 7.8),
    "idle_server": (6.7, 7.8),
    "batch_inference": (7.3, 8.7),
    "eager_small": (7.0, 7.7),
}


@dataclass
class Job:
    """One process that feeds one GPU, and the threads around it."""

    knobs: Knobs
    rank: int | None
    host: str
    random: Random
    gpu: Gpu
    thread: Thread
    stream: Stream
    new_thread: Callable[[Who], Thread]
    end_ns: int
    stall: Callable[[Job], None]
    workers: list[Thread] = field(default_factory=list)
    allocations: list[tuple[int, int]] = field(default_factory=list)
    steps: list[int] = field(default_factory=list)
    pollers: list[Thread] = field(default_factory=list)
    companions: dict[str, Thread] = field(default_factory=dict)
    # What a checkpoint, a log line or a garbage collection is due at.
    due_ns: dict[str, int] = field(default_factory=dict)
    last_end_ns: int = 0
    next_address: int = 0x7F30_0000_0000
    memory: dict[str, Any] = field(default_factory=dict)

    @property
    def pid(self) -> int:
        return self.thread.who.pid

    def name(self, what: str) -> str:
        """Return what a thread is called in this world."""
        return NAMES[self.knobs.names].get(what, what)

    def worker(self, number: int) -> Thread:
        """Return a loader's thread; there is one where nobody asked for loaders."""
        if not self.workers:
            who = Who(self.pid + 500, self.pid + 500, self.name("pt_data_worker"))
            self.workers.append(self.new_thread(who))
        return self.workers[number % len(self.workers)]

    def is_due(self, what: str, every_s: float) -> bool:
        """Tell whether something periodic is due, and when next."""
        now = self.thread.now
        if now < self.due_ns.setdefault(what, now + int(every_s * SECOND * self.random.random())):
            return False
        self.due_ns[what] = now + int(every_s * SECOND * self.random.uniform(0.9, 1.1))
        return True


def run(job: Job) -> Iterator[None]:
    """Do a job, step by step; stops at a collective until all ranks have come."""
    start_up(job)
    if job.knobs.kind == "idle_server":
        yield from serve_seldom(job)
        return
    while job.thread.now < job.end_ns:
        step(job)
        yield
        finish(job)
        routine(job)


def start_up(job: Job) -> None:
    """Create the context, load what the first step uses, allocate; or be attached to later."""
    knobs, thread = job.knobs, job.thread
    draw = thread.spreads.around
    if not knobs.from_start:
        return
    thread.call("cudaFree", draw(120 * MS, 0.1), nbytes=0, first=1)
    for _ in range(job.random.randint(4, 20)):
        allocate(job, 1 << job.random.randint(21, 33))
        thread.run(draw(100 * US))
    job.stream.loading_ns = job.random.randint(100, 700) * US


def allocate(job: Job, nbytes: int, ns: int = 150 * US) -> int:
    """Allocate device memory; returns its address."""
    job.next_address += nbytes
    job.thread.call(
        "cudaMalloc", job.thread.spreads.around(ns), nbytes=nbytes, address=job.next_address
    )
    job.allocations.append((job.thread.now, nbytes))
    return job.next_address


def release(job: Job, address: int, nbytes: int, ns: int = 120 * US) -> None:
    """Free device memory."""
    job.thread.call("cudaFree", job.thread.spreads.around(ns), nbytes=nbytes, address=address)
    job.allocations.append((job.thread.now, -nbytes))


def step(job: Job) -> None:
    """Fetch, copy in, launch: until the collective, where there are ranks."""
    knobs, thread, stream = job.knobs, job.thread, job.stream
    draw = thread.spreads.around
    job.steps.append(thread.now)
    fetch(job)
    python_ns = draw(knobs.step_ns * knobs.python_pct / 100)
    # A thread that runs a step ahead may take its time.
    thread.run(python_ns * (6 if knobs.ahead else 1))
    job.stall(job)
    if knobs.kind in {"decode_server", "idle_server"}:
        for _ in range(4):
            stream.copy(draw(2048), "h2d")
    elif knobs.prefetcher:
        prefetch(job, draw(knobs.copy_bytes, 0.03))
    else:
        stream.copy(draw(knobs.copy_bytes, 0.03), "h2d")
    busy_ns = knobs.step_ns * 0.97 - (knobs.collective_ns if knobs.ranks > 1 else 0)
    if knobs.graph:
        stream.launch(draw(busy_ns, 0.03), 1, "cudaGraphLaunch")
        return
    kernel_ns = busy_ns / knobs.launches
    for number in range(knobs.launches):
        thread.run(draw(8 * US))
        stream.launch(draw(kernel_ns, 0.1), number % knobs.functions)


def fetch(job: Job) -> None:
    """Take a batch from the loaders: it is there already, or nearly."""
    if not job.knobs.workers:
        return
    thread = job.thread
    worker = job.workers[len(job.steps) % len(job.workers)]
    if job.random.random() < 0.2:
        waited = min(thread.spreads.around(80 * US), int(0.005 * job.knobs.step_ns))
        thread.sleep(waited, handed_over_by(job, worker, thread.now + waited))
    # The worker reads and decodes the next one meanwhile, then waits for room.
    if worker.now < thread.now:
        worker.sleep(thread.now - worker.now, thread.who)
    worker.read(worker.spreads.around(900 * US))
    worker.run(worker.spreads.around(3 * MS))


def handed_over_by(job: Job, worker: Thread, at_ns: int) -> Who:
    """Return who wakes the thread for a batch: its worker, or a thread that pins what that made."""
    if not job.knobs.pinning:
        return worker.who
    pinner = companion(job, job.name("pt_data_pin"), job.pid)
    pinned_ns = min(50 * US, max(0, at_ns - pinner.now) // 2)
    if pinner.now < at_ns - pinned_ns:
        pinner.sleep(at_ns - pinned_ns - pinner.now, worker.who)
        pinner.now = at_ns
    return pinner.who


def prefetch(job: Job, nbytes: int) -> None:
    """Have another thread copy a batch in, which waits for the next one most of the time."""
    copier = companion(job, "prefetcher", job.pid)
    if copier.now < job.thread.now:
        copier.sleep(job.thread.now - copier.now, job.thread.who)
    stream = job.memory.setdefault("copies", Stream(copier, job.gpu, sample_every=1, nested=False))
    stream.copy(nbytes, "h2d")


def companion(job: Job, name: str, pid: int) -> Thread:
    """Return a thread beside the one that launches; it is there from its first use on."""
    if name not in job.companions:
        number = len(job.companions)
        job.companions[name] = job.new_thread(Who(pid, job.pid + 70 + number, name))
        job.companions[name].now = job.thread.now
    return job.companions[name]


def accompany(job: Job) -> None:
    """Let those beside the thread that launches do what they do."""
    now = job.thread.now
    if job.knobs.watchdog:
        watchdog = companion(job, "watchdog", job.pid)
        while watchdog.now + 100 * MS < now:
            watchdog.sleep(100 * MS)
            for _ in range(3):
                watchdog.call("cudaEventQuery", watchdog.spreads.around(1.5 * US))
    if job.knobs.api_server:
        server = companion(job, job.name("APIServer"), job.pid + 75)
        if server.now < now:
            server.sleep(now - server.now, job.thread.who)
            server.run(server.spreads.around(300 * US))
            server.call("sendto", server.spreads.around(15 * US), layer="socket", nbytes=700)


def finish(job: Job) -> None:
    """Wait for the results of this step, or of the one before where one is kept in flight."""
    knobs, thread, stream = job.knobs, job.thread, job.stream
    if knobs.kind == "batch_inference" and not knobs.ahead:
        stream.copy(thread.spreads.around(knobs.copy_bytes / 4, 0.03), "d2h", wait=True)
    elif knobs.ahead:
        stream.synchronize(job.last_end_ns, "cudaEventSynchronize")
    else:
        stream.copy(thread.spreads.around(64), "d2h")
        stream.synchronize()
    job.last_end_ns = job.gpu.free_at
    if knobs.kind == "decode_server":
        thread.call("sendto", thread.spreads.around(12 * US), layer="socket", nbytes=512)


def routine(job: Job) -> None:
    """Do what is due now and then: logs, garbage, checkpoints, a growing cache."""
    thread, draw = job.thread, job.thread.spreads.around
    if job.is_due("log", 2.0):
        thread.run(draw(60 * US))
        if job.random.random() < 0.1:
            thread.read(draw(300 * US))
    if job.is_due("garbage", 3.0):
        thread.run(draw(4 * MS))
    if job.is_due("cache", 5.0) and job.random.random() < 0.3:
        allocate(job, 1 << job.random.randint(21, 26))
    saves = job.knobs.kind == "training" and job.rank in {None, 0}
    if saves and job.is_due("checkpoint", job.knobs.checkpoint_every_s):
        checkpoint(job)
    accompany(job)
    for poller in job.pollers:
        while poller.now + 100 * MS < thread.now:
            poller.sleep(100 * MS + poller.spreads.around(80 * US))
            poller.run(poller.spreads.around(20 * US))


def checkpoint(job: Job) -> None:
    """Copy parameters out and write them: some tens of milliseconds."""
    thread, draw = job.thread, job.thread.spreads.around
    for _ in range(4):
        job.stream.copy(32 << 20, "d2h", rate=12e9)
        thread.run(draw(300 * US))
        thread.read(draw(1.5 * MS))


def serve_seldom(job: Job) -> Iterator[None]:
    """Wait for requests, answer one now and then."""
    thread = job.thread
    api = job.new_thread(Who(job.pid - 40, job.pid - 40, job.name("APIServer")))
    while thread.now < job.end_ns:
        until_ns = int(job.random.expovariate(1) * 1.5 * SECOND) + 20 * MS
        if job.knobs.polls:
            thread.run(until_ns if job.knobs.polls == "seldom" else 400 * MS)
        else:
            thread.sleep(until_ns, api.who)
        for _ in range(6 if job.knobs.polls == "evenly" else job.random.randint(3, 12)):
            step(job)
            yield
            finish(job)
        routine(job)
