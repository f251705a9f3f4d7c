"""All programs in the kernel, attached to one process: the least that a test needs of a tracer."""

from __future__ import annotations

import os
import threading
from collections.abc import Collection
from contextlib import ExitStack
from pathlib import Path
from typing import Self

import numpy as np
import pytest

from gnomon.tracing import bpf_syscall, layouts, nccl_functions, operations, requirements
from gnomon.tracing.btf import read_kernel_btf
from gnomon.tracing.elf import Elf
from gnomon.tracing.libraries import FEW
from gnomon.tracing.loader import Link, load
from gnomon.tracing.maps import Map
from gnomon.tracing.object_file import read_object
from gnomon.tracing.refusals import OLDEST, UPROBE_MULTI_SINCE, kernel_version
from gnomon.tracing.ring import RingReader
from gnomon.tracing.slots import Slots, Taken
from tests.tracing.kernel import needs_kernel

VERSION = kernel_version(os.uname().release)
# Before, probes are attached one by one, which takes 0.1 s each to undo.
IS_MULTI = VERSION >= UPROBE_MULTI_SINCE


def needs_linux(version: tuple[int, int], why: str) -> pytest.MarkDecorator:
    """Skip a test on older kernels."""
    number = ".".join(map(str, version))
    return pytest.mark.skipif(version > VERSION, reason=f"{why}: Linux {number}")


NEEDS_PROGRAMS = [
    needs_kernel,
    needs_linux(OLDEST, "the programs need"),
    pytest.mark.skipif(os.uname().machine != "x86_64", reason="calls.bpf.c is for x86-64"),
]
NEEDS_EVERY_FUNCTION = needs_linux(UPROBE_MULTI_SINCE, "only some functions are traced before")
OBJECTS = Path(layouts.__file__).parents[1] / "data" / "bpf"
FAMILIES = ("interrupts", "process", "scheduler", "calls", "nccl", "block", "faults", "network")
UPROBES = {"call_enter", "call_exit", "nccl_enter", "nccl_exit"}
ITERATORS = {"take_up"}
NEVER_NS = 2**64 - 1
ALWAYS = 2**32 - 1
READ_EVERY_S = 0.005
# Every record begins like this, and is as long as any other.
REST = f"V{layouts.CALL_RECORD.itemsize - layouts.RECORD.itemsize}"
ANY_RECORD = np.dtype([("record", layouts.RECORD), ("rest", REST)])
RECORDS = {
    layouts.RecordKind.CALL: layouts.CALL_RECORD,
    layouts.RecordKind.STAY: layouts.STAY_RECORD,
    layouts.RecordKind.BLOCK: layouts.BLOCK_RECORD,
    layouts.RecordKind.NCCL_CALL: layouts.NCCL_RECORD,
    layouts.RecordKind.COMMUNICATOR: layouts.COMMUNICATOR_RECORD,
    layouts.RecordKind.NETWORK: layouts.NETWORK_RECORD,
}


class Tracer:
    """Use in a ``with`` statement. By default every call and every stay becomes a record."""

    def __init__(
        self,
        pid: int,
        *,
        follow: bool = False,
        entries: dict[str, int] | None = None,
        is_read: bool = True,
    ) -> None:
        self.pid, self.follow = pid, follow
        self._is_read = is_read
        self._batches: list[np.ndarray] = []
        self._stop = threading.Event()
        with ExitStack() as owned:
            self._load(entries or {}, owned)
            self.slots = Slots(self.maps)
            self.settings = self.maps["settings"].view(layouts.SETTINGS)
            self._losses = self.maps["losses"].view(layouts.LOSSES)
            self.keep_calls(0)
            self.keep_stays(0)
            self.settings["retransmit_sample"] = ALWAYS
            self.settings["waker_stack_threshold_ns"] = NEVER_NS
            self.settings["user_stack_threshold_ns"] = NEVER_NS
            ring = self.maps["records"]
            self.ring = RingReader(ring.fd, ring.spec.entries, ANY_RECORD)
            owned.callback(self.ring.close)
            self._take_up()
            self._reader = threading.Thread(target=self._read)
            self._owned = owned.pop_all()

    def _load(self, entries: dict[str, int], owned: ExitStack) -> None:
        kernel = read_kernel_btf()
        self.maps: dict[str, Map] = {}
        self.objects = {}
        for family in FAMILIES:
            if requirements.SINCE.get(family, OLDEST) > VERSION:
                continue
            file = read_object(OBJECTS / f"{family}.bpf.o")
            for name in entries.keys() & file.maps.keys():
                file.maps[name].entries = entries[name]
            if family == "calls":
                file.set_constant("operations", operations.description())
            if family == "nccl":
                file.set_constant("nccl_operations", operations.nccl_description())
                file.set_constant("datatype_bytes", nccl_functions.datatype_bytes())
            if family == "process":
                file.set_constant("follow_children", int(self.follow))
            made = load(file, shared=self.maps, kernel=kernel, uprobe_multi=IS_MULTI)
            owned.enter_context(made)
            self.objects[family] = made
            self.maps = {**made.maps, **self.maps}

    def __enter__(self) -> Self:
        if self._is_read:
            self._reader.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop_reading()
        self._owned.close()

    def _take_up(self) -> None:
        """Mark the process, attach to the scheduler, then take up the threads it has."""
        states = self.maps["states"]
        pidfd = bpf_syscall.pidfd_open(self.pid)
        mark = (1).to_bytes(4, "little").ljust(states.spec.value_bytes, b"\0")
        states.update(pidfd.to_bytes(4, "little"), mark)
        os.close(pidfd)
        for made in self.objects.values():
            for name in made.programs.keys() - UPROBES - ITERATORS:
                made.attach_tracepoint(name)
        self.objects["process"].iterate("take_up")

    def attach(self, *libraries: Path, functions: Collection[str] | None = None) -> list[Link]:
        """Probe what is traced in the libraries, or only the functions named; what to detach."""
        numbers, links = operations.numbers(), []
        for library in libraries:
            with library.open("rb") as file:
                is_nccl = "nccl" in library.name
                usual = numbers.keys() if IS_MULTI or is_nccl else FEW
                found = Elf(file, str(library)).functions(functions or usual)
            offsets = [function.file_offset for function in found]
            cookies = [numbers[function.name] for function in found]
            pid = 0 if self.follow else self.pid
            # Names of NCCL and of CUDA are not found in one library.
            family, prefix = ("nccl", "nccl") if is_nccl else ("calls", "call")
            # Returns first, so that no entry is left without one.
            for name in ("exit", "enter"):
                probe = f"{prefix}_{name}"
                made = self.objects[family]
                if IS_MULTI:
                    links.append(made.attach_uprobes(probe, library, offsets, cookies, pid))
                    continue
                links += [
                    made.attach_uprobe(probe, library, offset, cookie, pid)
                    for offset, cookie in zip(offsets, cookies, strict=True)
                ]
        return links

    def keep_calls(self, threshold_ns: int, sample: int = 0) -> None:
        self.settings["call_threshold_ns"] = threshold_ns
        self.settings["call_sample"] = sample

    def keep_stays(self, threshold_ns: int, sample: int = 0) -> None:
        self.settings["stay_threshold_ns"] = threshold_ns
        self.settings["stay_sample"] = sample

    def losses(self) -> dict[str, int]:
        """What was lost, without what was not."""
        row = self._losses[0]
        return {name: int(row[name]) for name in layouts.LOSSES.names if row[name]}

    def read_once(self) -> int:
        """Take the records that are there; how many."""
        records = self.ring.read().copy()
        self.ring.release()
        self._batches.append(records)
        return len(records)

    def _read(self) -> None:
        while not self._stop.wait(READ_EVERY_S):
            self.read_once()

    def _stop_reading(self) -> None:
        self._stop.set()
        if self._reader.is_alive():
            self._reader.join()

    def records(self, kind: layouts.RecordKind, tid: int | None = None) -> np.ndarray:
        """All records of a kind so far, in order of their start, of one thread or of all."""
        self._stop_reading()
        while self.read_once():
            pass
        everything = np.concatenate(self._batches)
        head = everything["record"]
        chosen = head["kind"] == kind
        if tid is not None:
            chosen &= head["tid"] == tid
        records = everything[chosen].view(RECORDS.get(kind, layouts.THREAD_RECORD))
        return records[np.argsort(records["start_ns"], kind="stable")]

    def totals(self, tid: int) -> tuple[dict, dict[str, dict]]:
        """(totals of the thread, its cells by the name of the operation)."""
        return of_thread(self.slots.read(), tid)


def of_thread(taken: Taken, tid: int) -> tuple[dict, dict[str, dict]]:
    """(totals of the thread, its cells by the name of the operation)."""
    (place,) = np.flatnonzero(taken.threads["tid"] == tid)
    cells = taken.cells[taken.cells["thread"] == taken.numbers[place]]
    names = [operations.OPERATIONS[number].name for number in cells["operation"]]
    return _plain(taken.threads[place]), dict(zip(names, map(_plain, cells), strict=True))


def _plain(row: np.void) -> dict:
    """Numbers of Python: differences of numpy's unsigned ones overflow."""
    return {name: row[name] if row[name].ndim else row[name].item() for name in row.dtype.names}
