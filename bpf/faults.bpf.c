/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* Page faults of traced threads. Only some architectures have the tracepoint. */
#include "state.h"

/* (unsigned long address, struct pt_regs *regs, unsigned long error_code) */
SEC("tp_btf/page_fault_user")
int page_fault_user(u64 *arguments)
{
    struct state *state = state_of(current_task());
    struct thread *thread;
    if (!state)
        return 0;
    state->page_faults++;
    thread = thread_of(state);
    if (thread)
        thread->page_faults = state->page_faults;
    return 0;
}

char license_of_programs[] SEC("license") = "Dual BSD/GPL";
