"""The traced processes and threads: their facts, read once, and their rows of `threads`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gnomon.enums import Selection
from gnomon.proc.files import read_text
from gnomon.proc.identity import PROC
from gnomon.tracing.clock import Clock
from gnomon.tracing.columns import Column, Known, Words, text
from gnomon.tracing.layouts import RecordKind
from gnomon.tracing.process_facts import UNKNOWN, ProcessFacts, ProcessReader

Row = dict[str, object]
Records = npt.NDArray[np.void]
Pids = npt.NDArray[np.uint32]
OBSERVER = "observer"


@dataclass(slots=True)
class Thread:
    """One thread while it is traced; ``born_ns`` on CLOCK_MONOTONIC."""

    pid: int
    tid: int
    born_ns: int
    name: str
    namespace_pid: int
    namespace_tid: int
    parent_tid: int
    calls: int = 0
    stays: int = 0


@dataclass(slots=True)
class _Process:
    facts: ProcessFacts
    # It began, or executed its program, under our eyes.
    is_whole: bool
    threads: dict[int, Thread] = field(default_factory=dict)


class ProcessTable:
    """Fed with the records of processes' lives; answers with columns for other rows."""

    def __init__(self, clock: Clock, proc: Path = PROC) -> None:
        self._clock, self._proc = clock, proc
        self._reader = ProcessReader(proc)
        self._processes: dict[int, _Process] = {}

    def take(self, records: Records, *, all_stays_kept: bool) -> Iterator[Row]:
        """Take records of threads seen, exited and executing; yield rows of `threads`."""
        for record in records:
            pid, tid, kind = int(record["pid"]), int(record["tid"]), record["kind"]
            process = self._process(pid)
            if kind == RecordKind.PROCESS_EXECUTED:
                process.facts, process.is_whole = self._reader.read(pid), True
                kind = RecordKind.THREAD_SEEN
            if process.facts.process_id is None:
                name = text(bytes(record["name"])) if pid == tid else None
                started_ns = int(record["process_started_ns"])
                process.facts = self._reader.by_record(pid, started_ns, name)
            if kind == RecordKind.THREAD_SEEN:
                # A process that was there before has threads whose parent nobody saw.
                process.is_whole |= pid == tid and record["parent_tid"] != 0
                thread = process.threads[tid] = _thread(record, process.threads.get(tid))
                thread.name = self._name(pid, tid) or thread.name
                yield self._row(process, thread, self._end_ns(record))
            elif tid in process.threads:
                thread = process.threads.pop(tid)
                thread.name = text(bytes(record["name"])) or thread.name
                yield self._row(process, thread, self._end_ns(record), _kept(all_stays_kept))

    def forget_ended(self) -> None:
        """Let go of processes without a living thread."""
        for pid in [pid for pid, process in self._processes.items() if not process.threads]:
            del self._processes[pid]

    def last_rows(self, now_ns: int, *, all_stays_kept: bool) -> Iterator[Row]:
        """Rows of `threads` for the threads that live on; ``now_ns`` on CLOCK_MONOTONIC."""
        for process in self._processes.values():
            for thread in process.threads.values():
                yield self._row(process, thread, now_ns, _kept(all_stays_kept))

    def observer_rows(self, pids: Iterable[int], now_ns: int) -> Iterator[Row]:
        """Rows of `threads` of the recorder's own processes, which are not traced."""
        for pid in pids:
            facts = self._reader.read(pid)
            for task in self._proc.glob(f"{pid}/task/[0-9]*"):
                tid = int(task.name)
                yield {
                    "ts_ns": self._clock.unix(now_ns),
                    "duration_ns": 0,
                    "process_id": facts.process_id,
                    "pid": pid,
                    "tid": tid,
                    "name": self._name(pid, tid),
                    "process_name": facts.name,
                    "role": OBSERVER,
                }

    def count(self, calls: Records, stays: Records) -> None:
        """Count the rows of `host_calls` and `off_cpu` that threads have."""
        for name, records in (("calls", calls), ("stays", stays)):
            keys = records["pid"].astype(np.int64) << 32 | records["tid"]
            for key, rows in zip(*np.unique(keys, return_counts=True), strict=True):
                process = self._processes.get(int(key) >> 32)
                thread = process.threads.get(int(key) & 0xFFFFFFFF) if process else None
                if thread is not None:
                    setattr(thread, name, getattr(thread, name) + int(rows))

    def id_of(self, pid: int) -> str | None:
        """The ``process_id`` of one process."""
        return self._facts(pid).process_id

    def ids(self, pids: Pids) -> Column:
        """The column ``process_id``."""
        found, codes = np.unique(pids, return_inverse=True)
        return _words(codes, [self._facts(pid).process_id for pid in found.tolist()])

    def ranks_and_gpus(self, pids: Pids) -> dict[str, Column]:
        """The columns ``rank``, ``gpu_uuid`` and ``mig_uuid``."""
        found, codes = np.unique(pids, return_inverse=True)
        facts = [self._facts(pid) for pid in found.tolist()]
        ranks = [-1 if one.rank is None else one.rank for one in facts]
        rank = np.array(ranks, np.int64)[codes]
        return {
            "rank": Known(rank, rank >= 0),
            "gpu_uuid": _words(codes, [one.gpu_uuid for one in facts]),
            "mig_uuid": _words(codes, [one.mig_uuid for one in facts]),
        }

    def are_whole(self, pids: Pids) -> npt.NDArray[np.bool_]:
        """Whether the processes were traced from their beginning."""
        found, codes = np.unique(pids, return_inverse=True)
        known = [self._processes.get(pid) for pid in found.tolist()]
        return np.array([one is not None and one.is_whole for one in known], np.bool_)[codes]

    def _facts(self, pid: int) -> ProcessFacts:
        process = self._processes.get(pid)
        return UNKNOWN if process is None else process.facts

    def _process(self, pid: int) -> _Process:
        process = self._processes.get(pid)
        facts = None
        if process is not None and not process.threads:
            # All its threads are gone: whoever has its number now is another one.
            process, facts = None, self._reader.read(pid)
        if process is None:
            process = _Process(facts or self._reader.read(pid), is_whole=False)
            self._processes[pid] = process
        return process

    def _name(self, pid: int, tid: int) -> str | None:
        try:
            return read_text(f"{self._proc}/{pid}/task/{tid}/comm").removesuffix("\n")
        except OSError:
            return None

    def _end_ns(self, record: Any) -> int:
        return int(record["start_ns"]) + int(record["duration_ns"])

    def _row(
        self, process: _Process, thread: Thread, end_ns: int, selection: Selection | None = None
    ) -> Row:
        """``selection``: of the stays of a last row, which has counts."""
        facts = process.facts
        row: Row = {
            "ts_ns": self._clock.unix(end_ns),
            "duration_ns": max(0, end_ns - thread.born_ns),
            "process_id": facts.process_id,
            "pid": thread.pid,
            "tid": thread.tid,
            "ns_pid": thread.namespace_pid,
            "ns_tid": thread.namespace_tid,
            "name": thread.name,
            "process_name": facts.name,
            "parent_tid": thread.parent_tid or None,
            "rank": facts.rank,
            "local_rank": facts.local_rank,
            "world_size": facts.world_size,
            "cgroup_path": facts.cgroup_path,
            "container_id": facts.container_id,
        }
        if selection is None:
            return row
        counts: Row = {"calls": thread.calls, "stays_off_cpu": thread.stays}
        return row | counts | {"off_cpu_selection": selection.value}


def _kept(all_stays: bool) -> Selection:  # noqa: FBT001  a word for a flag
    return Selection.ALL if all_stays else Selection.WEIGHTED


def _thread(record: Any, before: Thread | None) -> Thread:
    """The thread that a record tells of; what executes is still the one that it was."""
    made = Thread(
        pid=int(record["pid"]),
        tid=int(record["tid"]),
        born_ns=int(record["start_ns"]),
        name=text(bytes(record["name"])),
        namespace_pid=int(record["namespace_pid"]),
        namespace_tid=int(record["namespace_tid"]),
        parent_tid=int(record["parent_tid"]),
    )
    if before is not None:
        made.born_ns, made.parent_tid = before.born_ns, before.parent_tid
        made.calls, made.stays = before.calls, before.stays
    return made


def _words(codes: npt.NDArray[np.intp], words: list[str | None]) -> Words:
    return Words(codes, words)
