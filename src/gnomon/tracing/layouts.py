"""The types that programs in the kernel and Python share, as numpy sees them.

Made from bpf/layout.h, where each field is explained, by `make -C bpf layouts`: do not edit.
Times are nanoseconds of CLOCK_MONOTONIC; tid and pid are those of the root namespace.
"""

from enum import IntEnum

import numpy as np

OPERATIONS = 256
BUCKETS = 160
STACK_FRAMES = 32
NAME_BYTES = 16
THREADS = 1024
CELLS = 8192
NO_OPERATION = 65535
DATA_TYPES = 16
NO_SEQUENCE = 4294967295


class Layer(IntEnum):
    CUDA_RUNTIME = 1
    CUDA_DRIVER = 2
    NCCL = 3


class NcclRole(IntEnum):
    OTHER_NCCL_CALL = 0
    COLLECTIVE = 1
    GROUP_BEGINS = 2
    GROUP_ENDS = 3
    MAKES_COMMUNICATOR = 4
    MAKES_EVERY_RANK = 5
    ENDS_COMMUNICATOR = 6


class SlotState(IntEnum):
    FREE = 0
    LIVE = 1
    EXITED = 2


class RecordKind(IntEnum):
    CALL = 1
    STAY = 2
    BLOCK = 3
    THREAD_SEEN = 4
    THREAD_EXITED = 5
    PROCESS_EXECUTED = 6
    NCCL_CALL = 7
    COMMUNICATOR = 8
    NETWORK = 9


class CommunicatorEvent(IntEnum):
    MADE = 1
    SPLIT = 2
    ENDED = 3


class NetworkEvent(IntEnum):
    SENT = 1
    RECEIVED = 2
    RETRANSMITTED = 3


class StayClass(IntEnum):
    RUNNABLE = 0
    VOLUNTARY = 1
    IO = 2
    UNINTERRUPTIBLE = 3


class Waker(IntEnum):
    NOT_SEEN = 0
    BY_THREAD = 1
    BY_INTERRUPT = 2


ARGUMENT = np.dtype(
    [
        ("word", "|u1"),
        ("pointed", "|u1"),
        ("offset", "<u2"),
    ]
)
OPERATION = np.dtype(
    [
        ("bytes", ARGUMENT, 3),
        ("direction", ARGUMENT),
        ("address", ARGUMENT),
        ("stream", ARGUMENT),
        ("unit_bytes", "<u4"),
        ("layer", "|u1"),
        ("address_returned", "|u1"),
        ("words_on_stack", "|u1"),
        ("fixed_direction", "|u1"),
        ("is_launch", "<u4"),
    ]
)
NCCL_OPERATION = np.dtype(
    [
        ("count", "|u1"),
        ("datatype", "|u1"),
        ("peer", "|u1"),
        ("communicator", "|u1"),
        ("stream", "|u1"),
        ("made", "|u1"),
        ("ranks", "|u1"),
        ("rank", "|u1"),
        ("color", "|u1"),
        ("key", "|u1"),
        ("identity", "|u1"),
        ("identity_at", "|u1"),
        ("words_on_stack", "|u1"),
        ("role", "|u1"),
        ("unused", "<u2"),
    ]
)
THREAD = np.dtype(
    [
        ("born_ns", "<u8"),
        ("ended_ns", "<u8"),
        ("tid", "<u4"),
        ("pid", "<u4"),
        ("namespace_tid", "<u4"),
        ("namespace_pid", "<u4"),
        ("parent_tid", "<u4"),
        ("state", "<u4"),
        ("name", "S16"),
        ("run_queue_ns", "<u8"),
        ("preempted_ns", "<u8"),
        ("waking_ns", "<u8"),
        ("io_ns", "<u8"),
        ("voluntary_ns", "<u8"),
        ("uninterruptible_ns", "<u8"),
        ("blocked_switches", "<u8"),
        ("preempted_switches", "<u8"),
        ("nested_calls", "<u8"),
        ("page_faults", "<u8"),
        ("major_faults", "<u8"),
        ("block_requests", "<u8"),
        ("block_bytes", "<u8"),
        ("block_ns", "<u8"),
        ("sent_bytes", "<u8"),
        ("received_bytes", "<u8"),
        ("sends", "<u8"),
        ("receives", "<u8"),
        ("retransmits", "<u8"),
        ("open_since_ns", "<u8"),
        ("open_operation", "<u2"),
        ("unused", "<u2", 3),
        ("run_queue_histogram", "<u4", 160),
        ("blocked_histogram", "<u4", 160),
    ]
)
CELL = np.dtype(
    [
        ("thread", "<u4"),
        ("operation", "<u2"),
        ("state", "<u2"),
        ("calls", "<u8"),
        ("failed", "<u8"),
        ("interrupted", "<u8"),
        ("total_ns", "<u8"),
        ("bytes", "<u8"),
        ("run_queue_ns", "<u8"),
        ("io_ns", "<u8"),
        ("voluntary_ns", "<u8"),
        ("uninterruptible_ns", "<u8"),
        ("histogram", "<u4", 160),
    ]
)
SETTINGS = np.dtype(
    [
        ("call_threshold_ns", "<u8", 256),
        ("call_sample", "<u4", 256),
        ("stay_threshold_ns", "<u8"),
        ("waker_stack_threshold_ns", "<u8"),
        ("block_threshold_ns", "<u8"),
        ("user_stack_threshold_ns", "<u8"),
        ("network_threshold_bytes", "<u8"),
        ("stay_sample", "<u4"),
        ("block_sample", "<u4"),
        ("network_sample", "<u4"),
        ("retransmit_sample", "<u4"),
        ("failed_sample", "<u4"),
        ("unused", "<u4"),
        ("launches_closed_ns", "<u8"),
    ]
)
LOSSES = np.dtype(
    [
        ("call_records", "<u8"),
        ("stay_records", "<u8"),
        ("thread_records", "<u8"),
        ("block_records", "<u8"),
        ("threads_without_state", "<u8"),
        ("threads_without_slot", "<u8"),
        ("calls_without_slot", "<u8"),
        ("calls_without_cell", "<u8"),
        ("calls_too_deep", "<u8"),
        ("calls_abandoned", "<u8"),
        ("calls_cut", "<u8"),
        ("returns_unmatched", "<u8"),
        ("stacks", "<u8"),
        ("block_requests", "<u8"),
        ("nccl_records", "<u8"),
        ("communicator_records", "<u8"),
        ("communicators", "<u8"),
        ("network_records", "<u8"),
        ("sockets", "<u8"),
    ]
)
RECORD = np.dtype(
    [
        ("start_ns", "<u8"),
        ("duration_ns", "<u8"),
        ("tid", "<u4"),
        ("pid", "<u4"),
        ("kind", "<u2"),
        ("operation", "<u2"),
        ("sample", "<u4"),
    ]
)
CALL_RECORD = np.dtype(
    [
        ("start_ns", "<u8"),
        ("duration_ns", "<u8"),
        ("tid", "<u4"),
        ("pid", "<u4"),
        ("kind", "<u2"),
        ("operation", "<u2"),
        ("sample", "<u4"),
        ("bytes", "<u8"),
        ("address", "<u8"),
        ("stream", "<u8"),
        ("run_queue_ns", "<u8"),
        ("io_ns", "<u8"),
        ("voluntary_ns", "<u8"),
        ("uninterruptible_ns", "<u8"),
        ("user_stack", "<u8"),
        ("return_code", "<i4"),
        ("direction", "<i4"),
        ("switches", "<u4"),
        ("page_faults", "<u4"),
        ("major_faults", "<u4"),
        ("depth", "<u2"),
        ("parent", "<u2"),
    ]
)
NCCL_RECORD = np.dtype(
    [
        ("start_ns", "<u8"),
        ("duration_ns", "<u8"),
        ("tid", "<u4"),
        ("pid", "<u4"),
        ("kind", "<u2"),
        ("operation", "<u2"),
        ("sample", "<u4"),
        ("communicator", "<u8"),
        ("count", "<u8"),
        ("stream", "<u8"),
        ("run_queue_ns", "<u8"),
        ("io_ns", "<u8"),
        ("voluntary_ns", "<u8"),
        ("uninterruptible_ns", "<u8"),
        ("user_stack", "<u8"),
        ("return_code", "<i4"),
        ("datatype", "<i4"),
        ("peer", "<i4"),
        ("sequence", "<u4"),
        ("group", "<u4"),
        ("group_depth", "<u4"),
    ]
)
COMMUNICATOR_RECORD = np.dtype(
    [
        ("start_ns", "<u8"),
        ("duration_ns", "<u8"),
        ("tid", "<u4"),
        ("pid", "<u4"),
        ("kind", "<u2"),
        ("operation", "<u2"),
        ("sample", "<u4"),
        ("communicator", "<u8"),
        ("parent", "<u8"),
        ("identity", "<u8"),
        ("call", "<u8"),
        ("ranks", "<i4"),
        ("rank", "<i4"),
        ("color", "<i4"),
        ("key", "<i4"),
        ("splits", "<u4"),
        ("ended_sequence", "<u4"),
        ("event", "<u4"),
        ("return_code", "<i4"),
        ("unused", "<u8", 3),
    ]
)
STAY_RECORD = np.dtype(
    [
        ("start_ns", "<u8"),
        ("duration_ns", "<u8"),
        ("tid", "<u4"),
        ("pid", "<u4"),
        ("kind", "<u2"),
        ("operation", "<u2"),
        ("sample", "<u4"),
        ("blocked_ns", "<u8"),
        ("stack", "<u8"),
        ("waker_stack", "<u8"),
        ("waker_tid", "<u4"),
        ("waker_pid", "<u4"),
        ("preemptor_tid", "<u4"),
        ("preemptor_pid", "<u4"),
        ("waker_name", "S16"),
        ("preemptor_name", "S16"),
        ("before_tid", "<u4"),
        ("waking_ns", "<u4"),
        ("cpu_before", "<u2"),
        ("cpu", "<u2"),
        ("stay_class", "|u1"),
        ("woken", "|u1"),
        ("unused", "<u2"),
    ]
)
BLOCK_RECORD = np.dtype(
    [
        ("start_ns", "<u8"),
        ("duration_ns", "<u8"),
        ("tid", "<u4"),
        ("pid", "<u4"),
        ("kind", "<u2"),
        ("operation", "<u2"),
        ("sample", "<u4"),
        ("bytes", "<u8"),
        ("sector", "<u8"),
        ("device", "<u4"),
        ("block_operation", "<u4"),
        ("unused", "<u8", 8),
    ]
)
NETWORK_RECORD = np.dtype(
    [
        ("start_ns", "<u8"),
        ("duration_ns", "<u8"),
        ("tid", "<u4"),
        ("pid", "<u4"),
        ("kind", "<u2"),
        ("operation", "<u2"),
        ("sample", "<u4"),
        ("bytes", "<u8"),
        ("socket", "<u8"),
        ("remote", "<u8", 2),
        ("family", "<u2"),
        ("local_port", "<u2"),
        ("remote_port", "<u2"),
        ("network_event", "<u2"),
        ("unused", "<u8", 6),
    ]
)
THREAD_RECORD = np.dtype(
    [
        ("start_ns", "<u8"),
        ("duration_ns", "<u8"),
        ("tid", "<u4"),
        ("pid", "<u4"),
        ("kind", "<u2"),
        ("operation", "<u2"),
        ("sample", "<u4"),
        ("thread", "<u4"),
        ("parent_tid", "<u4"),
        ("parent_pid", "<u4"),
        ("namespace_tid", "<u4"),
        ("namespace_pid", "<u4"),
        ("unused_number", "<u4"),
        ("name", "S16"),
        ("process_started_ns", "<u8"),
        ("unused", "<u8", 5),
    ]
)
STACK = np.dtype(
    [
        ("addresses", "<u8", 32),
    ]
)
