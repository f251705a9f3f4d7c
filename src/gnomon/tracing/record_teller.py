"""Records of the kernel, as they come, into batches for the recording."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from gnomon import tables
from gnomon.enums import EventKind, Severity
from gnomon.tracing import layouts
from gnomon.tracing.chances import Chances
from gnomon.tracing.clock import Clock
from gnomon.tracing.columns import Integers, signed
from gnomon.tracing.layouts import NetworkEvent, RecordKind, StayClass
from gnomon.tracing.loss_book import SOURCE
from gnomon.tracing.nccl import Book
from gnomon.tracing.process_table import ProcessTable
from gnomon.tracing.ring_thread import of_kind
from gnomon.tracing.rows import RowMaker
from gnomon.tracing.stack_book import StackBook

Emit = Callable[[str, Any], None]
Records = npt.NDArray[np.void]
Row = Mapping[str, object]

# What all calls have.
HEAD = ("start_ns", "duration_ns", "tid", "pid", "operation")
BEGINNINGS = (RecordKind.THREAD_SEEN, RecordKind.PROCESS_EXECUTED)
# A Python stack that was read in a call that is still open is kept for it this long.
SAMPLES_KEPT = 1 << 16


class RecordTeller:
    """``emit`` takes a table's name and a batch."""

    def __init__(
        self,
        emit: Emit,
        clock: Clock,
        processes: ProcessTable,
        chances: Chances,
        stacks: StackBook,
        *,
        has_scheduler: bool,
    ) -> None:
        self._emit, self._clock = emit, clock
        self._processes, self._chances, self._stacks = processes, chances, stacks
        self._rows = RowMaker(clock, processes, chances, has_scheduler=has_scheduler)
        self.facts = self._rows.facts
        self._book = Book()
        # Of open calls, by thread and beginning: the Python stack that was read in them.
        self._read_in: dict[tuple[int, int], int] = {}

    def tell(self, records: Records, is_wanted: Callable[[Records], npt.NDArray[Any]]) -> Records:
        """Emit rows of all records; return the HEAD of those of calls that were told.

        ``is_wanted`` tells of records of calls which are to be told.
        """
        kind = records["record"]["kind"]
        life = records[np.isin(kind, [*BEGINNINGS, RecordKind.THREAD_EXITED])]
        life = life.view(layouts.THREAD_RECORD)
        is_end = life["kind"] == RecordKind.THREAD_EXITED
        self._tell_life(life[~is_end])
        calls = of_kind(records, RecordKind.CALL, layouts.CALL_RECORD)
        calls = np.compress(is_wanted(calls), calls)
        stays = of_kind(records, RecordKind.STAY, layouts.STAY_RECORD)
        requests = of_kind(records, RecordKind.BLOCK, layouts.BLOCK_RECORD)
        self._tell_stacks(calls, stays)
        collectives = self._tell_nccl(records)
        self._tell_network(of_kind(records, RecordKind.NETWORK, layouts.NETWORK_RECORD))
        if len(calls):
            self._emit("host_calls", self._rows.calls(calls, self._stacks_of(calls)))
        if len(stays):
            self._emit("off_cpu", self._rows.stays(stays))
        if len(requests):
            self._emit("host_calls", self._rows.block_requests(requests))
        self._processes.count(calls, stays)
        self._tell_life(life[is_end])
        heads = [some[list(HEAD)] for some in (calls, collectives)]
        return np.concatenate(heads)

    def rows(self, table: str, rows: Iterable[Row]) -> None:
        """Emit rows that are few."""
        found = list(rows)
        if found:
            self._emit(table, tables.batch(table, found))

    def note_sample(self, tid: int, call_start_ns: int, stack_hash: int) -> None:
        """A Python stack was read in a call that is open."""
        if len(self._read_in) >= SAMPLES_KEPT:
            del self._read_in[next(iter(self._read_in))]
        self._read_in[tid, call_start_ns] = stack_hash

    def _tell_life(self, records: Records) -> None:
        for record in records[records["kind"] == RecordKind.PROCESS_EXECUTED]:
            self._rows.forget(int(record["pid"]))
            self._book.forget(int(record["pid"]))
        all_kept = self._chances.stays_were_all_kept()
        self.rows("threads", self._processes.take(records, all_stays_kept=all_kept))

    def _tell_nccl(self, records: Records) -> Records:
        """Emit calls into NCCL; return them."""
        made = of_kind(records, RecordKind.COMMUNICATOR, layouts.COMMUNICATOR_RECORD)
        if len(made):
            self._book.enter(made)
        calls = of_kind(records, RecordKind.NCCL_CALL, layouts.NCCL_RECORD)
        if len(calls):
            ts_ns = self._clock.unix(self._newest_ns(calls))
            self.rows("stacks", self._stacks.native(calls["user_stack"], calls["pid"], ts_ns))
            told, stacks = self._book.tell(calls), self._stacks_of(calls)
            self._emit("nccl_calls", self._rows.nccl_calls(calls, told, stacks))
        return calls

    def _tell_network(self, records: Records) -> None:
        is_again = records["network_event"] == NetworkEvent.RETRANSMITTED
        if not is_again.all():
            self._emit("host_calls", self._rows.sends(records[~is_again]))
        self.rows(
            "events",
            (
                {
                    "ts_ns": self._clock.unix(int(record["start_ns"])),
                    "duration_ns": 0,
                    "kind": EventKind.TCP_RETRANSMIT.value,
                    "severity": Severity.INFO.value,
                    "source": SOURCE,
                    "message": f"{record['bytes']} bytes of process {record['pid']}, thread "
                    f"{record['tid']}, were sent again to port {record['remote_port']}",
                }
                for record in records[is_again]
            ),
        )

    def _tell_stacks(self, calls: Records, stays: Records) -> None:
        ts_ns = self._clock.unix(self._newest_ns(calls, stays))
        blocked = stays["stack"][stays["stay_class"] != StayClass.RUNNABLE]
        self.rows("stacks", self._stacks.kernel(blocked, ts_ns))
        self.rows("stacks", self._stacks.native(calls["user_stack"], calls["pid"], ts_ns))

    def _stacks_of(self, calls: Records) -> Integers:
        """By call the Python stack that was read in it, else its caller's; 0 for none."""
        found = signed(calls["user_stack"])
        if not self._read_in:
            return found
        starts = np.fromiter((start for _, start in self._read_in), np.uint64)
        for place in np.flatnonzero(np.isin(calls["start_ns"], starts)).tolist():
            call = int(calls["tid"][place]), int(calls["start_ns"][place])
            found[place] = self._read_in.pop(call, found[place])
        return found

    def _newest_ns(self, *records: Records) -> int:
        ends = [
            int(some["start_ns"][-1] + some["duration_ns"][-1]) for some in records if len(some)
        ]
        return max(ends, default=0)
