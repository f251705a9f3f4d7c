/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* When traced threads do not run, and why: the time since a thread left the CPU is the run
 * queue's if it could have run, and else the class's of what it waited for until it was woken. */
#include "stacks.h"

struct {
    NUMBER(type, MAP_LRU_HASH);
    NUMBER(max_entries, 8192);
    TYPE(key, u64);
    TYPE(value, struct stack);
} stacks SEC(".maps");

struct {
    NUMBER(type, MAP_PERCPU_ARRAY);
    NUMBER(max_entries, 1);
    TYPE(key, u32);
    TYPE(value, struct stack);
} walked SEC(".maps");

/* Of a processor: the traced thread that stands in its queue though it could go on, the last one
 * of several, and who ran longest at a time since it left. Whoever took the processor may be gone
 * in no time, and so may who had it last. */
struct queue {
    u64 left_ns;
    u64 since_ns; /* when who runs now began to */
    u64 longest_ns;
    u32 waiter_tid; /* 0: none */
    u32 longest_tid;
    u32 longest_pid;
    u8 longest_name[NAME_BYTES];
};

struct {
    NUMBER(type, MAP_PERCPU_ARRAY);
    NUMBER(max_entries, 1);
    TYPE(key, u32);
    TYPE(value, struct queue);
} queues SEC(".maps");

#define LONGEST_WAIT_NS 10000000000ULL /* then it has gone to another processor */

/* A bit field, whose place in the running kernel a plain access would not know. */
INLINE u64 waits_for_io(struct task_struct *task)
{
    const void *place = (void *)task + FIELD_INFO(task->in_iowait, FIELD_OFFSET);
    u64 value = 0;
    switch (FIELD_INFO(task->in_iowait, FIELD_BYTES)) {
    case 1:
        value = *(const u8 *)place;
        break;
    case 2:
        value = *(const u16 *)place;
        break;
    case 4:
        value = *(const u32 *)place;
        break;
    case 8:
        value = *(const u64 *)place;
        break;
    }
    value <<= FIELD_INFO(task->in_iowait, FIELD_SHIFT_LEFT);
    return value >> FIELD_INFO(task->in_iowait, FIELD_SHIFT_RIGHT);
}

INLINE u16 class_of(struct task_struct *task, int preempted, u32 task_state)
{
    if (preempted || !task_state)
        return RUNNABLE;
    if (waits_for_io(task))
        return IO;
    return task_state & TASK_INTERRUPTIBLE ? VOLUNTARY : UNINTERRUPTIBLE;
}

INLINE void ran_instead(struct state *state, struct task_struct *other)
{
    state->preemptor_tid = other->pid;
    state->preemptor_pid = other->tgid;
    copy_name(state->preemptor_name, other);
}

INLINE void stand_in_queue(struct queue *queue, u32 tid, u64 at_ns)
{
    queue->left_ns = queue->since_ns = at_ns;
    queue->longest_ns = 0;
    queue->waiter_tid = tid;
}

INLINE void ran(struct queue *queue, struct task_struct *task, u64 at_ns)
{
    u64 ran_ns = at_ns - queue->since_ns;
    queue->since_ns = at_ns;
    if (at_ns - queue->left_ns > LONGEST_WAIT_NS)
        queue->waiter_tid = 0;
    if (ran_ns <= queue->longest_ns)
        return;
    queue->longest_ns = ran_ns;
    queue->longest_tid = task->pid;
    queue->longest_pid = task->tgid;
    copy_name(queue->longest_name, task);
}

INLINE void leave_queue(struct queue *queue, struct state *state)
{
    queue->waiter_tid = 0;
    state->preemptor_tid = queue->longest_tid;
    state->preemptor_pid = queue->longest_pid;
    __builtin_memcpy(state->preemptor_name, queue->longest_name, NAME_BYTES);
}

INLINE void leaves(struct state *state, struct task_struct *task, struct task_struct *taker,
                   struct queue *queue, int preempted, u32 task_state, u64 at_ns)
{
    state->out_ns = at_ns;
    state->waking_ns = 0;
    state->queued_ns = 0;
    state->waker_stack = 0;
    state->woken = NOT_SEEN;
    state->stay_class = class_of(task, preempted, task_state);
    state->cpu = this_cpu();
    state->switches++;
    if (state->stay_class != RUNNABLE)
        return;
    ran_instead(state, taker);
    if (queue)
        stand_in_queue(queue, task->pid, at_ns);
}

INLINE void add_stay(struct state *state, u64 blocked_ns, u64 run_queue_ns)
{
    state->run_queue_ns += run_queue_ns;
    if (state->stay_class == IO)
        state->io_ns += blocked_ns;
    else if (state->stay_class == VOLUNTARY)
        state->voluntary_ns += blocked_ns;
    else
        state->uninterruptible_ns += blocked_ns;
}

INLINE u64 from_waking_to_queue(struct state *state)
{
    if (!state->waking_ns || state->queued_ns <= state->waking_ns)
        return 0;
    return state->queued_ns - state->waking_ns;
}

INLINE void add_to_thread(struct thread *thread, struct state *state, struct task_struct *task,
                          u64 blocked_ns, u64 run_queue_ns)
{
    thread->major_faults = task->maj_flt;
    thread->run_queue_ns = state->run_queue_ns;
    thread->io_ns = state->io_ns;
    thread->voluntary_ns = state->voluntary_ns;
    thread->uninterruptible_ns = state->uninterruptible_ns;
    count_duration(thread->run_queue_histogram, run_queue_ns);
    if (state->stay_class == RUNNABLE) {
        thread->preempted_switches++;
        thread->preempted_ns += run_queue_ns;
        return;
    }
    thread->blocked_switches++;
    thread->waking_ns += from_waking_to_queue(state);
    count_duration(thread->blocked_histogram, blocked_ns);
}

INLINE void tell_stay(struct state *state, struct task_struct *task, struct task_struct *before,
                      u64 out_ns, u64 duration_ns, u64 blocked_ns, u32 sample)
{
    u32 zero = 0;
    u64 stack = 0, waking_ns = from_waking_to_queue(state);
    if (state->stay_class != RUNNABLE)
        ran_instead(state, before);
    /* Here, because only now is it known to have been long; it still stands where it slept. */
    struct stack *buffer = map_lookup(&walked, &zero);
    if (buffer)
        stack = keep_stack(&stacks, buffer, task_stack(task, buffer, sizeof(*buffer), 0));
    struct stay_record *record = ring_reserve(&records, sizeof(*record), 0);
    if (!record) {
        COUNT_LOSS(stay_records);
        return;
    }
    record->record.start_ns = out_ns;
    record->record.duration_ns = duration_ns;
    record->record.tid = task->pid;
    record->record.pid = task->tgid;
    record->record.kind = STAY;
    record->record.operation = operation_around(state);
    record->record.sample = sample;
    record->blocked_ns = blocked_ns;
    record->waking_ns = waking_ns >> 32 ? ~0U : waking_ns;
    record->stack = stack;
    record->waker_stack = state->waker_stack;
    record->woken = state->woken;
    record->waker_tid = state->woken == BY_THREAD ? state->waker_tid : 0;
    record->waker_pid = state->woken == BY_THREAD ? state->waker_pid : 0;
    record->before_tid = before->pid;
    record->preemptor_tid = state->preemptor_tid;
    record->preemptor_pid = state->preemptor_pid;
#pragma unroll
    for (int i = 0; i < NAME_BYTES; i++)
        record->waker_name[i] = state->woken == BY_THREAD ? state->waker_name[i] : 0;
    __builtin_memcpy(record->preemptor_name, state->preemptor_name, NAME_BYTES);
    record->stay_class = state->stay_class;
    record->cpu_before = state->cpu;
    record->cpu = this_cpu();
    record->unused = 0;
    ring_submit(record, RING_NO_WAKEUP);
}

INLINE void returns(struct state *state, struct task_struct *task, struct task_struct *before,
                    u64 at_ns)
{
    u64 out_ns = state->out_ns, blocked_ns = 0;
    u64 duration_ns = at_ns - out_ns;
    struct settings *limits = current_settings();
    u32 sample;
    state->out_ns = 0;
    if (state->stay_class != RUNNABLE) {
        /* A waking before the switch was complete is not seen; the queueing then tells. */
        u64 woken_ns = state->waking_ns ? state->waking_ns : state->queued_ns;
        blocked_ns = woken_ns ? woken_ns - out_ns : duration_ns;
    }
    add_stay(state, blocked_ns, duration_ns - blocked_ns);
    struct thread *thread = thread_of(state);
    if (thread)
        add_to_thread(thread, state, task, blocked_ns, duration_ns - blocked_ns);
    if (limits && keeps(duration_ns, limits->stay_threshold_ns, limits->stay_sample, &sample))
        tell_stay(state, task, before, out_ns, duration_ns, blocked_ns, sample);
}

/* (bool preempt, struct task_struct *prev, struct task_struct *next, unsigned int prev_state) */
SEC("tp_btf/sched_switch")
int sched_switch(u64 *arguments)
{
    struct task_struct *leaving = (struct task_struct *)arguments[1];
    struct task_struct *entering = (struct task_struct *)arguments[2];
    struct state *arrived = state_of(entering), *left = state_of(leaving);
    u32 zero = 0;
    struct queue *queue = map_lookup(&queues, &zero);
    u32 waiter_tid = queue ? queue->waiter_tid : 0;
    u64 at_ns;
    if (!arrived && !left && !waiter_tid)
        return 0;
    at_ns = now_ns();
    if (queue && waiter_tid)
        ran(queue, leaving, at_ns);
    if (arrived && arrived->out_ns) {
        if (queue && waiter_tid == (u32)entering->pid)
            leave_queue(queue, arrived);
        returns(arrived, entering, leaving, at_ns);
    }
    if (left)
        leaves(left, leaving, entering, queue, arguments[0] & 1, arguments[3], at_ns);
    return 0;
}

/* (struct task_struct *p) */
SEC("tp_btf/sched_waking")
int sched_waking(u64 *arguments)
{
    struct state *state = state_of((struct task_struct *)arguments[0]);
    struct settings *limits;
    u64 at_ns, pid_tid;
    if (!state || !state->out_ns || state->waking_ns)
        return 0;
    at_ns = now_ns();
    state->waking_ns = at_ns;
    state->woken = serves_interrupt() ? BY_INTERRUPT : BY_THREAD;
    if (state->woken == BY_THREAD) {
        pid_tid = current_pid_tid();
        state->waker_tid = pid_tid;
        state->waker_pid = pid_tid >> 32;
        current_name(state->waker_name, NAME_BYTES);
    }
    limits = current_settings();
    if (limits && at_ns - state->out_ns >= limits->waker_stack_threshold_ns) {
        u32 zero = 0;
        struct stack *buffer = map_lookup(&walked, &zero);
        if (buffer)
            state->waker_stack =
                keep_stack(&stacks, buffer, current_stack(arguments, buffer, sizeof(*buffer), 0));
    }
    return 0;
}

/* (struct task_struct *p) */
SEC("tp_btf/sched_wakeup")
int sched_wakeup(u64 *arguments)
{
    struct state *state = state_of((struct task_struct *)arguments[0]);
    if (state && state->out_ns && !state->queued_ns)
        state->queued_ns = now_ns();
    return 0;
}

char license_of_programs[] SEC("license") = "Dual BSD/GPL";
