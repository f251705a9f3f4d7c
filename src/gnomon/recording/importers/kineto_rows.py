"""What a PyTorch trace tells of a GPU, event by event, as rows of our tables."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from math import prod
from typing import Any

from gnomon.enums import (
    CopyDirection,
    MemoryKind,
    OccupancyLimiter,
    Selection,
    SynchronizationKind,
)
from gnomon.recording.importers.foreign_values import LARGEST_32, clean, integer
from gnomon.recording.importers.kineto_survey import (
    OF_GPU,
    Event,
    KinetoSurvey,
    arguments,
    device_of,
)
from gnomon.recording.importers.sink import KernelNames, Row
from gnomon.recording.importers.spans import Begins

SOURCE = "kineto"
WARP_THREADS = 32
GPU_DOMAIN = "gpu"
# The names that libkineto's CuptiActivity.cpp builds: "Memcpy HtoD (Pageable -> Device)".
COPY_NAME = re.compile(r"Memcpy (\w+) \((.+) -> (.+)\)")
FILL_NAME = re.compile(r"Memset \((.+)\)")
DIRECTIONS = {
    "HtoH": CopyDirection.HOST_TO_HOST,
    "HtoD": CopyDirection.HOST_TO_DEVICE,
    "HtoA": CopyDirection.HOST_TO_DEVICE,
    "DtoH": CopyDirection.DEVICE_TO_HOST,
    "AtoH": CopyDirection.DEVICE_TO_HOST,
    "DtoD": CopyDirection.DEVICE_TO_DEVICE,
    "DtoA": CopyDirection.DEVICE_TO_DEVICE,
    "AtoD": CopyDirection.DEVICE_TO_DEVICE,
    "AtoA": CopyDirection.DEVICE_TO_DEVICE,
    "PtoP": CopyDirection.DEVICE_TO_DEVICE,
}
MEMORY = {
    "Pageable": MemoryKind.PAGEABLE,
    "Pinned": MemoryKind.PINNED,
    "Device": MemoryKind.DEVICE,
    "Device Static": MemoryKind.DEVICE,
    "Array": MemoryKind.ARRAY,
    "Managed": MemoryKind.MANAGED,
    "Managed Static": MemoryKind.MANAGED,
}
WAITS = {
    "Event Sync": SynchronizationKind.EVENT,
    "Stream Wait Event": SynchronizationKind.STREAM_WAIT,
    "Stream Sync": SynchronizationKind.STREAM,
    "Context Sync": SynchronizationKind.CONTEXT,
}
# cudaOccLimitingFactor of cuda_occupancy.h
LIMITERS = {
    "WARPS": OccupancyLimiter.WARPS,
    "REGISTERS": OccupancyLimiter.REGISTERS,
    "SHARED_MEMORY": OccupancyLimiter.SHARED_MEMORY,
    "BLOCKS": OccupancyLimiter.BLOCKS,
}


class OperationReader:
    """Turns the events of a GPU into rows, once it is known when they were enqueued."""

    def __init__(self, found: KinetoSurvey, begins: Begins, names: KernelNames) -> None:
        self._found = found
        self._begins = begins
        self._names = names
        self._process_id, self._pid = found.process_id, found.pid
        self._builders: Mapping[str, tuple[str, Callable[[Event, Row], Row]]] = {
            "kernel": ("kernels", self._kernel),
            "gpu_memcpy": ("copies", self._copy),
            "gpu_memset": ("copies", self._fill),
            "cuda_sync": ("gpu_synchronizations", self._wait),
        }

    def take(self, event: Event, category: str) -> tuple[str, Row] | None:
        """Return (table, row) of an event, None for one that is not of a GPU.

        Raises ValueError for one that cannot be read.
        """
        if event.get("ph") != "X" or category not in self._builders:
            return None
        table, build = self._builders[category]
        return table, build(event, self._place(event))

    def _place(self, event: Event) -> Row:
        begin_ns, end_ns = self._found.times(event)
        args = arguments(event)
        correlation = integer(args.get("correlation"), 1)
        pid = self._pid
        return {
            "ts_ns": end_ns,
            "duration_ns": end_ns - begin_ns,
            "gpu_uuid": self._found.gpu_uuid(device_of(event)),
            "process_id": self._process_id,
            "pid": pid,
            "source": SOURCE,
            "context_id": integer(args.get("context"), 0, LARGEST_32),
            # -1, or what it is as 32 unsigned bits, is no stream.
            "stream_id": integer(args.get("stream"), 0, (1 << 32) - 2),
            "correlation_id": correlation,
            "graph_id": integer(args.get("graph id"), 1),
            "graph_node_id": integer(args.get("graph node id"), 1),
            "enqueued_ns": None if pid is None else self._begins.of(pid, correlation),
        }

    def _kernel(self, event: Event, row: Row) -> Row:
        name = clean(event.get("name"), 4000)
        if name is None:
            raise ValueError("the kernel has no name")
        args = arguments(event)
        row["name_hash"] = self._names.hash_of(name, row["ts_ns"])
        for word in ("grid", "block"):
            for axis, value in zip("xyz", _three(args.get(word)), strict=True):
                row[f"{word}_{axis}"] = value
        row["registers_per_thread"] = integer(args.get("registers per thread"), 1, 65_535)
        row["shared_bytes"] = integer(args.get("shared memory"))
        return row | self._occupancy(args, device_of(event))

    def _occupancy(self, args: Mapping[str, Any], device: int) -> Row:
        """Return the occupancy as Kineto worked it out.

        Since 2026 it tells how many blocks fit on an SM; before, only the share of warps, which is
        also limited by the size of the grid, in whole percent.
        """
        facts = self._found.devices.get(device, {})
        detail = args.get("occupancy")
        blocks = (
            integer(detail.get("activeBlocksPerMultiprocessor"), 1, 1024)
            if isinstance(detail, dict)
            else None
        )
        threads, most_warps = _three(args.get("block")), facts.get("max_warps_per_sm")
        if blocks is None or None in threads or not most_warps:
            share = _number(args.get("est. achieved occupancy %"))
            is_told = share is not None and 0 < share <= 100
            return {"theoretical_occupancy_pct": share if is_told else None}
        warps = -(-prod(one or 0 for one in threads) // WARP_THREADS)
        limiter = LIMITERS.get(str(detail.get("limitingFactors")) if detail else "")
        row: Row = {
            "theoretical_occupancy_pct": min(100.0, 100.0 * blocks * warps / most_warps),
            "occupancy_limiter": limiter.value if limiter else None,
        }
        grid, sm_count = _three(args.get("grid")), facts.get("sm_count")
        if None not in grid and sm_count:
            row["waves"] = prod(one or 0 for one in grid) / (blocks * sm_count)
        return row

    def _copy(self, event: Event, row: Row) -> Row:
        args = arguments(event)
        found = COPY_NAME.fullmatch(str(event.get("name")))
        kind, source, target = found.groups() if found else ("", "", "")
        row |= {"operation": "memcpy", "bytes": integer(args.get("bytes"))}
        row |= {"direction": _word(DIRECTIONS, kind), "source_memory": _word(MEMORY, source)}
        row["destination_memory"] = _word(MEMORY, target)
        ends = {integer(args.get(key), 0, 1024) for key in ("fromDevice", "toDevice")} - {None}
        others = ends - {device_of(event)}
        if len(others) == 1:
            row["peer_gpu_uuid"] = self._found.gpu_uuid(others.pop() or 0)
        return row

    def _fill(self, event: Event, row: Row) -> Row:
        found = FILL_NAME.fullmatch(str(event.get("name")))
        row |= {"operation": "memset", "bytes": integer(arguments(event).get("bytes"))}
        row["destination_memory"] = _word(MEMORY, found[1] if found else "")
        return row

    def _wait(self, event: Event, row: Row) -> Row:
        args = arguments(event)
        kind = _word(WAITS, str(args.get("cuda_sync_kind") or event.get("name")))
        if kind is None:
            raise ValueError(f"{event.get('name')!s:.40} is no kind of wait that is known")
        event_id = integer(args.get("wait_on_cuda_event_id"), 1)
        del row["enqueued_ns"], row["graph_id"], row["graph_node_id"]
        return row | {"operation": kind, "event_id": event_id}


def call_rows(found: KinetoSurvey) -> Iterator[Row]:
    """Yield a row of ``host_calls`` a call into CUDA."""
    process_id = found.process_id
    for span in found.calls.nested():
        yield {
            "ts_ns": span.end_ns,
            "duration_ns": span.end_ns - span.begin_ns,
            "host": found.host or None,
            "process_id": process_id,
            "pid": span.thread[0],
            "tid": span.thread[1],
            "rank": found.rank,
            "layer": found.layers[span.name].value,
            "operation": span.name,
            "depth": span.depth,
            "parent_operation": span.parent,
            "selection": Selection.ALL.value,
            "weight": 1.0,
        }


def range_rows(found: KinetoSurvey) -> Iterator[Row]:
    """Yield a row of ``ranges`` an annotation; one on a GPU has the domain gpu and no thread."""
    process_id = found.process_id
    for span in found.ranges.nested():
        is_of_gpu = span.label == OF_GPU
        yield {
            "ts_ns": span.end_ns,
            "duration_ns": span.end_ns - span.begin_ns,
            "process_id": process_id,
            "pid": found.pid if is_of_gpu else span.thread[0],
            "tid": None if is_of_gpu else span.thread[1],
            "source": SOURCE,
            "name": span.name,
            "domain": GPU_DOMAIN if is_of_gpu else None,
            "depth": span.depth,
        }


def thread_rows(found: KinetoSurvey) -> Iterator[Row]:
    """Yield a row of ``threads`` a thread that the trace names."""
    for tid, name in found.thread_names.items():
        yield {
            "ts_ns": found.last_ns,
            "duration_ns": found.last_ns - found.first_ns,
            "host": found.host or None,
            "process_id": found.process_id,
            "pid": found.pid,
            "tid": tid,
            "name": name,
            "rank": found.rank,
            "world_size": found.world_size,
        }


def window_row(found: KinetoSurvey) -> Row:
    """Return the row of ``kernel_windows``: the trace from end to end."""
    return {
        "ts_ns": found.last_ns,
        "duration_ns": found.last_ns - found.first_ns,
        "process_id": found.process_id,
        "pid": found.pid,
        "source": SOURCE,
        "records": found.operations,
    }


def _three(value: Any) -> tuple[int | None, int | None, int | None]:
    if isinstance(value, list) and len(value) == 3:
        x, y, z = (integer(one, 1, LARGEST_32) for one in value)
        return x, y, z
    return None, None, None


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | Decimal) else None


def _word(words: Mapping[str, Any], spelled: str) -> str | None:
    found = words.get(spelled)
    return None if found is None else str(found.value)
