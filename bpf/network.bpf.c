/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* What traced threads send and receive over internet sockets, and what TCP had to send again on
 * the sockets they used. Linux 6.3 has these tracepoints. What goes past the kernel's sockets
 * (RDMA) is not seen. */
#include "state.h"

/* Of a socket: the traced thread that used it last. */
struct user {
    u32 thread;
    u32 tid;
    u32 pid;
    u32 unused;
};

struct {
    NUMBER(type, MAP_SOCKET_STORAGE);
    NUMBER(map_flags, MAP_NO_PREALLOC);
    TYPE(key, int);
    TYPE(value, struct user);
} socket_users SEC(".maps");

INLINE void tell_network(const struct sock *socket, const struct user *user, u16 event, u64 bytes,
                         u16 operation, u32 sample)
{
    const struct sock_common *common = &socket->__sk_common;
    struct network_record *record = ring_reserve(&records, sizeof(*record), 0);
    if (!record) {
        COUNT_LOSS(network_records);
        return;
    }
    __builtin_memset(record, 0, sizeof(*record));
    record->record.start_ns = now_ns();
    record->record.tid = user->tid;
    record->record.pid = user->pid;
    record->record.kind = NETWORK;
    record->record.operation = operation;
    record->record.sample = sample;
    record->bytes = bytes;
    record->socket = socket_cookie(socket);
    record->family = common->skc_family;
    record->local_port = common->skc_num;
    record->remote_port = __builtin_bswap16(common->skc_dport);
    record->network_event = event;
    if (record->family == IPV4)
        record->remote[0] = common->skc_daddr;
    else if (FIELD_INFO(common->skc_v6_daddr, FIELD_EXISTS)) /* a kernel may have no IPv6 */
        read_kernel(record->remote, sizeof(record->remote),
                    (void *)common + FIELD_INFO(common->skc_v6_daddr, FIELD_OFFSET));
    ring_submit(record, RING_NO_WAKEUP);
}

INLINE int is_internet(const struct sock *socket)
{
    u16 family = socket->__sk_common.skc_family;
    return family == IPV4 || family == IPV6;
}

INLINE int transferred(const struct sock *socket, s32 bytes, u16 event)
{
    struct state *state = state_of(current_task());
    struct settings *limits = current_settings();
    u64 pid_tid = current_pid_tid();
    struct thread *thread;
    struct user *user, now = {.tid = pid_tid, .pid = pid_tid >> 32};
    u32 sample;
    if (!state || bytes <= 0 || !is_internet(socket))
        return 0;
    now.thread = state->thread;
    thread = thread_of(state);
    if (thread && event == SENT) {
        thread->sends++;
        thread->sent_bytes += bytes;
    } else if (thread) {
        thread->receives++;
        thread->received_bytes += bytes;
    }
    user = socket_storage(&socket_users, socket, 0, STORAGE_CREATE);
    if (user)
        *user = now;
    else
        COUNT_LOSS(sockets);
    if (limits &&
        keeps(bytes, limits->network_threshold_bytes, limits->network_sample, &sample))
        tell_network(socket, &now, event, bytes, operation_around(state), sample);
    return 0;
}

/* (struct sock *sk, int ret, int flags) */
SEC("tp_btf/sock_send_length")
int sock_send_length(u64 *arguments)
{
    return transferred((struct sock *)arguments[0], arguments[1], SENT);
}

/* (struct sock *sk, int ret, int flags) */
SEC("tp_btf/sock_recv_length")
int sock_recv_length(u64 *arguments)
{
    if (arguments[2] & PEEK)
        return 0;
    return transferred((struct sock *)arguments[0], arguments[1], RECEIVED);
}

/* (const struct sock *sk, const struct sk_buff *skb, ...); runs in a timer, or in whatever the
 * acknowledgement interrupted */
SEC("tp_btf/tcp_retransmit_skb")
int tcp_retransmit_skb(u64 *arguments)
{
    const struct sock *socket = (const struct sock *)arguments[0];
    const struct sk_buff *segment = (const struct sk_buff *)arguments[1];
    struct user *user = socket_storage(&socket_users, socket, 0, 0);
    struct settings *limits = current_settings();
    u32 sample;
    if (!user)
        return 0;
    struct thread *thread = user->thread ? map_lookup(&threads, &user->thread) : 0;
    /* The thread may be gone, and its slot another's. */
    if (thread && thread->tid == user->tid)
        __sync_fetch_and_add(&thread->retransmits, 1);
    /* None is kept for its size. */
    if (limits && keeps(0, 1, limits->retransmit_sample, &sample)) {
        struct user told = *user;
        tell_network(socket, &told, RETRANSMITTED, segment->len, NO_OPERATION, sample);
    }
    return 0;
}

char license_of_programs[] SEC("license") = "Dual BSD/GPL";
