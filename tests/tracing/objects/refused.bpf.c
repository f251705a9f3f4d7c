// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
// What a verifier must refuse, beside a function of the kernel that may be missing.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "Dual BSD/GPL";

extern void no_such_kernel_function(void) __ksym __weak;
extern void bpf_rcu_read_lock(void) __ksym __weak;
extern void bpf_rcu_read_unlock(void) __ksym __weak;

SEC("syscall") int reads_nothing(void *context) { return *(volatile int *)8; }

SEC("syscall")
int asks_first(void *context)
{
    if (no_such_kernel_function)
        no_such_kernel_function();
    if (!bpf_rcu_read_lock)
        return 1;
    bpf_rcu_read_lock();
    bpf_rcu_read_unlock();
    return 2;
}

SEC("syscall") int does_not_ask(void *context) { no_such_kernel_function(); return 0; }
