/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* Of the kernel's types the fields that are read, found in the running kernel by name (CO-RE);
 * its helpers by number, which never change. So the build needs clang and no header at all. */
#ifndef GNOMON_KERNEL_H
#define GNOMON_KERNEL_H
#include "types.h"

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
struct upid {
    int nr;
};
struct pid {
    unsigned int level;
    struct upid numbers[1];
};
struct task_struct {
    int pid;
    int tgid;
    unsigned int in_iowait : 1;
    unsigned long maj_flt;
    u64 start_boottime;
    struct task_struct *group_leader;
    struct task_struct *real_parent;
    struct pid *thread_pid;
    char comm[16];
};
struct block_device {
    u32 bd_dev;
};
struct bio {
    struct block_device *bi_bdev;
};
struct request {
    u32 cmd_flags;
    u32 __data_len;
    u64 __sector;
    struct bio *bio;
};
struct in6_addr {
    u8 bytes[16];
};
struct sock_common {
    u32 skc_daddr;
    u16 skc_dport;
    u16 skc_num;
    u16 skc_family;
    struct in6_addr skc_v6_daddr;
};
struct sock {
    struct sock_common __sk_common;
};
struct sk_buff {
    unsigned int len;
};
struct bpf_iter__task {
    void *meta;
    struct task_struct *task;
};
#pragma clang attribute pop

/* What the loader finds out about a field in the running kernel. */
enum field_info {
    FIELD_OFFSET = 0,
    FIELD_BYTES = 1,
    FIELD_EXISTS = 2,
    FIELD_SHIFT_LEFT = 4,
    FIELD_SHIFT_RIGHT = 5,
};
#define FIELD_INFO(field, what) __builtin_preserve_field_info(field, what)
#define TYPE_BYTES(type) __builtin_preserve_type_info(*(type *)0, 1)

/* include/linux/socket.h */
#define IPV4 2
#define IPV6 10
#define PEEK 2

/* include/linux/sched.h */
#define TASK_INTERRUPTIBLE 0x1
#define TASK_UNINTERRUPTIBLE 0x2

/* The processor's registers at a probe are part of its ABI, so these have no relocation. */
#if defined(__TARGET_ARCH_x86)
struct pt_regs {
    u64 r15, r14, r13, r12, bp, bx, r11, r10, r9, r8, ax, cx, dx, si, di, orig_ax, ip, cs, flags;
    u64 sp, ss;
};
#define ARGUMENT_1(regs) ((regs)->di)
#define ARGUMENT_2(regs) ((regs)->si)
#define ARGUMENT_3(regs) ((regs)->dx)
#define ARGUMENT_4(regs) ((regs)->cx)
#define ARGUMENT_5(regs) ((regs)->r8)
#define ARGUMENT_6(regs) ((regs)->r9)
#define RETURN_CODE(regs) ((s32)(regs)->ax)
#define STACK_POINTER(regs) ((regs)->sp)
#define RETURN_ADDRESS_BYTES 8 /* the call pushed it, the return has popped it */
#else
#error "calls.bpf.c knows the registers of x86-64 only"
#endif

#define SEC(name) __attribute__((section(name), used))
#define INLINE static inline __attribute__((always_inline))
/* Keeps clang from replacing a checked index by another expression that the verifier cannot see
 * to be checked. */
#define KEEP_CHECKED(variable) __asm__ volatile("" : "+r"(variable))

/* The kinds of map, as their BTF spells them: include/uapi/linux/bpf.h */
#define NUMBER(name, value) int(*name)[value]
#define TYPE(name, value) value *name
enum map_type {
    MAP_HASH = 1,
    MAP_ARRAY = 2,
    MAP_PERCPU_ARRAY = 6,
    MAP_LRU_HASH = 9,
    MAP_QUEUE = 22,
    MAP_SOCKET_STORAGE = 24,
    MAP_RING = 27,
    MAP_TASK_STORAGE = 29,
};
#define MAP_NO_PREALLOC 1
#define MAP_CAN_BE_MMAPED 1024
#define UPDATE_ONLY_NEW 1
#define STORAGE_CREATE 1
#define RING_NO_WAKEUP 1
#define STACK_OF_USER 256

static void *(*const map_lookup)(void *map, const void *key) = (void *)1;
static long (*const map_update)(void *map, const void *key, const void *value,
                                u64 flags) = (void *)2;
static long (*const map_delete)(void *map, const void *key) = (void *)3;
static u64 (*const now_ns)(void) = (void *)5;
static u32 (*const random_u32)(void) = (void *)7;
static u32 (*const this_cpu)(void) = (void *)8;
static u64 (*const current_pid_tid)(void) = (void *)14;
static long (*const current_name)(void *buffer, u32 size) = (void *)16;
static long (*const current_stack)(void *context, void *buffer, u32 size, u64 flags) = (void *)67;
static long (*const queue_pop)(void *map, void *value) = (void *)88;
static long (*const read_user)(void *to, u32 size, const void *from) = (void *)112;
static long (*const read_kernel)(void *to, u32 size, const void *from) = (void *)113;
static void *(*const ring_reserve)(void *ring, u64 size, u64 flags) = (void *)131;
static void (*const ring_submit)(void *record, u64 flags) = (void *)132;
static long (*const task_stack)(struct task_struct *task, void *buffer, u32 size,
                                u64 flags) = (void *)141;
static u64 (*const socket_cookie)(const struct sock *socket) = (void *)46;
static void *(*const socket_storage)(void *map, const struct sock *socket, void *value,
                                     u64 flags) = (void *)107;
static void *(*const task_storage)(void *map, struct task_struct *task, void *value,
                                   u64 flags) = (void *)156;
static struct task_struct *(*const current_task)(void) = (void *)158;
static u64 (*const attach_cookie)(void *context) = (void *)174;
#endif
