"""What an SQLite export of Nsight Systems holds, as rows of our tables.

Tables, columns and numbers of enums are those of NVIDIA's "SQLite Schema Reference" (export schema
3.16). A table or column that an export lacks is null throughout: versions differ by these alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

from gnomon.enums import CallLayer, CopyDirection, MemoryKind, Selection, SynchronizationKind
from gnomon.recording.importers.foreign_values import (
    EARLIEST_NS,
    LARGEST_32,
    LATEST_NS,
    LONGEST_NS,
    clean,
    integer,
)
from gnomon.recording.importers.nsys_target import Target
from gnomon.recording.importers.sink import KernelNames, Row
from gnomon.recording.importers.spans import UNKNOWN, Begins, Spans
from gnomon.recording.importers.sqlite_file import SqliteFile

SOURCE = "nsys"
KERNELS = "CUPTI_ACTIVITY_KIND_KERNEL"
COPIES = "CUPTI_ACTIVITY_KIND_MEMCPY"
FILLS = "CUPTI_ACTIVITY_KIND_MEMSET"
WAITS = "CUPTI_ACTIVITY_KIND_SYNCHRONIZATION"
CALLS = "CUPTI_ACTIVITY_KIND_RUNTIME"
RANGES = "NVTX_EVENTS"
WHOLE_GRAPHS = "CUPTI_ACTIVITY_KIND_GRAPH_TRACE"

PLACE = ("start", "end", "deviceId", "contextId", "streamId", "correlationId", "globalPid",
         "graphNodeId")  # fmt: skip
COLUMNS: Mapping[str, tuple[str, ...]] = {
    KERNELS: (
        *PLACE, "demangledName", "shortName", "mangledName", "registersPerThread",
        "gridX", "gridY", "gridZ", "blockX", "blockY", "blockZ",
        "staticSharedMemory", "dynamicSharedMemory", "localMemoryPerThread",
        "clusterX", "clusterY", "clusterZ",
    ),
    COPIES: (*PLACE, "bytes", "copyKind", "srcKind", "dstKind", "srcDeviceId", "dstDeviceId"),
    FILLS: (*PLACE, "bytes", "memKind"),
    WAITS: (*PLACE[:-1], "syncType", "eventId"),
    CALLS: ("start", "end", "globalTid", "correlationId", "nameId", "eventClass", "returnValue"),
    RANGES: ("start", "end", "eventType", "text", "textId", "globalTid", "domainId"),
}  # fmt: skip
# TRACE_PROCESS_EVENT_CUDA_RUNTIME and _DRIVER
EVENT_CLASSES = {0: CallLayer.CUDA_RUNTIME, 1: CallLayer.CUDA_DRIVER}
API_VERSION = re.compile(r"_v\d+$")
# CUDA_MEMCPY_KIND_*: host 1, 2, 9, arrays are on the device, UVM migrations from 11
DIRECTIONS = {
    **dict.fromkeys((1, 3, 11), CopyDirection.HOST_TO_DEVICE),
    **dict.fromkeys((2, 4, 12), CopyDirection.DEVICE_TO_HOST),
    **dict.fromkeys((5, 6, 7, 8, 10, 13), CopyDirection.DEVICE_TO_DEVICE),
    9: CopyDirection.HOST_TO_HOST,
}
# CUDA_MEMOPR_MEMORY_KIND_*: not CUPTI's numbers
MEMORY = {
    0: MemoryKind.PAGEABLE,
    1: MemoryKind.PINNED,
    2: MemoryKind.DEVICE,
    3: MemoryKind.ARRAY,
    4: MemoryKind.MANAGED,
    5: MemoryKind.DEVICE,
    6: MemoryKind.MANAGED,
}
# CUPTI_ACTIVITY_SYNCHRONIZATION_TYPE_*
SYNCHRONIZATIONS = {
    1: SynchronizationKind.EVENT,
    2: SynchronizationKind.STREAM_WAIT,
    3: SynchronizationKind.STREAM,
    4: SynchronizationKind.CONTEXT,
}
NVTX_MARK, NVTX_PUSH_POP, NVTX_START_END, NVTX_DOMAIN = 34, 59, 60, 75
IS_RANGE = (NVTX_MARK, NVTX_PUSH_POP, NVTX_START_END)


def process_of(global_id: Any) -> int | None:
    """Return the pid of a serialized GlobalId: bits 24 to 47."""
    value = integer(global_id)
    return None if value is None else (value >> 24) & 0xFFFFFF


def thread_of(global_id: Any) -> tuple[int, int]:
    """Return (pid, tid) of a serialized GlobalId. Raises ValueError where there is none."""
    value = integer(global_id)
    if value is None:
        raise ValueError("it names no thread")
    return (value >> 24) & 0xFFFFFF, value & 0xFFFFFF


class NsysReader:
    """Turns the tables of an export into rows."""

    def __init__(self, file: SqliteFile, target: Target) -> None:
        self._file = file
        self._target = target
        self.text = lru_cache(maxsize=65_536)(self._looked_up)
        self.spans: dict[int, tuple[int, int]] = {}
        self.records: dict[int, int] = {}
        # Old exports do not say whose a kernel is: it is the only process's, where there is one.
        self.only_pid: int | None = None

    def values(self, table: str) -> Iterator[dict[str, Any]]:
        """Yield the rows of a table in the order in which they lie there."""
        known = self._file.columns(table)
        names = COLUMNS[table]
        if {"start"} - known:
            return
        picks = ", ".join(f'"{name}"' if name in known else "NULL" for name in names)
        for row in self._file.rows(f"SELECT {picks} FROM {table}"):  # noqa: S608  ours
            yield dict(zip(names, row, strict=True))

    def times(self, values: Mapping[str, Any], pid: int | None) -> tuple[int, int]:
        """Return begin and end in Unix ns. Raises ValueError for what is no time."""
        begin, end = integer(values["start"], -LATEST_NS), integer(values["end"], -LATEST_NS)
        if begin is None or end is None:
            raise ValueError(f"start is {values['start']!s:.30}, end {values['end']!s:.30}")
        begin_ns, end_ns = self._target.begin_ns + begin, self._target.begin_ns + end
        if not EARLIEST_NS <= begin_ns <= end_ns <= LATEST_NS or end_ns - begin_ns > LONGEST_NS:
            raise ValueError(f"start is {begin}, end {end}")
        first, last = self.spans.get(pid or 0, (begin_ns, end_ns))
        self.spans[pid or 0] = (min(first, begin_ns), max(last, end_ns))
        return begin_ns, end_ns

    def kernel(self, values: dict[str, Any], begins: Begins, names: KernelNames) -> Row:
        row = self._place(values, begins)
        name = self.text(values["demangledName"]) or self.text(values["shortName"])
        if not name:
            raise ValueError("the kernel has no name")
        cluster = [integer(values[f"cluster{axis}"], 1, LARGEST_32) for axis in "XYZ"]
        row |= {
            "name_hash": names.hash_of(name, row["ts_ns"], self.text(values["mangledName"])),
            "registers_per_thread": integer(values["registersPerThread"], 1, 65_535),
            "static_shared_bytes": integer(values["staticSharedMemory"]),
            "dynamic_shared_bytes": integer(values["dynamicSharedMemory"]),
            "local_bytes_per_thread": integer(values["localMemoryPerThread"]),
        }
        if all(cluster):
            row["cluster_size"] = _product(cluster)
        for word in ("grid", "block"):
            for axis in "XYZ":
                row[f"{word}_{axis.lower()}"] = integer(values[f"{word}{axis}"], 1, LARGEST_32)
        return row

    def copy(self, values: dict[str, Any], begins: Begins) -> Row:
        row = self._place(values, begins) | {
            "operation": "memcpy",
            "bytes": integer(values["bytes"]),
            "direction": _word(DIRECTIONS, values["copyKind"]),
            "source_memory": _word(MEMORY, values["srcKind"]),
            "destination_memory": _word(MEMORY, values["dstKind"]),
        }
        ends = {integer(values[key], 0, 1024) for key in ("srcDeviceId", "dstDeviceId")} - {None}
        others = ends - {values["deviceId"]}
        if len(ends) == 2 and len(others) == 1:
            row["peer_gpu_uuid"] = self._target.gpu_uuid(others.pop() or 0, row["pid"])
        return row

    def fill(self, values: dict[str, Any], begins: Begins) -> Row:
        return self._place(values, begins) | {
            "operation": "memset",
            "bytes": integer(values["bytes"]),
            "destination_memory": _word(MEMORY, values["memKind"]),
        }

    def wait(self, values: dict[str, Any]) -> Row:
        kind = _word(SYNCHRONIZATIONS, values["syncType"])
        if kind is None:
            raise ValueError(f"{values['syncType']!s:.30} is no kind of wait that is known")
        row = self._place(values | {"graphNodeId": None}, None)
        del row["enqueued_ns"], row["graph_node_id"]
        return row | {"operation": kind, "event_id": integer(values["eventId"], 1)}

    def call(self, values: dict[str, Any], calls: Spans) -> None:
        """Put one call among the others; its layer and what it returned go into the note."""
        thread = thread_of(values["globalTid"])
        name = API_VERSION.sub("", self.text(values["nameId"]) or "")
        if not name:
            raise ValueError("the call has no name")
        layer = integer(values["eventClass"], 0, 1)
        if layer is None:
            layer = 0 if name.startswith("cuda") else 1
        returned = integer(values["returnValue"], 0, LARGEST_32)
        correlation = integer(values["correlationId"], 1)
        calls.add(
            thread,
            self.times(values, thread[0]),
            name,
            UNKNOWN if correlation is None else correlation,
            (LARGEST_32 if returned is None else returned) << 1 | layer,
        )

    def range(self, values: dict[str, Any], ranges: Spans) -> bool:
        """Put one range or mark among the others; False for one that never ended."""
        is_mark = values["eventType"] == NVTX_MARK
        if values["end"] is None and not is_mark:
            return False
        thread = thread_of(values["globalTid"])
        name = clean(values["text"]) or self.text(values["textId"])
        if not name:
            raise ValueError("the range has no text")
        times = self.times(values | {"end": values["start"]} if is_mark else values, thread[0])
        ranges.add(thread, times, name, integer(values["domainId"], 0) or 0)
        return True

    def _place(self, values: Mapping[str, Any], begins: Begins | None) -> Row:
        pid = process_of(values["globalPid"]) or self.only_pid
        begin_ns, end_ns = self.times(values, pid)
        device = integer(values["deviceId"], 0, 1024)
        if device is None:
            raise ValueError(f"deviceId is {values['deviceId']!s:.30}")
        correlation = integer(values["correlationId"], 1)
        self.records[pid or 0] = self.records.get(pid or 0, 0) + 1
        return {
            "ts_ns": end_ns,
            "duration_ns": end_ns - begin_ns,
            "gpu_uuid": self._target.gpu_uuid(device, pid),
            "process_id": self._target.process_id(pid),
            "pid": pid,
            "source": SOURCE,
            "context_id": integer(values["contextId"], 0, LARGEST_32),
            "stream_id": integer(values["streamId"], 0, (1 << 32) - 2),
            "correlation_id": correlation,
            "graph_node_id": integer(values["graphNodeId"], 1),
            "enqueued_ns": begins.of(pid or 0, correlation) if begins else None,
        }

    def _looked_up(self, text_id: Any) -> str | None:
        if integer(text_id) is None or not {"id", "value"} <= self._file.columns("StringIds"):
            return None
        found = self._file.rows("SELECT value FROM StringIds WHERE id = ?", text_id)
        return clean(next(found, (None,))[0], 4000)


def call_rows(calls: Spans, target: Target) -> Iterator[Row]:
    """Yield a row of ``host_calls`` a call into CUDA."""
    for span in calls.nested():
        returned = span.note >> 1
        yield {
            "ts_ns": span.end_ns,
            "duration_ns": span.end_ns - span.begin_ns,
            "host": target.host or None,
            "process_id": target.process_id(span.thread[0]),
            "pid": span.thread[0],
            "tid": span.thread[1],
            "layer": EVENT_CLASSES[span.note & 1].value,
            "operation": span.name,
            "depth": span.depth,
            "parent_operation": span.parent,
            "return_code": None if returned == LARGEST_32 else returned,
            "selection": Selection.ALL.value,
            "weight": 1.0,
        }


def range_rows(
    ranges: Spans, target: Target, domains: Mapping[tuple[int, int], str]
) -> Iterator[Row]:
    """Yield a row of ``ranges`` an NVTX range or mark; ``domains``: (pid, id) -> name."""
    for span in ranges.nested():
        pid, tid = span.thread
        yield {
            "ts_ns": span.end_ns,
            "duration_ns": span.end_ns - span.begin_ns,
            "process_id": target.process_id(pid),
            "pid": pid,
            "tid": tid,
            "source": SOURCE,
            "name": span.name,
            "domain": domains.get((pid, span.label)),
            "depth": span.depth,
        }


def _word(words: Mapping[int, Any], number: Any) -> str | None:
    found = words.get(number) if isinstance(number, int) else None
    return None if found is None else str(found.value)


def _product(values: list[int | None]) -> int:
    product = 1
    for value in values:
        product *= value or 1
    return min(product, LARGEST_32)
