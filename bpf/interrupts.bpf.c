/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* Whether a processor serves an interrupt: a thread woken there was not woken by the thread that
 * happens to be interrupted. A bit each, set and cleared, so that a missed one heals by itself. */
#include "state.h"

INLINE int serve(u32 bit)
{
    u32 zero = 0;
    u32 *served = map_lookup(&interrupts, &zero);
    if (served)
        *served |= bit;
    return 0;
}

INLINE int leave(u32 bit)
{
    u32 zero = 0;
    u32 *served = map_lookup(&interrupts, &zero);
    if (served)
        *served &= ~bit;
    return 0;
}

SEC("tp_btf/irq_handler_entry")
int irq_handler_entry(u64 *arguments)
{
    return serve(1);
}

SEC("tp_btf/irq_handler_exit")
int irq_handler_exit(u64 *arguments)
{
    return leave(1);
}

SEC("tp_btf/softirq_entry")
int softirq_entry(u64 *arguments)
{
    return serve(2);
}

SEC("tp_btf/softirq_exit")
int softirq_exit(u64 *arguments)
{
    return leave(2);
}

SEC("tp_btf/hrtimer_expire_entry")
int hrtimer_expire_entry(u64 *arguments)
{
    return serve(4);
}

SEC("tp_btf/hrtimer_expire_exit")
int hrtimer_expire_exit(u64 *arguments)
{
    return leave(4);
}

char license_of_programs[] SEC("license") = "Dual BSD/GPL";
