"""What records tell of arguments, of calls compiled against NVIDIA's own headers."""

from gnomon.tracing import operations
from gnomon.tracing.layouts import RecordKind
from tests.standins.cudart import build_typed_calls
from tests.standins.cupti import cuda_includes
from tests.tracing.programs.tracer import NEEDS_EVERY_FUNCTION, NEEDS_PROGRAMS

pytestmark = [*NEEDS_PROGRAMS, NEEDS_EVERY_FUNCTION]

MEMORY, STREAM, NEW = 0xD000, 0x57, "a new address"

# Operation, bytes, direction, address, stream: what typed.c passes, in its order.
EXPECTED = [
    ("cudaLaunchKernel", 0, None, MEMORY, STREAM),
    ("cudaLaunchCooperativeKernel", 0, None, MEMORY, STREAM),
    ("cudaLaunchKernelExC", 0, None, MEMORY, STREAM),
    ("cudaGraphLaunch", 0, None, 0, STREAM),
    ("cuLaunchKernel", 0, None, MEMORY, STREAM),
    ("cuLaunchCooperativeKernel", 0, None, MEMORY, STREAM),
    ("cuLaunchKernelEx", 0, None, MEMORY, STREAM),
    ("cudaMemcpy", 1000, "h2d", 0, 0),
    ("cudaMemcpyAsync", 1000, "d2h", 0, STREAM),
    ("cudaMemcpy2D", 600, "d2d", 0, 0),
    ("cudaMemcpy2DAsync", 600, "default", 0, STREAM),
    ("cudaMemcpy3D", 6000, "d2h", 0, 0),
    ("cudaMemcpy3DAsync", 6000, "d2h", 0, STREAM),
    ("cudaMemcpyPeer", 1000, "d2d", 0, 0),
    ("cudaMemcpyPeerAsync", 1000, "d2d", 0, STREAM),
    ("cudaMemcpy3DPeerAsync", 6000, "d2d", 0, STREAM),
    ("cudaMemcpyToSymbol", 1000, "h2d", 0, 0),
    ("cudaMemcpyFromSymbolAsync", 1000, "d2h", 0, STREAM),
    ("cudaMemcpy2DToArrayAsync", 600, "h2d", 0, STREAM),
    ("cudaMemcpy2DFromArray", 600, "d2h", 0, 0),
    ("cuMemcpy", 1000, None, 0, 0),
    ("cuMemcpyAsync", 1000, None, 0, STREAM),
    ("cuMemcpyHtoD", 1000, "h2d", 0, 0),
    ("cuMemcpyHtoDAsync", 1000, "h2d", 0, STREAM),
    ("cuMemcpyDtoH", 1000, "d2h", 0, 0),
    ("cuMemcpyDtoHAsync", 1000, "d2h", 0, STREAM),
    ("cuMemcpyDtoD", 1000, "d2d", 0, 0),
    ("cuMemcpyDtoDAsync", 1000, "d2d", 0, STREAM),
    ("cuMemcpyPeer", 1000, "d2d", 0, 0),
    ("cuMemcpyPeerAsync", 1000, "d2d", 0, STREAM),
    ("cuMemcpy2D", 600, None, 0, 0),
    ("cuMemcpy2DAsync", 600, None, 0, STREAM),
    ("cuMemcpy3DAsync", 6000, None, 0, STREAM),
    ("cuMemcpy3DPeer", 6000, "d2d", 0, 0),
    ("cudaMemset", 1000, None, MEMORY, 0),
    ("cudaMemsetAsync", 1000, None, MEMORY, STREAM),
    ("cudaMemset2DAsync", 600, None, MEMORY, STREAM),
    ("cuMemsetD8", 1000, None, MEMORY, 0),
    ("cuMemsetD16Async", 2000, None, MEMORY, STREAM),
    ("cuMemsetD32", 4000, None, MEMORY, 0),
    ("cuMemsetD2D8", 600, None, MEMORY, 0),
    ("cuMemsetD2D32Async", 2400, None, MEMORY, STREAM),
    ("cudaStreamSynchronize", 0, None, 0, STREAM),
    ("cudaDeviceSynchronize", 0, None, 0, 0),
    ("cudaEventSynchronize", 0, None, 0, 0),
    ("cuStreamSynchronize", 0, None, 0, STREAM),
    ("cuCtxSynchronize", 0, None, 0, 0),
    ("cudaMalloc", 1000, None, NEW, 0),
    ("cudaMallocAsync", 1000, None, NEW, STREAM),
    ("cudaMallocManaged", 1000, None, NEW, 0),
    ("cudaMallocPitch", 600, None, NEW, 0),
    ("cudaHostAlloc", 1000, None, NEW, 0),
    ("cudaFree", 0, None, MEMORY, 0),
    ("cudaFreeAsync", 0, None, MEMORY, STREAM),
    ("cuMemAlloc", 1000, None, NEW, 0),
    ("cuMemAllocPitch", 600, None, NEW, 0),
    ("cuMemFree", 0, None, MEMORY, 0),
    ("cuMemCreate", 1000, None, NEW, 0),
    ("cuMemMap", 1000, None, MEMORY, 0),
    ("cuMemUnmap", 1000, None, MEMORY, 0),
    ("cudaMemPrefetchAsync", 1000, None, MEMORY, 0),
    ("cudaMemAdvise", 1000, None, MEMORY, 0),
    ("cuMemPrefetchAsync", 1000, None, MEMORY, 0),
    ("cuMemAdvise", 1000, None, MEMORY, 0),
    ("cuLibraryLoadData", 0, None, NEW, 0),
    ("cuLibraryGetKernel", 0, None, NEW, 0),
    ("cuKernelGetFunction", 0, None, NEW, 0),
    ("cuFuncLoad", 0, None, MEMORY, 0),
    ("cuModuleLoadData", 0, None, NEW, 0),
    ("cuModuleGetFunction", 0, None, NEW, 0),
    ("cuModuleUnload", 0, None, MEMORY, 0),
]


def test_bytes_direction_address_and_stream_are_those_of_the_call(trace, tmp_path):
    library = build_typed_calls(tmp_path, cuda_includes())
    tracer, _, truth = trace(f"typed {library}")
    addresses = iter(range(0x7F0000001000, 0x7F0000100000, 4096))
    expected = [
        (*row[:3], next(addresses) if row[3] is NEW else row[3], row[4]) for row in EXPECTED
    ]

    assert expected == [
        (
            operations.OPERATIONS[record["operation"]].name,
            record["bytes"],
            operations.direction(record["direction"]),
            record["address"],
            record["stream"],
        )
        for record in tracer.records(RecordKind.CALL, truth.thread()["tid"])
    ]
    assert tracer.losses() == {}
