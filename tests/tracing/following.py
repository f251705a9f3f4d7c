"""Programs in the kernel and an attachment: what tests of following processes need of a tracer."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import Self

import numpy as np

from gnomon.tracing import layouts, operations
from gnomon.tracing.attachment import Attachment
from gnomon.tracing.elf import Elf
from gnomon.tracing.mappings import read_mappings
from gnomon.tracing.processes import Wanted
from gnomon.tracing.programs import Programs
from gnomon.tracing.route import Route, probe_route
from gnomon.tracing.slots import Slots

TARGETS = Path(__file__).parent / "targets"
NEVER = 2**64 - 1
# What is as long as this becomes a record: here only totals count.
KEPT = ("call_threshold_ns", "stay_threshold_ns", "block_threshold_ns", "waker_stack_threshold_ns")
BREAKPOINT = 0xCC


class Following:
    """An attachment with totals to read. Use in a ``with`` statement."""

    def __init__(self, wanted: Wanted, observers=(), route: Route | None = None) -> None:
        route = route or probe_route()
        with ExitStack() as owned:
            follow = wanted.follow_children
            made = Programs(follow_children=follow, uprobe_multi=route.is_multi)
            programs = owned.enter_context(made)
            self.maps = programs.maps
            self.slots = Slots(self.maps)
            settings = self.maps["settings"].view(layouts.SETTINGS)
            for name in KEPT:
                settings[name] = NEVER
            programs.attach_tracepoints()
            arguments = (programs.objects, self.maps, wanted, observers, route)
            self.attachment = Attachment(*arguments)
            owned.callback(self.attachment.close)
            self._owned = owned.pop_all()
        self.attachment.rescan()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._owned.close()

    def rescan(self) -> float:
        return self.attachment.rescan()

    def calls(self, pid: int | None = None) -> dict[str, int]:
        """Calls by operation, of one process (its leader lives, or lived) or of all."""
        taken = self.slots.read()
        counts: Counter[str] = Counter()
        for cell in taken.cells:
            owner = taken.threads[taken.numbers == cell["thread"]]["pid"]
            if pid is None or owner == pid:
                counts[operations.OPERATIONS[cell["operation"]].name] += int(cell["calls"])
        return dict(counts)

    def pids(self) -> set[int]:
        return set(np.unique(self.slots.read().threads["pid"]).tolist())

    def kinds(self) -> list[str]:
        return [notice.kind for notice in self.attachment.notices()]

    def losses(self) -> dict[str, int]:
        row = self.maps["losses"].view(layouts.LOSSES)[0]
        return {name: int(row[name]) for name in layouts.LOSSES.names if row[name]}


class Caller:
    """A process that obeys; by default targets/caller.py."""

    def __init__(self, *command: str | Path, under: tuple[str, ...] = ()) -> None:
        command = command or (sys.executable, TARGETS / "caller.py")
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self.process = subprocess.Popen([*under, *map(str, command)], **pipes)
        try:
            self.inner_pid = int(self._answer().split()[1])
        except AssertionError:
            self.close()
            raise

    @property
    def pid(self) -> int:
        """As we see it: of the only child where a command such as unshare forked."""
        own = self.process.pid
        children = Path(f"/proc/{own}/task/{own}/children").read_text().split()
        return int(children[0]) if children and self.inner_pid != own else own

    def order(self, *words: object) -> None:
        self.send(*words)
        self._answer()

    def send(self, *words: object) -> None:
        self.process.stdin.write(" ".join(map(str, words)) + "\n")
        self.process.stdin.flush()

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()

    def _answer(self) -> str:
        line = self.process.stdout.readline()
        assert line, f"the process ended: {self.process.wait()}"
        return line


def is_probed(pid: int, library: Path, name: str) -> bool:
    """Whether a breakpoint stands at a function of a library in the memory of a process."""
    with library.open("rb") as file:
        (function,) = {found.file_offset for found in Elf(file, str(library)).functions([name])}
    inode = library.stat().st_ino
    (begin,) = [
        piece.begin + function - piece.offset
        for piece in read_mappings(pid)
        if piece.inode == inode
        and piece.offset <= function < piece.offset + piece.end - piece.begin
    ]
    with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
        return os.pread(memory.fileno(), 1, begin)[0] == BREAKPOINT
