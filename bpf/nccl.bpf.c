/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* Calls into NCCL. A NCCL call inside another call is part of it; CUDA calls inside of it are
 * calls of their own. What depends on the order of all calls is counted here, because records may
 * be kept by chance: a communicator's collectives and a thread's groups. */
#include "open_calls.h"

const volatile struct nccl_operation nccl_operations[OPERATIONS] = {};
const volatile u8 datatype_bytes[DATA_TYPES] = {};

#define UNIQUE_ID_BYTES 128
#define MOST_RANKS_AT_ONCE 16 /* of ncclCommInitAll: GPUs of one machine */
#define IN_PROGRESS 7         /* ncclInProgress: what a call that does not block returns */
#define NONE (-1)

struct communicator_key {
    u64 communicator;
    u32 pid;
    u32 unused;
};

struct communicator {
    u32 sequence; /* collectives so far */
    u32 splits;
};

/* Those made since tracing began. Those of killed processes are pushed out in time. */
struct {
    NUMBER(type, MAP_LRU_HASH);
    NUMBER(max_entries, 4096);
    TYPE(key, struct communicator_key);
    TYPE(value, struct communicator);
} communicators SEC(".maps");

INLINE struct communicator_key key_of(u64 communicator)
{
    struct communicator_key key = {.communicator = communicator, .pid = current_pid_tid() >> 32};
    return key;
}

INLINE struct communicator *find(u64 communicator)
{
    struct communicator_key key = key_of(communicator);
    return map_lookup(&communicators, &key);
}

/* FNV-1a over the unique id, the same on all ranks; 0 where it cannot be read. */
INLINE u64 hash_identity(const void *place)
{
    u8 bytes[UNIQUE_ID_BYTES];
    u64 hash = 0xcbf29ce484222325ULL;
    if (read_user(bytes, sizeof(bytes), place))
        return 0;
#pragma unroll
    for (int i = 0; i < UNIQUE_ID_BYTES; i++)
        hash = (hash ^ bytes[i]) * 0x100000001b3ULL;
    return hash;
}

INLINE u64 identity_of(const volatile struct nccl_operation *operation,
                       struct pt_regs *registers, const u64 *words)
{
    u8 word = operation->identity;
    if (word > 6)
        return hash_identity((void *)(STACK_POINTER(registers) + RETURN_ADDRESS_BYTES +
                                      (word - 7) * sizeof(u64)));
    if (operation->identity_at)
        return hash_identity((void *)word_of(operation->identity_at, words, 0));
    return 0;
}

INLINE void tell_communicator(const struct communicator_record *told)
{
    struct communicator_record *record = ring_reserve(&records, sizeof(*record), 0);
    if (!record) {
        COUNT_LOSS(communicator_records);
        return;
    }
    *record = *told;
    ring_submit(record, RING_NO_WAKEUP);
}

INLINE void head_of(struct record *head, u16 kind, u16 operation, u64 start_ns)
{
    u64 pid_tid = current_pid_tid();
    head->start_ns = start_ns;
    head->tid = pid_tid;
    head->pid = pid_tid >> 32;
    head->kind = kind;
    head->operation = operation;
}

/* When the call begins: during it the next one may already get the same address. */
INLINE void end_communicator(u64 communicator, u16 operation)
{
    struct communicator_key key = key_of(communicator);
    struct communicator *known = map_lookup(&communicators, &key);
    struct communicator_record told = {
        .communicator = communicator,
        .event = ENDED,
        .ranks = NONE,
        .rank = NONE,
        .ended_sequence = known ? known->sequence : NO_SEQUENCE,
    };
    head_of(&told.record, COMMUNICATOR, operation, now_ns());
    tell_communicator(&told);
    map_delete(&communicators, &key);
}

SEC("uprobe")
int nccl_enter(struct pt_regs *registers)
{
    struct task_struct *task = current_task();
    struct state *state = state_of(task);
    u64 stack_pointer = STACK_POINTER(registers);
    u32 index = attach_cookie(registers) & (OPERATIONS - 1);
    const volatile struct nccl_operation *operation = &nccl_operations[index];
    u64 words[WORDS];
    if (!state)
        return 0;
    if (state->depth && drop_abandoned(state, stack_pointer, index))
        return 0;
    struct frame *frame = open_call(state, 0, stack_pointer, index, NCCL, 0);
    if (!frame)
        return 0;
    read_words(registers, operation->words_on_stack, words);
    frame->bytes = word_of(operation->count, words, 0); /* elements */
    frame->address = word_of(operation->communicator, words, 0);
    frame->stream = word_of(operation->stream, words, 0);
    state->nccl.datatype = word_of(operation->datatype, words, NONE);
    state->nccl.peer = word_of(operation->peer, words, NONE);
    if (operation->role == MAKES_COMMUNICATOR || operation->role == MAKES_EVERY_RANK) {
        state->nccl.made = word_of(operation->made, words, 0);
        state->nccl.ranks = word_of(operation->ranks, words, NONE);
        state->nccl.rank = word_of(operation->rank, words, NONE);
        state->nccl.color = word_of(operation->color, words, 0);
        state->nccl.key = word_of(operation->key, words, 0);
        state->nccl.identity = identity_of(operation, registers, words);
    }
    if (operation->role == ENDS_COMMUNICATOR)
        end_communicator(frame->address, index);
    begin_call(state, frame, task, 0);
    return 0;
}

INLINE void make_communicator(struct state *state, const struct frame *frame, u64 communicator,
                              s32 rank, const struct ended *ended)
{
    struct communicator_key key = key_of(communicator);
    struct communicator fresh = {};
    struct communicator_record told = {
        .communicator = communicator,
        .parent = frame->address,
        .identity = state->nccl.identity,
        .call = frame->start_ns,
        .ranks = state->nccl.ranks,
        .rank = rank,
        .color = state->nccl.color,
        .key = state->nccl.key,
        .event = frame->address ? SPLIT : MADE,
        .return_code = ended->return_code,
        .splits = NO_SEQUENCE,
    };
    if (frame->address) {
        struct communicator *parent = find(frame->address);
        if (parent)
            told.splits = __sync_fetch_and_add(&parent->splits, 1);
    }
    /* A rank that a split leaves out gets none. */
    if (communicator && map_update(&communicators, &key, &fresh, 0))
        COUNT_LOSS(communicators);
    head_of(&told.record, COMMUNICATOR, frame->operation, frame->start_ns);
    told.record.duration_ns = ended->duration_ns;
    tell_communicator(&told);
}

INLINE void make_one(struct state *state, const struct frame *frame, const struct ended *ended)
{
    u64 communicator;
    if (!read_user(&communicator, sizeof(communicator), (void *)state->nccl.made))
        make_communicator(state, frame, communicator, state->nccl.rank, ended);
}

INLINE void make_every_rank(struct state *state, const struct frame *frame,
                            const struct ended *ended)
{
    u64 communicator;
    if (state->nccl.ranks > MOST_RANKS_AT_ONCE)
        COUNT_LOSS(communicators); /* those of the ranks beyond */
    for (s32 rank = 0; rank < MOST_RANKS_AT_ONCE; rank++) {
        if (rank >= state->nccl.ranks)
            return;
        if (read_user(&communicator, sizeof(communicator),
                      (void *)(state->nccl.made + rank * sizeof(u64))))
            return;
        make_communicator(state, frame, communicator, rank, ended);
    }
}

/* Number of the outermost group that the call is in, begins or ends; 0: none. */
INLINE u32 group_of(struct state *state, u8 role, u32 *depth)
{
    u32 group;
    if (role == GROUP_BEGINS && !state->group_depth++)
        state->groups++;
    group = state->group_depth ? state->groups : 0;
    *depth = state->group_depth - (role == GROUP_BEGINS);
    if (role == GROUP_ENDS && state->group_depth)
        *depth = --state->group_depth;
    return group;
}

INLINE u32 sequence_of(const struct frame *frame, u8 role, u32 has_failed)
{
    struct communicator *known;
    if (role != COLLECTIVE || has_failed)
        return NO_SEQUENCE;
    known = find(frame->address);
    return known ? __sync_fetch_and_add(&known->sequence, 1) : NO_SEQUENCE;
}

struct place {
    u32 sequence;
    u32 group;
    u32 group_depth;
};

INLINE void tell_nccl_call(struct state *state, const struct frame *frame,
                           const struct ended *ended, const struct place *place, u64 user_stack,
                           u32 sample)
{
    struct nccl_record *record = ring_reserve(&records, sizeof(*record), 0);
    if (!record) {
        COUNT_LOSS(nccl_records);
        return;
    }
    head_of(&record->record, NCCL_CALL, frame->operation, frame->start_ns);
    record->record.duration_ns = ended->duration_ns;
    record->record.sample = sample;
    record->communicator = frame->address;
    record->count = frame->bytes;
    record->stream = frame->stream;
    record->run_queue_ns = ended->run_queue_ns;
    record->io_ns = ended->io_ns;
    record->voluntary_ns = ended->voluntary_ns;
    record->uninterruptible_ns = ended->uninterruptible_ns;
    record->user_stack = user_stack;
    record->return_code = ended->return_code;
    record->datatype = state->nccl.datatype;
    record->peer = state->nccl.peer;
    record->sequence = place->sequence;
    record->group = place->group;
    record->group_depth = place->group_depth;
    ring_submit(record, RING_NO_WAKEUP);
}

SEC("uretprobe")
int nccl_exit(struct pt_regs *registers)
{
    u64 end_ns = now_ns();
    struct state *state = state_of(current_task());
    u64 stack_pointer = STACK_POINTER(registers) - RETURN_ADDRESS_BYTES;
    u32 index = attach_cookie(registers) & (OPERATIONS - 1);
    u8 role = nccl_operations[index].role;
    struct place place;
    u32 sample;
    if (!state)
        return 0;
    struct frame *frame = close_call(state, stack_pointer, index);
    if (!frame)
        return 0;
    struct ended ended = {.return_code = RETURN_CODE(registers)};
    measure(&ended, state, frame, end_ns);
    ended.has_failed = ended.return_code && ended.return_code != IN_PROGRESS;
    if (!ended.has_failed && role == MAKES_COMMUNICATOR)
        make_one(state, frame, &ended);
    if (!ended.has_failed && role == MAKES_EVERY_RANK)
        make_every_rank(state, frame, &ended);
    place.group = group_of(state, role, &place.group_depth);
    place.sequence = sequence_of(frame, role, ended.has_failed);
    count_call(state, index, &ended,
               frame->bytes * datatype_bytes[state->nccl.datatype & (DATA_TYPES - 1)]);
    if (keeps_call(&ended, index, &sample))
        tell_nccl_call(state, frame, &ended, &place,
                       caller_stack(state, registers, ended.duration_ns), sample);
    return 0;
}

char license_of_programs[] SEC("license") = "Dual BSD/GPL";
