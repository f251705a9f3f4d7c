"""What tracing one call costs on this machine, by probing a function of our own.

The function and a loop around it are a few bytes of machine code in a file in memory, and maps and
programs are other ones than the tracer's: nothing of it shows in a trace.
"""

import ctypes
import mmap
import os
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

from gnomon._errors import TracingError
from gnomon.tracing import bpf_syscall, layouts
from gnomon.tracing.btf import Btf, read_kernel_btf
from gnomon.tracing.layouts import RecordKind
from gnomon.tracing.loader import Link, LoadedObject, load
from gnomon.tracing.maps import Map
from gnomon.tracing.object_file import read_object
from gnomon.tracing.ring import RingReader
from gnomon.tracing.slots import Slots

OBJECTS = Path(__file__).parents[1] / "data" / "bpf"
# x86-64. The function begins with push %rbp, as those of CUDA do; the loop calls it as often as
# its argument says.
FUNCTION = bytes.fromhex("55 4889e5 31c0 5d c3")
LOOP_AT = 16
LOOP = bytes.fromhex("53 4889fb e8e7ffffff 48ffcb 75f6 5b c3")
CODE = FUNCTION.ljust(LOOP_AT, b"\x90") + LOOP
OPERATION = layouts.OPERATIONS - 1
CALLS, ROUNDS = 2000, 5
FEW_ENTRIES = {"threads": 64, "free_threads": 64, "cells": 64, "free_cells": 64, "records": 1 << 19}
NEVER_NS = 2**64 - 1

Loop = Callable[[int], None]


class CallCost(NamedTuple):
    """``pair_ns``: what a traced call takes longer; ``floor_ns``: what of it its duration has."""

    pair_ns: float
    floor_ns: float


def measure_call_cost(*, uprobe_multi: bool = True, kernel: Btf | None = None) -> CallCost:
    """Probe a function of ours and take the time; some 100 ms.

    Call it before the caller's process has many threads. Raises TracingError where the kernel
    refuses, or no code may be run from memory.
    """
    kernel = kernel or read_kernel_btf()
    with ExitStack() as owned:
        path, loop = owned.enter_context(_machine_code())
        calls = owned.enter_context(_loaded("calls", {}, kernel, uprobe_multi=uprobe_multi))
        process = owned.enter_context(
            _loaded("process", calls.maps, kernel, uprobe_multi=uprobe_multi)
        )
        Slots(calls.maps)
        settings = calls.maps["settings"].view(layouts.SETTINGS)
        settings["call_threshold_ns"] = NEVER_NS
        _mark_ourselves(calls.maps["states"])
        process.iterate("take_up")
        loop(CALLS)
        bare_ns = statistics.median(_time_ns(loop) for _ in range(ROUNDS))
        links = _probe(calls, path, uprobe_multi=uprobe_multi)
        probed_ns = statistics.median(_time_ns(loop) for _ in range(ROUNDS))
        settings["call_threshold_ns"] = 0
        loop(CALLS)
        for link in links:
            link.close()
        durations_ns = _durations_ns(calls.maps["records"])
    if len(durations_ns) != CALLS:
        raise TracingError("a probe on a function of our own did not tell all its calls")
    return CallCost(max(probed_ns - bare_ns, 0.0) / CALLS, float(statistics.median(durations_ns)))


@contextmanager
def _machine_code() -> Iterator[tuple[Path, Loop]]:
    """(path of CODE as a file, its loop as a function) while the context lasts."""
    file = os.memfd_create("gnomon-calibration")
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
    try:
        os.write(file, CODE.ljust(mmap.PAGESIZE, b"\x90"))
        protection = mmap.PROT_READ | mmap.PROT_EXEC
        address = libc.mmap(None, mmap.PAGESIZE, protection, mmap.MAP_PRIVATE, file, 0)
        if address == ctypes.c_void_p(-1).value:
            reason = os.strerror(ctypes.get_errno())
            raise TracingError(f"cannot run code from memory to measure a probe: {reason}")
        loop: Loop = ctypes.CFUNCTYPE(None, ctypes.c_long)(address + LOOP_AT)
        yield Path(f"/proc/self/fd/{file}"), loop
        libc.munmap(ctypes.c_void_p(address), ctypes.c_size_t(mmap.PAGESIZE))
    finally:
        os.close(file)


def _loaded(
    family: str, shared: Mapping[str, Map], kernel: Btf, *, uprobe_multi: bool
) -> LoadedObject:
    file = read_object(OBJECTS / f"{family}.bpf.o")
    for name in FEW_ENTRIES.keys() & file.maps.keys():
        file.maps[name].entries = FEW_ENTRIES[name]
    return load(file, shared=shared, kernel=kernel, uprobe_multi=uprobe_multi)


def _mark_ourselves(states: Map) -> None:
    pidfd = bpf_syscall.pidfd_open(os.getpid())
    try:
        mark = (1).to_bytes(4, "little").ljust(states.spec.value_bytes, b"\0")
        states.update(pidfd.to_bytes(4, "little"), mark)
    finally:
        os.close(pidfd)


def _probe(calls: LoadedObject, path: Path, *, uprobe_multi: bool) -> list[Link]:
    names, pid = ("call_exit", "call_enter"), os.getpid()
    if uprobe_multi:
        return [calls.attach_uprobes(name, path, [0], [OPERATION], pid) for name in names]
    return [calls.attach_uprobe(name, path, 0, OPERATION, pid) for name in names]


def _durations_ns(ring: Map) -> list[int]:
    reader = RingReader(ring.fd, ring.spec.entries, layouts.CALL_RECORD)
    try:
        records = reader.read()
        return list(records["duration_ns"][records["kind"] == RecordKind.CALL].tolist())
    finally:
        reader.close()


def _time_ns(loop: Loop) -> int:
    """CPU time of CALLS calls: what others take of the processor is not in it."""
    begin_ns = time.thread_time_ns()
    loop(CALLS)
    return time.thread_time_ns() - begin_ns
