"""The tracer of benchmarks/bpf/plain.bpf.c and its reader: what gnomon's cost is compared with.

It is built as such tools commonly are: a hash map keyed by thread, an event for every call that
wakes its reader, and a callback of Python for every event.
"""

from __future__ import annotations

import contextlib
import select
import shutil
import struct
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Self

import numpy as np

from benchmarks.observers import ObserverError
from benchmarks.traced_target import SOURCES, Function, functions_of
from gnomon.tracing.loader import load
from gnomon.tracing.object_file import read_object
from gnomon.tracing.ring import RingReader

HEADERS = SOURCES.parents[1] / "bpf"
FLAGS = ("-target", "bpf", "-mcpu=v3", "-D__TARGET_ARCH_x86", "-O2", "-g", "-std=gnu11")
EVENT = struct.Struct("<QQIIIi16s")
LOOK_EVERY_S = 0.05

Callback = Callable[[bytes, int], None]


class PlainTracer:
    """Use in a ``with`` statement. Raises ObserverError without clang."""

    def __init__(self, program: Path, folder: Path) -> None:
        clang = shutil.which("clang")
        if clang is None:
            raise ObserverError("needs clang, which compiles its programs")
        compiled = folder / "plain.bpf.o"
        source = str(SOURCES / "plain.bpf.c")
        command = [clang, *FLAGS, "-I", str(HEADERS), "-c", source, "-o", str(compiled)]
        subprocess.run(command, check=True)
        self._path = program
        self._functions: Mapping[str, Function] = functions_of(program)
        self._object = load(read_object(compiled))
        self._lost = self._object.maps["lost"].view(np.uint64)
        events = self._object.maps["events"]
        self.reader = CallbackReader(events.fd, events.spec.entries)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.reader.close()
        self._object.close()

    @contextlib.contextmanager
    def probing(self, name: str) -> Iterator[None]:
        """Probe a function of the target."""
        function = self._functions[name]
        with ExitStack() as links:
            for program in ("plain_exit", "plain_enter"):
                link = self._object.attach_uprobes(
                    program, self._path, [function.offset], [function.number]
                )
                links.callback(link.close)
            yield

    def lost(self) -> int:
        """Return how many events did not fit into the ring so far."""
        return int(self._lost[0])


class CallbackReader:
    """A thread that is woken by events and hands each to `_take`, as a callback."""

    def __init__(self, ring_fd: int, size_bytes: int) -> None:
        self.events = 0
        self.total_ns: dict[tuple[int, int], int] = {}
        self._ring = RingReader(ring_fd, size_bytes, np.dtype([("event", f"V{EVENT.size}")]))
        self._woken = select.epoll()
        self._woken.register(ring_fd, select.EPOLLIN)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="plain-reader", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._stop.set()
        self._thread.join()
        self._ring.close()
        self._woken.close()

    def _run(self) -> None:
        callback: Callback = self._take
        while not self._stop.is_set():
            self._woken.poll(LOOK_EVERY_S)
            data = self._ring.read().tobytes()
            self._ring.release()
            for at in range(0, len(data), EVENT.size):
                callback(data, at)

    def _take(self, data: bytes, at: int) -> None:
        _start_ns, duration_ns, tid, _pid, operation, _code, _name = EVENT.unpack_from(data, at)
        key = (tid, operation)
        self.events += 1
        self.total_ns[key] = self.total_ns.get(key, 0) + duration_ns
