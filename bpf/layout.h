/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* What the programs and Python share, written down here alone: src/gnomon/tracing/layouts.py is
 * made from the BTF of these types. Times are CLOCK_MONOTONIC nanoseconds; tid and pid are those
 * of the root namespace. */
#ifndef GNOMON_LAYOUT_H
#define GNOMON_LAYOUT_H
#include "types.h"

enum size {
    OPERATIONS = 256,
    BUCKETS = 160, /* 40 octaves of 4: up to 9 minutes */
    STACK_FRAMES = 32,
    NAME_BYTES = 16,
    THREADS = 1024, /* entry 0 of threads and of cells stands for "none" */
    CELLS = 8192,
    NO_OPERATION = 0xffff,
    DATA_TYPES = 16,
    NO_SEQUENCE = 0xffffffff,
};

/* ---- what a function's arguments mean, one entry an operation: data, set before loading ---- */

enum layer {
    CUDA_RUNTIME = 1,
    CUDA_DRIVER = 2,
    NCCL = 3,
};

/* Words of a call by the C calling convention: 1 to 6 in registers, 7 to 9 on the stack. */
struct argument {
    u8 word;      /* 0: the function has no such argument */
    u8 pointed;   /* 1: the value lies in memory, at the word plus offset */
    u16 offset;
};

struct operation {
    struct argument bytes[3]; /* multiplied */
    struct argument direction;
    struct argument address;
    struct argument stream;
    u32 unit_bytes;      /* multiplies bytes */
    u8 layer;
    u8 address_returned; /* 1: the address argument says where the call puts the address */
    u8 words_on_stack;   /* 1: some word above 6 is wanted */
    u8 fixed_direction;  /* where no argument tells it, plus 1; 0: there is none */
    u32 is_launch;
};

/* Likewise for NCCL: numbers of words, 0: the function has no such argument. */
struct nccl_operation {
    u8 count;
    u8 datatype;
    u8 peer; /* the other side of a send or receive, or the root */
    u8 communicator;
    u8 stream;
    u8 made;        /* where the call puts the communicator that it makes */
    u8 ranks;       /* of that, and of those it makes: ranks, this one's rank, */
    u8 rank;
    u8 color;       /* how a communicator is split, */
    u8 key;
    u8 identity;    /* and the unique id of 128 bytes: the word where it begins on the stack */
    u8 identity_at; /* or that points to it */
    u8 words_on_stack;
    u8 role; /* enum nccl_role */
    u16 unused;
};

enum nccl_role {
    OTHER_NCCL_CALL = 0,
    COLLECTIVE = 1, /* all ranks call it in the same order: it is counted by communicator */
    GROUP_BEGINS = 2,
    GROUP_ENDS = 3,
    MAKES_COMMUNICATOR = 4,
    MAKES_EVERY_RANK = 5, /* an array of them, one for each rank */
    ENDS_COMMUNICATOR = 6,
};

/* ---- totals, in arrays that user space maps ---- */

enum slot_state {
    FREE = 0,
    LIVE = 1,
    EXITED = 2, /* kept until user space has read it and gives it back */
};

/* One thread since it was first seen. Only the thread itself writes, but for block_* and
 * retransmits. */
struct thread {
    u64 born_ns;
    u64 ended_ns;
    u32 tid;
    u32 pid;
    u32 namespace_tid; /* as the thread itself sees them */
    u32 namespace_pid;
    u32 parent_tid; /* that started it, 0: it was there before */
    u32 state;      /* enum slot_state */
    u8 name[NAME_BYTES];
    u64 run_queue_ns; /* without a CPU though it could run */
    u64 preempted_ns; /* of it, after it was preempted or yielded */
    u64 waking_ns;    /* of it, from waking until it stood in a queue */
    u64 io_ns;
    u64 voluntary_ns;       /* sleeping so that a signal could wake it */
    u64 uninterruptible_ns; /* sleeping on something else than I/O, or stopped */
    u64 blocked_switches;
    u64 preempted_switches;
    u64 nested_calls; /* CUDA calls inside CUDA calls, part of those */
    u64 page_faults;
    u64 major_faults; /* since the thread began: pages that had to be read, swap included */
    u64 block_requests;
    u64 block_bytes;
    u64 block_ns;
    u64 sent_bytes; /* over TCP, UDP and other internet sockets */
    u64 received_bytes;
    u64 sends;
    u64 receives;
    u64 retransmits;   /* of TCP, on sockets that this thread used last */
    u64 open_since_ns; /* when its outermost open call began; 0: none is open */
    u16 open_operation;
    u16 unused[3];
    u32 run_queue_histogram[BUCKETS];
    u32 blocked_histogram[BUCKETS];
};

/* All calls of one operation that one thread made. */
struct cell {
    u32 thread; /* index */
    u16 operation;
    u16 state; /* enum slot_state */
    u64 calls;
    u64 failed;      /* that did not return 0 */
    u64 interrupted; /* that waited in a run queue */
    u64 total_ns;
    u64 bytes;
    u64 run_queue_ns;
    u64 io_ns;
    u64 voluntary_ns;
    u64 uninterruptible_ns;
    u32 histogram[BUCKETS];
};

/* What user space may change at any time. A sample of s keeps s of 2^32 by chance. */
struct settings {
    u64 call_threshold_ns[OPERATIONS]; /* calls as long as this are all kept */
    u32 call_sample[OPERATIONS];       /* of the others */
    u64 stay_threshold_ns;             /* likewise stays off the CPU */
    u64 waker_stack_threshold_ns;      /* a waker's stack delays the wake-up: only for long ones */
    u64 block_threshold_ns;
    u64 user_stack_threshold_ns; /* kept calls as long as this have their caller's stack */
    u64 network_threshold_bytes; /* sends and receives as large as this are all kept */
    u32 stay_sample;
    u32 block_sample;
    u32 network_sample;
    u32 retransmit_sample;
    u32 failed_sample; /* of failed calls, which are all kept where it is 0 */
    u32 unused;
    u64 launches_closed_ns; /* when launches were last left unprobed: what was open then is void */
};

struct losses {
    u64 call_records; /* the ring was full */
    u64 stay_records;
    u64 thread_records;
    u64 block_records;
    u64 threads_without_state; /* not traced at all */
    u64 threads_without_slot;  /* no totals of theirs */
    u64 calls_without_slot;    /* calls of theirs */
    u64 calls_without_cell;
    u64 calls_too_deep;    /* more calls inside calls than are followed */
    u64 calls_abandoned;   /* left without a return, by longjmp or an exception */
    u64 calls_cut;         /* launches that were open when their probes were taken away */
    u64 returns_unmatched; /* of calls that began while probes were being attached */
    u64 stacks;
    u64 block_requests; /* too many in flight */
    u64 nccl_records;
    u64 communicator_records;
    u64 communicators; /* too many at once: what is called on them has no sequence */
    u64 network_records;
    u64 sockets; /* whose retransmits belong to nobody */
};

/* ---- records: all 120 bytes, so that with the ring's header of 8 none straddles its end ---- */

enum record_kind {
    CALL = 1,
    STAY = 2,
    BLOCK = 3,
    THREAD_SEEN = 4,
    THREAD_EXITED = 5,
    PROCESS_EXECUTED = 6,
    NCCL_CALL = 7,
    COMMUNICATOR = 8,
    NETWORK = 9,
};

struct record {
    u64 start_ns;
    u64 duration_ns;
    u32 tid;
    u32 pid;
    u16 kind;      /* enum record_kind */
    u16 operation; /* of stays and requests: of the call around them, or NO_OPERATION */
    u32 sample;    /* the sample that kept it; 0: kept for itself */
};

struct call_record {
    struct record record;
    u64 bytes;
    u64 address;
    u64 stream;
    u64 run_queue_ns;
    u64 io_ns;
    u64 voluntary_ns;
    u64 uninterruptible_ns;
    u64 user_stack; /* key of user_stacks: who called; 0: none */
    s32 return_code;
    s32 direction; /* as the function numbers them; -1: none */
    u32 switches;
    u32 page_faults;
    u32 major_faults; /* pages that had to be read, swap included */
    u16 depth;        /* calls around this one */
    u16 parent;       /* operation of the innermost of them, or NO_OPERATION */
};

struct nccl_record {
    struct record record;
    u64 communicator; /* as the process knows it */
    u64 count;        /* elements, as the call numbers them */
    u64 stream;
    u64 run_queue_ns;
    u64 io_ns;
    u64 voluntary_ns;
    u64 uninterruptible_ns;
    u64 user_stack;
    s32 return_code;
    s32 datatype;    /* ncclDataType_t; -1: none */
    s32 peer;        /* or root; -1: none */
    u32 sequence;    /* collectives that the communicator had before, or NO_SEQUENCE */
    u32 group;       /* which outermost group of its thread it is in, begins or ends; 0: none */
    u32 group_depth; /* groups around it */
};

enum communicator_event {
    MADE = 1,
    SPLIT = 2, /* made out of another one */
    ENDED = 3,
};

/* One for each communicator that a call made or ended, whatever settings say. */
struct communicator_record {
    struct record record;
    u64 communicator;
    u64 parent;   /* it was split from; 0: none */
    u64 identity; /* hash of the unique id, the same on all ranks; 0: there was none */
    u64 call;     /* start_ns of the call, the same for all that InitAll made */
    s32 ranks;    /* -1: the call does not tell */
    s32 rank;     /* -1 likewise */
    s32 color;
    s32 key;
    u32 splits;  /* the parent's before this one */
    u32 ended_sequence; /* collectives it had */
    u32 event;  /* enum communicator_event */
    s32 return_code;
    u64 unused[3];
};

enum stay_class {
    RUNNABLE = 0,
    VOLUNTARY = 1,
    IO = 2,
    UNINTERRUPTIBLE = 3,
};

enum waker {
    NOT_SEEN = 0,
    BY_THREAD = 1,
    BY_INTERRUPT = 2, /* a timer, a disk, a network card; then no thread is named */
};

struct stay_record {
    struct record record;
    u64 blocked_ns; /* until it was woken; the rest is the run queue's */
    u64 stack;      /* key of stacks: where it slept; 0: none */
    u64 waker_stack;
    u32 waker_tid;
    u32 waker_pid;
    /* Who ran instead. Of a RUNNABLE stay who had the CPU longest at a time while the thread stood
     * in its queue, or who took it, where the thread went to another CPU; of other stays who had
     * it just before the thread came back. 0: nobody. */
    u32 preemptor_tid;
    u32 preemptor_pid;
    u8 waker_name[NAME_BYTES];
    u8 preemptor_name[NAME_BYTES];
    u32 before_tid; /* of every stay who had the CPU just before the thread came back; 0: nobody */
    u32 waking_ns;  /* not blocked any more, until it stood in a queue; at most 4.29 s */
    u16 cpu_before;
    u16 cpu;
    u8 stay_class; /* enum stay_class */
    u8 woken;      /* enum waker */
    u16 unused;
};

struct block_record {
    struct record record;
    u64 bytes;
    u64 sector;
    u32 device;   /* the kernel's: major << 20 | minor */
    u32 block_operation; /* 0 read, 1 write, 2 flush */
    u64 unused[8];
};

enum network_event {
    SENT = 1,
    RECEIVED = 2,
    RETRANSMITTED = 3, /* the thread is the one that used the socket last */
};

/* An instant; internet sockets only. */
struct network_record {
    struct record record;
    u64 bytes;
    u64 socket;    /* the kernel's cookie, never used twice */
    u64 remote[2]; /* address in network order: 4 or 16 bytes */
    u16 family;    /* 2: IPv4, 10: IPv6 */
    u16 local_port;
    u16 remote_port;
    u16 network_event; /* enum network_event */
    u64 unused[6];
};

struct thread_record {
    struct record record;
    u32 thread; /* index, 0: it got no slot */
    u32 parent_tid;
    u32 parent_pid;
    u32 namespace_tid;
    u32 namespace_pid;
    u32 unused_number;
    u8 name[NAME_BYTES];
    u64 process_started_ns; /* since boot, suspended time included */
    u64 unused[5];
};

struct stack {
    u64 addresses[STACK_FRAMES]; /* innermost first, 0 after the last */
};

#define RECORD_BYTES 120
_Static_assert(sizeof(struct call_record) == RECORD_BYTES, "records have one size");
_Static_assert(sizeof(struct stay_record) == RECORD_BYTES, "records have one size");
_Static_assert(sizeof(struct block_record) == RECORD_BYTES, "records have one size");
_Static_assert(sizeof(struct thread_record) == RECORD_BYTES, "records have one size");
_Static_assert(sizeof(struct network_record) == RECORD_BYTES, "records have one size");
_Static_assert(sizeof(struct communicator_record) == RECORD_BYTES, "records have one size");
_Static_assert(sizeof(struct nccl_record) == RECORD_BYTES, "records have one size");
#endif
