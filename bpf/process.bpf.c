/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* The life of traced processes: who is traced, and from when until when. */
#include "adopt.h"

/* 1: what a traced process forks is traced too */
const volatile u32 follow_children = 1;

/* (struct task_struct *task, u64 clone_flags) */
SEC("tp_btf/task_newtask")
int task_newtask(u64 *arguments)
{
    struct task_struct *task = (struct task_struct *)arguments[0];
    struct task_struct *parent = current_task();
    if (!state_of(parent))
        return 0;
    if (task->tgid == parent->tgid || follow_children)
        adopt(task, parent);
    return 0;
}

/* (struct task_struct *p, pid_t old_pid, struct linux_binprm *bprm) */
SEC("tp_btf/sched_process_exec")
int sched_process_exec(u64 *arguments)
{
    struct task_struct *task = (struct task_struct *)arguments[0];
    struct state *state = state_of(task);
    struct thread *thread;
    if (!state)
        return 0;
    state->depth = 0; /* the stack on which calls were open is gone */
    state->group_depth = 0;
    thread = thread_of(state);
    if (thread) {
        thread->open_since_ns = 0;
        thread->tid = task->pid; /* a thread that executes becomes the leader */
        thread->namespace_tid = namespace_number(task);
        copy_name(thread->name, task);
    }
    tell_thread(state, task, 0, PROCESS_EXECUTED, now_ns());
    return 0;
}

/* (struct task_struct *p) */
SEC("tp_btf/sched_process_exit")
int sched_process_exit(u64 *arguments)
{
    struct task_struct *task = (struct task_struct *)arguments[0];
    struct state *state = state_of(task);
    struct thread *thread;
    u64 born_ns = now_ns();
    if (!state)
        return 0;
    thread = thread_of(state);
    if (thread) {
        born_ns = thread->born_ns;
        copy_name(thread->name, task);
        thread->ended_ns = now_ns();
        thread->open_since_ns = 0;
        thread->major_faults = task->maj_flt;
    }
    tell_thread(state, task, 0, THREAD_EXITED, born_ns);
    /* What it still does on its way out must not reach a slot that may have a new owner. */
    state->thread = 0;
    __builtin_memset(state->cells, 0, sizeof(state->cells));
    if (thread)
        *(volatile u32 *)&thread->state = EXITED;
    return 0;
}

/* Takes up the threads of processes whose leaders user space has marked. */
SEC("iter/task")
int take_up(struct bpf_iter__task *context)
{
    struct task_struct *task = context->task;
    struct task_struct *leader;
    struct state *state;
    if (!task)
        return 0;
    leader = task->group_leader;
    if (!leader)
        return 0;
    state = state_of(leader);
    if (state && state->marked)
        adopt(task, 0);
    return 0;
}

char license_of_programs[] SEC("license") = "Dual BSD/GPL";
