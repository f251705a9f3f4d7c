"""What the numbers in an Ingero file mean: sources, operations, arguments and time stamps.

The file has look-up tables of its own, which lack newer operations: the codes stand here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from gnomon.enums import CallLayer, CopyDirection, EventKind

CUDA, HOST, DRIVER, BLOCK, TCP, NETWORK, GRAPH = 1, 3, 4, 5, 6, 7, 8
# Rows of these say when a call was entered; all others when something ended or happened.
STAMPED_AT_ENTRY = frozenset({CUDA, DRIVER, GRAPH})

SCHED_SWITCH = (HOST, 1)
SCHED_WAKEUP = (HOST, 2)
FORK = (HOST, 7)
PAGE_ALLOC_SUMMARY = (HOST, 20)
SCHED_SWITCH_SUMMARY = (HOST, 21)
TCP_RETRANSMIT = (TCP, 1)
BLOCK_READ = (BLOCK, 1)

SECTOR_BYTES = 512


@dataclass(frozen=True, slots=True)
class Operation:
    """A call: which of its two arguments holds the bytes, the stream, the address, if any.

    ``bytes_per_unit`` multiplies the argument of ``bytes_in``; ``may_lack_bytes``: 0 says that
    the recorder did not know. ``is_always_kept``: its rows are stored also where of other
    operations only slow ones are.
    """

    layer: CallLayer
    name: str
    bytes_in: int | None = None
    bytes_per_unit: int = 1
    may_lack_bytes: bool = False
    has_direction: bool = False
    is_launch: bool = False
    stream_in: int | None = None
    address_in: int | None = None
    is_always_kept: bool = False


def _runtime(name: str, **arguments: int | bool | None) -> Operation:
    return Operation(CallLayer.CUDA_RUNTIME, name, **arguments)  # type: ignore[arg-type]


def _driver(name: str, **arguments: int | bool | None) -> Operation:
    return Operation(CallLayer.CUDA_DRIVER, name, **arguments)  # type: ignore[arg-type]


def _block(name: str) -> Operation:
    return Operation(CallLayer.BLOCK_IO, name, bytes_in=0, bytes_per_unit=SECTOR_BYTES)


# A 2D copy's first argument is the width of a row alone: its bytes are not known.
CALLS: Mapping[tuple[int, int], Operation] = {
    (CUDA, 1): _runtime("cudaMalloc", bytes_in=0, address_in=1),
    (CUDA, 2): _runtime("cudaFree", bytes_in=1, may_lack_bytes=True, address_in=0),
    (CUDA, 3): _runtime("cudaLaunchKernel", address_in=0, stream_in=1, is_launch=True),
    (CUDA, 4): _runtime("cudaMemcpy", bytes_in=0, has_direction=True),
    (CUDA, 5): _runtime("cudaStreamSynchronize", stream_in=0, is_always_kept=True),
    (CUDA, 6): _runtime("cudaDeviceSynchronize", is_always_kept=True),
    (CUDA, 7): _runtime("cudaMemcpyAsync", bytes_in=0, has_direction=True),
    (CUDA, 8): _runtime("cudaMallocManaged", bytes_in=0, address_in=1),
    (CUDA, 9): _runtime("cudaMemcpy2D", has_direction=True),
    (CUDA, 10): _runtime("cudaMemcpy2DAsync", has_direction=True),
    (CUDA, 11): _runtime("cudaMemcpyPeer", bytes_in=0),
    (CUDA, 12): _runtime("cudaMemcpyPeerAsync", bytes_in=0),
    (DRIVER, 1): _driver("cuLaunchKernel", address_in=0, stream_in=1, is_launch=True),
    (DRIVER, 2): _driver("cuMemcpy", bytes_in=0),
    (DRIVER, 3): _driver("cuMemcpyAsync", bytes_in=0),
    (DRIVER, 4): _driver("cuCtxSynchronize", is_always_kept=True),
    (DRIVER, 5): _driver("cuMemAlloc", bytes_in=0),
    (DRIVER, 6): _driver("cuMemAllocManaged", bytes_in=0),
    (BLOCK, 1): _block("block_read"),
    (BLOCK, 2): _block("block_write"),
    (BLOCK, 3): _block("block_discard"),
    (NETWORK, 1): Operation(CallLayer.SOCKET, "sendto", bytes_in=1),
    (NETWORK, 2): Operation(CallLayer.SOCKET, "recvfrom", bytes_in=1),
    (GRAPH, 1): _runtime("cudaStreamBeginCapture"),
    (GRAPH, 2): _runtime("cudaStreamEndCapture"),
    (GRAPH, 3): _runtime("cudaGraphInstantiate"),
    (GRAPH, 4): _runtime("cudaGraphLaunch"),
}
# What is only ever counted: operation, and the argument that holds the bytes.
SUMMARIES: Mapping[tuple[int, int], tuple[str, int | None]] = {
    PAGE_ALLOC_SUMMARY: ("mm_page_alloc", 1),
    SCHED_SWITCH_SUMMARY: ("sched_switch", None),
}
HAPPENINGS: Mapping[tuple[int, int], EventKind] = {
    (HOST, 4): EventKind.OOM_KILL,
    (HOST, 5): EventKind.PROCESS_STARTED,
    (HOST, 6): EventKind.PROCESS_EXITED,
    FORK: EventKind.THREAD_STARTED,
    (HOST, 10): EventKind.POD_RESTARTED,
    (HOST, 11): EventKind.POD_EVICTED,
    (HOST, 12): EventKind.OOM_KILL,
    TCP_RETRANSMIT: EventKind.TCP_RETRANSMIT,
}
# cudaMemcpyKind; 5 is the recorder's own "unknown".
DIRECTIONS: Mapping[int, CopyDirection] = {
    0: CopyDirection.HOST_TO_HOST,
    1: CopyDirection.HOST_TO_DEVICE,
    2: CopyDirection.DEVICE_TO_HOST,
    3: CopyDirection.DEVICE_TO_DEVICE,
    4: CopyDirection.DEFAULT,
}


# Calls whose address is that of what they allocated, known since this version of the recorder.
ALLOCATIONS = frozenset({"cudaMalloc", "cudaMallocManaged"})
KNOWS_ALLOCATED_SINCE = (0, 16)


def operation_of(source: int, op: int) -> tuple[CallLayer, str] | None:
    """Return the layer and the operation that an aggregate of this code counts."""
    call = CALLS.get((source, op))
    if call is not None:
        return call.layer, call.name
    named = {SCHED_SWITCH: "sched_switch", SCHED_WAKEUP: "sched_wakeup", (HOST, 3): "mm_page_alloc"}
    name = named.get((source, op)) or HAPPENINGS.get((source, op))
    return None if name is None else (CallLayer.KERNEL, str(name))
