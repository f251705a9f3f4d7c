"""The vocabulary: every closed set of words that tables, JSON and screens share."""

from enum import StrEnum


class Severity(StrEnum):
    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"


class BoundBy(StrEnum):
    """What keeps a GPU from going faster; thresholds are in ``analysis/bounds.py``."""

    COMPUTE = "compute"
    MEMORY = "memory"
    LATENCY = "latency"
    CLOCK = "clock"
    HOST = "host"
    COPY = "copy"
    COMMUNICATION = "communication"
    IDLE = "idle"


class Pipe(StrEnum):
    """An arithmetic pipe of the SM that has a FLOP peak of its own."""

    TENSOR = "tensor"
    FP64_TENSOR = "fp64_tensor"
    FP64 = "fp64"
    FP32 = "fp32"
    FP16 = "fp16"


class ClockSource(StrEnum):
    """Where an SM clock was read, best first. ``nvml`` reads up to 12 % high on tensor work."""

    GPM = "gpm"
    CUPTI = "cupti"
    CLOCK64 = "clock64"
    NVML = "nvml"


class ThrottleReason(StrEnum):
    """Why the driver holds the clock below its maximum."""

    GPU_IDLE = "gpu_idle"
    CLOCKS_SETTING = "clocks_setting"
    SW_POWER_CAP = "sw_power_cap"
    HW_SLOWDOWN = "hw_slowdown"
    SYNC_BOOST = "sync_boost"
    SW_THERMAL = "sw_thermal"
    HW_THERMAL = "hw_thermal"
    HW_POWER_BRAKE = "hw_power_brake"
    DISPLAY_CLOCK = "display_clock"


# Bits of nvmlDeviceGetCurrentClocksEventReasons (nvml.h, nvmlClocksEventReason*).
THROTTLE_BITS: dict[int, ThrottleReason] = {
    0x1: ThrottleReason.GPU_IDLE,
    0x2: ThrottleReason.CLOCKS_SETTING,
    0x4: ThrottleReason.SW_POWER_CAP,
    0x8: ThrottleReason.HW_SLOWDOWN,
    0x10: ThrottleReason.SYNC_BOOST,
    0x20: ThrottleReason.SW_THERMAL,
    0x40: ThrottleReason.HW_THERMAL,
    0x80: ThrottleReason.HW_POWER_BRAKE,
    0x100: ThrottleReason.DISPLAY_CLOCK,
}


class SourceState(StrEnum):
    """The life of a source as ``source_health`` tells it."""

    READY = "ready"
    STALLED = "stalled"
    FAILED = "failed"
    UNAVAILABLE = "unavailable"


class EventKind(StrEnum):
    """What happened to a GPU or to the recorder; one row of ``events`` each."""

    RECORDING_STARTED = "recording_started"
    RECORDING_STOPPED = "recording_stopped"
    GPU_LOST = "gpu_lost"
    GPU_RETURNED = "gpu_returned"
    DRIVER_RELOADED = "driver_reloaded"
    POWER_LIMIT_CHANGED = "power_limit_changed"
    PERSISTENCE_CHANGED = "persistence_changed"
    CLOCKS_POLICY_CHANGED = "clocks_policy_changed"
    ECC_MODE_CHANGED = "ecc_mode_changed"
    ECC_ERROR = "ecc_error"
    XID = "xid"
    MIG_MODE_CHANGED = "mig_mode_changed"
    SOURCE_STALLED = "source_stalled"
    SOURCE_FAILED = "source_failed"
    SOURCE_RECOVERED = "source_recovered"
    OBSERVER_EFFECT = "observer_effect"
    DISK_FULL = "disk_full"
    NOT_RECORDED = "not_recorded"
    # What recorders of the cause side bring
    PROCESS_STARTED = "process_started"
    PROCESS_EXITED = "process_exited"
    THREAD_STARTED = "thread_started"
    OOM_KILL = "oom_kill"
    POD_RESTARTED = "pod_restarted"
    POD_EVICTED = "pod_evicted"
    TCP_RETRANSMIT = "tcp_retransmit"
    TRACING_LIMITED = "tracing_limited"
    # What an import has to say of the file
    BIASED_SELECTION = "biased_selection"
    INCONSISTENT = "inconsistent"
    FOREIGN_DIAGNOSIS = "foreign_diagnosis"


class PhaseEdge(StrEnum):
    """A phase lasts from its ``begin`` to its ``end``, or to the next ``begin``."""

    BEGIN = "begin"
    END = "end"


class CallLayer(StrEnum):
    """What a host call went into."""

    CUDA_RUNTIME = "cuda_runtime"
    CUDA_DRIVER = "cuda_driver"
    BLOCK_IO = "block_io"
    NCCL = "nccl"
    SOCKET = "socket"
    KERNEL = "kernel"


class CopyDirection(StrEnum):
    """From where to where a copy goes; ``default`` leaves it to the addresses."""

    HOST_TO_HOST = "h2h"
    HOST_TO_DEVICE = "h2d"
    DEVICE_TO_HOST = "d2h"
    DEVICE_TO_DEVICE = "d2d"
    DEFAULT = "default"


class MemoryKind(StrEnum):
    """Memory that a copy reads or writes."""

    PAGEABLE = "pageable"
    PINNED = "pinned"
    DEVICE = "device"
    ARRAY = "array"
    MANAGED = "managed"


class SynchronizationKind(StrEnum):
    """Who waits for what: a thread of the host, but for ``stream_wait``, where a stream does."""

    EVENT = "event"
    STREAM_WAIT = "stream_wait"
    STREAM = "stream"
    CONTEXT = "context"


class OccupancyLimiter(StrEnum):
    """What allows no more warps of a kernel on an SM."""

    WARPS = "warps"
    BLOCKS = "blocks"
    REGISTERS = "registers"
    SHARED_MEMORY = "shared_memory"
    GRID = "grid"


class KernelFamily(StrEnum):
    """What a kernel is for, by its name."""

    GEMM = "gemm"
    ATTENTION = "attention"
    MOE = "moe"
    NORM = "norm"
    ELEMENTWISE = "elementwise"
    REDUCTION = "reduction"
    COPY = "copy"
    COLLECTIVE = "collective"
    SAMPLING = "sampling"
    CONVOLUTION = "convolution"
    OTHER = "other"


class CounterSet(StrEnum):
    """Hardware counters that one pass of PM sampling reads together."""

    THROUGHPUT = "throughput"
    CACHES = "caches"
    INSTRUCTIONS = "instructions"


class Counters(StrEnum):
    """Where hardware counters are read; ``auto``: by GPM, and where that is missing by CUPTI."""

    AUTO = "auto"
    GPM = "gpm"
    CUPTI = "cupti"


class Selection(StrEnum):
    """Which rows were kept: of ``biased`` ones percentiles do not hold.

    ``weighted``: slow and failed ones all, others by chance; each row's weight is one over its
    chance, so that sums and percentiles that count rows by weight are those of all calls.
    """

    ALL = "all"
    UNIFORM = "uniform"
    WEIGHTED = "weighted"
    BIASED = "biased"


class Cause(StrEnum):
    """What a finding may blame. Each is one file of ``detectors/causes``, as far as it is built."""

    COLD_START = "cold_start"
    FIRST_USE_LOADING = "first_use_loading"
    TRANSFER_SIZE = "transfer_size"
    TRANSFER_RATE = "transfer_rate"
    CPU_CONTENTION = "cpu_contention"
    HOST_BOUND = "host_bound"
    IO_WAIT = "io_wait"
    LOCK_CONTENTION = "lock_contention"
    VOLUNTARY_WAIT = "voluntary_wait"
    INPUT_PIPELINE_STALL = "input_pipeline_stall"
    COLLECTIVE_STRAGGLER = "collective_straggler"
    ALLOCATOR_THRASH = "allocator_thrash"
    MEMORY_LEAK = "memory_leak"
    PREFILL_DECODE_IMBALANCE = "prefill_decode_imbalance"
    MEMORY_BANDWIDTH_SATURATION = "memory_bandwidth_saturation"
    LAUNCH_BOUND = "launch_bound"
    SMALL_BATCH = "small_batch"
    POWER_THROTTLE = "power_throttle"
    THERMAL_THROTTLE = "thermal_throttle"
    KV_CACHE_PRESSURE = "kv_cache_pressure"
    NOISY_NEIGHBOUR = "noisy_neighbour"
    MISALIGNED_SHAPES = "misaligned_shapes"
    UNFUSED_ATTENTION = "unfused_attention"
    UNFUSED_ELEMENTWISE = "unfused_elementwise"
    QUANTIZED_FALLBACK = "quantized_fallback"
    SYNCHRONIZATION = "synchronization"
    REQUEST_AMPLIFICATION = "request_amplification"
    EXPOSED_COMMUNICATION = "exposed_communication"
    EXPOSED_COPY = "exposed_copy"
    NETWORK_WAIT = "network_wait"
    TOKENIZATION = "tokenization"
    GPU_IMBALANCE = "gpu_imbalance"
    MOE_IMBALANCE = "moe_imbalance"
    OOM = "oom"
    HOST_MEMORY_SPILL = "host_memory_spill"
    BUSY_WITHOUT_THROUGHPUT = "busy_without_throughput"
    DATA_LOSS = "data_loss"
