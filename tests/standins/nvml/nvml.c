/* A stand-in for libnvidia-ml.so.1 that answers from a scenario (scenario.h).
 *
 * Types and signatures follow the NVML API of nvml.h. What the scenario does not set is answered
 * with NOT_SUPPORTED, as a GPU without the feature would. -DWITHOUT_GPM leaves the GPM entry
 * points out, and those that came with the drivers since, to be a driver of the 470 series.
 */
#include "standin.h"

#include <time.h>

struct handle handles[MAX_GPUS][MAX_MIG + 1];
pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int users, epoch_at_init;

result begin_at(struct target on, const char *function, int needs_init)
{
    pthread_mutex_lock(&lock);
    result code = scenario_refresh() == 0 ? OK : UNKNOWN;
    if (code == OK && needs_init && (users == 0 || scenario_epoch() != epoch_at_init))
        code = UNINITIALIZED;
    if (code == OK)
        code = scenario_fail(on, function);
    unsigned delay_ms = scenario_delay_ms(on, function);
    pthread_mutex_unlock(&lock);
    if (delay_ms) {
        struct timespec wait = { delay_ms / 1000, (long)(delay_ms % 1000) * 1000000L };
        nanosleep(&wait, NULL);
    }
    return code;
}

result begin(device d, const char *function)
{
    if (!d)
        return INVALID_ARGUMENT;
    return begin_at(d->on, function, 1);
}

static int number_of(struct target on, const char *function, const char *part, long double *value)
{
    char key[128];
    snprintf(key, sizeof key, "%s%s%s", function, part[0] ? "." : "", part);
    pthread_mutex_lock(&lock);
    int missing = scenario_number(on, key, value);
    pthread_mutex_unlock(&lock);
    return missing;
}

result part(device d, const char *function, const char *name, unsigned *out)
{
    long double value;
    if (number_of(d->on, function, name, &value) != 0)
        return NOT_SUPPORTED;
    *out = (unsigned)(u64)value;
    return OK;
}

result part64(device d, const char *function, const char *name, u64 *out)
{
    long double value;
    if (number_of(d->on, function, name, &value) != 0)
        return NOT_SUPPORTED;
    *out = (u64)value;
    return OK;
}

static result words(struct target on, const char *function, char *out, unsigned size)
{
    pthread_mutex_lock(&lock);
    const char *text = scenario_text(on, function);
    if (text)
        snprintf(out, size, "%s", text);
    pthread_mutex_unlock(&lock);
    return text ? OK : NOT_SUPPORTED;
}

/* --- library ------------------------------------------------------------------------------- */

result nvmlInitWithFlags(unsigned flags)
{
    (void)flags;
    TRY(begin_at(SYSTEM, "nvmlInitWithFlags", 0));
    pthread_mutex_lock(&lock);
    if (users++ == 0)
        epoch_at_init = scenario_epoch();
    for (int gpu = 0; gpu < MAX_GPUS; gpu++)
        for (int mig = NOT_MIG; mig < MAX_MIG; mig++)
            handles[gpu][mig + 1].on = (struct target){ gpu, mig };
    pthread_mutex_unlock(&lock);
    return OK;
}

result nvmlInit_v2(void) { return nvmlInitWithFlags(0); }

result nvmlShutdown(void)
{
    pthread_mutex_lock(&lock);
    result code = users > 0 ? OK : UNINITIALIZED;
    if (users > 0)
        users--;
    pthread_mutex_unlock(&lock);
    return code;
}

const char *nvmlErrorString(result code)
{
    static char text[40];
    snprintf(text, sizeof text, "stand-in error %d", code);
    return text;
}

#define SYSTEM_TEXT(name) \
    result name(char *out, unsigned size) \
    { TRY(begin_at(SYSTEM, #name, 1)); return words(SYSTEM, #name, out, size); }
SYSTEM_TEXT(nvmlSystemGetDriverVersion)
SYSTEM_TEXT(nvmlSystemGetNVMLVersion)

result nvmlSystemGetCudaDriverVersion_v2(int *out)
{
    TRY(begin_at(SYSTEM, __func__, 1));
    long double value;
    if (number_of(SYSTEM, __func__, "", &value) != 0)
        return NOT_SUPPORTED;
    *out = (int)value;
    return OK;
}

/* --- devices ------------------------------------------------------------------------------- */

result nvmlDeviceGetCount_v2(unsigned *count)
{
    TRY(begin_at(SYSTEM, __func__, 1));
    *count = (unsigned)scenario_gpus();
    return OK;
}

result nvmlDeviceGetHandleByIndex_v2(unsigned index, device *out)
{
    if (index >= (unsigned)scenario_gpus())
        return INVALID_ARGUMENT;
    TRY(begin(&handles[index][0], __func__));
    *out = &handles[index][0];
    return OK;
}

result nvmlDeviceGetHandleByUUID(const char *uuid, device *out)
{
    for (int gpu = 0; gpu < scenario_gpus(); gpu++) {
        char own[96] = "";
        words((struct target){ gpu, NOT_MIG }, "nvmlDeviceGetUUID", own, sizeof own);
        if (!strcmp(own, uuid)) {
            TRY(begin(&handles[gpu][0], __func__));
            *out = &handles[gpu][0];
            return OK;
        }
    }
    return NOT_FOUND;
}

result nvmlDeviceGetMaxMigDeviceCount(device d, unsigned *count)
{
    TRY(begin(d, __func__));
    *count = MAX_MIG;
    return OK;
}

result nvmlDeviceGetMigDeviceHandleByIndex(device d, unsigned index, device *out)
{
    TRY(begin(d, __func__));
    if (index >= (unsigned)scenario_migs(d->on.gpu))
        return NOT_FOUND;
    *out = &handles[d->on.gpu][index + 1];
    return OK;
}

#define UINT(name) \
    result name(device d, unsigned *out) { TRY(begin(d, #name)); return part(d, #name, "", out); }
UINT(nvmlDeviceGetFanSpeed)
UINT(nvmlDeviceGetEnforcedPowerLimit)
UINT(nvmlDeviceGetPowerManagementDefaultLimit)
UINT(nvmlDeviceGetPowerUsage)
UINT(nvmlDeviceGetPersistenceMode)
UINT(nvmlDeviceGetPerformanceState)
UINT(nvmlDeviceGetCurrPcieLinkGeneration)
UINT(nvmlDeviceGetCurrPcieLinkWidth)
UINT(nvmlDeviceGetMaxPcieLinkGeneration)
UINT(nvmlDeviceGetMaxPcieLinkWidth)
UINT(nvmlDeviceGetMemoryBusWidth)
UINT(nvmlDeviceGetNumGpuCores)
UINT(nvmlDeviceGetGpuInstanceId)
UINT(nvmlDeviceGetComputeInstanceId)

#define UINT64(name) \
    result name(device d, u64 *out) { TRY(begin(d, #name)); return part64(d, #name, "", out); }
UINT64(nvmlDeviceGetTotalEnergyConsumption)
UINT64(nvmlDeviceGetSupportedEventTypes)
UINT64(nvmlDeviceGetCurrentClocksThrottleReasons)
#ifndef WITHOUT_GPM
UINT64(nvmlDeviceGetCurrentClocksEventReasons)
#endif

#define TEXT_OF(name) \
    result name(device d, char *out, unsigned size) \
    { TRY(begin(d, #name)); return words(d->on, #name, out, size); }
TEXT_OF(nvmlDeviceGetName)
TEXT_OF(nvmlDeviceGetUUID)
TEXT_OF(nvmlDeviceGetVbiosVersion)

/* Two numbers: (utilisation, sampling period), (now, pending), (min, max), (major, minor). */
#define PAIR(name, first, second) \
    result name(device d, unsigned *a, unsigned *b) \
    { TRY(begin(d, #name)); TRY(part(d, #name, first, a)); return part(d, #name, second, b); }
PAIR(nvmlDeviceGetPowerManagementLimitConstraints, "min", "max")
PAIR(nvmlDeviceGetEccMode, "current", "pending")
PAIR(nvmlDeviceGetMigMode, "current", "pending")
PAIR(nvmlDeviceGetCudaComputeCapability, "major", "minor")
#define ENGINE(name) PAIR(name, "pct", "period_us")
ENGINE(nvmlDeviceGetEncoderUtilization)
ENGINE(nvmlDeviceGetDecoderUtilization)
ENGINE(nvmlDeviceGetJpgUtilization)
ENGINE(nvmlDeviceGetOfaUtilization)

/* A number for each value of an enum: clock type, sensor, error type. */
#define BY_KIND(name) \
    result name(device d, int kind, unsigned *out) \
    { char k[12]; snprintf(k, sizeof k, "%d", kind); TRY(begin(d, #name)); return part(d, #name, k, out); }
BY_KIND(nvmlDeviceGetClockInfo)
BY_KIND(nvmlDeviceGetMaxClockInfo)
BY_KIND(nvmlDeviceGetApplicationsClock)
BY_KIND(nvmlDeviceGetTemperature)

struct temperature { unsigned version; int sensor, celsius; };

#ifndef WITHOUT_GPM
result nvmlDeviceGetTemperatureV(device d, struct temperature *out)
{
    TRY(begin(d, __func__));
    unsigned celsius = 0;
    TRY(part(d, "nvmlDeviceGetTemperature", "0", &celsius));
    out->celsius = (int)celsius;
    return OK;
}
#endif

result nvmlDeviceGetUtilizationRates(device d, unsigned out[2])
{
    TRY(begin(d, __func__));
    TRY(part(d, __func__, "gpu", &out[0]));
    return part(d, __func__, "memory", &out[1]);
}

result nvmlDeviceGetMemoryInfo(device d, u64 out[3])
{
    TRY(begin(d, __func__));
    TRY(part64(d, __func__, "total", &out[0]));
    TRY(part64(d, __func__, "used", &out[2]));
    out[1] = out[0] - out[2];
    return OK;
}

result nvmlDeviceGetTotalEccErrors(device d, int error, int counter, u64 *out)
{
    (void)counter;
    TRY(begin(d, __func__));
    return part64(d, __func__, error ? "uncorrected" : "corrected", out);
}

result nvmlDeviceGetRemappedRows(device d, unsigned *cor, unsigned *unc, unsigned *pend, unsigned *fail)
{
    TRY(begin(d, __func__));
    *pend = *fail = 0;
    TRY(part(d, __func__, "corrected", cor));
    return part(d, __func__, "uncorrected", unc);
}

struct pci_info {
    char bus_id_legacy[16];
    unsigned domain, bus, device, device_id, subsystem_id;
    char bus_id[32];
};

result nvmlDeviceGetPciInfo_v3(device d, struct pci_info *out)
{
    TRY(begin(d, __func__));
    memset(out, 0, sizeof *out);
    return words(d->on, __func__, out->bus_id, sizeof out->bus_id);
}

struct attributes { unsigned sm_count, shared[5], gpu_slices, compute_slices; u64 memory_mb; };

result nvmlDeviceGetAttributes_v2(device d, struct attributes *out)
{
    TRY(begin(d, __func__));
    memset(out, 0, sizeof *out);
    TRY(part(d, __func__, "sm_count", &out->sm_count));
    return part64(d, __func__, "memory_mb", &out->memory_mb);
}

struct field {
    uint32_t id, scope;
    int64_t timestamp_us, latency_us;
    int type, code;
    union { double d; unsigned u; u64 ull; } value;
};

result nvmlDeviceGetFieldValues(device d, int count, struct field *fields)
{
    TRY(begin(d, __func__));
    for (int i = 0; i < count; i++) {
        char name[32];
        long double value = 0;
        snprintf(name, sizeof name, "field.%u", fields[i].id);
        pthread_mutex_lock(&lock);
        fields[i].code = scenario_fail(d->on, name);
        if (fields[i].code == OK && scenario_number(d->on, name, &value) != 0)
            fields[i].code = NOT_SUPPORTED;
        pthread_mutex_unlock(&lock);
        fields[i].type = 3; /* unsigned long long */
        fields[i].value.ull = (u64)value;
        if (value != value) {
            fields[i].type = 0;
            fields[i].value.d = (double)value;
        }
    }
    return OK;
}
