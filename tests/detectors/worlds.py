"""Worlds with known truth: a small simulator of workloads, healthy or with faults of known cost.

It knows nothing of the detectors. Threads run on clocks of their own and feed in-order GPUs
(``worlds_machine``), as workloads do (``worlds_jobs``), until something goes wrong
(``worlds_faults``); what a recorder would have seen is written as a real recording
(``worlds_tables``).

    world = World(7, "training", seconds=20).with_fault("cpu_contention", share=0.2)
    recording = world.record(tmp_path)
    world.truth[0].lost_seconds
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from random import Random

from gnomon.recording.reader import Recording
from gnomon.recording.writer import RecordingWriter
from tests.detectors import worlds_tables
from tests.detectors.worlds_faults import CAUSES, Fault
from tests.detectors.worlds_jobs import KINDS, NAMES, Job, Knobs, healthy_knobs, run, variation
from tests.detectors.worlds_machine import MS, SECOND, US, Gpu, Rows, Spreads, Stream, Thread, Who

BEGIN_NS = 1_795_300_000 * SECOND
# Nothing of it is lost to the GPU where the thread runs ahead of it.
NEEDS_RANKS = ("collective_straggler",)
NEEDS_START = ("cold_start",)


@dataclass(frozen=True)
class Truth:
    """What a fault did: seconds of the thread (of all waiting ranks for a straggler), and when.

    ``gpu_idle_seconds``: of them, those in which the thread's GPU had nothing to do.
    """

    cause: str
    host: str
    pid: int
    tid: int
    rank: int | None
    lost_seconds: float
    gpu_idle_seconds: float
    from_ns: int
    to_ns: int
    count: int = 0


class World:
    """A workload of one kind, its healthy side drawn from the seed, any of it overridden."""

    def __init__(
        self, seed: int, kind: str = "", seconds: float = 20.0, **overridden: object
    ) -> None:
        """``overridden``: names of ``Knobs``, and what they shall be instead."""
        self.seed = seed
        self.seconds = seconds
        self.random = Random(seed)
        self.kind = kind or self.random.choice(KINDS)
        self.overridden = overridden
        self.faults: tuple[Fault, ...] = ()
        self.begin_ns = BEGIN_NS + seed * SECOND
        self.end_ns = self.begin_ns + int(seconds * SECOND)
        self.rows = Rows()
        self.threads: list[Thread] = []
        self.jobs: list[Job] = []
        self._homes: dict[int, int] = {}

    @classmethod
    def varied(cls, seed: int, kind: str = "", seconds: float = 20.0) -> World:
        """Return a healthy world in which nothing is plain that can be otherwise."""
        return cls(seed, kind, seconds, **variation(Random(f"{seed} variation")))

    def with_fault(
        self,
        cause: str,
        share: float = 0.2,
        from_s: float = 0.0,
        to_s: float | None = None,
        rank: int | None = None,
        mode: str = "",
    ) -> World:
        """Return this world with a fault that takes a share of the time in [from_s, to_s].

        ``rank``: of one rank only; ``mode`` "gpu" makes a straggler slow on its GPU alone.
        """
        if cause not in CAUSES:
            raise ValueError(f"no fault {cause!r}; there are {', '.join(CAUSES)}")
        wanted: dict[str, object] = {"ahead": 0}
        if cause in NEEDS_RANKS:
            wanted |= {"ranks": 4}
            rank = 3 if rank is None else rank
        if cause in NEEDS_START:
            wanted |= {"from_start": True}
        world = World(self.seed, self.kind, self.seconds, **(wanted | self.overridden))
        to_s = self.seconds if to_s is None else to_s
        begin, end = (self.begin_ns + int(at * SECOND) for at in (from_s, to_s))
        world.faults = (*self.faults, Fault(cause, share, begin, end, rank, mode))
        return world

    @cached_property
    def knobs(self) -> Knobs:
        """What this world is like."""
        drawn = healthy_knobs(self.kind, Random(self.seed), self.seconds)
        return replace(drawn, **self.overridden)  # type: ignore[arg-type]

    @cached_property
    def hosts(self) -> list[str]:
        return [f"node-{number}" for number in range(self.knobs.hosts)]

    @property
    def truth(self) -> list[Truth]:
        """What each fault cost, thread by thread; runs the world where it has not run yet."""
        self.run()
        return [one for fault in self.faults for one in self._truths(fault)]

    def record(self, path: Path) -> Recording:
        """Write one recording of all hosts."""
        return self._record(path, None)

    def record_each(self, path: Path) -> list[Recording]:
        """Write a recording a host, each by its own clock (see ``clock_error``)."""
        return [self._record(path / host, host) for host in self.hosts]

    def clock_error(self, host: str | None) -> int:
        """Return how far a host's clock is ahead of the first one's, ns; 0 in one recording."""
        if host is None or host == self.hosts[0]:
            return 0
        return Random(f"{self.seed} {host}").randint(-20 * MS, 20 * MS)

    def run(self) -> None:
        """Let it happen."""
        if self.jobs:
            return
        self.jobs += [self._job(rank) for rank in range(self.knobs.ranks)]
        steps = [run(job) for job in self.jobs]
        sequence = 0
        while all(next(one, self) is not self for one in steps):
            if self.knobs.ranks > 1:
                self._collective(sequence)
                sequence += 1
        self._aftermath()

    def home_of(self, thread: Thread) -> Job:
        """Return the job that a thread works for."""
        return self.jobs[self._homes[thread.number]]

    def kept_calls(self) -> list[tuple]:
        """Return rows of calls without what the recorder lost."""
        kept = self.rows.calls
        for fault in self.faults:
            if fault.cause == "data_loss":
                kept = [row for row in kept if not _is_lost(fault, row[0])]
        return kept

    def _record(self, path: Path, host: str | None) -> Recording:
        self.run()
        with RecordingWriter(path, host or self.hosts[0]) as writer:
            writer.update_meta(worlds_tables.meta(self, host))
            for table, rows in worlds_tables.batches(self, host).items():
                writer.append(table, rows)
        return Recording.open(path)

    def _job(self, rank: int) -> Job:
        knobs, number = self.knobs, len(self.jobs) + rank
        pid = 4000 + 100 * number
        gpu = Gpu(f"GPU-{rank:08d}")

        def new_thread(who: Who) -> Thread:
            return self._thread(who, rank)

        thread = new_thread(Who(pid, pid, NAMES[knobs.names].get("python3", "python3")))
        thread.now = self.begin_ns + self.random.randint(0, 5 * MS)
        thread.stack = 100
        stream = Stream(thread, gpu, sample_every=knobs.sample_every, nested=knobs.nested)
        stream.blocking = knobs.blocking
        stream.launch_ns = self.random.uniform(4, 9) * US
        if any(one.cause == "busy_without_throughput" for one in self.faults):
            stream.load = "spin"
        job = Job(
            knobs=knobs,
            rank=rank if knobs.ranks > 1 else None,
            host=self.hosts[rank * knobs.hosts // knobs.ranks],
            random=Random(self.seed * 64 + rank),
            gpu=gpu,
            thread=thread,
            stream=stream,
            new_thread=new_thread,
            end_ns=self.end_ns,
            stall=self._stall,
        )
        for index in range(knobs.workers):
            who = Who(pid + 10 + index, pid + 10 + index, job.name("pt_data_worker"))
            job.workers.append(new_thread(who))
        job.pollers.append(new_thread(Who(pid, pid + 1, job.name("poller"))))
        job.pollers.append(new_thread(Who(900 + rank, 900 + rank, "gnomon")))
        return job

    def _thread(self, who: Who, home: int) -> Thread:
        number = len(self.threads)
        draw = Spreads(self.seed * 4096 + number)
        thread = Thread(number, who, self.rows, draw, Random(self.seed * 4096 + number))
        thread.now = self.begin_ns
        self.threads.append(thread)
        self._homes[number] = home
        return thread

    def _stall(self, job: Job) -> None:
        for fault in self.faults:
            fault.stall(job)

    def _collective(self, sequence: int) -> None:
        """Let all ranks enter a collective, and leave it together."""
        ready = []
        for job in self.jobs:
            thread = job.thread
            begin = thread.now
            thread.run(thread.spreads.around(18 * US))
            ready.append(max(thread.now + 2 * US, job.gpu.free_at))
            self.rows.add(
                "nccl_calls",
                ts_ns=thread.now,
                duration_ns=thread.now - begin,
                gpu_uuid=job.gpu.uuid,
                host=job.host,
                process_id=f"{job.host}-{job.pid}",
                pid=job.pid,
                tid=thread.who.tid,
                rank=job.rank,
                world_size=len(self.jobs),
                communicator="world",
                operation="ncclAllReduce",
                sequence=sequence,
                bytes=64 << 20,
                selection="all",
                weight=1.0,
            )
        last = max(ready)
        for job, at in zip(self.jobs, ready, strict=True):
            job.gpu.enqueue(job.thread.now, last - at + self.knobs.collective_ns, "collective")
        for fault in self.faults:
            if fault.cause == "collective_straggler" and fault.from_ns <= last < fault.to_ns:
                key = self.jobs[fault.rank or 0].thread.number
                waited = sum(last - at for at in ready)
                fault.lost_ns[key] = fault.lost_ns.get(key, 0) + waited
                fault.stretches.setdefault(key, []).append((min(ready), last))

    def _aftermath(self) -> None:
        """Write what a recorder says at the end: of memory that ran out, of rows it lost."""
        for fault in self.faults:
            killed = f"the kernel killed process {self.jobs[0].pid} (python3): out of memory"
            if fault.cause == "oom" and fault.mode == "host":
                self.rows.add(
                    "events",
                    ts_ns=fault.to_ns - SECOND,
                    duration_ns=0,
                    kind="oom_kill",
                    severity="critical",
                    source="host",
                    message=killed,
                )
            if fault.cause == "data_loss":
                fault.count = len(self.rows.calls) - len(self.kept_calls())
                self.rows.add(
                    "losses",
                    ts_ns=fault.to_ns,
                    duration_ns=fault.to_ns - fault.from_ns,
                    source="tracer",
                    table="host_calls",
                    rows=fault.count,
                    reason="queue_full",
                )
        if self.knobs.marks:
            job = self.jobs[0]
            tokens = len(job.steps) * 4096.0
            for edge, at in (("begin", self.begin_ns + MS), ("end", self.end_ns)):
                row = {"name": self.kind, "edge": edge, "pid": job.pid}
                row |= {"tokens": tokens} if edge == "end" else {}
                self.rows.add("phases", ts_ns=at, duration_ns=0, **row)

    def _truths(self, fault: Fault) -> Iterator[Truth]:
        for job in self.jobs:
            if fault.rank is not None and job.rank != fault.rank:
                continue
            key = job.thread.number
            stretches = fault.stretches.get(key, [])
            yield Truth(
                cause=fault.cause,
                host=job.host,
                pid=job.pid,
                tid=job.thread.who.tid,
                rank=job.rank,
                lost_seconds=fault.lost_ns.get(key, 0) / SECOND,
                gpu_idle_seconds=job.gpu.idle_ns_in(stretches) / SECOND,
                from_ns=stretches[0][0] if stretches else fault.from_ns,
                to_ns=stretches[-1][1] if stretches else fault.to_ns,
                count=fault.count,
            )


def _is_lost(fault: Fault, ts_ns: int) -> bool:
    """Tell whether a recorder lost this row: by chance, but always the same ones."""
    return fault.from_ns < ts_ns <= fault.to_ns and hash(ts_ns) % 997 < fault.share * 997
