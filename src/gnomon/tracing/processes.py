"""Which processes are traced: those that were asked for, as /proc shows them.

A process is one (pid, start time): a number that is used again is another process. What was once
a target stays one until it ends, whatever it calls itself later. Nothing here raises: a process
that cannot be read is gone, or is nobody that we may trace.
"""

import os
import re
import time
from collections.abc import Collection, Iterable, Iterator
from typing import NamedTuple

from gnomon.proc.files import read_text

# A name in /proc/PID/comm has at most this many bytes (TASK_COMM_LEN less its 0).
NAME_BYTES = 15
# The first few seconds of a process decide what it is: it executes, and loads its libraries.
YOUNG_S = 5.0
# Older ones are looked at again after this time; kernel threads only lest their number was reused.
OLD_EVERY_S, IGNORED_EVERY_S = 4.0, 60.0
# PF_KTHREAD of include/linux/sched.h
KERNEL_THREAD = 0x0020_0000
TICKS_PER_S = os.sysconf("SC_CLK_TCK")
GPU_DEVICE = re.compile(r"/dev/nvidia(\d+|ctl)")
DRIVER_LIBRARY = "/libcuda.so"


class Wanted(NamedTuple):
    """What the user asked for; a process is wanted for any one of these reasons.

    ``names`` are compared whole with the name that `ps -o comm` shows (its first 15 bytes): never
    with a command line. ``every_gpu_process``: those that map libcuda.so, or have a GPU's device
    open. ``is_launched``: the pids were started for this trace, so that their children are seen
    from the first call on. ``despite_seccomp``: probe returns even where that may end the process.
    """

    pids: tuple[int, ...] = ()
    names: tuple[str, ...] = ()
    every_gpu_process: bool = False
    follow_children: bool = True
    is_launched: bool = False
    despite_seccomp: bool = False


class Target(NamedTuple):
    """A traced process; ``pid`` as our own /proc has it, ``namespace_pid`` as it sees itself."""

    pid: int
    start_ticks: int
    name: str
    namespace_pid: int


class Process(NamedTuple):
    """/proc/PID/stat. ``image`` and ``size_bytes`` tell that it executed, or mapped something.

    ``image`` is where its stack begins, which is random; 0 where we may not know.
    """

    pid: int
    parent_pid: int
    start_ticks: int
    name: str
    size_bytes: int
    image: int
    is_kernel_thread: bool

    @property
    def identity(self) -> tuple[int, int]:
        """What no other process has: (pid, start time in ticks since boot)."""
        return self.pid, self.start_ticks

    def age_s(self) -> float:
        """Since it began, in seconds."""
        return time.clock_gettime(time.CLOCK_BOOTTIME) - self.start_ticks / TICKS_PER_S


def find(wanted: Wanted, exclude: Collection[int]) -> list[Target]:
    """The processes wanted that run now, without the pids ``exclude``."""
    return [target_of(process) for process in Finder(wanted, exclude).find()]


def target_of(process: Process, proc: str = "/proc") -> Target:
    """What is told of a process to those who trace it."""
    namespace_pid = _namespace_pid(process.pid, proc)
    return Target(process.pid, process.start_ticks, process.name, namespace_pid)


def read_process(pid: int, proc: str = "/proc") -> Process | None:
    """A process that runs; None where there is none, or only what a dead one left."""
    try:
        head, _, tail = read_text(f"{proc}/{pid}/stat").rpartition(")")
        fields = tail.split()
        if fields[0] in {"Z", "X"}:
            return None
        flags = int(fields[6])
        return Process(
            pid,
            parent_pid=int(fields[1]),
            start_ticks=int(fields[19]),
            name=head.partition("(")[2],
            size_bytes=int(fields[20]),
            image=int(fields[25]),
            is_kernel_thread=bool(flags & KERNEL_THREAD),
        )
    except (OSError, ValueError, IndexError):
        return None


class _Seen(NamedTuple):
    """A process, and when it was looked at, in seconds since boot."""

    process: Process
    looked_s: float

    def is_due(self, now_s: float) -> bool:
        is_young = now_s - self.process.start_ticks / TICKS_PER_S < YOUNG_S
        return is_young or now_s - self.looked_s >= OLD_EVERY_S


class Finder:
    """Finds targets again and again, and reads no more of /proc each time than it must."""

    def __init__(self, wanted: Wanted, exclude: Collection[int], proc: str = "/proc") -> None:
        self._wanted, self._exclude, self._proc = wanted, frozenset(exclude), proc
        self._names = {os.fsencode(name)[:NAME_BYTES] for name in wanted.names}
        # By the name of the folder, which is the pid.
        self._seen: dict[str, _Seen] = {}
        self._targets: dict[str, Process] = {}
        # Threads of the kernel, and what is no process at all.
        self._ignored: set[str] = set()
        self._ignored_s = 0.0
        self._checked: dict[int, Process] = {}
        # Only who has the number now is meant, not who gets it later.
        for pid in set(wanted.pids) - self._exclude:
            process = read_process(pid, proc)
            if process is not None:
                self._targets[str(pid)] = process
        self.missing_pids = sorted(set(wanted.pids) - set(map(int, self._targets)))

    def find(self) -> list[Process]:
        """The targets that run now, in order of their numbers."""
        fresh = self._look()
        self._follow()
        found = [process for process in fresh if self._is_wanted(process)]
        self._targets |= {str(process.pid): process for process in found}
        if self._wanted.follow_children and (found or self._has_child(fresh)):
            processes = [one for one in self.others() if one.pid not in self._exclude]
            children = _descendants(processes, self._targets.values())
            self._targets |= {str(process.pid): process for process in children}
        return sorted(self._targets.values())

    def others(self) -> list[Process]:
        """Those that are no targets, as of the last `find`; threads of the kernel apart."""
        return [seen.process for pid, seen in self._seen.items() if pid not in self._targets]

    def _look(self) -> list[Process]:
        """Read those that are new, young, targets, or not looked at for some time."""
        now_s = time.clock_gettime(time.CLOCK_BOOTTIME)
        listed = set(_entries(self._proc))
        if now_s - self._ignored_s >= IGNORED_EVERY_S:
            self._ignored, self._ignored_s = set(), now_s
        self._ignored &= listed
        for pid in self._seen.keys() - listed:
            del self._seen[pid]
            self._checked.pop(int(pid), None)
        due = [
            pid for pid, seen in self._seen.items() if pid in self._targets or seen.is_due(now_s)
        ]
        fresh = []
        for name in (*(listed - self._seen.keys() - self._ignored), *due):
            process = read_process(int(name), self._proc) if name.isdecimal() else None
            self._seen.pop(name, None)
            if process is not None and not process.is_kernel_thread:
                self._seen[name] = _Seen(process, now_s)
                fresh.append(process)
            elif process is not None or not name.isdecimal():
                self._ignored.add(name)
        return fresh

    def _follow(self) -> None:
        """Keep the targets that still run, as they are now."""
        for pid, target in list(self._targets.items()):
            seen = self._seen.get(pid)
            if seen is None or seen.process.identity != target.identity:
                del self._targets[pid]
            else:
                self._targets[pid] = seen.process

    def _is_wanted(self, process: Process) -> bool:
        if process.pid in self._exclude or str(process.pid) in self._targets:
            return False
        if self._names and os.fsencode(process.name) in self._names:
            return True
        return self._wanted.every_gpu_process and self._newly_uses_gpu(process)

    def _newly_uses_gpu(self, process: Process) -> bool:
        """Look only where something was mapped or unmapped since the last look."""
        if self._checked.get(process.pid) == process:
            return False
        self._checked[process.pid] = process
        return uses_gpu(process.pid, self._proc)

    def _has_child(self, processes: Iterable[Process]) -> bool:
        return any(
            str(process.parent_pid) in self._targets and str(process.pid) not in self._targets
            for process in processes
        )


def uses_gpu(pid: int, proc: str = "/proc") -> bool:
    """Whether a process maps the CUDA driver, or has the device of a GPU open."""
    try:
        if DRIVER_LIBRARY in read_text(f"{proc}/{pid}/maps"):
            return True
    except OSError:
        return False
    return any(map(GPU_DEVICE.fullmatch, _open_files(f"{proc}/{pid}/fd")))


def is_under_seccomp(pid: int, proc: str = "/proc") -> bool:
    """Whether a filter decides on the system calls of a process."""
    return _status(pid, "Seccomp", proc) == "2"


def _descendants(processes: Iterable[Process], ancestors: Iterable[Process]) -> list[Process]:
    children: dict[int, list[Process]] = {}
    for process in processes:
        children.setdefault(process.parent_pid, []).append(process)
    found = []
    parents = list(ancestors)
    while parents:
        parent = parents.pop()
        # An older one is the child of somebody who had this number before.
        born = [
            one for one in children.pop(parent.pid, ()) if one.start_ticks >= parent.start_ticks
        ]
        found += born
        parents += born
    return found


def _open_files(folder: str) -> Iterator[str]:
    for name in _entries(folder):
        try:
            yield os.readlink(f"{folder}/{name}")  # noqa: PTH115 - for thousands
        except OSError:
            continue


def _entries(folder: str) -> list[str]:
    try:
        return os.listdir(folder)  # noqa: PTH208 - for thousands
    except OSError:
        return []


def _namespace_pid(pid: int, proc: str) -> int:
    numbers = _status(pid, "NSpid", proc).split()
    return int(numbers[-1]) if numbers and numbers[-1].isdecimal() else pid


def _status(pid: int, field: str, proc: str) -> str:
    try:
        text = read_text(f"{proc}/{pid}/status")
    except OSError:
        return ""
    return text.partition(f"\n{field}:")[2].partition("\n")[0].strip()
