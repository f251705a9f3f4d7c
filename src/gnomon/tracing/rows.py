"""Records of the kernel's programs as rows of `host_calls` and `off_cpu`, a batch at a time.

A record was kept for itself (long or failed: weight 1) or by a chance that it carries (weight one
over the chance), so that sums over weights are unbiased (Horvitz and Thompson 1952, J. Amer.
Statist. Assoc. 47:663).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from gnomon.enums import CallLayer, Selection
from gnomon.tracing import layouts, operations
from gnomon.tracing.chances import WHOLE, Chances, weights
from gnomon.tracing.clock import Clock
from gnomon.tracing.columns import Column, Integers, Known, Words, arrow_batch, names, signed
from gnomon.tracing.layouts import NetworkEvent, StayClass, Waker
from gnomon.tracing.nccl import Told
from gnomon.tracing.process_table import ProcessTable

Records = npt.NDArray[np.void]

SELECTIONS = (Selection.ALL.value, Selection.WEIGHTED.value)
BLOCK_OPERATIONS = ("block_read", "block_write", "block_flush")
SOCKET_OPERATIONS = ("socket_send", "socket_receive")
STATES = ("runnable", "interruptible", "uninterruptible")
STATE_OF_CLASS = np.zeros(4, np.int32)
STATE_OF_CLASS[StayClass.VOLUNTARY] = 1
STATE_OF_CLASS[[StayClass.IO, StayClass.UNINTERRUPTIBLE]] = 2
CLASSES = ("run_queue_ns", "io_ns", "voluntary_ns", "uninterruptible_ns")


class OperationFacts:
    """What of OPERATIONS the rows need, as arrays by an operation's number."""

    def __init__(self) -> None:
        known = operations.OPERATIONS
        self.names = [one.name for one in known]
        self.layers = list(dict.fromkeys(one.layer.value for one in known))
        self.layer = np.array([self.layers.index(one.layer.value) for one in known])
        self.has_bytes = np.array([bool(one.bytes) for one in known])
        self.has_address = np.array([bool(one.address) for one in known])
        self.has_stream = np.array([bool(one.stream) for one in known])
        self.is_launch = np.array([one.is_launch for one in known])
        self.takes_function = np.array([one.is_launch and bool(one.address) for one in known])
        # One more, which is no operation.
        is_nccl = [one.layer is CallLayer.NCCL for one in known]
        self._is_nccl = np.array([*is_nccl, False])
        self.directions = [direction.value for direction in operations.DIRECTIONS]

    def are_nccl(self, numbers: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
        """Whether operations are calls into NCCL; NO_OPERATION is none."""
        found: npt.NDArray[np.bool_] = self._is_nccl[np.minimum(numbers, len(self.names))]
        return found

    def words(self, numbers: npt.NDArray[Any]) -> Words:
        """Names of operations; NO_OPERATION is null."""
        codes = numbers.astype(np.int32)
        codes[numbers == layouts.NO_OPERATION] = -1
        return Words(codes, self.names)


class FirstCalls:
    """Tells the first call of each function (of each operation that takes none) in a process.

    First is only what nothing can have come before: the process was traced from its beginning,
    and of its operation every call had been kept until then.
    """

    def __init__(self, facts: OperationFacts) -> None:
        self._facts = facts
        self._seen: set[tuple[int, int, int]] = set()

    def column(self, records: Records, is_certain: npt.NDArray[np.bool_]) -> Column:
        """1 the first, 0 not, null not known; ``is_certain``: nothing came before unseen."""
        numbers = records["operation"].astype(np.int64)
        address = signed(np.where(self._facts.takes_function[numbers], records["address"], 0))
        process = records["pid"].astype(np.int64) << 16 | numbers
        order = np.lexsort((records["start_ns"], address, process))
        process, address = process[order], address[order]
        begins = np.ones(len(order), np.bool_)
        begins[1:] = (process[1:] != process[:-1]) | (address[1:] != address[:-1])
        first = np.zeros(len(records), np.int64)
        known = np.ones(len(records), np.bool_)
        for place in np.flatnonzero(begins).tolist():
            key = (int(process[place]) >> 16, int(process[place]) & 0xFFFF, int(address[place]))
            if key not in self._seen:
                self._seen.add(key)
                row = order[place]
                first[row], known[row] = 1, is_certain[row]
        return Known(first, known)

    def forget(self, pid: int) -> None:
        """The process has executed another program, or is over."""
        self._seen = {key for key in self._seen if key[0] != pid}


class RowMaker:
    """Makes rows; ``has_scheduler``: whether time off the CPU was recorded at all."""

    def __init__(
        self, clock: Clock, processes: ProcessTable, chances: Chances, *, has_scheduler: bool
    ) -> None:
        self.facts = OperationFacts()
        self._clock, self._processes, self._chances = clock, processes, chances
        self._has_scheduler = has_scheduler
        self._firsts = FirstCalls(self.facts)

    def forget(self, pid: int) -> None:
        """What is known of a process holds no more."""
        self._firsts.forget(pid)

    def calls(self, records: Records, stacks: Integers) -> Any:
        """A batch of `host_calls`; ``stacks``: keys by record, 0 for none."""
        numbers = records["operation"].astype(np.intp)
        facts, is_all = self.facts, self._chances.calls_all_kept(records)
        size = signed(records["bytes"])
        # A call around it that is one into NCCL has its row in another table.
        depth = records["depth"].astype(np.int32) - facts.are_nccl(records["parent"])
        columns: dict[str, Column] = {
            **self._common(records),
            **self._processes.ranks_and_gpus(records["pid"]),
            "layer": Words(facts.layer[numbers], facts.layers),
            "operation": Words(numbers, facts.names),
            "depth": depth,
            "parent_operation": facts.words(records["parent"]),
            "bytes": Known(size, facts.has_bytes[numbers] & (size >= 0)),
            "direction": _directions(records["direction"], facts.directions),
            "address": Known(signed(records["address"]), facts.has_address[numbers]),
            "stream": Known(signed(records["stream"]), facts.has_stream[numbers]),
            "return_code": records["return_code"],
            "first_call": self._firsts.column(records, self._is_certain(records)),
            **self._off_cpu(records),
            "stack_hash": Known(stacks, stacks != 0),
            "selection": Words(np.where(is_all, 0, 1), SELECTIONS),
            "weight": self._chances.call_weights(records),
        }
        return arrow_batch("host_calls", len(records), columns)

    def stays(self, records: Records) -> Any:
        """A batch of `off_cpu`."""
        kind = records["stay_class"]
        blocked = records["blocked_ns"].astype(np.int64)
        duration = records["duration_ns"].astype(np.int64)
        is_woken = (records["woken"] == Waker.BY_THREAD) & (kind != StayClass.RUNNABLE)
        stack = signed(records["stack"])
        columns: dict[str, Column] = {
            **self._common(records),
            "state": Words(STATE_OF_CLASS[kind], STATES),
            "run_queue_ns": duration - blocked,
            "io_ns": np.where(kind == StayClass.IO, blocked, 0),
            "voluntary_ns": np.where(kind == StayClass.VOLUNTARY, blocked, 0),
            "waker_pid": Known(records["waker_pid"], is_woken),
            "waker_tid": Known(records["waker_tid"], is_woken),
            "waker_name": _where(names(records["waker_name"]), is_woken),
            "preemptor_tid": records["preemptor_tid"],
            "preemptor_name": names(records["preemptor_name"]),
            # Of a preempted thread it tells how threads are preempted.
            "stack_hash": Known(stack, (stack != 0) & (kind != StayClass.RUNNABLE)),
            "selection": Words(np.where(self._chances.stays_all_kept(records), 0, 1), SELECTIONS),
            "weight": weights(records["sample"]),
            "operation": self.facts.words(records["operation"]),
        }
        return arrow_batch("off_cpu", len(records), columns)

    def block_requests(self, records: Records) -> Any:
        """A batch of `host_calls`, one row a request to a block device."""
        around = records["operation"]
        is_inside = around != layouts.NO_OPERATION
        kind = np.minimum(records["block_operation"], len(BLOCK_OPERATIONS)).astype(np.int32)
        is_all = self._chances.requests_all_kept(records)
        columns: dict[str, Column] = {
            **self._common(records),
            **self._processes.ranks_and_gpus(records["pid"]),
            "gpu_uuid": None,
            "mig_uuid": None,
            "layer": CallLayer.BLOCK_IO.value,
            "operation": Words(kind, (*BLOCK_OPERATIONS, "block_other")),
            "depth": is_inside.astype(np.int32),
            "parent_operation": self.facts.words(around),
            "bytes": signed(records["bytes"]),
            "selection": Words(np.where(is_all, 0, 1), SELECTIONS),
            "weight": weights(records["sample"]),
        }
        return arrow_batch("host_calls", len(records), columns)

    def nccl_calls(self, records: Records, told: Told, stacks: Integers) -> Any:
        """A batch of `nccl_calls`; ``told`` is what the book of communicators knows of them."""
        numbers = records["operation"].astype(np.intp)
        is_all = self._chances.calls_all_kept(records)
        gpus = self._processes.ranks_and_gpus(records["pid"])
        columns: dict[str, Column] = {
            **self._common(records),
            "gpu_uuid": gpus["gpu_uuid"],
            "mig_uuid": gpus["mig_uuid"],
            "rank": told.rank,
            "world_size": told.world_size,
            "communicator": told.communicator,
            "operation": Words(numbers, self.facts.names),
            "sequence": told.sequence,
            "bytes": told.bytes,
            "datatype": told.datatype,
            "peer_rank": told.peer_rank,
            "stream": Known(signed(records["stream"]), self.facts.has_stream[numbers]),
            "return_code": records["return_code"],
            **self._off_cpu(records),
            "stack_hash": Known(stacks, stacks != 0),
            "selection": Words(np.where(is_all, 0, 1), SELECTIONS),
            "weight": self._chances.call_weights(records),
            "group_number": told.group,
        }
        return arrow_batch("nccl_calls", len(records), columns)

    def sends(self, records: Records) -> Any:
        """A batch of `host_calls`, one row an amount that was sent or received."""
        around = records["operation"]
        kind = records["network_event"].astype(np.int32) - NetworkEvent.SENT
        columns: dict[str, Column] = {
            **self._common(records),
            "rank": self._processes.ranks_and_gpus(records["pid"])["rank"],
            "layer": CallLayer.SOCKET.value,
            "operation": Words(kind, SOCKET_OPERATIONS),
            "depth": (around != layouts.NO_OPERATION).astype(np.int32),
            "parent_operation": self.facts.words(around),
            "bytes": signed(records["bytes"]),
            "selection": Words(np.where(records["sample"] == WHOLE, 0, 1), SELECTIONS),
            "weight": weights(records["sample"]),
        }
        return arrow_batch("host_calls", len(records), columns)

    def _common(self, records: Records) -> dict[str, Column]:
        duration = records["duration_ns"].astype(np.int64)
        return {
            "ts_ns": self._clock.unix(records["start_ns"].astype(np.int64) + duration),
            "duration_ns": duration,
            "process_id": self._processes.ids(records["pid"]),
            "pid": records["pid"],
            "tid": records["tid"],
        }

    def _off_cpu(self, records: Records) -> Mapping[str, Column]:
        if not self._has_scheduler:
            return {}
        classes = {name: records[name].astype(np.int64) for name in CLASSES}
        away = sum(classes.values(), np.zeros(len(records), np.int64))
        # Uninterruptible sleep on something else than I/O is in the sum alone.
        return {"off_cpu_ns": away, **{name: classes[name] for name in CLASSES[:3]}}

    def _is_certain(self, records: Records) -> npt.NDArray[np.bool_]:
        return self._chances.calls_were_all_kept(records) & self._processes.are_whole(
            records["pid"]
        )


def _directions(numbers: npt.NDArray[np.int32], words: list[str]) -> Words:
    is_known = (numbers >= 0) & (numbers < len(words))
    return Words(np.where(is_known, numbers, -1), words)


def _where(column: Words, is_known: npt.NDArray[np.bool_]) -> Words:
    return Words(np.where(is_known, column.codes, -1), column.words)
