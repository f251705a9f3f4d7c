/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* The maps, which all objects share, and what is done to them. No program of ours takes a lock,
 * wakes or signals anybody: records are submitted without a wake-up, and user space polls. */
#ifndef GNOMON_STATE_H
#define GNOMON_STATE_H
#include "kernel.h"
#include "layout.h"

#define DEPTH 4

/* One open call. */
struct frame {
    u64 start_ns;
    u64 stack_pointer; /* at its first instruction */
    u64 bytes;
    u64 address;
    u64 stream;
    u64 run_queue_ns; /* totals of the thread when it began */
    u64 io_ns;
    u64 voluntary_ns;
    u64 uninterruptible_ns;
    u64 major_faults;
    u32 switches;
    u32 page_faults;
    s32 direction;
    u16 operation;
    u8 layer;
    u8 is_launch;
};

/* The open NCCL call: there is never more than one, those inside of it are part of it. */
struct open_nccl_call {
    u64 made; /* where it puts what it makes */
    u64 identity;
    s32 datatype;
    s32 peer;
    s32 ranks;
    s32 rank;
    s32 color;
    s32 key;
};

/* What is kept in a traced thread; a thread that has none is not traced. */
struct state {
    u32 marked;  /* user space wrote 1 through a pidfd: `take_up` is to trace this process */
    u32 adopted; /* 1: by whoever came first */
    u32 thread;  /* index, 0: it has no slot */
    u32 depth;
    u32 switches;
    u32 page_faults;
    u64 out_ns;    /* when it left the CPU, 0: it is on one */
    u64 waking_ns; /* when it was woken since */
    u64 queued_ns; /* when it stood in a run queue since */
    u64 waker_stack;
    u32 waker_tid;
    u32 waker_pid;
    u16 stay_class;
    u16 woken; /* enum waker */
    u32 cpu;
    u8 waker_name[NAME_BYTES];
    u32 preemptor_tid; /* of a stay in the run queue */
    u32 preemptor_pid;
    u8 preemptor_name[NAME_BYTES];
    u64 run_queue_ns;
    u64 io_ns;
    u64 voluntary_ns;
    u64 uninterruptible_ns;
    u32 groups; /* NCCL's: how many outermost ones the thread began */
    u32 group_depth;
    u16 cells[OPERATIONS]; /* index by operation, 0: none yet */
    struct frame frames[DEPTH];
    struct open_nccl_call nccl;
    struct stack walked; /* a buffer: a processor's own would not do where calls are preempted */
};

struct {
    NUMBER(type, MAP_TASK_STORAGE);
    NUMBER(map_flags, MAP_NO_PREALLOC);
    TYPE(key, int);
    TYPE(value, struct state);
} states SEC(".maps");

struct {
    NUMBER(type, MAP_ARRAY);
    NUMBER(map_flags, MAP_CAN_BE_MMAPED);
    NUMBER(max_entries, THREADS);
    TYPE(key, u32);
    TYPE(value, struct thread);
} threads SEC(".maps");

struct {
    NUMBER(type, MAP_ARRAY);
    NUMBER(map_flags, MAP_CAN_BE_MMAPED);
    NUMBER(max_entries, CELLS);
    TYPE(key, u32);
    TYPE(value, struct cell);
} cells SEC(".maps");

/* Indices that nobody uses: user space fills them in, and gives back those of exited threads. */
struct {
    NUMBER(type, MAP_QUEUE);
    NUMBER(max_entries, THREADS);
    NUMBER(value_size, 4);
} free_threads SEC(".maps");

struct {
    NUMBER(type, MAP_QUEUE);
    NUMBER(max_entries, CELLS);
    NUMBER(value_size, 4);
} free_cells SEC(".maps");

struct {
    NUMBER(type, MAP_ARRAY);
    NUMBER(map_flags, MAP_CAN_BE_MMAPED);
    NUMBER(max_entries, 1);
    TYPE(key, u32);
    TYPE(value, struct settings);
} settings SEC(".maps");

struct {
    NUMBER(type, MAP_ARRAY);
    NUMBER(map_flags, MAP_CAN_BE_MMAPED);
    NUMBER(max_entries, 1);
    TYPE(key, u32);
    TYPE(value, struct losses);
} losses SEC(".maps");

struct {
    NUMBER(type, MAP_RING);
    NUMBER(max_entries, 8 << 20);
} records SEC(".maps");

/* Of each processor: the interrupts that it serves, bits of interrupts.bpf.c. */
struct {
    NUMBER(type, MAP_PERCPU_ARRAY);
    NUMBER(max_entries, 1);
    TYPE(key, u32);
    TYPE(value, u32);
} interrupts SEC(".maps");

#define COUNT_LOSS(field)                                     \
    do {                                                      \
        u32 zero_ = 0;                                        \
        struct losses *losses_ = map_lookup(&losses, &zero_); \
        if (losses_)                                          \
            __sync_fetch_and_add(&losses_->field, 1);         \
    } while (0)

INLINE u32 serves_interrupt(void)
{
    u32 zero = 0;
    u32 *served = map_lookup(&interrupts, &zero);
    return served && *served;
}

INLINE struct settings *current_settings(void)
{
    u32 zero = 0;
    return map_lookup(&settings, &zero);
}

INLINE struct state *state_of(struct task_struct *task)
{
    return task_storage(&states, task, 0, 0);
}

INLINE struct thread *thread_of(struct state *state)
{
    u32 index = state->thread;
    return index ? map_lookup(&threads, &index) : 0;
}

INLINE void copy_name(u8 *to, struct task_struct *task)
{
#pragma unroll
    for (int i = 0; i < NAME_BYTES; i++)
        to[i] = task->comm[i];
}

INLINE u32 bucket_of(u64 nanoseconds)
{
    u64 value = nanoseconds >> 39 ? (1ULL << 39) - 1 : nanoseconds;
    u32 octave = 0;
#pragma unroll
    for (int bits = 32; bits; bits >>= 1) {
        u64 above = (nanoseconds >> 39 ? (1ULL << 39) - 1 : nanoseconds) >> octave >> bits;
        if (above)
            octave += bits;
    }
    u32 quarter = octave >= 2 ? (value >> ((octave - 2) & 63)) & 3 : 0;
    return octave << 2 | quarter;
}

INLINE void count_duration(u32 *histogram, u64 nanoseconds)
{
    u32 bucket = bucket_of(nanoseconds);
    KEEP_CHECKED(bucket);
    if (bucket < BUCKETS)
        histogram[bucket]++;
}

/* Whether to keep a record of this duration, and the sample that it then stands for. */
INLINE int keeps(u64 duration_ns, u64 threshold_ns, u32 limit, u32 *sample)
{
    *sample = 0;
    if (duration_ns >= threshold_ns)
        return 1;
    if (!limit || random_u32() >= limit)
        return 0;
    *sample = limit;
    return 1;
}

INLINE u16 operation_around(struct state *state)
{
    u32 depth = state->depth;
    if (!depth || depth > DEPTH)
        return NO_OPERATION;
    return state->frames[(depth - 1) & (DEPTH - 1)].operation;
}
#endif
