// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
// One of everything that a loader has to relocate; what it comes to is libbpf's to say.
#include <linux/bpf.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#define KERNEL __attribute__((preserve_access_index))

struct upid { int nr; } KERNEL;
struct pid { unsigned int level; struct upid numbers[1]; } KERNEL;
struct load_weight { unsigned long weight; } KERNEL;
struct sched_entity { struct load_weight load; unsigned long long sum_exec_runtime; } KERNEL;
struct task_struct {
    unsigned int __state;
    unsigned long flags; /* wider than the kernel's: the load has to shrink */
    int tgid;
    unsigned in_iowait : 1;
    unsigned sched_migrated : 1;
    struct pid *thread_pid;
    struct sched_entity se;
    char comm[16];
    struct task_struct *group_leader;
    int no_such_field;
} KERNEL;
struct task_struct___old { long state; } KERNEL;
struct page { unsigned long flags; union { struct { unsigned long private; }; }; } KERNEL;
struct seq_file;
struct bpf_iter_meta { struct seq_file *seq; } KERNEL;
struct bpf_iter__task { struct bpf_iter_meta *meta; struct task_struct *task; } KERNEL;
struct no_such_type { int x; } KERNEL;
typedef struct { int counter; } atomic_t;
enum pid_type { PIDTYPE_PID, PIDTYPE_TGID, PIDTYPE_PGID = 77 };
enum pid_type___new { PIDTYPE_NO_SUCH = 5 };

char LICENSE[] SEC("license") = "Dual BSD/GPL";

const volatile unsigned long long threshold = 7;
const volatile int is_wanted = 0;
unsigned long long counters[4];
unsigned int started = 3;
static unsigned long long hidden;

struct { __uint(type, BPF_MAP_TYPE_HASH); __uint(max_entries, 64); __type(key, __u32); __type(value, __u64); } totals SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_TASK_STORAGE); __uint(map_flags, BPF_F_NO_PREALLOC); __type(key, int); __type(value, __u64[3]); } threads SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_QUEUE); __uint(value_size, 4); __uint(max_entries, 4); } waiting SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY); __uint(max_entries, 2); __type(key, __u32); __type(value, __u32); } busy SEC(".maps");

extern void bpf_rcu_read_lock(void) __ksym;
extern void bpf_rcu_read_unlock(void) __ksym;

SEC("tp_btf/sched_switch")
int BPF_PROG(on_switch, _Bool preempt, struct task_struct *prev, struct task_struct *next)
{
    __u64 *stored = bpf_task_storage_get(&threads, prev, 0, BPF_LOCAL_STORAGE_GET_F_CREATE);
    __u32 key = 1, *count;

    if (stored) {
        stored[0] += next->se.sum_exec_runtime;
        stored[1] = bpf_core_field_exists(prev->__state)
                        ? prev->__state
                        : BPF_CORE_READ((struct task_struct___old *)prev, state);
        stored[2] = prev->flags + next->comm[3] + BPF_CORE_READ(prev, thread_pid, numbers[0].nr);
    }
    if (bpf_core_field_exists(prev->no_such_field))
        counters[0] += prev->no_such_field;
    counters[1] += BPF_CORE_READ_BITFIELD(prev, in_iowait) + BPF_CORE_READ_BITFIELD(next, sched_migrated);
    counters[2] += BPF_CORE_READ_BITFIELD_PROBED(next, in_iowait) + prev->group_leader->tgid;
    count = bpf_map_lookup_elem(&busy, &key);
    if (count)
        (*count)++;
    return 0;
}

SEC("iter/task")
int list_processes(struct bpf_iter__task *context)
{
    struct task_struct *task = context->task;
    int process;

    if (!task)
        return 0;
    process = task->tgid;
    bpf_seq_write(context->meta->seq, &process, sizeof(process));
    return 0;
}

SEC("syscall")
int properties(void *context)
{
    __u64 value = threshold, total = 0;
    __u32 key = 0, item = 9;
    struct task_struct *task = (void *)bpf_get_current_task();
    struct page *page = 0;

    bpf_rcu_read_lock();
    bpf_rcu_read_unlock();
    total += bpf_core_type_size(struct task_struct) + bpf_core_type_exists(struct no_such_type);
    total += bpf_core_type_id_kernel(struct pid) + bpf_core_type_size(atomic_t);
    total += bpf_core_enum_value(enum pid_type, PIDTYPE_PGID) * 1000;
    total += bpf_core_enum_value_exists(enum pid_type, PIDTYPE_TGID);
    total += bpf_core_enum_value_exists(enum pid_type___new, PIDTYPE_NO_SUCH);
    total += bpf_core_field_size(task->comm) + bpf_core_field_offset(page->private);
    total += bpf_core_field_exists(page->private) + bpf_core_field_offset(struct pid, numbers[0]);
    total += BPF_CORE_READ(task, group_leader, tgid);
    if (is_wanted)
        total += value;
    hidden += total;
    counters[3] += hidden + started++;
    bpf_map_update_elem(&totals, &key, &total, BPF_ANY);
    bpf_map_push_elem(&waiting, &item, 0);
    return 42;
}
