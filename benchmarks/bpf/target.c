/* target PROCESSOR: calls functions that do nothing, to have them probed.
 *
 * Of each line "FUNCTION COUNT" of standard input it answers "WALL_NS CPU_NS", of all calls
 * together: driver begins with push %rbp as functions of CUDA do, runtime calls driver. */
#define _GNU_SOURCE
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define WARM_UP_CALLS 200

__attribute__((noinline)) int driver(void)
{
    /* Asked for, so that there is a frame. */
    __asm__ volatile("" : : "r"(__builtin_frame_address(0)));
    return 0;
}

__attribute__((noinline)) int runtime(void)
{
    int code = driver();
    __asm__ volatile("" : "+r"(code));
    return code;
}

static long now_ns(int clock)
{
    struct timespec time;
    clock_gettime(clock, &time);
    return time.tv_sec * 1000000000L + time.tv_nsec;
}

int main(int count, char **arguments)
{
    char name[64];
    long calls;
    cpu_set_t processors;
    CPU_ZERO(&processors);
    CPU_SET(atoi(count > 1 ? arguments[1] : "0"), &processors);
    if (sched_setaffinity(0, sizeof processors, &processors)) {
        perror("sched_setaffinity");
        return 1;
    }
    setvbuf(stdout, 0, _IOLBF, 0);
    while (scanf("%63s %ld", name, &calls) == 2) {
        int (*volatile called)(void) = strcmp(name, "runtime") ? driver : runtime;
        long wall_ns, cpu_ns;
        for (int i = 0; i < WARM_UP_CALLS; i++)
            called();
        cpu_ns = now_ns(CLOCK_THREAD_CPUTIME_ID);
        wall_ns = now_ns(CLOCK_MONOTONIC);
        for (long i = 0; i < calls; i++)
            called();
        wall_ns = now_ns(CLOCK_MONOTONIC) - wall_ns;
        cpu_ns = now_ns(CLOCK_THREAD_CPUTIME_ID) - cpu_ns;
        printf("%ld %ld\n", wall_ns, cpu_ns);
    }
    return 0;
}
