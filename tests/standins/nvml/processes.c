/* Processes, their utilisation, and the event queue; see nvml.c. */
#include "standin.h"

/* --- processes ----------------------------------------------------------------------------- */

struct process_info { unsigned pid; u64 used_bytes; unsigned gpu_instance, compute_instance; };

static result list_processes(device d, const char *function, const char *kind, unsigned *count,
                             struct process_info *out)
{
    TRY(begin(d, function));
    const struct process *found[MAX_LISTED];
    unsigned room = *count;
    pthread_mutex_lock(&lock);
    *count = (unsigned)scenario_processes(d->on, kind, found, MAX_LISTED);
    for (unsigned i = 0; out && i < *count && i < room; i++)
        out[i] = (struct process_info){ found[i]->pid, found[i]->bytes, ~0u, ~0u };
    pthread_mutex_unlock(&lock);
    return *count > room ? INSUFFICIENT_SIZE : OK;
}

#define PROCESSES(kind) \
    result nvmlDeviceGet##kind##RunningProcesses_v3(device d, unsigned *count, struct process_info *out) \
    { return list_processes(d, __func__, #kind, count, out); }
PROCESSES(Compute)
PROCESSES(Graphics)
PROCESSES(MPSCompute)

struct process_sample { unsigned pid; u64 timestamp_us; unsigned sm, mem, enc, dec; };

result nvmlDeviceGetProcessUtilization(device d, struct process_sample *out, unsigned *count, u64 since)
{
    (void)since;
    TRY(begin(d, __func__));
    const struct sample *found[MAX_LISTED];
    unsigned room = *count;
    pthread_mutex_lock(&lock);
    *count = (unsigned)scenario_samples(d->on, found, MAX_LISTED);
    for (unsigned i = 0; out && i < *count && i < room; i++)
        out[i] = (struct process_sample){ found[i]->pid, 1000 + i, found[i]->sm, found[i]->mem,
                                          found[i]->enc, found[i]->dec };
    pthread_mutex_unlock(&lock);
    if (*count == 0)
        return NOT_FOUND;
    return out && *count <= room ? OK : INSUFFICIENT_SIZE;
}

#ifndef WITHOUT_GPM
struct process_use { u64 timestamp_us; unsigned pid, sm, mem, enc, dec, jpg, ofa; };
struct process_uses { unsigned version, count; u64 since_us; struct process_use *list; };

result nvmlDeviceGetProcessesUtilizationInfo(device d, struct process_uses *info)
{
    TRY(begin(d, __func__));
    const struct sample *found[MAX_LISTED];
    unsigned room = info->count;
    pthread_mutex_lock(&lock);
    info->count = (unsigned)scenario_samples(d->on, found, MAX_LISTED);
    for (unsigned i = 0; info->list && i < info->count && i < room; i++)
        info->list[i] = (struct process_use){ 1000 + i, found[i]->pid, found[i]->sm, found[i]->mem,
                                              found[i]->enc, found[i]->dec, 0, 0 };
    pthread_mutex_unlock(&lock);
    return info->count > room ? INSUFFICIENT_SIZE : OK;
}
#endif

/* --- events -------------------------------------------------------------------------------- */

struct event_data { device device; u64 type, data; unsigned gpu_instance, compute_instance; };

result nvmlEventSetCreate(void **set)
{
    TRY(begin_at(SYSTEM, __func__, 1));
    *set = malloc(1);
    return OK;
}

result nvmlEventSetFree(void *set) { free(set); return OK; }

result nvmlDeviceRegisterEvents(device d, u64 types, void *set)
{
    (void)types, (void)set;
    return begin(d, __func__);
}

result nvmlEventSetWait_v2(void *set, struct event_data *out, unsigned timeout_ms)
{
    (void)set, (void)timeout_ms;
    TRY(begin_at(SYSTEM, __func__, 1));
    int gpu;
    pthread_mutex_lock(&lock);
    int none = scenario_event(&gpu, &out->type, &out->data);
    pthread_mutex_unlock(&lock);
    if (none)
        return TIMEOUT;
    out->device = &handles[gpu][0];
    out->gpu_instance = out->compute_instance = ~0u;
    return OK;
}
