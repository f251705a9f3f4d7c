/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* A tracer as it is commonly built, to be measured beside ours: the call's beginning waits in a
 * hash map under its thread, and its return sends an event that wakes the reader. */
#include "kernel.h"

#define EVENT_BYTES 48

struct event {
    u64 start_ns;
    u64 duration_ns;
    u32 tid;
    u32 pid;
    u32 operation;
    s32 return_code;
    u8 name[16];
};
_Static_assert(sizeof(struct event) == EVENT_BYTES, "benchmarks/plain_tracer.py reads this");

struct {
    NUMBER(type, MAP_HASH);
    NUMBER(max_entries, 10240);
    TYPE(key, u32);
    TYPE(value, u64);
} starts SEC(".maps");

struct {
    NUMBER(type, MAP_RING);
    NUMBER(max_entries, 8 << 20);
} events SEC(".maps");

struct {
    NUMBER(type, MAP_ARRAY);
    NUMBER(map_flags, MAP_CAN_BE_MMAPED);
    NUMBER(max_entries, 1);
    TYPE(key, u32);
    TYPE(value, u64);
} lost SEC(".maps");

SEC("uprobe")
int plain_enter(struct pt_regs *registers)
{
    u32 tid = current_pid_tid();
    u64 start_ns = now_ns();
    map_update(&starts, &tid, &start_ns, 0);
    return 0;
}

SEC("uretprobe")
int plain_exit(struct pt_regs *registers)
{
    u64 pid_tid = current_pid_tid();
    u32 tid = pid_tid, first = 0;
    u64 *start_ns = map_lookup(&starts, &tid);
    if (!start_ns)
        return 0;
    struct event *event = ring_reserve(&events, sizeof(*event), 0);
    if (event) {
        event->start_ns = *start_ns;
        event->duration_ns = now_ns() - *start_ns;
        event->tid = tid;
        event->pid = pid_tid >> 32;
        event->operation = attach_cookie(registers);
        event->return_code = RETURN_CODE(registers);
        current_name(event->name, sizeof(event->name));
        ring_submit(event, 0);
    } else {
        u64 *count = map_lookup(&lost, &first);
        if (count)
            __sync_fetch_and_add(count, 1);
    }
    map_delete(&starts, &tid);
    return 0;
}

char license_of_programs[] SEC("license") = "Dual BSD/GPL";
