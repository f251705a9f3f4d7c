/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* A thread becomes a traced one. */
#ifndef GNOMON_ADOPT_H
#define GNOMON_ADOPT_H
#include "state.h"

/* The number by which the innermost pid namespace of a task knows it: what gettid() tells it. */
INLINE u32 namespace_number(struct task_struct *task)
{
    struct pid *pid = 0;
    u64 place;
    u32 level = 0, number = 0;
    /* By reads alone: old verifiers know no sum of a pointer and a number that is not constant. */
    read_kernel(&pid, sizeof(pid), (void *)task + FIELD_INFO(task->thread_pid, FIELD_OFFSET));
    if (!pid)
        return 0;
    read_kernel(&level, sizeof(level), (void *)pid + FIELD_INFO(pid->level, FIELD_OFFSET));
    place = (u64)pid + FIELD_INFO(pid->numbers, FIELD_OFFSET);
    place += (level & 31) * TYPE_BYTES(struct upid);
    place += FIELD_INFO(((struct upid *)0)->nr, FIELD_OFFSET);
    read_kernel(&number, sizeof(number), (void *)place);
    return number;
}

INLINE void tell_thread(struct state *state, struct task_struct *task, struct task_struct *parent,
                        u16 kind, u64 born_ns)
{
    struct thread_record *record = ring_reserve(&records, sizeof(*record), 0);
    if (!record) {
        COUNT_LOSS(thread_records);
        return;
    }
    __builtin_memset(record, 0, sizeof(*record));
    record->record.start_ns = born_ns;
    record->record.duration_ns = now_ns() - born_ns;
    record->record.tid = task->pid;
    record->record.pid = task->tgid;
    record->record.kind = kind;
    record->record.operation = NO_OPERATION;
    record->thread = state->thread;
    record->namespace_tid = namespace_number(task);
    record->namespace_pid = namespace_number(task->group_leader);
    if (parent) {
        record->parent_tid = parent->pid;
        record->parent_pid = parent->tgid;
    }
    record->process_started_ns = task->group_leader->start_boottime;
    copy_name(record->name, task);
    ring_submit(record, RING_NO_WAKEUP);
}

INLINE struct state *adopt(struct task_struct *task, struct task_struct *parent)
{
    struct state *state = task_storage(&states, task, 0, STORAGE_CREATE);
    u64 born_ns = now_ns();
    u32 index = 0;
    if (!state) {
        COUNT_LOSS(threads_without_state);
        return 0;
    }
    /* A new thread may be met by its tracepoint, by `take_up` and in a call at the same time. */
    if (__sync_lock_test_and_set(&state->adopted, 1))
        return state;
    if (queue_pop(&free_threads, &index)) {
        index = 0;
        COUNT_LOSS(threads_without_slot);
    }
    state->thread = index;
    struct thread *thread = thread_of(state);
    if (thread) {
        thread->born_ns = born_ns;
        thread->tid = task->pid;
        thread->pid = task->tgid;
        thread->namespace_tid = namespace_number(task);
        thread->namespace_pid = namespace_number(task->group_leader);
        thread->parent_tid = parent ? parent->pid : 0;
        copy_name(thread->name, task);
        thread->state = LIVE;
    }
    tell_thread(state, task, parent, THREAD_SEEN, born_ns);
    return state;
}
#endif
