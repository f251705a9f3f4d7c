/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* Calls into the CUDA libraries: one pair of programs for every function, told by the cookie
 * which operation it is. A CUDA call inside a CUDA call is part of it and not counted again. */
#include "open_calls.h"

const volatile struct operation operations[OPERATIONS] = {};

INLINE u64 value_of(const volatile struct argument *argument, const u64 *words, u64 missing)
{
    u64 value;
    if (!argument->word)
        return missing;
    value = word_of(argument->word, words, missing);
    if (argument->pointed && read_user(&value, sizeof(value), (void *)(value + argument->offset)))
        return missing;
    return value;
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

SEC("uprobe")
int call_enter(struct pt_regs *registers)
{
    struct task_struct *task = current_task();
    struct state *state = state_of(task);
    u64 stack_pointer = STACK_POINTER(registers);
    u32 index = attach_cookie(registers) & (OPERATIONS - 1);
    const volatile struct operation *operation = &operations[index];
    if (!state)
        return 0;
    u32 depth = state->depth;
    if (depth)
        depth = drop_abandoned(state, stack_pointer, index);
    if (depth) {
        u8 around = state->frames[(depth - 1) & (DEPTH - 1)].layer;
        if (around == CUDA_RUNTIME || around == CUDA_DRIVER) {
            struct thread *thread = thread_of(state);
            if (thread)
                thread->nested_calls++;
            return 0;
        }
    }
    struct frame *frame = open_call(state, depth, stack_pointer, index, operation->layer,
                                    operation->is_launch);
    if (!frame)
        return 0;
    read_arguments(frame, registers, operation);
    begin_call(state, frame, task, depth);
    return 0;
}

INLINE void tell_call(struct state *state, struct frame *frame, const struct ended *ended,
                      u64 user_stack, u32 sample, u32 address_returned)
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
    record->user_stack = user_stack;
    record->return_code = ended->return_code;
    record->direction = frame->direction;
    record->switches = state->switches - frame->switches;
    record->page_faults = state->page_faults - frame->page_faults;
    record->major_faults = current_task()->maj_flt - frame->major_faults;
    record->depth = state->depth;
    record->parent = operation_around(state);
    ring_submit(record, RING_NO_WAKEUP);
}

SEC("uretprobe")
int call_exit(struct pt_regs *registers)
{
    u64 end_ns = now_ns();
    struct state *state = state_of(current_task());
    u64 stack_pointer = STACK_POINTER(registers) - RETURN_ADDRESS_BYTES;
    u32 index = attach_cookie(registers) & (OPERATIONS - 1);
    u32 sample;
    if (!state)
        return 0;
    struct frame *frame = close_call(state, stack_pointer, index);
    if (!frame)
        return 0;
    struct ended ended = {.return_code = RETURN_CODE(registers)};
    measure(&ended, state, frame, end_ns);
    ended.has_failed = ended.return_code != 0;
    count_call(state, index, &ended, frame->bytes);
    if (keeps_call(&ended, index, &sample))
        tell_call(state, frame, &ended, caller_stack(state, registers, ended.duration_ns), sample,
                  operations[index].address_returned);
    return 0;
}

char license_of_programs[] SEC("license") = "Dual BSD/GPL";
