"""Records of a ring to batches of Arrow, a column at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from gnomon.enums import CopyDirection, MemoryKind, SynchronizationKind
from gnomon.hardware import occupancy
from gnomon.sources import _kernels_ring as ring
from gnomon.sources.base import Batch
from gnomon.tables.kernels import name_hash
from gnomon.tracing.columns import Column, Known, Words, arrow_batch, signed
from gnomon.tracing.native_symbols import demangled

SOURCE = "cupti"
# CUPTI's word for "no stream" and "no event" (cupti_activity.h).
NOTHING = 0xFFFFFFFF
# CUpti_ActivityMemcpyKind; arrays lie on the device.
DIRECTIONS: Sequence[str | None] = (
    None,
    CopyDirection.HOST_TO_DEVICE,
    CopyDirection.DEVICE_TO_HOST,
    CopyDirection.HOST_TO_DEVICE,
    CopyDirection.DEVICE_TO_HOST,
    *[CopyDirection.DEVICE_TO_DEVICE] * 4,
    CopyDirection.HOST_TO_HOST,
    CopyDirection.DEVICE_TO_DEVICE,
)
# CUpti_ActivityMemoryKind; the last two are static variables.
MEMORIES: Sequence[str | None] = (
    None,
    MemoryKind.PAGEABLE,
    MemoryKind.PINNED,
    MemoryKind.DEVICE,
    MemoryKind.ARRAY,
    MemoryKind.MANAGED,
    MemoryKind.DEVICE,
    MemoryKind.MANAGED,
)
# CUpti_ActivitySynchronizationType
WAITS: Sequence[str | None] = (
    None,
    SynchronizationKind.EVENT,
    SynchronizationKind.STREAM_WAIT,
    SynchronizationKind.STREAM,
    SynchronizationKind.CONTEXT,
)
# CUpti_ActivityFlag of markers.
MARK, BEGIN, END = 1, 2, 4


class Range(NamedTuple):
    """A range that has begun."""

    start_ns: int
    name: str | None
    domain: str | None
    tid: int
    depth: int


@dataclass(slots=True)
class Process:
    """Whose records they are, and what later records need of earlier ones.

    ``hashes`` and ``names`` are of the names in the order in which the ring brought them.
    ``device_of`` tells the GPU of a context; ``open_ranges`` are by their number.
    """

    process_id: str
    pid: int | None
    devices: dict[int, ring.Device] = field(default_factory=dict)
    hashes: list[int] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    device_of: dict[int, int] = field(default_factory=dict)
    open_ranges: dict[int, Range] = field(default_factory=dict)

    def columns(self) -> dict[str, Column]:
        return {"process_id": self.process_id, "pid": self.pid, "source": SOURCE}


def learn_names(process: Process, names: Sequence[bytes]) -> None:
    """Remember names that a ring brought."""
    for raw in names:
        text = raw.decode(errors="replace")
        process.names.append(text)
        process.hashes.append(name_hash(text))


def kernel_names(process: Process, numbers: Sequence[int], ts_ns: int) -> list[dict[str, object]]:
    """Return rows of ``kernel_names``."""
    rows: list[dict[str, object]] = []
    for number in numbers:
        mangled = process.names[number]
        name = demangled(mangled.encode()).decode(errors="replace")
        row = {"ts_ns": ts_ns, "duration_ns": 0, "name_hash": process.hashes[number]}
        rows.append(row | {"mangled_name": mangled, "name": name})
    return rows


def kernels(records: npt.NDArray[np.void], process: Process) -> Batch:
    """Return the batch of ``kernels`` of records of that kind, with their occupancy."""
    rows = records.view(ring.KERNEL)
    _learn_contexts(process, rows)
    hashes = np.array([*process.hashes, 0], np.int64)
    has_name = rows["name"] < len(process.hashes)
    grid, block = rows["grid"], rows["block"]
    columns: dict[str, Column] = {
        **process.columns(),
        **_place(rows, process),
        "name_hash": Known(hashes[np.where(has_name, rows["name"], len(hashes) - 1)], has_name),
        **{f"grid_{axis}": grid[:, place] for place, axis in enumerate("xyz")},
        **{f"block_{axis}": block[:, place] for place, axis in enumerate("xyz")},
        "cluster_size": _unless_zero(rows["cluster_blocks"]),
        "registers_per_thread": rows["registers"],
        "static_shared_bytes": rows["static_shared_bytes"],
        "dynamic_shared_bytes": rows["dynamic_shared_bytes"],
        "local_bytes_per_thread": rows["local_bytes"],
        **_occupancy(rows, process),
    }
    return Batch("kernels", arrow=arrow_batch("kernels", len(rows), columns))


def copies(records: npt.NDArray[np.void], process: Process) -> Batch:
    """Return the batch of ``copies`` of records of copies and fills."""
    rows = records.view(ring.COPY)
    _learn_contexts(process, rows)
    is_copy = rows["kind"] == ring.Kind.COPY
    is_near = rows["source_device"] == rows["device"]
    other = np.where(is_near, rows["destination_device"], rows["source_device"])
    has_peer = (rows["is_peer"] != 0) & (other != rows["device"])
    columns: dict[str, Column] = {
        **process.columns(),
        **_place(rows, process),
        "operation": Words(np.where(is_copy, 0, 1), ["memcpy", "memset"]),
        "direction": _words(np.where(is_copy, rows["direction"], 0), DIRECTIONS),
        "bytes": signed(rows["bytes"]),
        "source_memory": _words(rows["source"], MEMORIES),
        "destination_memory": _words(rows["destination"], MEMORIES),
        "peer_gpu_uuid": _uuids(np.where(has_peer, other, -1), process, "uuid"),
    }
    return Batch("copies", arrow=arrow_batch("copies", len(rows), columns))


def synchronizations(records: npt.NDArray[np.void], process: Process) -> Batch:
    """Return the batch of ``gpu_synchronizations``; the GPU is that of the context's kernels."""
    rows = records.view(ring.SYNCHRONIZATION)
    place = _place(rows, process)
    devices = [process.device_of.get(context, -1) for context in rows["context"].tolist()]
    columns: dict[str, Column] = {
        **process.columns(),
        **place,
        "gpu_uuid": _uuids(np.array(devices), process, "uuid"),
        "mig_uuid": _uuids(np.array(devices), process, "mig_uuid"),
        "operation": _words(rows["type"], WAITS),
        "event_id": Known(rows["event"].astype(np.int64), _is_told(rows["event"])),
    }
    table = "gpu_synchronizations"
    return Batch(table, arrow=arrow_batch(table, len(rows), columns))


def ranges(records: npt.NDArray[np.void], process: Process) -> list[dict[str, object]]:
    """Return rows of ``ranges`` for the ranges that ended, and for marks."""
    found: list[dict[str, object]] = []
    markers = records.view(ring.MARKER)
    # Each thread has a buffer of its own: between them the order is that of handing over.
    for marker in markers[np.argsort(markers["at_ns"], kind="stable")]:
        number, at_ns, tid = int(marker["id"]), int(marker["at_ns"]), int(marker["tid"])
        if marker["flags"] & (BEGIN | MARK):
            depth = sum(1 for one in process.open_ranges.values() if one.tid == tid)
            name, domain = (_name(process, int(marker[key])) for key in ("name", "domain"))
            begun = Range(at_ns, name, domain, tid, depth)
            if marker["flags"] & BEGIN:
                process.open_ranges[number] = begun
            else:
                found.append(_range_row(process, begun, at_ns))
        elif marker["flags"] & END and number in process.open_ranges:
            found.append(_range_row(process, process.open_ranges.pop(number), at_ns))
    return found


def _range_row(process: Process, one: Range, end_ns: int) -> dict[str, object]:
    return {
        "ts_ns": end_ns,
        "duration_ns": max(0, end_ns - one.start_ns),
        "process_id": process.process_id,
        "pid": process.pid,
        "tid": one.tid or None,
        "source": SOURCE,
        "name": one.name,
        "domain": one.domain,
        "depth": one.depth,
    }


def _name(process: Process, number: int) -> str | None:
    return process.names[number] if number < len(process.names) else None


def _learn_contexts(process: Process, rows: npt.NDArray[np.void]) -> None:
    """Remember on which GPU each context is."""
    both = rows["context"].astype(np.uint64) << np.uint64(32) | rows["device"]
    for one in np.unique(both).tolist():
        process.device_of[one >> 32] = one & 0xFFFFFFFF


def _place(rows: npt.NDArray[np.void], process: Process) -> dict[str, Column]:
    return {
        "ts_ns": rows["end_ns"],
        "duration_ns": rows["end_ns"] - rows["start_ns"],
        "gpu_uuid": _uuids(rows["device"], process, "uuid"),
        "mig_uuid": _uuids(rows["device"], process, "mig_uuid"),
        "context_id": rows["context"].astype(np.int32),
        "stream_id": Known(rows["stream"].astype(np.int64), _is_told(rows["stream"])),
        "correlation_id": rows["correlation"].astype(np.int64),
        "graph_id": _unless_zero(rows["graph"].astype(np.int64)),
        "graph_node_id": _unless_zero(signed(rows["graph_node"])),
    }


def _is_told(numbers: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    return np.asarray(numbers != NOTHING)


def _unless_zero(numbers: npt.NDArray[Any]) -> Known:
    return Known(numbers, np.asarray(numbers != 0))


def _words(numbers: npt.NDArray[Any], words: Sequence[str | None]) -> Words:
    """Words by their place; a number behind the last is of a newer CUPTI, and null."""
    return Words(np.where(numbers < len(words), numbers, 0).astype(np.int32), words)


def _uuids(devices: npt.NDArray[Any], process: Process, which: str) -> Words:
    most = max(process.devices, default=-1) + 1
    known = [process.devices.get(place) for place in range(most)]
    words = [getattr(device, which) if device else None for device in known]
    return Words(np.where(devices < most, devices.astype(np.int64), -1), words)


def _occupancy(rows: npt.NDArray[np.void], process: Process) -> Mapping[str, Column]:
    """Return the columns of occupancy: worked out once a shape, of GPUs whose limits are known."""
    threads = rows["block"].astype(np.int64).prod(axis=1)
    blocks = rows["grid"].astype(np.int64).prod(axis=1)
    shared = rows["static_shared_bytes"].astype(np.int64) + rows["dynamic_shared_bytes"]
    shape = (threads, blocks, rows["registers"].astype(np.int64), shared)
    first, place = _distinct(*shape, rows["device"].astype(np.int64))
    pct, waves = np.full(len(first), np.nan), np.full(len(first), np.nan)
    limiters: list[str | None] = [None] * len(first)
    for number, device in process.devices.items():
        limits = occupancy.sm_limits().get(device.compute_capability)
        ours = np.flatnonzero(rows["device"][first] == number)
        if limits is None or not len(ours) or device.multiprocessors <= 0:
            continue
        picked = [one[first[ours]] for one in shape]
        launches = occupancy.Launches(picked[0], picked[1], picked[2], picked[3])
        found = occupancy.occupancy(limits, device.multiprocessors, launches)
        pct[ours], waves[ours] = found.occupancy_pct, found.waves
        for at, limiter in zip(ours.tolist(), found.limiters, strict=True):
            limiters[at] = limiter
    return {
        "theoretical_occupancy_pct": Known(pct[place], ~np.isnan(pct[place])),
        "occupancy_limiter": Words(place, limiters),
        "waves": Known(waves[place], ~np.isnan(waves[place])),
    }


def _distinct(*columns: npt.NDArray[np.int64]) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Return where each different row comes first, and the place of each row among those.

    Rows are told apart by 64 bits of hash: sorting them whole takes ten times as long.
    """
    mixed = np.zeros(len(columns[0]), np.uint64)
    for column in columns:
        mixed = (mixed ^ column.view(np.uint64)) * np.uint64(0x9E3779B97F4A7C15)
        mixed ^= mixed >> np.uint64(29)
    _, first, place = np.unique(mixed, return_index=True, return_inverse=True)
    return first, place
