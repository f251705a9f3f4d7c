// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
// Calls counted by cookie, and a flood of numbered events from as many threads as wanted.
#include <linux/bpf.h>
#include <linux/ptrace.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#define THREADS 4
#define BURST 512

char LICENSE[] SEC("license") = "Dual BSD/GPL";

struct event { __u64 number, thread, check; };
struct request { __u64 thread, withdraw; };

struct { __uint(type, BPF_MAP_TYPE_RINGBUF); __uint(max_entries, 1 << 16); } ring SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_ARRAY); __uint(map_flags, BPF_F_MMAPABLE); __uint(max_entries, THREADS); __type(key, __u32); __type(value, __u64[2]); } progress SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_ARRAY); __uint(map_flags, BPF_F_MMAPABLE); __uint(max_entries, 16); __type(key, __u32); __type(value, __u32); } calls SEC(".maps");

static __always_inline int count(__u64 cookie)
{
    __u32 key = cookie;
    __u32 *calls_so_far = bpf_map_lookup_elem(&calls, &key);

    if (calls_so_far)
        __sync_fetch_and_add(calls_so_far, 1);
    return 0;
}

SEC("uprobe") int on_entry(struct pt_regs *registers) { return count(bpf_get_attach_cookie(registers)); }
SEC("uretprobe") int on_return(struct pt_regs *registers) { return count(bpf_get_attach_cookie(registers) + 8); }

// A burst of events; progress counts those numbered and those lost, by thread.
SEC("syscall")
int flood(struct request *request)
{
    __u32 thread = request->thread;
    __u64 *done = bpf_map_lookup_elem(&progress, &thread);

    if (!done)
        return -1;
    for (int i = 0; i < BURST; i++) {
        __u64 number = done[0]++;
        struct event *event = bpf_ringbuf_reserve(&ring, sizeof(*event), 0);

        if (!event) {
            done[1]++;
            continue;
        }
        event->number = number;
        event->thread = thread;
        event->check = ~number ^ thread;
        if (request->withdraw && number % 3 == 0)
            bpf_ringbuf_discard(event, BPF_RB_NO_WAKEUP);
        else
            bpf_ringbuf_submit(event, BPF_RB_NO_WAKEUP);
    }
    return 0;
}
