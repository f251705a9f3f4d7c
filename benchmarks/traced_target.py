"""A program that calls functions which do nothing, and gnomon's programs around them.

What is measured is then the cost of tracing alone: an untraced call takes a nanosecond.
"""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Self

from benchmarks.observers import ObserverError
from gnomon.tracing import bpf_syscall, layouts, operations
from gnomon.tracing.btf import read_kernel_btf
from gnomon.tracing.elf import Elf
from gnomon.tracing.programs import Programs
from gnomon.tracing.route import probe_route
from gnomon.tracing.slots import Slots

SOURCES = Path(__file__).parent / "bpf"
# The real libraries are compiled so that a function begins with push %rbp.
FLAGS = ("-O1", "-fcf-protection=none", "-fno-omit-frame-pointer")
PUSH_RBP = b"\x55"
# What a function of the target is taken for, with the arguments that are then read.
OPERATION = {"driver": "cuLaunchKernel", "runtime": "cudaLaunchKernel"}
NEVER_NS = (1 << 64) - 1
RAREST = 1  # of 2^32: what a sample costs, and nothing kept
WARM_UP_CALLS = 200


@dataclass(frozen=True, slots=True)
class Function:
    """A function of the target; ``number``: of the operation that it stands for."""

    name: str
    offset: int
    number: int


class Spent(NamedTuple):
    """Of a call, ns: by the clock on the wall, and of the thread's CPU time."""

    wall_ns: float
    cpu_ns: float


def compile_target(folder: Path) -> Path:
    """Compile the program. Raises ObserverError without a compiler."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        raise ObserverError("no C compiler here: install gcc")
    program = folder / "target"
    subprocess.run([compiler, *FLAGS, str(SOURCES / "target.c"), "-o", str(program)], check=True)
    return program


def functions_of(program: Path) -> Mapping[str, Function]:
    """Find the functions. Raises ObserverError where they begin otherwise than CUDA's."""
    numbers = {one.name: number for number, one in enumerate(operations.OPERATIONS)}
    with program.open("rb") as file:
        elf = Elf(file, str(program))
        found = {one.name: one for one in elf.functions(OPERATION.keys())}
        for function in found.values():
            code = elf.first_bytes(function)
            if not code.startswith(PUSH_RBP):
                raise ObserverError(f"{function.name} begins with {code[:4].hex()}, not push %rbp")
    return {
        name: Function(name, one.file_offset, numbers[OPERATION[name]])
        for name, one in found.items()
    }


class Target:
    """The program, running on one processor. Use in a ``with`` statement."""

    def __init__(self, program: Path, processor: int) -> None:
        self._process = subprocess.Popen(
            [program, str(processor)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.pid = self._process.pid

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._process.kill()
        self._process.communicate()

    def begin(self, function: str, calls: int) -> None:
        """Let it call; ``WARM_UP_CALLS`` more go before."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{function} {calls}\n")
        self._process.stdin.flush()
        self._calls = calls

    def has_ended(self) -> bool:
        """Whether `end` need not wait."""
        return bool(select.select([self._process.stdout], [], [], 0)[0])

    def end(self) -> Spent:
        """Wait for it. Raises ObserverError where it has died."""
        assert self._process.stdout is not None
        words = self._process.stdout.readline().split()
        if len(words) != 2:
            raise ObserverError(f"the target ended with status {self._process.poll()}")
        wall_ns, cpu_ns = (int(word) / self._calls for word in words)
        return Spent(wall_ns, cpu_ns)

    def call(self, function: str, calls: int) -> Spent:
        self.begin(function, calls)
        return self.end()


class Kernel:
    """gnomon's programs in the kernel as a session loads them, attached to nothing yet.

    ``maps``, ``settings``, ``losses`` and ``slots`` are theirs. Use in a ``with`` statement.
    Raises TracingError where the kernel refuses.
    """

    def __init__(self, program: Path) -> None:
        if not probe_route().is_multi:
            raise ObserverError("needs Linux 6.6 or newer, which attaches probes many at a time")
        self._path = program
        self._functions = functions_of(program)
        self._programs = Programs(read_kernel_btf(), follow_children=False, uprobe_multi=True)
        self.maps = self._programs.maps
        self.slots = Slots(self.maps)
        self.settings = self.maps["settings"].view(layouts.SETTINGS)
        self._losses = self.maps["losses"].view(layouts.LOSSES)
        for name in ("user_stack_threshold_ns", "waker_stack_threshold_ns", "stay_threshold_ns"):
            self.settings[name] = NEVER_NS
        self.keep(every_call=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._programs.close()

    def mark(self, pids: Iterable[int]) -> None:
        """Trace these processes: what others call is left out."""
        states = self.maps["states"]
        for pid in pids:
            pidfd = bpf_syscall.pidfd_open(pid)
            mark = (1).to_bytes(4, "little").ljust(states.spec.value_bytes, b"\0")
            states.update(pidfd.to_bytes(4, "little"), mark)
            os.close(pidfd)
        self._programs.objects["process"].iterate("take_up")

    def keep(self, *, every_call: bool) -> None:
        """Make a record of every call, or of none."""
        self.settings["call_threshold_ns"] = 0 if every_call else NEVER_NS
        self.settings["call_sample"] = RAREST

    @contextlib.contextmanager
    def probing(self, *names: str) -> Iterator[None]:
        """Probe functions of the target, returns first, as a session does."""
        functions = [self._functions[name] for name in names]
        offsets, numbers = ([getattr(one, of) for one in functions] for of in ("offset", "number"))
        calls = self._programs.objects["calls"]
        with ExitStack() as links:
            for program in ("call_exit", "call_enter"):
                link = calls.attach_uprobes(program, self._path, offsets, numbers)
                links.callback(link.close)
            yield

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Attach all else that a session does: scheduler, faults, disks, network, processes."""
        with ExitStack() as links:
            for made in self._programs.objects.values():
                for name, program in made.programs.items():
                    if program.spec.section.startswith("tp_btf/"):
                        links.callback(made.attach_tracepoint(name).close)
            yield

    def losses(self) -> dict[str, int]:
        """What has been lost so far, by name; nothing where it is nothing."""
        row = self._losses[0]
        return {name: int(row[name]) for name in row.dtype.names or () if row[name]}
