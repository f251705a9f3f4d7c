/* A scripted answer for every question: the text file named by GNOMON_NVML_SCENARIO.
 *
 * One directive a line; SCOPE is a GPU index, GPU/MIG for a MIG device, or * for every GPU:
 *   device                                a further GPU
 *   mig GPU                               a further MIG device of that GPU
 *   set SCOPE KEY V1 [V2 ...]             number; a further value at each call, the last one stays
 *   every SCOPE KEY MS V1 [V2 ...]        number; a further value each MS milliseconds
 *   ramp SCOPE KEY START PER_SECOND [MOD] number that grows with time, modulo MOD
 *   text SCOPE KEY WORDS...               string
 *   fail SCOPE FUNCTION CODE [FIRST [LAST]]   return CODE at calls FIRST..LAST (1-based, 0: all)
 *   delay SCOPE FUNCTION MS [FIRST [LAST]]    block for MS milliseconds
 *   process SCOPE KIND PID BYTES          a running process; KIND is Compute, Graphics or MPSCompute
 *   util SCOPE PID SM MEM ENC DEC         one sample of process utilisation
 *   event GPU TYPE DATA                   delivered once by nvmlEventSetWait_v2
 *   epoch N                               where N differs from the one at nvmlInit, the driver was
 *                                         reloaded: every call fails until shutdown and init
 * The file is read again when it changes, so a test can change the machine under a live reader.
 */
#ifndef SCENARIO_H
#define SCENARIO_H

#include <stddef.h>

#define MAX_GPUS 16
#define MAX_MIG 8
#define NOT_MIG (-1)

struct target { int gpu, mig; };            /* gpu -1: a system call, no device */
struct process { const char *kind; unsigned pid; unsigned long long bytes; struct target on; };
struct sample { unsigned pid, sm, mem, enc, dec; struct target on; };

int scenario_refresh(void);                 /* 0, or -1 where the file cannot be read */
int scenario_gpus(void);
int scenario_migs(int gpu);
int scenario_epoch(void);
int scenario_number(struct target on, const char *key, long double *value); /* 0 if found */
const char *scenario_text(struct target on, const char *key);               /* NULL if not */
int scenario_fail(struct target on, const char *function);                  /* 0: does not fail */
unsigned scenario_delay_ms(struct target on, const char *function);
size_t scenario_processes(struct target on, const char *kind, const struct process **first, size_t max);
size_t scenario_samples(struct target on, const struct sample **first, size_t max);
int scenario_event(int *gpu, unsigned long long *type, unsigned long long *data); /* 0 if one */

#endif
