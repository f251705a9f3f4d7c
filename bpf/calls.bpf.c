/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* Calls into the CUDA libraries: one pair of programs for every function, told by the cookie
 * which operation it is. A CUDA call inside a CUDA call is part of it and not counted again. */
#include "adopt.h"

const volatile struct operation operations[OPERATIONS] = {};
/* 1: a thread that calls is traced from then on; for probes that are held to one process */
const volatile u32 adopt_callers = 1;

#define WORDS 9

INLINE u64 value_of(const volatile struct argument *argument, const u64 *words, u64 missing)
{
    u32 word = argument->word;
    u64 value;
    if (!word || word > WORDS)
        return missing;
    value = words[word - 1];
    if (argument->pointed && read_user(&value, sizeof(value), (void *)(value + argument->offset)))
        return missing;
    return value;
}

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

INLINE void read_arguments(struct frame *frame, struct pt_regs *registers,
                           const volatile struct operation *operation)
{
    u64 words[WORDS];
    read_words(registers, operation->words_on_stack, words);
    frame->address = value_of(&operation->address, words, 0);
    frame->stream = value_of(&operation->stream, words, 0);
    frame->direction = (s32)operation->fixed_direction - 1;
    if (operation->direction.word)
        frame->direction = (s32)value_of(&operation->direction, words, -1);
    frame->bytes = 0;
    if (operation->bytes[0].word)
        frame->bytes = operation->unit_bytes * value_of(&operation->bytes[0], words, 0) *
                       value_of(&operation->bytes[1], words, 1) *
                       value_of(&operation->bytes[2], words, 1);
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
        if (frame->stack_pointer > stack_pointer)
            break;
        /* At the same height another function was jumped to: a tail call, still open. */
        if (frame->stack_pointer == stack_pointer && frame->operation != same_operation)
            break;
        depth--;
        COUNT_LOSS(calls_abandoned);
    }
    state->depth = depth;
    return depth;
}

SEC("uprobe")
int call_enter(struct pt_regs *registers)
{
    struct task_struct *task = current_task();
    struct state *state = state_of(task);
    u64 stack_pointer = STACK_POINTER(registers);
    u32 index = attach_cookie(registers) & (OPERATIONS - 1);
    const volatile struct operation *operation = &operations[index];
    if (!state) {
        if (!adopt_callers)
            return 0;
        state = adopt(task, 0);
        if (!state)
            return 0;
    }
    u32 depth = state->depth;
    if (depth)
        depth = drop_abandoned(state, stack_pointer, index);
    if (depth) {
        u16 around = state->frames[(depth - 1) & (DEPTH - 1)].layer;
        if (around == CUDA_RUNTIME || around == CUDA_DRIVER) {
            struct thread *thread = thread_of(state);
            if (thread)
                thread->nested_calls++;
            return 0;
        }
    }
    if (depth >= DEPTH) {
        COUNT_LOSS(calls_too_deep);
        return 0;
    }
    struct frame *frame = &state->frames[depth & (DEPTH - 1)];
    frame->stack_pointer = stack_pointer;
    frame->operation = index;
    frame->layer = operation->layer;
    read_arguments(frame, registers, operation);
    frame->run_queue_ns = state->run_queue_ns;
    frame->io_ns = state->io_ns;
    frame->voluntary_ns = state->voluntary_ns;
    frame->uninterruptible_ns = state->uninterruptible_ns;
    frame->switches = state->switches;
    frame->page_faults = state->page_faults;
    state->depth = depth + 1;
    frame->start_ns = now_ns();
    return 0;
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

struct ended {
    u64 duration_ns;
    u64 run_queue_ns;
    u64 io_ns;
    u64 voluntary_ns;
    u64 uninterruptible_ns;
    s32 return_code;
};

INLINE void add_to_cell(struct cell *cell, const struct ended *ended, u64 bytes)
{
    cell->calls++;
    cell->total_ns += ended->duration_ns;
    cell->bytes += bytes;
    cell->failed += ended->return_code != 0;
    cell->interrupted += ended->run_queue_ns != 0;
    cell->run_queue_ns += ended->run_queue_ns;
    cell->io_ns += ended->io_ns;
    cell->voluntary_ns += ended->voluntary_ns;
    cell->uninterruptible_ns += ended->uninterruptible_ns;
    count_duration(cell->histogram, ended->duration_ns);
}

INLINE void tell_call(struct state *state, struct frame *frame, const struct ended *ended,
                      u32 sample, u32 address_returned)
{
    struct call_record *record = ring_reserve(&records, sizeof(*record), 0);
    u64 pid_tid = current_pid_tid();
    if (!record) {
        COUNT_LOSS(call_records);
        return;
    }
    record->record.start_ns = frame->start_ns;
    record->record.duration_ns = ended->duration_ns;
    record->record.tid = pid_tid;
    record->record.pid = pid_tid >> 32;
    record->record.kind = CALL;
    record->record.operation = frame->operation;
    record->record.sample = sample;
    record->bytes = frame->bytes;
    record->address = frame->address;
    if (address_returned &&
        read_user(&record->address, sizeof(record->address), (void *)frame->address))
        record->address = 0;
    record->stream = frame->stream;
    record->run_queue_ns = ended->run_queue_ns;
    record->io_ns = ended->io_ns;
    record->voluntary_ns = ended->voluntary_ns;
    record->uninterruptible_ns = ended->uninterruptible_ns;
    record->return_code = ended->return_code;
    record->direction = frame->direction;
    record->switches = state->switches - frame->switches;
    record->page_faults = state->page_faults - frame->page_faults;
    record->depth = state->depth;
    record->unused[0] = record->unused[1] = record->unused[2] = 0;
    ring_submit(record, RING_NO_WAKEUP);
}

SEC("uretprobe")
int call_exit(struct pt_regs *registers)
{
    u64 end_ns = now_ns();
    struct state *state = state_of(current_task());
    u64 stack_pointer = STACK_POINTER(registers) - RETURN_ADDRESS_BYTES;
    u32 index = attach_cookie(registers) & (OPERATIONS - 1);
    if (!state)
        return 0;
    if (!state->depth) {
        COUNT_LOSS(returns_unmatched);
        return 0;
    }
    u32 depth = state->depth;
    struct frame *frame = &state->frames[(depth - 1) & (DEPTH - 1)];
    if (frame->stack_pointer < stack_pointer) {
        depth = drop_abandoned(state, stack_pointer - 1, index);
        if (!depth) {
            COUNT_LOSS(returns_unmatched);
            return 0;
        }
        frame = &state->frames[(depth - 1) & (DEPTH - 1)];
    }
    /* A return from further in, or of a tail call: part of the open call. */
    if (frame->stack_pointer != stack_pointer || frame->operation != index)
        return 0;
    state->depth = depth - 1;

    struct ended ended = {
        .duration_ns = end_ns - frame->start_ns,
        .run_queue_ns = state->run_queue_ns - frame->run_queue_ns,
        .io_ns = state->io_ns - frame->io_ns,
        .voluntary_ns = state->voluntary_ns - frame->voluntary_ns,
        .uninterruptible_ns = state->uninterruptible_ns - frame->uninterruptible_ns,
        .return_code = RETURN_CODE(registers),
    };
    if (!state->thread) {
        COUNT_LOSS(calls_without_slot);
    } else {
        struct cell *cell = cell_of(state, index);
        if (cell)
            add_to_cell(cell, &ended, frame->bytes);
        else
            COUNT_LOSS(calls_without_cell);
    }
    struct settings *limits = current_settings();
    u32 sample = 0;
    if (limits && (ended.return_code || keeps(ended.duration_ns, limits->call_threshold_ns[index],
                                              limits->call_sample[index], &sample)))
        tell_call(state, frame, &ended, sample, operations[index].address_returned);
    return 0;
}

char license_of_programs[] SEC("license") = "Dual BSD/GPL";
