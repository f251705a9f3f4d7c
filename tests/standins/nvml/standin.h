/* What the parts of the stand-in share: result codes, handles, and how a scripted call begins. */
#ifndef STANDIN_H
#define STANDIN_H

#include "scenario.h"

#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    OK = 0, UNINITIALIZED = 1, INVALID_ARGUMENT = 2, NOT_SUPPORTED = 3, NOT_FOUND = 6,
    INSUFFICIENT_SIZE = 7, TIMEOUT = 10, UNKNOWN = 999
};
#define MAX_LISTED 64

typedef int result;
typedef struct handle { struct target on; } *device;
typedef unsigned long long u64;


#define SYSTEM ((struct target){ -1, NOT_MIG })

extern struct handle handles[MAX_GPUS][MAX_MIG + 1];
extern pthread_mutex_t lock;                /* around every use of the scenario */

/* Refuse, fail or delay as the scenario says; needs_init 0 for nvmlInit itself. */
result begin_at(struct target on, const char *function, int needs_init);
result begin(device d, const char *function);
/* The number "function.name" (or "function") of a device; NOT_SUPPORTED where it is not set. */
result part(device d, const char *function, const char *name, unsigned *out);
result part64(device d, const char *function, const char *name, u64 *out);

#define TRY(expression) do { result code_ = (expression); if (code_ != OK) return code_; } while (0)

#endif
