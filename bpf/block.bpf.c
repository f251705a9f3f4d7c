/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* Requests to block devices, for the thread that made them. Linux 6.5 has these tracepoints. */
#include "state.h"

struct request_started {
    u64 start_ns;
    u64 bytes;
    u64 sector;
    u32 thread;
    u32 tid;
    u32 pid;
    u32 device;
    u32 block_operation;
    u32 operation;
};

struct {
    NUMBER(type, MAP_HASH);
    NUMBER(max_entries, 4096);
    TYPE(key, u64);
    TYPE(value, struct request_started);
} requests SEC(".maps");

/* (struct request *rq) */
SEC("tp_btf/block_io_start")
int block_io_start(u64 *arguments)
{
    struct request *request = (struct request *)arguments[0];
    struct state *state = state_of(current_task());
    u64 key = (u64)request, pid_tid = current_pid_tid();
    if (!state)
        return 0;
    struct request_started started = {
        .start_ns = now_ns(),
        .bytes = request->__data_len,
        .sector = request->__sector,
        .thread = state->thread,
        .tid = pid_tid,
        .pid = pid_tid >> 32,
        .block_operation = request->cmd_flags & 0xff,
        .operation = operation_around(state),
    };
    struct bio *bio = request->bio; /* a flush has none */
    struct block_device *device = bio ? bio->bi_bdev : 0;
    if (device)
        started.device = device->bd_dev;
    if (map_update(&requests, &key, &started, 0))
        COUNT_LOSS(block_requests);
    return 0;
}

INLINE void tell_request(const struct request_started *started, u64 duration_ns, u32 sample)
{
    struct block_record *record = ring_reserve(&records, sizeof(*record), 0);
    if (!record) {
        COUNT_LOSS(block_records);
        return;
    }
    __builtin_memset(record, 0, sizeof(*record));
    record->record.start_ns = started->start_ns;
    record->record.duration_ns = duration_ns;
    record->record.tid = started->tid;
    record->record.pid = started->pid;
    record->record.kind = BLOCK;
    record->record.operation = started->operation;
    record->record.sample = sample;
    record->bytes = started->bytes;
    record->sector = started->sector;
    record->device = started->device;
    record->block_operation = started->block_operation;
    ring_submit(record, RING_NO_WAKEUP);
}

/* (struct request *rq); runs in whatever the device's interrupt interrupted */
SEC("tp_btf/block_io_done")
int block_io_done(u64 *arguments)
{
    u64 key = arguments[0];
    struct request_started *started = map_lookup(&requests, &key);
    struct settings *limits = current_settings();
    u32 sample;
    if (!started)
        return 0;
    u64 duration_ns = now_ns() - started->start_ns;
    struct thread *thread = started->thread ? map_lookup(&threads, &started->thread) : 0;
    /* Several processors may end requests of one thread at once; the thread may be gone. */
    if (thread && thread->tid == started->tid) {
        __sync_fetch_and_add(&thread->block_requests, 1);
        __sync_fetch_and_add(&thread->block_bytes, started->bytes);
        __sync_fetch_and_add(&thread->block_ns, duration_ns);
    }
    if (limits && keeps(duration_ns, limits->block_threshold_ns, limits->block_sample, &sample))
        tell_request(started, duration_ns, sample);
    map_delete(&requests, &key);
    return 0;
}

char license_of_programs[] SEC("license") = "Dual BSD/GPL";
