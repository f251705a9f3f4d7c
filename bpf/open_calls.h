/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* The calls that a thread has open, of all families: a call begins and ends here, whatever else
 * is told of it. */
#ifndef GNOMON_OPEN_CALLS_H
#define GNOMON_OPEN_CALLS_H
#include "stacks.h"

#define WORDS 9

struct {
    NUMBER(type, MAP_LRU_HASH);
    NUMBER(max_entries, 8192);
    TYPE(key, u64);
    TYPE(value, struct stack);
} user_stacks SEC(".maps");

/* What a call was, once it has ended. */
struct ended {
    u64 duration_ns;
    u64 run_queue_ns;
    u64 io_ns;
    u64 voluntary_ns;
    u64 uninterruptible_ns;
    s32 return_code;
    u32 has_failed;
};

INLINE void read_words(struct pt_regs *registers, u32 on_stack, u64 *words)
{
    words[0] = ARGUMENT_1(registers);
    words[1] = ARGUMENT_2(registers);
    words[2] = ARGUMENT_3(registers);
    words[3] = ARGUMENT_4(registers);
    words[4] = ARGUMENT_5(registers);
    words[5] = ARGUMENT_6(registers);
    words[6] = words[7] = words[8] = 0;
    if (on_stack)
        read_user(&words[6], 3 * sizeof(u64),
                  (void *)(STACK_POINTER(registers) + RETURN_ADDRESS_BYTES));
}

/* The word of that number; `missing` for 0, and for numbers beyond the words that are read. */
INLINE u64 word_of(u8 word, const u64 *words, u64 missing)
{
    u32 index = (u32)word - 1;
    KEEP_CHECKED(index);
    return index < WORDS ? words[index] : missing;
}

/* User space looks at any time: at open_since_ns, the operation, and open_since_ns again. */
INLINE void tell_open(struct state *state, u64 since_ns, u16 operation)
{
    struct thread *thread = thread_of(state);
    if (!thread)
        return;
    if (since_ns)
        *(volatile u16 *)&thread->open_operation = operation;
    *(volatile u64 *)&thread->open_since_ns = since_ns;
}

/* Its return will never be seen: the probe there has been taken away since. */
INLINE int is_cut(const struct frame *frame)
{
    struct settings *limits;
    if (!frame->is_launch)
        return 0;
    limits = current_settings();
    return limits && frame->start_ns < limits->launches_closed_ns;
}

/* Forget calls whose stack is gone: they were left by longjmp or an exception. */
INLINE u32 drop_abandoned(struct state *state, u64 stack_pointer, u16 same_operation)
{
    u32 depth = state->depth;
#pragma unroll
    for (int i = 0; i < DEPTH; i++) {
        if (!depth || depth > DEPTH)
            break;
        struct frame *frame = &state->frames[(depth - 1) & (DEPTH - 1)];
        if (is_cut(frame)) {
            depth--;
            COUNT_LOSS(calls_cut);
            continue;
        }
        if (frame->stack_pointer > stack_pointer)
            break;
        /* At the same height another function was jumped to: a tail call, still open. */
        if (frame->stack_pointer == stack_pointer && frame->operation != same_operation)
            break;
        depth--;
        COUNT_LOSS(calls_abandoned);
    }
    state->depth = depth;
    if (!depth)
        tell_open(state, 0, NO_OPERATION);
    return depth;
}

/* A frame for a call inside of `depth` others, or 0; its arguments are still to be filled in,
 * and it begins with `begin_call`. */
INLINE struct frame *open_call(struct state *state, u32 depth, u64 stack_pointer, u16 operation,
                               u8 layer, u8 is_launch)
{
    if (depth >= DEPTH) {
        COUNT_LOSS(calls_too_deep);
        return 0;
    }
    struct frame *frame = &state->frames[depth & (DEPTH - 1)];
    frame->stack_pointer = stack_pointer;
    frame->operation = operation;
    frame->layer = layer;
    frame->is_launch = is_launch;
    return frame;
}

INLINE void begin_call(struct state *state, struct frame *frame, struct task_struct *task,
                       u32 depth)
{
    frame->run_queue_ns = state->run_queue_ns;
    frame->io_ns = state->io_ns;
    frame->voluntary_ns = state->voluntary_ns;
    frame->uninterruptible_ns = state->uninterruptible_ns;
    frame->switches = state->switches;
    frame->page_faults = state->page_faults;
    frame->major_faults = task->maj_flt;
    state->depth = depth + 1;
    frame->start_ns = now_ns();
    if (!depth)
        tell_open(state, frame->start_ns, frame->operation);
}

/* The frame that this return ends, or 0. */
INLINE struct frame *close_call(struct state *state, u64 stack_pointer, u16 operation)
{
    u32 depth = state->depth;
    if (!depth) {
        COUNT_LOSS(returns_unmatched);
        return 0;
    }
    struct frame *frame = &state->frames[(depth - 1) & (DEPTH - 1)];
    if (frame->stack_pointer < stack_pointer) {
        depth = drop_abandoned(state, stack_pointer - 1, operation);
        if (!depth) {
            COUNT_LOSS(returns_unmatched);
            return 0;
        }
        frame = &state->frames[(depth - 1) & (DEPTH - 1)];
    }
    /* A return from further in, or of a tail call: part of the open call. */
    if (frame->stack_pointer != stack_pointer || frame->operation != operation)
        return 0;
    state->depth = depth - 1;
    if (depth == 1)
        tell_open(state, 0, NO_OPERATION);
    return frame;
}

INLINE void measure(struct ended *ended, struct state *state, const struct frame *frame,
                    u64 end_ns)
{
    ended->duration_ns = end_ns - frame->start_ns;
    ended->run_queue_ns = state->run_queue_ns - frame->run_queue_ns;
    ended->io_ns = state->io_ns - frame->io_ns;
    ended->voluntary_ns = state->voluntary_ns - frame->voluntary_ns;
    ended->uninterruptible_ns = state->uninterruptible_ns - frame->uninterruptible_ns;
}

INLINE struct cell *cell_of(struct state *state, u32 operation)
{
    u32 index = state->cells[operation & (OPERATIONS - 1)];
    if (index)
        return map_lookup(&cells, &index);
    if (queue_pop(&free_cells, &index))
        return 0;
    struct cell *cell = map_lookup(&cells, &index);
    if (!cell)
        return 0;
    state->cells[operation & (OPERATIONS - 1)] = index;
    cell->thread = state->thread;
    cell->operation = operation;
    cell->state = LIVE;
    return cell;
}

INLINE void add_to_cell(struct cell *cell, const struct ended *ended, u64 bytes)
{
    cell->calls++;
    cell->total_ns += ended->duration_ns;
    cell->bytes += bytes;
    cell->failed += ended->has_failed;
    cell->interrupted += ended->run_queue_ns != 0;
    cell->run_queue_ns += ended->run_queue_ns;
    cell->io_ns += ended->io_ns;
    cell->voluntary_ns += ended->voluntary_ns;
    cell->uninterruptible_ns += ended->uninterruptible_ns;
    count_duration(cell->histogram, ended->duration_ns);
}

INLINE void count_call(struct state *state, u32 operation, const struct ended *ended, u64 bytes)
{
    if (!state->thread) {
        COUNT_LOSS(calls_without_slot);
        return;
    }
    struct cell *cell = cell_of(state, operation);
    if (cell)
        add_to_cell(cell, ended, bytes);
    else
        COUNT_LOSS(calls_without_cell);
}

/* Whether the call becomes a record. Failed ones have a chance of their own, a sure one where it is
 * 0. */
INLINE int keeps_call(const struct ended *ended, u32 operation, u32 *sample)
{
    struct settings *limits = current_settings();
    *sample = 0;
    if (!limits)
        return 0;
    u32 chance = limits->call_sample[operation & (OPERATIONS - 1)];
    if (ended->has_failed) {
        chance = limits->failed_sample;
        if (!chance)
            return 1;
    }
    return keeps(ended->duration_ns, limits->call_threshold_ns[operation & (OPERATIONS - 1)], chance,
                 sample);
}

/* The key of the stack that called, where settings ask for one; by frame pointers. */
INLINE u64 caller_stack(struct state *state, struct pt_regs *registers, u64 duration_ns)
{
    struct settings *limits = current_settings();
    if (!limits || duration_ns < limits->user_stack_threshold_ns)
        return 0;
    return keep_stack(&user_stacks, &state->walked,
                      current_stack(registers, &state->walked, sizeof(state->walked),
                                    STACK_OF_USER));
}
#endif
