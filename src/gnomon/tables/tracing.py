"""Calls of threads, and when and why these did not run."""

from gnomon.tables._columns import GPU, PROCESS, TIME, Column, Table, count, ns, size, text

HOST = text("host", "host that it happened on, where one recording holds several")
THREAD = (
    HOST,
    *PROCESS,
    Column("tid", "int32", "", "thread id in the root namespace", "bpf_get_current_pid_tgid"),
)
OFF_CPU_INSIDE = (
    ns(
        "off_cpu_ns",
        "time inside the call in which its thread did not run; 0 where it ran throughout, null "
        "where its scheduling was not recorded",
        "sched_switch",
    ),
    ns(
        "run_queue_ns",
        "of it, time runnable without a CPU (preempted, or woken and waiting); null where the "
        "recorder could not tell, and then some of off_cpu_ns may be of this class",
        "sched_switch, sched_wakeup",
    ),
    ns("io_ns", "of it, time waiting for a disk, null as above", "prev_state; block requests"),
    ns(
        "voluntary_ns",
        "of it, time in a futex, poll or sleep, null as above",
        "prev_state of sched_switch",
    ),
)
STACK_HASH = Column("stack_hash", "int64", "", "the stack, a key of `stacks`", "recorder")
SELECTION = (
    text("selection", "enums.Selection: whether rows like this one were all kept", "recorder"),
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
        text("layer", "enums.CallLayer"),
        text("operation", "function called, as its library names it; block_read and the like"),
        Column(
            "depth",
            "int32",
            "count",
            "calls of the same thread around this one, but those into NCCL",
            "entry, end",
        ),
        text("parent_operation", "the call around this one, also one into NCCL, null for none"),
        size("bytes", "bytes copied, allocated, freed, sent or received", "arguments"),
        text("direction", "enums.CopyDirection, of copies", "arguments"),
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
        text("layer", "enums.CallLayer"),
        text("operation", "as in host_calls"),
        ns("shortest_ns", "no call of this bucket was shorter; null: a row of sums", "recorder"),
        ns("longest_ns", "no call of this bucket was longer; null: a row of sums", "recorder"),
        count("calls", "calls in this bucket", "recorder"),
        count("calls_stored", "of them, kept as single rows", "recorder"),
        ns("total_ns", "their durations, added", "recorder"),
        size("bytes", "their bytes, added", "recorder"),
        *OFF_CPU_INSIDE,
        count("failures", "calls that did not return 0", "exit probe"),
        count("calls_interrupted", "calls in which the thread waited for a CPU", "sched_switch"),
        ns(
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
        text("state", "state in which it left: runnable, interruptible or uninterruptible"),
        *OFF_CPU_INSIDE[1:],
        Column("waker_pid", "int32", "", "process of the thread that woke it", "sched_wakeup"),
        Column("waker_tid", "int32", "", "the thread that woke it", "sched_wakeup"),
        text("waker_name", "its name", "sched_wakeup"),
        Column(
            "preemptor_tid",
            "int32",
            "",
            "the thread that had the CPU just before; 0 is the idle task",
            "sched_switch",
        ),
        text("preemptor_name", "its name", "sched_switch"),
        STACK_HASH,
        *SELECTION,
        text("operation", "the call it happened in; null outside of calls, or not recorded"),
    ),
)

STACK_SAMPLES = Table(
    "stack_samples",
    "Where threads stood at instants chosen by a clock, not by what they did. One row a look at a "
    "thread.",
    (
        *TIME,
        *THREAD,
        text("operation", "the call that was open, null outside of calls"),
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
        text("kind", "python, native or kernel"),
        text("symbol", "function, null where it could not be resolved"),
        text("module", "library or program that it lies in"),
        text("file", "source file"),
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
        text("name", "the thread's name", "comm"),
        text("process_name", "its process's name", "comm"),
        Column("parent_tid", "int32", "", "thread that started it", "sched_process_fork"),
        text("role", "observer: it belongs to the recorder itself, null for all others"),
        Column("rank", "int32", "", "rank of the process in its job", "RANK"),
        Column("local_rank", "int32", "", "rank on its host", "LOCAL_RANK"),
        Column("world_size", "int32", "count", "ranks of its job", "WORLD_SIZE"),
        text("cgroup_path", "control group", "/proc/PID/cgroup"),
        text("container_id", "container it runs in", "/proc/PID/cgroup"),
        text("pod_name", "Kubernetes pod it runs in", "Kubernetes"),
        text("pod_namespace", "namespace of the pod", "Kubernetes"),
        count("calls", "rows of host_calls that it has", "recorder"),
        count("stays_off_cpu", "rows of off_cpu that it has", "recorder"),
        text("off_cpu_selection", "enums.Selection of those; null: its scheduling is not known"),
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
        text("communicator", "same on all its ranks", "ncclUniqueId"),
        text("operation", "NCCL function called"),
        count("sequence", "how many collectives the communicator had before", "recorder"),
        size("bytes", "bytes this rank brings in: 0 of a receive", "arguments"),
        text("datatype", "type of the elements", "arguments"),
        Column("peer_rank", "int32", "", "the other side of a send or receive", "arguments"),
        Column("stream", "int64", "", "CUDA stream", "arguments"),
        Column("return_code", "int32", "", "what the call returned, 0 is success", "exit probe"),
        *OFF_CPU_INSIDE,
        STACK_HASH,
        *SELECTION,
        count(
            "group_number",
            "calls of a thread with the same number are launched together by its ncclGroupEnd",
            "ncclGroupStart, ncclGroupEnd",
        ),
    ),
)
