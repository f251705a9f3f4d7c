/* GPU performance monitoring; see nvml.c. */
#include "standin.h"

#ifndef WITHOUT_GPM
struct gpm_sample { struct target on; unsigned long taken; };
struct gpm_metric { unsigned id; int code; double value; const char *name, *long_name, *unit; };
struct gpm_metrics { unsigned version, count; struct gpm_sample *first, *second; struct gpm_metric metrics[]; };
static unsigned long samples_taken;
static int samples_alive;

result nvmlGpmQueryDeviceSupport(device d, unsigned out[2])
{
    TRY(begin(d, __func__));
    out[1] = 0;
    part(d, __func__, "", &out[1]);
    return OK;
}

result nvmlGpmSampleAlloc(struct gpm_sample **out)
{
    TRY(begin_at(SYSTEM, __func__, 1));
    *out = calloc(1, sizeof **out);
    __atomic_add_fetch(&samples_alive, 1, __ATOMIC_SEQ_CST);
    return OK;
}

result nvmlGpmSampleFree(struct gpm_sample *sample)
{
    __atomic_sub_fetch(&samples_alive, 1, __ATOMIC_SEQ_CST);
    free(sample);
    return OK;
}

/* For tests: how many buffers have not been freed. */
int standin_gpm_samples_alive(void) { return samples_alive; }

result nvmlGpmSampleGet(device d, struct gpm_sample *sample)
{
    TRY(begin(d, __func__));
    sample->on = d->on;
    sample->taken = __atomic_add_fetch(&samples_taken, 1, __ATOMIC_SEQ_CST);
    return OK;
}

result nvmlGpmMigSampleGet(device d, unsigned gpu_instance, struct gpm_sample *sample)
{
    TRY(begin(d, __func__));
    for (int mig = 0; mig < scenario_migs(d->on.gpu); mig++) {
        unsigned id = 0;
        device m = &handles[d->on.gpu][mig + 1];
        if (part(m, "nvmlDeviceGetGpuInstanceId", "", &id) == OK && id == gpu_instance) {
            sample->on = m->on;
            sample->taken = __atomic_add_fetch(&samples_taken, 1, __ATOMIC_SEQ_CST);
            return OK;
        }
    }
    return INVALID_ARGUMENT;
}

result nvmlGpmMetricsGet(struct gpm_metrics *get)
{
    if (get->version != 1 || !get->first || !get->second || !get->first->taken ||
        get->first->taken >= get->second->taken)
        return INVALID_ARGUMENT;
    struct handle of = { get->second->on };
    TRY(begin(&of, __func__));
    for (unsigned i = 0; i < get->count; i++) {
        struct gpm_metric *metric = &get->metrics[i];
        char name[32];
        long double value = 0;
        snprintf(name, sizeof name, "gpm.%u", metric->id);
        pthread_mutex_lock(&lock);
        metric->code = scenario_fail(of.on, name);
        if (metric->code == OK && scenario_number(of.on, name, &value) != 0)
            metric->code = INVALID_ARGUMENT; /* as driver 580 answers ids it does not know */
        pthread_mutex_unlock(&lock);
        metric->value = (double)value;
    }
    return OK;
}
#endif
