/* A libcuda and a libcudart of which only what a probe sees is real: exported names, the first
 * instruction, the calling convention, driver calls inside runtime calls, return codes. What a
 * call does for how long is told by the caller, per thread; what it did is written into a book by
 * a clock of its own, inside of where a probe can be. */
#ifndef STANDIN_H
#define STANDIN_H
#include <stdint.h>

/* Done by the innermost call, in this order. */
struct task {
    int64_t burn_ns; /* of the thread's CPU time: a preempted call takes longer */
    int64_t sleep_ns;
    int32_t *futex; /* wait until somebody else sets it to 0 */
    void *buffer;   /* to read into */
    int64_t read_bytes;
    int64_t read_offset;
    volatile char *pages; /* to look at */
    int64_t page_count;
    int32_t file;
    int32_t code; /* to return */
    void *jump;   /* leave by longjmp to here instead */
};

struct entry {
    const char *name;
    uint64_t entry_ns; /* CLOCK_MONOTONIC */
    uint64_t exit_ns;
    int32_t layer; /* 1 runtime, 2 driver, 3 NCCL */
    int32_t depth; /* calls around it */
    int32_t code;
    int32_t unused;
};

/* One a thread. Calls beyond the room for entries are only counted. */
struct book {
    struct task task;
    struct entry *entries;
    uint64_t room;
    uint64_t written;
    uint64_t calls; /* by the program, without those inside */
    uint64_t slept_ns;
    uint64_t waited_ns;
    uint64_t read_ns;
    uint64_t allocated;
    int32_t depth;
};

struct book *standin_book(void);
uint64_t standin_now(int clock);
struct entry *standin_enter(const char *name, int layer);
int standin_leave(struct entry *entry, int code);
int standin_work(void);

/* Twelve words are what any of these functions is called with: six registers, then the stack. */
#define WORDS                                                                                     \
    uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t e, uint64_t f, uint64_t g,           \
        uint64_t h, uint64_t i, uint64_t j, uint64_t k, uint64_t l
#define PASSED a, b, c, d, e, f, g, h, i, j, k, l
typedef int function(WORDS);
#endif
