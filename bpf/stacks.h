/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* Stacks are kept once, each under a hash of its addresses, and records carry the hash. */
#ifndef GNOMON_STACKS_H
#define GNOMON_STACKS_H
#include "state.h"

/* Store a stack and return its key: FNV-1a over the addresses, never 0. */
INLINE u64 keep_stack(void *map, struct stack *stack, long walked_bytes)
{
    u64 key = 0xcbf29ce484222325ULL;
    if (walked_bytes <= 0)
        return 0;
#pragma unroll
    for (int i = 0; i < STACK_FRAMES; i++) {
        if (i * 8 >= walked_bytes)
            stack->addresses[i] = 0;
        key = (key ^ stack->addresses[i]) * 0x100000001b3ULL;
        key ^= key >> 29;
    }
    key |= 1;
    if (!map_lookup(map, &key) && map_update(map, &key, stack, UPDATE_ONLY_NEW))
        COUNT_LOSS(stacks);
    return key;
}
#endif
