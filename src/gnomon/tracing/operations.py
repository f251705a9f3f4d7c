"""Which functions of CUDA and NCCL are traced, and where the arguments of CUDA's lie.

An operation is a function with all its forms: those for per-thread default streams (_ptsz, _ptds)
and the versions of its ABI. Its place in OPERATIONS is the number that programs and records carry.
Arguments are words of a call in the calling convention of x86-64 (System V ABI 3.2.3): 1 to 6 in
registers, from 7 on the stack; a dim3 of 12 bytes takes two. Signatures are those of
cuda_runtime_api.h and cuda.h of CUDA 12 and 13. Queries (cudaEventQuery, cudaStreamQuery) are left
out: they never wait, and where a program polls them a probe would cost several times the call.
"""

from collections.abc import Mapping
from functools import cache
from typing import NamedTuple

import numpy as np

from gnomon.enums import CallLayer, CopyDirection
from gnomon.tracing import layouts, nccl_functions

FORMS = ("", "_ptsz", "_ptds")
# enum cudaMemcpyKind
DIRECTIONS = (
    CopyDirection.HOST_TO_HOST,
    CopyDirection.HOST_TO_DEVICE,
    CopyDirection.DEVICE_TO_HOST,
    CopyDirection.DEVICE_TO_DEVICE,
    CopyDirection.DEFAULT,
)
LAYERS = {
    CallLayer.CUDA_RUNTIME: layouts.Layer.CUDA_RUNTIME,
    CallLayer.CUDA_DRIVER: layouts.Layer.CUDA_DRIVER,
    CallLayer.NCCL: layouts.Layer.NCCL,
}

# The number of a word, or (word, offset) of what lies offset bytes behind the pointer in a word.
Argument = int | tuple[int, int]


class Operation(NamedTuple):
    """One function and its arguments; 0 is an argument that it does not have.

    ``bytes`` are multiplied with each other and with ``unit_bytes``. ``returns_address``: the
    address argument points to where the call writes the address. ``is_launch``: called for every
    kernel or graph, so often that its probes may have to go where the others can stay.
    """

    name: str
    layer: CallLayer
    symbols: tuple[str, ...]
    bytes: tuple[Argument, ...] = ()
    direction: Argument = 0
    fixed_direction: CopyDirection | None = None
    address: Argument = 0
    returns_address: bool = False
    stream: Argument = 0
    unit_bytes: int = 1
    is_launch: bool = False


def _runtime(name: str, *more_symbols: str, **arguments: object) -> Operation:
    return Operation(name, CallLayer.CUDA_RUNTIME, (name, *more_symbols), **arguments)  # type: ignore[arg-type]


def _driver(name: str, *versions: str, **arguments: object) -> Operation:
    symbols = tuple(name + version for version in versions or ("",))
    return Operation(name, CallLayer.CUDA_DRIVER, symbols, **arguments)  # type: ignore[arg-type]


_H2D, _D2H, _D2D = DIRECTIONS[1:4]
# struct cudaMemcpy3DParms, cudaMemcpy3DPeerParms: their extents, and the kind of the first
_EXTENT_3D = ((1, 128), (1, 136), (1, 144))
_EXTENT_3D_PEER = ((1, 144), (1, 152), (1, 160))
# CUDA_MEMCPY2D, CUDA_MEMCPY3D (the latter's PEER form begins alike): WidthInBytes, Height, Depth
_EXTENT_CU_2D = ((1, 112), (1, 120))
_EXTENT_CU_3D = ((1, 176), (1, 184), (1, 192))

OPERATIONS: tuple[Operation, ...] = (
    # Launches
    _runtime("cudaLaunchKernel", "__cudaLaunchKernel", address=1, stream=8, is_launch=True),
    _runtime("cudaLaunchKernelExC", address=2, stream=(1, 32), is_launch=True),
    _runtime("cudaLaunchCooperativeKernel", address=1, stream=8, is_launch=True),
    _driver("cuLaunchKernel", address=1, stream=9, is_launch=True),
    _driver("cuLaunchKernelEx", address=2, stream=(1, 32), is_launch=True),
    _driver("cuLaunchCooperativeKernel", address=1, stream=9, is_launch=True),
    _runtime("cudaGraphLaunch", stream=2, is_launch=True),
    _driver("cuGraphLaunch", stream=2, is_launch=True),
    # Graphs
    _runtime("cudaGraphInstantiate"),
    _runtime("cudaGraphInstantiateWithFlags"),
    _runtime("cudaGraphInstantiateWithParams"),
    _runtime("cudaStreamBeginCapture", stream=1),
    _runtime("cudaStreamEndCapture", stream=1),
    _driver("cuGraphInstantiateWithFlags"),
    _driver("cuGraphInstantiateWithParams"),
    _driver("cuStreamBeginCapture", "_v2", stream=1),
    _driver("cuStreamEndCapture", stream=1),
    # Copies
    _runtime("cudaMemcpy", bytes=(3,), direction=4),
    _runtime("cudaMemcpyAsync", bytes=(3,), direction=4, stream=5),
    _runtime("cudaMemcpy2D", bytes=(5, 6), direction=7),
    _runtime("cudaMemcpy2DAsync", bytes=(5, 6), direction=7, stream=8),
    _runtime("cudaMemcpy3D", bytes=_EXTENT_3D, direction=(1, 152)),
    _runtime("cudaMemcpy3DAsync", bytes=_EXTENT_3D, direction=(1, 152), stream=2),
    _runtime("cudaMemcpyPeer", bytes=(5,), fixed_direction=_D2D),
    _runtime("cudaMemcpyPeerAsync", bytes=(5,), fixed_direction=_D2D, stream=6),
    _runtime("cudaMemcpy3DPeer", bytes=_EXTENT_3D_PEER, fixed_direction=_D2D),
    _runtime("cudaMemcpy3DPeerAsync", bytes=_EXTENT_3D_PEER, fixed_direction=_D2D, stream=2),
    _runtime("cudaMemcpyToSymbol", bytes=(3,), direction=5),
    _runtime("cudaMemcpyToSymbolAsync", bytes=(3,), direction=5, stream=6),
    _runtime("cudaMemcpyFromSymbol", bytes=(3,), direction=5),
    _runtime("cudaMemcpyFromSymbolAsync", bytes=(3,), direction=5, stream=6),
    _runtime("cudaMemcpy2DToArray", bytes=(6, 7), direction=8),
    _runtime("cudaMemcpy2DToArrayAsync", bytes=(6, 7), direction=8, stream=9),
    _runtime("cudaMemcpy2DFromArray", bytes=(6, 7), direction=8),
    _runtime("cudaMemcpy2DFromArrayAsync", bytes=(6, 7), direction=8, stream=9),
    _runtime("cudaMemcpyBatchAsync"),
    _driver("cuMemcpy", bytes=(3,)),
    _driver("cuMemcpyAsync", bytes=(3,), stream=4),
    _driver("cuMemcpyHtoD", "_v2", bytes=(3,), fixed_direction=_H2D),
    _driver("cuMemcpyHtoDAsync", "_v2", bytes=(3,), fixed_direction=_H2D, stream=4),
    _driver("cuMemcpyDtoH", "_v2", bytes=(3,), fixed_direction=_D2H),
    _driver("cuMemcpyDtoHAsync", "_v2", bytes=(3,), fixed_direction=_D2H, stream=4),
    _driver("cuMemcpyDtoD", "_v2", bytes=(3,), fixed_direction=_D2D),
    _driver("cuMemcpyDtoDAsync", "_v2", bytes=(3,), fixed_direction=_D2D, stream=4),
    _driver("cuMemcpyPeer", bytes=(5,), fixed_direction=_D2D),
    _driver("cuMemcpyPeerAsync", bytes=(5,), fixed_direction=_D2D, stream=6),
    _driver("cuMemcpy2D", "_v2", bytes=_EXTENT_CU_2D),
    _driver("cuMemcpy2DUnaligned", "_v2", bytes=_EXTENT_CU_2D),
    _driver("cuMemcpy2DAsync", "_v2", bytes=_EXTENT_CU_2D, stream=2),
    _driver("cuMemcpy3D", "_v2", bytes=_EXTENT_CU_3D),
    _driver("cuMemcpy3DAsync", "_v2", bytes=_EXTENT_CU_3D, stream=2),
    _driver("cuMemcpy3DPeer", bytes=_EXTENT_CU_3D, fixed_direction=_D2D),
    _driver("cuMemcpy3DPeerAsync", bytes=_EXTENT_CU_3D, fixed_direction=_D2D, stream=2),
    _driver("cuMemcpyBatchAsync"),
    # Memsets
    _runtime("cudaMemset", bytes=(3,), address=1),
    _runtime("cudaMemsetAsync", bytes=(3,), address=1, stream=4),
    _runtime("cudaMemset2D", bytes=(4, 5), address=1),
    _runtime("cudaMemset2DAsync", bytes=(4, 5), address=1, stream=6),
    _driver("cuMemsetD8", "_v2", bytes=(3,), address=1),
    _driver("cuMemsetD8Async", bytes=(3,), address=1, stream=4),
    _driver("cuMemsetD16", "_v2", bytes=(3,), unit_bytes=2, address=1),
    _driver("cuMemsetD16Async", bytes=(3,), unit_bytes=2, address=1, stream=4),
    _driver("cuMemsetD32", "_v2", bytes=(3,), unit_bytes=4, address=1),
    _driver("cuMemsetD32Async", bytes=(3,), unit_bytes=4, address=1, stream=4),
    _driver("cuMemsetD2D8", "_v2", bytes=(4, 5), address=1),
    _driver("cuMemsetD2D8Async", bytes=(4, 5), address=1, stream=6),
    _driver("cuMemsetD2D32", "_v2", bytes=(4, 5), unit_bytes=4, address=1),
    _driver("cuMemsetD2D32Async", bytes=(4, 5), unit_bytes=4, address=1, stream=6),
    # Synchronisations
    _runtime("cudaStreamSynchronize", stream=1),
    _runtime("cudaDeviceSynchronize"),
    _runtime("cudaEventSynchronize"),
    _driver("cuStreamSynchronize", stream=1),
    _driver("cuCtxSynchronize"),
    _driver("cuEventSynchronize"),
    # Allocations
    _runtime("cudaMalloc", bytes=(2,), address=1, returns_address=True),
    _runtime("cudaMallocAsync", bytes=(2,), address=1, returns_address=True, stream=3),
    _runtime("cudaMallocFromPoolAsync", bytes=(2,), address=1, returns_address=True, stream=4),
    _runtime("cudaMallocManaged", bytes=(2,), address=1, returns_address=True),
    _runtime("cudaMallocPitch", bytes=(3, 4), address=1, returns_address=True),
    _runtime("cudaMallocHost", bytes=(2,), address=1, returns_address=True),
    _runtime("cudaHostAlloc", bytes=(2,), address=1, returns_address=True),
    _runtime("cudaHostRegister", bytes=(2,), address=1),
    _runtime("cudaHostUnregister", address=1),
    _runtime("cudaFree", address=1),
    _runtime("cudaFreeAsync", address=1, stream=2),
    _runtime("cudaFreeHost", address=1),
    _driver("cuMemAlloc", "_v2", bytes=(2,), address=1, returns_address=True),
    _driver("cuMemAllocAsync", bytes=(2,), address=1, returns_address=True, stream=3),
    _driver("cuMemAllocFromPoolAsync", bytes=(2,), address=1, returns_address=True, stream=4),
    _driver("cuMemAllocManaged", bytes=(2,), address=1, returns_address=True),
    _driver("cuMemAllocPitch", "_v2", bytes=(3, 4), address=1, returns_address=True),
    _driver("cuMemAllocHost", "_v2", bytes=(2,), address=1, returns_address=True),
    _driver("cuMemHostAlloc", bytes=(2,), address=1, returns_address=True),
    _driver("cuMemHostRegister", "_v2", bytes=(2,), address=1),
    _driver("cuMemHostUnregister", address=1),
    _driver("cuMemFree", "_v2", address=1),
    _driver("cuMemFreeAsync", address=1, stream=2),
    _driver("cuMemFreeHost", address=1),
    _driver("cuMemCreate", bytes=(2,), address=1, returns_address=True),
    _driver("cuMemMap", bytes=(2,), address=1),
    _driver("cuMemUnmap", bytes=(2,), address=1),
    _driver("cuMemRelease", address=1),
    # Managed memory. Where the stream is depends on the version, which the name may not tell.
    _runtime("cudaMemPrefetchAsync", "cudaMemPrefetchAsync_v2", bytes=(2,), address=1),
    _runtime("cudaMemAdvise", "cudaMemAdvise_v2", bytes=(2,), address=1),
    _driver("cuMemPrefetchAsync", "", "_v2", bytes=(2,), address=1),
    _driver("cuMemAdvise", "", "_v2", bytes=(2,), address=1),
    # Loading of code, at once or when it is first used; the address is that of what was loaded
    _runtime("cudaLibraryLoadData", address=1, returns_address=True),
    _runtime("cudaLibraryLoadFromFile", address=1, returns_address=True),
    _runtime("cudaLibraryGetKernel", address=1, returns_address=True),
    _runtime("cudaLibraryUnload", address=1),
    _driver("cuLibraryLoadData", address=1, returns_address=True),
    _driver("cuLibraryLoadFromFile", address=1, returns_address=True),
    _driver("cuLibraryGetKernel", address=1, returns_address=True),
    _driver("cuLibraryGetModule", address=1, returns_address=True),
    _driver("cuLibraryUnload", address=1),
    _driver("cuKernelGetFunction", address=1, returns_address=True),
    _driver("cuFuncLoad", address=1),
    _driver("cuModuleLoad", address=1, returns_address=True),
    _driver("cuModuleLoadData", address=1, returns_address=True),
    _driver("cuModuleLoadDataEx", address=1, returns_address=True),
    _driver("cuModuleLoadFatBinary", address=1, returns_address=True),
    _driver("cuModuleGetFunction", address=1, returns_address=True),
    _driver("cuModuleUnload", address=1),
    _driver("cuLinkAddData", "_v2"),
    _driver("cuLinkComplete"),
    # Rebuilding
    _runtime("cudaGraphExecUpdate"),
    _runtime("cudaDeviceReset"),
    _driver("cuGraphExecUpdate", "", "_v2"),
    _driver("cuDevicePrimaryCtxReset", "", "_v2"),
    *(Operation(one.name, CallLayer.NCCL, one.symbols) for one in nccl_functions.FUNCTIONS),
)


@cache
def numbers() -> Mapping[str, int]:
    """The operation's number by the name of an exported function, in all its forms."""
    return {
        symbol + form: number
        for number, operation in enumerate(OPERATIONS)
        for symbol in operation.symbols
        for form in FORMS
    }


def description() -> bytes:
    """OPERATIONS as the programs read them: the variable ``operations`` of calls.bpf.o."""
    table = np.zeros(layouts.OPERATIONS, layouts.OPERATION)
    for row, operation in zip(table, OPERATIONS, strict=False):
        for index, argument in enumerate(operation.bytes):
            row["bytes"][index] = _place(argument)
        for name in ("direction", "address", "stream"):
            row[name] = _place(getattr(operation, name))
        row["layer"] = LAYERS[operation.layer]
        row["unit_bytes"] = operation.unit_bytes
        row["address_returned"] = operation.returns_address
        row["words_on_stack"] = _highest_word(operation) > 6
        row["is_launch"] = operation.is_launch
        if operation.fixed_direction is not None:
            row["fixed_direction"] = DIRECTIONS.index(operation.fixed_direction) + 1
    return table.tobytes()


def nccl_description() -> bytes:
    """NCCL's arguments as the programs read them: ``nccl_operations`` of nccl.bpf.o."""
    table = np.zeros(layouts.OPERATIONS, layouts.NCCL_OPERATION)
    for function in nccl_functions.FUNCTIONS:
        nccl_functions.describe(function, table[numbers()[function.name]])
    return table.tobytes()


def direction(number: int) -> CopyDirection | None:
    """The direction that a call's record tells; None where it tells none that is known."""
    return DIRECTIONS[number] if 0 <= number < len(DIRECTIONS) else None


def _place(argument: Argument) -> tuple[int, bool, int]:
    """(word, whether the value lies behind it, offset in bytes)."""
    return (argument, False, 0) if isinstance(argument, int) else (argument[0], True, argument[1])


def _highest_word(operation: Operation) -> int:
    arguments = (*operation.bytes, operation.direction, operation.address, operation.stream)
    return max(_place(argument)[0] for argument in arguments)
