"""What ran on GPUs: kernels, copies, waits and ranges, and counters sampled between them."""

import hashlib

from gnomon.tables._columns import (
    GPU,
    PROCESS,
    TIME,
    Column,
    Table,
    count,
    mhz,
    ns,
    pct,
    size,
    text,
)


def name_hash(name: str) -> int:
    """Return the key of a kernel's name, the same in every recording: 64 bits, signed.

    ``name``: the mangled one, where it is known.
    """
    digest = hashlib.blake2b(name.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little", signed=True)


# Where an operation was put, and the call that put it there.
PLACE = (
    text("source", "who recorded it: cupti, kineto, nsys, ncu"),
    Column("context_id", "int32", "", "CUDA context, counted within the process", "CUPTI"),
    Column("stream_id", "int64", "", "stream, counted within the context", "CUPTI"),
    Column(
        "correlation_id",
        "int64",
        "",
        "the call that enqueued it, counted within the process; of a graph its launch",
        "CUPTI",
    ),
    Column("graph_id", "int64", "", "graph that it is a node of, null for none", "CUPTI"),
    Column("graph_node_id", "int64", "", "node of that graph", "CUPTI"),
    ns("enqueued_ns", "Unix time at which the call that enqueued it began", "imports"),
)


def _dim(name: str, meaning: str) -> Column:
    return Column(name, "int32", "count", meaning, "CUPTI")


KERNELS = Table(
    "kernels",
    "Kernels that ran on a GPU, in the windows of `kernel_windows`. One row a kernel.",
    (
        *TIME,
        *GPU,
        *PROCESS,
        *PLACE,
        Column("name_hash", "int64", "", "its name, a key of `kernel_names`", "recorder"),
        _dim("grid_x", "blocks in x"),
        _dim("grid_y", "blocks in y"),
        _dim("grid_z", "blocks in z"),
        _dim("block_x", "threads of a block in x"),
        _dim("block_y", "threads of a block in y"),
        _dim("block_z", "threads of a block in z"),
        _dim("cluster_size", "blocks of a cluster; null or 1 without clusters"),
        _dim("registers_per_thread", "registers of each thread"),
        size("static_shared_bytes", "static shared memory of a block", "CUPTI"),
        size("dynamic_shared_bytes", "dynamic shared memory of a block", "CUPTI"),
        size("shared_bytes", "both together, of recorders that tell only the sum", "imports"),
        size("local_bytes_per_thread", "local memory of a thread: spills and arrays", "CUPTI"),
        Column(
            "theoretical_occupancy_pct",
            "float64",
            "% (0 to 100)",
            "warps that fit on an SM at a time, of the most that it can hold",
            "registers, shared memory and threads of a block, by the CUDA occupancy rules",
        ),
        text("occupancy_limiter", "enums.OccupancyLimiter: what allows no more of them"),
        Column(
            "waves",
            "float64",
            "count",
            "blocks over those that fit on the GPU at a time",
            "grid, occupancy",
        ),
        pct(
            "ncu_compute_sol_pct", "busiest unit of the SM, of its peak, replayed", "Nsight Compute"
        ),
        pct(
            "ncu_memory_sol_pct", "busiest unit of memory, of its peak, replayed", "Nsight Compute"
        ),
        pct("ncu_dram_pct", "DRAM throughput, of its peak, replayed", "Nsight Compute"),
        pct("ncu_tensor_pct", "tensor pipe active, of elapsed cycles, replayed", "Nsight Compute"),
    ),
)

KERNEL_NAMES = Table(
    "kernel_names",
    "Names of kernels. One row a name and recorder.",
    (
        *TIME,
        Column("name_hash", "int64", "", "64-bit hash of the mangled name, signed", "recorder"),
        text("mangled_name", "as the compiler wrote it", "CUPTI"),
        text("name", "demangled, with its template arguments", "recorder"),
        text("family", "enums.KernelFamily, by name", "recorder"),
    ),
)

COPIES = Table(
    "copies",
    "Copies and fills that a GPU did, in the windows of `kernel_windows`. One row each.",
    (
        *TIME,
        *GPU,
        *PROCESS,
        *PLACE,
        text("operation", "memcpy or memset"),
        text("direction", "enums.CopyDirection, of copies", "CUPTI"),
        size("bytes", "bytes copied or filled", "CUPTI"),
        text("source_memory", "enums.MemoryKind it was read from", "CUPTI"),
        text("destination_memory", "enums.MemoryKind it was written to", "CUPTI"),
        text("peer_gpu_uuid", "the other GPU of a copy between two", "CUPTI"),
    ),
)

KERNEL_WINDOWS = Table(
    "kernel_windows",
    "When kernels, copies, waits and ranges of a process were recorded. One row a window: outside "
    "of these intervals nothing is known of what ran.",
    (
        *TIME,
        *PROCESS,
        text("source", "who recorded: cupti, kineto, nsys, ncu"),
        count("records", "operations that were recorded", "recorder"),
        count("dropped", "operations that were lost: no room for their records", "CUPTI, recorder"),
        ns("overhead_ns", "time of the process that CUPTI says it took itself", "CUPTI"),
        ns("opening_ns", "time that beginning to record took in the process", "recorder"),
        ns("closing_ns", "time that ending it took there, records handed over", "recorder"),
    ),
)

GPU_SYNCHRONIZATIONS = Table(
    "gpu_synchronizations",
    "Waits for a GPU, in the windows of `kernel_windows`. One row each.",
    (
        *TIME,
        *GPU,
        *PROCESS,
        *PLACE,
        text("operation", "enums.SynchronizationKind: what was waited for, and who waited"),
        Column("event_id", "int64", "", "event that was waited for", "CUPTI"),
    ),
)

RANGES = Table(
    "ranges",
    "What a thread said that it was doing (NVTX, or an import's annotations). One row a range; a "
    "mark has the duration 0.",
    (
        *TIME,
        *PROCESS,
        Column("tid", "int32", "", "thread id in the root namespace", "NVTX"),
        text("source", "who recorded: cupti, kineto, nsys"),
        text("name", "what was said", "NVTX"),
        text("domain", "NVTX domain, null for the default", "NVTX"),
        Column("depth", "int32", "count", "ranges of the same thread around it", "recorder"),
    ),
)


def _sampled(name: str, unit: str, meaning: str, source: str) -> Column:
    # Samples come by the million: half the width is enough for what hardware counts in 20 us.
    return Column(name, "float32", unit, meaning, source)


def _sampled_pct(name: str, meaning: str, source: str) -> Column:
    return _sampled(name, "% (0 to 100)", meaning, source)


PM_SAMPLES = Table(
    "pm_samples",
    "Hardware counters of a whole GPU in short intervals, by PM sampling. One row a GPU, set of "
    "counters and interval; a set fills its own columns.",
    (
        *TIME,
        *GPU,
        text("counter_set", "which counters were read together: throughput, caches, instructions"),
        mhz("sm_clock_mhz", "true SM clock: its cycles over the interval", "sm__cycles_elapsed"),
        _sampled_pct("sm_active_pct", "SM cycles with at least one warp", "sm__cycles_active"),
        _sampled_pct("sm_occupancy_pct", "resident warps over the most", "tpc__warps_active"),
        _sampled_pct("issue_active_pct", "instructions issued, of the peak", "sm__inst_executed"),
        _sampled_pct("tensor_active_pct", "tensor pipe active", "pipe_tensor"),
        _sampled_pct("tensor_hmma_active_pct", "with 16-bit, TF32, 8-bit float", "op_hmma"),
        _sampled_pct("tensor_imma_active_pct", "with integers", "op_imma"),
        _sampled_pct("tensor_dmma_active_pct", "with fp64", "op_dmma"),
        _sampled_pct("fma_active_pct", "fp32 pipe, instructions of the peak", "pipe_fma"),
        _sampled_pct("alu_active_pct", "integer and logic pipe, of the peak", "pipe_alu"),
        _sampled_pct("fp64_active_pct", "fp64 pipe, of the peak", "pipe_fp64"),
        _sampled_pct("dram_active_pct", "DRAM throughput, of the peak", "dramc__throughput"),
        _sampled_pct("dram_read_pct", "of it reads", "dramc__read_throughput"),
        _sampled_pct("dram_write_pct", "of it writes", "dramc__write_throughput"),
        _sampled_pct("l2_active_pct", "L2 throughput, of the peak", "lts__t_sectors"),
        _sampled_pct("l2_hit_pct", "sectors found in L2", "lts__t_sectors_lookup_hit"),
        _sampled_pct("l1_active_pct", "L1 throughput, of the peak", "l1tex__throughput"),
        _sampled_pct("l1_hit_pct", "sectors found in L1", "l1tex__t_sectors_lookup_hit"),
        _sampled_pct("shared_active_pct", "shared memory wavefronts, of the peak", "l1tex__data"),
        _sampled("sectors_per_request", "count", "32-byte sectors a request to L2", "lts__t"),
    ),
)
