"""The contract of all tables: what each column is called, its type, unit, meaning and source.

Everything that is measured lands in one of these tables, and every room relies on this file
alone to know what it will find there. Importing it costs nothing: Arrow types are spelled as
strings and turned into schemas on use (``arrow_schema``), because importing pyarrow takes
90 ms and 52 MB that a program without tables should not pay.

Rules that hold in every table:

- ``ts_ns`` is the end of the interval in Unix nanoseconds, ``duration_ns`` its length, taken on
  the raw monotonic clock. An instant has the duration 0.
- A value that was not read in this interval is null, never 0 and never a repeated old value:
  the age of a reading is the distance to the last row where it is not null. What is read less
  often than a row is written (power, throttle durations) covers the time since the column's
  last value.
- Columns are only ever added within one ``SCHEMA_VERSION``; readers fill missing ones with null.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

SCHEMA_VERSION = 1


@dataclass(frozen=True, slots=True)
class Column:
    """One column: ``type`` is an Arrow type name, ``source`` says where the value comes from."""

    name: str
    type: str
    unit: str
    meaning: str
    source: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """One table, with its columns in the order in which they are stored."""

    name: str
    meaning: str
    columns: tuple[Column, ...]

    def __getitem__(self, name: str) -> Column:
        for column in self.columns:
            if column.name == name:
                return column
        raise KeyError(f"table {self.name!r} has no column {name!r}")

    @property
    def column_names(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.columns)


def _pct(name: str, meaning: str, source: str) -> Column:
    return Column(name, "float64", "% (0 to 100)", meaning, source)


def _rate(name: str, meaning: str, source: str) -> Column:
    return Column(name, "float64", "bytes/s", meaning, source)


def _bytes(name: str, meaning: str, source: str) -> Column:
    return Column(name, "int64", "bytes", meaning, source)


def _mhz(name: str, meaning: str, source: str) -> Column:
    return Column(name, "float64", "MHz", meaning, source)


def _ns(name: str, meaning: str, source: str) -> Column:
    return Column(name, "int64", "ns", meaning, source)


def _watts(name: str, meaning: str, source: str) -> Column:
    return Column(name, "float64", "W", meaning, source)


def _celsius(name: str, meaning: str, source: str) -> Column:
    return Column(name, "float64", "°C", meaning, source)


def _count(name: str, meaning: str, source: str) -> Column:
    return Column(name, "int64", "count", meaning, source)


def _text(name: str, meaning: str, source: str = "") -> Column:
    return Column(name, "string", "", meaning, source)


TIME = (
    Column("ts_ns", "int64", "Unix ns", "end of the interval", "clock_gettime(CLOCK_REALTIME)"),
    Column("duration_ns", "int64", "ns", "length of the interval", "clock_gettime(MONOTONIC_RAW)"),
)
GPU = (
    _text("gpu_uuid", "the GPU, as NVML names it", "nvmlDeviceGetUUID"),
    _text("mig_uuid", "the MIG instance, null for the whole GPU", "nvmlDeviceGetUUID"),
)
PROCESS = (
    _text("process_id", "hash of boot id, pid and start time: unique across pid reuse", "/proc"),
    Column("pid", "int32", "", "process id in the root namespace", "NVML, /proc"),
)

GPU_COUNTERS = Table(
    "gpu_counters",
    "What each GPU did in an interval. One row a GPU (or MIG instance), source and interval; "
    "a source fills its own columns and leaves the others null.",
    (
        *TIME,
        *GPU,
        _text("source", "who wrote this row: nvml, gpm, pm or import"),
        # The number that lies, and what stands beside it
        _pct(
            "busy_pct",
            "share of time in which some kernel or copy ran: nvidia-smi's GPU-Util",
            "nvmlDeviceGetUtilizationRates.gpu",
        ),
        _pct(
            "memory_busy_pct",
            "share of time in which device memory was read or written",
            "nvmlDeviceGetUtilizationRates.memory",
        ),
        _pct("encoder_pct", "video encoder in use", "nvmlDeviceGetEncoderUtilization"),
        _pct("decoder_pct", "video decoder in use", "nvmlDeviceGetDecoderUtilization"),
        _pct("jpeg_pct", "JPEG engine in use", "nvmlDeviceGetJpgUtilization"),
        _pct("ofa_pct", "optical flow engine in use", "nvmlDeviceGetOfaUtilization"),
        # Hardware counters
        _pct(
            "engine_active_pct",
            "share of time in which the graphics/compute engine had work",
            "GPM 1; PM gr__cycles_active",
        ),
        _pct(
            "sm_active_pct",
            "mean over SMs of the share of cycles with at least one warp",
            "GPM 2; PM sm__cycles_active",
        ),
        _pct(
            "sm_occupancy_pct",
            "resident warps over the most an SM can hold, mean over SMs",
            "GPM 3; PM warps_active",
        ),
        _pct("integer_active_pct", "integer pipe active, of elapsed cycles", "GPM 4"),
        _pct(
            "tensor_active_pct",
            "any tensor pipe active, of elapsed cycles (holds DMMA too)",
            "GPM 5; PM pipe_tensor",
        ),
        _pct(
            "tensor_dfma_active_pct",
            "tensor pipe with DFMA instructions, of elapsed cycles",
            "GPM 6",
        ),
        _pct(
            "tensor_hmma_active_pct",
            "tensor pipe with 16-bit, TF32 or 8-bit float instructions, of elapsed cycles",
            "GPM 7; PM pipe_tensor_op_hmma",
        ),
        _pct(
            "tensor_dmma_active_pct",
            "tensor pipe with fp64 instructions, of elapsed cycles",
            "GPM 8; PM pipe_tensor_op_dmma",
        ),
        _pct(
            "tensor_imma_active_pct",
            "tensor pipe with integer instructions, of elapsed cycles",
            "GPM 9; PM pipe_tensor_op_imma",
        ),
        _pct("fp64_active_pct", "fp64 pipe active, of elapsed cycles", "GPM 11"),
        _pct("fp32_active_pct", "fp32 (FMA) pipe active, of elapsed cycles", "GPM 12; PM pipe_fma"),
        _pct("fp16_active_pct", "fp16 (non-tensor) pipe active, of elapsed cycles", "GPM 13"),
        _pct(
            "dram_active_pct",
            "DRAM throughput of the datasheet's peak",
            "GPM 10; PM dramc__throughput",
        ),
        _pct("dram_read_pct", "DRAM read throughput of the peak", "PM dramc__read_throughput"),
        _pct("dram_write_pct", "DRAM write throughput of the peak", "PM dramc__write_throughput"),
        # Links
        _rate("pcie_rx_bytes_per_s", "received over PCIe (host to device)", "GPM 21; field 198"),
        _rate("pcie_tx_bytes_per_s", "sent over PCIe (device to host)", "GPM 20; field 197"),
        _rate("nvlink_rx_bytes_per_s", "received over all NVLinks", "GPM 60; field 139"),
        _rate("nvlink_tx_bytes_per_s", "sent over all NVLinks", "GPM 61; field 138"),
        _pct(
            "link_only_pct",
            "share of time in which PCIe or NVLink moved data while no SM held a warp",
            "PM samples, where the link counters fit the same pass",
        ),
        Column(
            "pcie_generation",
            "int32",
            "",
            "present PCIe link generation",
            "nvmlDeviceGetCurrPcieLinkGeneration",
        ),
        Column(
            "pcie_lanes",
            "int32",
            "count",
            "present PCIe link width",
            "nvmlDeviceGetCurrPcieLinkWidth",
        ),
        # Clocks and why they are what they are
        _mhz(
            "sm_clock_mhz",
            "SM clock over the interval: elapsed cycles over time where "
            "sm_clock_source is gpm or cupti, an instant reading where it is nvml",
            "GPM 248 to 260; PM sm__cycles_elapsed; nvmlDeviceGetClockInfo",
        ),
        _text("sm_clock_source", "gpm, cupti, clock64 or nvml"),
        _mhz("memory_clock_mhz", "memory clock", "nvmlDeviceGetClockInfo"),
        Column(
            "performance_state",
            "int32",
            "",
            "P-state, 0 is the fastest",
            "nvmlDeviceGetPerformanceState",
        ),
        Column(
            "throttle_reasons",
            "int64",
            "bits",
            "clock event reasons at the instant; the bits are enums.THROTTLE_BITS",
            "nvmlDeviceGetCurrentClocksEventReasons",
        ),
        _ns(
            "throttle_sw_power_cap_ns",
            "time in the interval held down by the power cap",
            "field 74",
        ),
        _ns("throttle_sync_boost_ns", "time in the interval held down by sync boost", "field 76"),
        _ns(
            "throttle_sw_thermal_ns",
            "time in the interval held down by software thermal limits",
            "field 269",
        ),
        _ns(
            "throttle_hw_thermal_ns",
            "time in the interval held down by hardware thermal limits",
            "field 270",
        ),
        _ns(
            "throttle_hw_power_brake_ns",
            "time in the interval held down by the power brake",
            "field 271",
        ),
        # Power and heat
        _watts(
            "power_watts",
            "mean power over the interval, from the energy counter",
            "nvmlDeviceGetTotalEnergyConsumption",
        ),
        _watts("power_instant_watts", "power now, as the driver samples it", "field 186"),
        Column(
            "energy_joules",
            "float64",
            "J",
            "energy used in the interval",
            "nvmlDeviceGetTotalEnergyConsumption",
        ),
        _watts("power_limit_watts", "enforced power limit", "nvmlDeviceGetEnforcedPowerLimit"),
        _celsius("temperature_celsius", "GPU core temperature", "nvmlDeviceGetTemperature"),
        _celsius("memory_temperature_celsius", "memory temperature", "field 82"),
        _pct("fan_pct", "fan speed, of its maximum", "nvmlDeviceGetFanSpeed"),
        # Memory and health
        _bytes(
            "vram_used_bytes",
            "device memory in use, reserved by the driver included",
            "nvmlDeviceGetMemoryInfo",
        ),
        _bytes("vram_total_bytes", "device memory there is", "nvmlDeviceGetMemoryInfo"),
        _count(
            "ecc_corrected",
            "corrected ECC errors since the driver was loaded",
            "nvmlDeviceGetTotalEccErrors",
        ),
        _count(
            "ecc_uncorrected",
            "uncorrected ECC errors since the driver was loaded",
            "nvmlDeviceGetTotalEccErrors",
        ),
        _count("remapped_rows", "memory rows remapped after errors", "nvmlDeviceGetRemappedRows"),
        # The observer observed
        _count("samples", "hardware samples behind this row (PM: about 100 a row)", "source"),
        _ns("reading_cost_ns", "CPU time this reading took", "clock_gettime(THREAD_CPUTIME_ID)"),
    ),
)

GPU_PROCESSES = Table(
    "gpu_processes",
    "Which processes use which GPU. One row a process, GPU and reading.",
    (
        *TIME,
        *GPU,
        *PROCESS,
        Column(
            "ns_pid", "int32", "", "process id inside its own pid namespace", "/proc/PID/status"
        ),
        _text("kind", "compute, graphics or mps", "NVML call that listed it"),
        _text("name", "short name", "/proc/PID/comm"),
        _text("command_line", "arguments, separated by spaces", "/proc/PID/cmdline"),
        _text("user", "owner's name, or number where it has none", "/proc/PID"),
        _text("container_id", "container the process runs in", "/proc/PID/cgroup"),
        _text("pod_uid", "Kubernetes pod the process runs in", "/proc/PID/cgroup"),
        _bytes(
            "vram_used_bytes",
            "device memory of this process",
            "nvmlDeviceGetComputeRunningProcesses",
        ),
        _pct(
            "sm_pct",
            "this process's share of busy time, as the driver samples it",
            "nvmlDeviceGetProcessUtilization",
        ),
        _pct(
            "memory_pct",
            "this process's share of memory-busy time",
            "nvmlDeviceGetProcessUtilization",
        ),
        _pct("encoder_pct", "encoder use of this process", "nvmlDeviceGetProcessUtilization"),
        _pct("decoder_pct", "decoder use of this process", "nvmlDeviceGetProcessUtilization"),
    ),
)

HOST_SAMPLES = Table(
    "host_samples",
    "What the host did in an interval. One row a reading.",
    (
        *TIME,
        _pct("cpu_pct", "CPU in use, of all cores", "/proc/stat"),
        Column("cpu_count", "int32", "count", "CPUs online", "/proc/stat"),
        _pct("busiest_cpu_pct", "the busiest single CPU", "/proc/stat"),
        _pct("iowait_pct", "idle CPU with a block request outstanding, of all cores", "/proc/stat"),
        _pct("steal_pct", "CPU taken by the hypervisor, of all cores", "/proc/stat"),
        Column("runnable_tasks", "int32", "count", "tasks running or ready to run", "/proc/stat"),
        Column("load_1m", "float64", "tasks", "load average over a minute", "/proc/loadavg"),
        _pct(
            "cpu_pressure_pct",
            "share of time in which some task waited for a CPU (PSI some)",
            "/proc/pressure/cpu",
        ),
        _pct(
            "memory_pressure_pct",
            "share of time in which some task waited for memory",
            "/proc/pressure/memory",
        ),
        _pct(
            "io_pressure_pct",
            "share of time in which some task waited for I/O",
            "/proc/pressure/io",
        ),
        _bytes("memory_used_bytes", "memory that is not available", "/proc/meminfo"),
        _bytes("memory_total_bytes", "memory there is", "/proc/meminfo"),
        _bytes("swap_used_bytes", "swap in use", "/proc/meminfo"),
        _rate(
            "disk_read_bytes_per_s",
            "read from disks, of partitions and stacked devices only the disk below",
            "/proc/diskstats",
        ),
        _rate("disk_write_bytes_per_s", "written to disks, as above", "/proc/diskstats"),
        _rate(
            "network_rx_bytes_per_s",
            "received by network cards; by all interfaces but the "
            "loopback where there is no card (a container)",
            "/proc/net/dev",
        ),
        _rate("network_tx_bytes_per_s", "sent, as above", "/proc/net/dev"),
        Column("context_switches_per_s", "float64", "1/s", "context switches", "/proc/stat"),
        _ns("reading_cost_ns", "CPU time this reading took", "clock_gettime(THREAD_CPUTIME_ID)"),
    ),
)

PROCESS_SAMPLES = Table(
    "process_samples",
    "The host side of each watched process: one row a process and reading.",
    (
        *TIME,
        *PROCESS,
        _text("name", "short name", "/proc/PID/comm"),
        Column("cpu_pct", "float64", "% of one core", "CPU of all threads", "/proc/PID/stat"),
        Column("threads", "int32", "count", "threads", "/proc/PID/stat"),
        Column("busiest_tid", "int32", "", "the thread that used most CPU", "/proc/PID/task"),
        _text("busiest_thread_name", "its name", "/proc/PID/task/TID/comm"),
        _pct(
            "busiest_thread_cpu_pct",
            "its CPU, of one core",
            "/proc/PID/task/TID/schedstat, stat where the kernel keeps no scheduler statistics",
        ),
        _pct(
            "busiest_thread_run_queue_pct",
            "share of the interval it waited for a CPU",
            "/proc/PID/task/TID/schedstat",
        ),
        _bytes("rss_bytes", "resident memory", "/proc/PID/statm"),
        _rate("io_read_bytes_per_s", "read from storage", "/proc/PID/io"),
        _rate("io_write_bytes_per_s", "written to storage", "/proc/PID/io"),
    ),
)

PHASES = Table(
    "phases",
    "What the workload says it was doing: edges written by `gnomon mark` or by an import. "
    "A phase lasts from its begin to its end, to the next begin, or to the end of the recording.",
    (
        *TIME,
        _text("name", "name of the phase"),
        _text("edge", "begin or end"),
        Column("pid", "int32", "", "process that wrote the mark"),
        Column(
            "model_flops",
            "float64",
            "FLOP",
            "useful work of the whole phase, where known; on the end edge",
        ),
        _text("flops_dtype", "type that work was done in: bf16, fp16, fp8, tf32, fp32, fp64, int8"),
        Column("model_bytes", "float64", "bytes", "DRAM bytes the phase must move, where known"),
        Column("tokens", "float64", "tokens", "tokens processed in the phase, where known"),
        _text("detail", "anything else the workload said, as JSON"),
    ),
)

EVENTS = Table(
    "events",
    "Things that happened at an instant: limits changed, a GPU lost, an Xid, a source stalled.",
    (
        *TIME,
        *GPU,
        _text("kind", "enums.EventKind"),
        _text("severity", "info, warning or critical"),
        _text("source", "who noticed"),
        _text("message", "one sentence for a person"),
        _text("old_value", "before, where something changed"),
        _text("new_value", "after, where something changed"),
    ),
)

SOURCE_HEALTH = Table(
    "source_health",
    "The monitor on itself: one row a source and second.",
    (
        *TIME,
        _text("source", "the source"),
        _text("state", "enums.SourceState"),
        _count("reads", "readings in the interval", "collector"),
        _count("failures", "failed readings in the interval", "collector"),
        _ns("period_ns", "period it was asked to keep", "collector"),
        _ns("longest_read_ns", "slowest reading, wall time", "collector"),
        _ns("cpu_ns", "CPU time of its thread in the interval", "CLOCK_THREAD_CPUTIME_ID"),
        _text("reason", "why it is not ready", "collector"),
    ),
)

LOSSES = Table(
    "losses",
    "What was measured but could not be kept. Nothing is dropped without a row here.",
    (
        *TIME,
        _text("source", "whose rows were lost"),
        _text("table", "of which table"),
        _count("rows", "how many", "collector, writer, helper"),
        _text(
            "reason",
            "queue_full, disk_full, overflow, void_reading or missed_period; of the tracer also "
            "ring_full, pipe_full, no_slot, too_deep, abandoned, late_attach and no_stack; of "
            "imports unreadable, unknown_operation, unmatched, pruned or lost_by_recorder",
        ),
    ),
)

CLOCK_SYNC = Table(
    "clock_sync",
    "Ties the clocks together, a row a second: NTP slews and steps become visible.",
    (
        *TIME,
        _ns("monotonic_ns", "CLOCK_MONOTONIC at ts_ns", "clock_gettime"),
        _ns("monotonic_raw_ns", "CLOCK_MONOTONIC_RAW at ts_ns", "clock_gettime"),
        _ns("boottime_ns", "CLOCK_BOOTTIME at ts_ns", "clock_gettime"),
        _ns("uncertainty_ns", "how far apart the readings of one row can lie", "clock_gettime"),
    ),
)

# The cause side: what threads of the host asked for, and when they could not run

HOST = _text("host", "host that it happened on, where one recording holds several")
THREAD = (
    HOST,
    *PROCESS,
    Column("tid", "int32", "", "thread id in the root namespace", "bpf_get_current_pid_tgid"),
)
OFF_CPU_INSIDE = (
    _ns(
        "off_cpu_ns",
        "time inside the call in which its thread did not run; 0 where it ran throughout, null "
        "where its scheduling was not recorded",
        "sched_switch",
    ),
    _ns(
        "run_queue_ns",
        "of it, time runnable without a CPU (preempted, or woken and waiting); null where the "
        "recorder could not tell, and then some of off_cpu_ns may be of this class",
        "sched_switch, sched_wakeup",
    ),
    _ns("io_ns", "of it, time waiting for a disk, null as above", "prev_state; block requests"),
    _ns(
        "voluntary_ns",
        "of it, time in a futex, poll or sleep, null as above",
        "prev_state of sched_switch",
    ),
)
STACK_HASH = Column("stack_hash", "int64", "", "the stack, a key of `stacks`", "recorder")
SELECTION = (
    _text("selection", "enums.Selection: whether rows like this one were all kept", "recorder"),
    Column(
        "weight",
        "float64",
        "count",
        "how many of its kind this row stands for; null where the selection leaves that unknown",
        "recorder",
    ),
)

HOST_CALLS = Table(
    "host_calls",
    "Calls that threads made into the CUDA runtime, the driver and sockets, and block requests "
    "made for them. One row a call; a call inside another is a row of its own.",
    (
        *TIME,
        *GPU,
        *THREAD,
        Column("rank", "int32", "", "rank of the process in its job", "RANK"),
        _text("layer", "enums.CallLayer"),
        _text("operation", "function called, as its library names it; block_read and the like"),
        Column(
            "depth",
            "int32",
            "count",
            "calls of the same thread around this one, but those into NCCL",
            "entry, end",
        ),
        _text("parent_operation", "the call around this one, also one into NCCL, null for none"),
        _bytes("bytes", "bytes copied, allocated, freed, sent or received", "arguments"),
        _text("direction", "enums.CopyDirection, of copies", "arguments"),
        Column("address", "int64", "", "function launched, or memory allocated or freed", "args"),
        Column("stream", "int64", "", "CUDA stream, null where it was not recorded", "arguments"),
        Column("return_code", "int32", "", "what the call returned, 0 is success", "exit probe"),
        Column(
            "first_call",
            "int32",
            "",
            "1: the first of its function (of its operation, where that takes no function) in its "
            "process that was recorded, which loads and initialises; 0: not; null: not known",
            "recorder",
        ),
        *OFF_CPU_INSIDE,
        STACK_HASH,
        *SELECTION,
    ),
)

CALL_HISTOGRAMS = Table(
    "call_histograms",
    "How long calls took, counted where single ones were not all kept. One row a thread (or "
    "process), operation, interval and bucket of durations; and, where buckets do not hold them, "
    "one without bounds for the sums of all buckets: time, bytes, failures, time off the CPU, with "
    "0 calls. Rows add up. Where probes were on for a part of the interval alone, a row counts "
    "that part: times duration_ns / covered_ns it stands for the whole.",
    (
        *TIME,
        *THREAD,
        _text("layer", "enums.CallLayer"),
        _text("operation", "as in host_calls"),
        _ns("shortest_ns", "no call of this bucket was shorter; null: a row of sums", "recorder"),
        _ns("longest_ns", "no call of this bucket was longer; null: a row of sums", "recorder"),
        _count("calls", "calls in this bucket", "recorder"),
        _count("calls_stored", "of them, kept as single rows", "recorder"),
        _ns("total_ns", "their durations, added", "recorder"),
        _bytes("bytes", "their bytes, added", "recorder"),
        *OFF_CPU_INSIDE,
        _count("failures", "calls that did not return 0", "exit probe"),
        _count("calls_interrupted", "calls in which the thread waited for a CPU", "sched_switch"),
        _ns(
            "covered_ns",
            "time of the interval in which calls were counted; null: all of it",
            "recorder",
        ),
    ),
)

OFF_CPU = Table(
    "off_cpu",
    "When threads did not run. One row a stay off the CPU, ending when the thread ran again.",
    (
        *TIME,
        *THREAD,
        _text("state", "state in which it left: runnable, interruptible or uninterruptible"),
        *OFF_CPU_INSIDE[1:],
        Column("waker_pid", "int32", "", "process of the thread that woke it", "sched_wakeup"),
        Column("waker_tid", "int32", "", "the thread that woke it", "sched_wakeup"),
        _text("waker_name", "its name", "sched_wakeup"),
        Column(
            "preemptor_tid",
            "int32",
            "",
            "the thread that had the CPU just before; 0 is the idle task",
            "sched_switch",
        ),
        _text("preemptor_name", "its name", "sched_switch"),
        STACK_HASH,
        *SELECTION,
        _text("operation", "the call it happened in; null outside of calls, or not recorded"),
    ),
)

STACK_SAMPLES = Table(
    "stack_samples",
    "Where threads stood at instants chosen by a clock, not by what they did. One row a look at a "
    "thread.",
    (
        *TIME,
        *THREAD,
        _text("operation", "the call that was open, null outside of calls"),
        Column("call_started_ns", "int64", "Unix ns", "when that call began", "entry probe"),
        STACK_HASH,
    ),
)

STACKS = Table(
    "stacks",
    "Call stacks, each stored once. One row a frame; read them without a range of time.",
    (
        *TIME,
        Column("stack_hash", "int64", "", "which stack", "recorder"),
        Column("depth", "int32", "count", "0 is the innermost frame", "recorder"),
        _text("kind", "python, native or kernel"),
        _text("symbol", "function, null where it could not be resolved"),
        _text("module", "library or program that it lies in"),
        _text("file", "source file"),
        Column("line", "int32", "", "line in the source file", "recorder"),
        Column("address", "int64", "", "instruction address, its 64 bits signed", "recorder"),
    ),
)

THREADS = Table(
    "threads",
    "Threads that were seen. One row a thread: from when it was first seen until the last time; "
    "while a recording is written, one more when it is first seen. Counts are in the last.",
    (
        *TIME,
        *THREAD,
        Column("ns_pid", "int32", "", "process id inside its own pid namespace", "/proc"),
        Column("ns_tid", "int32", "", "thread id inside its own pid namespace", "/proc"),
        _text("name", "the thread's name", "comm"),
        _text("process_name", "its process's name", "comm"),
        Column("parent_tid", "int32", "", "thread that started it", "sched_process_fork"),
        _text("role", "observer: it belongs to the recorder itself, null for all others"),
        Column("rank", "int32", "", "rank of the process in its job", "RANK"),
        Column("local_rank", "int32", "", "rank on its host", "LOCAL_RANK"),
        Column("world_size", "int32", "count", "ranks of its job", "WORLD_SIZE"),
        _text("cgroup_path", "control group", "/proc/PID/cgroup"),
        _text("container_id", "container it runs in", "/proc/PID/cgroup"),
        _text("pod_name", "Kubernetes pod it runs in", "Kubernetes"),
        _text("pod_namespace", "namespace of the pod", "Kubernetes"),
        _count("calls", "rows of host_calls that it has", "recorder"),
        _count("stays_off_cpu", "rows of off_cpu that it has", "recorder"),
        _text("off_cpu_selection", "enums.Selection of those; null: its scheduling is not known"),
    ),
)

NCCL_CALLS = Table(
    "nccl_calls",
    "Collectives that were enqueued, and other calls into NCCL, which have no sequence. One row a "
    "call and rank; the same collective has the same communicator and sequence number on every "
    "rank.",
    (
        *TIME,
        *GPU,
        *THREAD,
        Column("rank", "int32", "", "rank in the communicator", "ncclCommInitRank"),
        Column("world_size", "int32", "count", "ranks of the communicator", "ncclCommInitRank"),
        _text("communicator", "same on all its ranks", "ncclUniqueId"),
        _text("operation", "NCCL function called"),
        _count("sequence", "how many collectives the communicator had before", "recorder"),
        _bytes("bytes", "bytes this rank brings in: 0 of a receive", "arguments"),
        _text("datatype", "type of the elements", "arguments"),
        Column("peer_rank", "int32", "", "the other side of a send or receive", "arguments"),
        Column("stream", "int64", "", "CUDA stream", "arguments"),
        Column("return_code", "int32", "", "what the call returned, 0 is success", "exit probe"),
        *OFF_CPU_INSIDE,
        STACK_HASH,
        *SELECTION,
        _count(
            "group_number",
            "calls of a thread with the same number are launched together by its ncclGroupEnd",
            "ncclGroupStart, ncclGroupEnd",
        ),
    ),
)

TABLES: Mapping[str, Table] = {
    table.name: table
    for table in (
        GPU_COUNTERS,
        GPU_PROCESSES,
        HOST_SAMPLES,
        PROCESS_SAMPLES,
        PHASES,
        EVENTS,
        SOURCE_HEALTH,
        LOSSES,
        CLOCK_SYNC,
        HOST_CALLS,
        CALL_HISTOGRAMS,
        OFF_CPU,
        STACK_SAMPLES,
        STACKS,
        THREADS,
        NCCL_CALLS,
    )
}


@cache
def arrow_schema(table: str, *, encoded: bool = False) -> Any:
    """Return the ``pyarrow.Schema`` of a table; ``encoded``: text is a code into a dictionary.

    Imports pyarrow.
    """
    import pyarrow as pa  # noqa: PLC0415  see the module docstring

    types = {
        "int32": pa.int32(),
        "int64": pa.int64(),
        "float64": pa.float64(),
        "string": pa.dictionary(pa.int32(), pa.string()) if encoded else pa.string(),
    }
    return pa.schema([(column.name, types[column.type]) for column in TABLES[table].columns])


def pick(schema: Any, columns: Iterable[str]) -> Any:
    """Return the schema of some columns."""
    import pyarrow as pa  # noqa: PLC0415

    return pa.schema([schema.field(name) for name in columns])


def batch(table: str, rows: Sequence[Mapping[str, object]]) -> Any:
    """Build a ``pyarrow.RecordBatch`` from rows; what a row does not name becomes null.

    Raises KeyError for a column that the table does not have: a typo must not lose data.
    """
    import pyarrow as pa  # noqa: PLC0415

    if unknown := set().union(*rows).difference(TABLES[table].column_names):
        raise KeyError(f"table {table!r} has no column {sorted(unknown)}")
    # All columns in one call: one call a column took twice as long for a single row.
    return pa.RecordBatch.from_struct_array(pa.array(rows, type=_row_type(table)))


@cache
def _row_type(table: str) -> Any:
    """Return the type of a whole row, for which Arrow takes a dictionary."""
    import pyarrow as pa  # noqa: PLC0415

    return pa.struct(list(arrow_schema(table)))
