"""What a recording says of itself, and what workloads said of themselves."""

from gnomon.tables._columns import GPU, TIME, Column, Table, count, ns, text

PHASES = Table(
    "phases",
    "What the workload says it was doing: edges written by `gnomon mark` or by an import. "
    "A phase lasts from its begin to its end, to the next begin, or to the end of the recording.",
    (
        *TIME,
        text("name", "name of the phase"),
        text("edge", "begin or end"),
        Column("pid", "int32", "", "process that wrote the mark"),
        Column(
            "model_flops",
            "float64",
            "FLOP",
            "useful work of the whole phase, where known; on the end edge",
        ),
        text("flops_dtype", "type that work was done in: bf16, fp16, fp8, tf32, fp32, fp64, int8"),
        Column("model_bytes", "float64", "bytes", "DRAM bytes the phase must move, where known"),
        Column("tokens", "float64", "tokens", "tokens processed in the phase, where known"),
        text("detail", "anything else the workload said, as JSON"),
    ),
)

EVENTS = Table(
    "events",
    "Things that happened at an instant: limits changed, a GPU lost, an Xid, a source stalled.",
    (
        *TIME,
        *GPU,
        text("kind", "enums.EventKind"),
        text("severity", "info, warning or critical"),
        text("source", "who noticed"),
        text("message", "one sentence for a person"),
        text("old_value", "before, where something changed"),
        text("new_value", "after, where something changed"),
    ),
)

SOURCE_HEALTH = Table(
    "source_health",
    "The monitor on itself: one row a source and second.",
    (
        *TIME,
        text("source", "the source"),
        text("state", "enums.SourceState"),
        count("reads", "readings in the interval", "collector"),
        count("failures", "failed readings in the interval", "collector"),
        ns("period_ns", "period it was asked to keep", "collector"),
        ns("longest_read_ns", "slowest reading, wall time", "collector"),
        ns("cpu_ns", "CPU time of its thread in the interval", "CLOCK_THREAD_CPUTIME_ID"),
        text("reason", "why it is not ready", "collector"),
    ),
)

LOSSES = Table(
    "losses",
    "What was measured but could not be kept. Nothing is dropped without a row here.",
    (
        *TIME,
        text("source", "whose rows were lost"),
        text("table", "of which table"),
        count("rows", "how many", "collector, writer, helper"),
        text(
            "reason",
            "queue_full, disk_full, overflow, void_reading or missed_period; of the tracer also "
            "ring_full, pipe_full, no_slot, too_deep, abandoned, late_attach and no_stack; of "
            "kernels also ring_full, incomplete and killed; of "
            "imports unreadable, unknown_operation, unmatched, pruned or lost_by_recorder",
        ),
    ),
)

CLOCK_SYNC = Table(
    "clock_sync",
    "Ties the clocks together, a row a second: NTP slews and steps become visible.",
    (
        *TIME,
        ns("monotonic_ns", "CLOCK_MONOTONIC at ts_ns", "clock_gettime"),
        ns("monotonic_raw_ns", "CLOCK_MONOTONIC_RAW at ts_ns", "clock_gettime"),
        ns("boottime_ns", "CLOCK_BOOTTIME at ts_ns", "clock_gettime"),
        ns("uncertainty_ns", "how far apart the readings of one row can lie", "clock_gettime"),
    ),
)

# The cause side: what threads of the host asked for, and when they could not run
