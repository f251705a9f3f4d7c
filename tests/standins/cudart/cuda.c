/* libcuda.so.1; see standin.h */
#define _GNU_SOURCE
#include "standin.h"

#include <linux/futex.h>
#include <setjmp.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static __thread struct book book;

struct book *standin_book(void)
{
    return &book;
}

uint64_t standin_now(int clock)
{
    struct timespec time;
    clock_gettime(clock, &time);
    return time.tv_sec * 1000000000ULL + time.tv_nsec;
}

struct entry *standin_enter(const char *name, int layer)
{
    static __thread struct entry unwritten;
    struct entry *entry = book.written < book.room ? &book.entries[book.written++] : &unwritten;
    book.calls += book.depth == 0;
    entry->name = name;
    entry->layer = layer;
    entry->depth = book.depth++;
    entry->entry_ns = standin_now(CLOCK_MONOTONIC);
    return entry;
}

int standin_leave(struct entry *entry, int code)
{
    book.depth--;
    entry->code = code;
    entry->exit_ns = standin_now(CLOCK_MONOTONIC);
    return code;
}

static void burn(void)
{
    uint64_t end = standin_now(CLOCK_THREAD_CPUTIME_ID) + book.task.burn_ns;
    while (standin_now(CLOCK_THREAD_CPUTIME_ID) < end)
        __builtin_ia32_pause();
}

static void nap(void)
{
    struct timespec time = {book.task.sleep_ns / 1000000000, book.task.sleep_ns % 1000000000};
    nanosleep(&time, 0);
}

static void wait_for_waker(void)
{
    __atomic_store_n(book.task.futex, 1, __ATOMIC_SEQ_CST);
    while (__atomic_load_n(book.task.futex, __ATOMIC_SEQ_CST))
        syscall(SYS_futex, book.task.futex, FUTEX_WAIT_PRIVATE, 1, 0, 0, 0);
}

static void read_file(void)
{
    if (pread(book.task.file, book.task.buffer, book.task.read_bytes, book.task.read_offset) < 0)
        book.task.code = -1;
}

static void look_at_pages(void)
{
    for (int64_t page = 0; page < book.task.page_count; page++)
        (void)book.task.pages[4096 * page];
}

static void timed(void act(void), uint64_t *total_ns)
{
    uint64_t begin = standin_now(CLOCK_MONOTONIC);
    act();
    *total_ns += standin_now(CLOCK_MONOTONIC) - begin;
}

int standin_work(void)
{
    if (book.task.burn_ns)
        burn();
    if (book.task.sleep_ns)
        timed(nap, &book.slept_ns);
    if (book.task.futex)
        timed(wait_for_waker, &book.waited_ns);
    if (book.task.read_bytes)
        timed(read_file, &book.read_ns);
    look_at_pages();
    if (book.task.jump)
        longjmp(book.task.jump, 1);
    return book.task.code;
}

#define DRIVER(name)                                                                              \
    int name(WORDS)                                                                               \
    {                                                                                             \
        struct entry *entry = standin_enter(#name, 2);                                            \
        return standin_leave(entry, standin_work());                                              \
    }
/* The address is different each time and can be told from the pointer to it. */
#define ALLOCATES(name)                                                                           \
    int name(WORDS)                                                                               \
    {                                                                                             \
        struct entry *entry = standin_enter(#name, 2);                                            \
        int code = standin_work();                                                                \
        if (code == 0)                                                                            \
            *(uint64_t *)a = 0x7f0000000000 + 4096 * ++book.allocated;                            \
        return standin_leave(entry, code);                                                        \
    }
#define STREAM(name) DRIVER(name) DRIVER(name##_ptsz)
#define DEFAULT_STREAM(name) DRIVER(name) DRIVER(name##_ptds)

STREAM(cuLaunchKernel) STREAM(cuLaunchKernelEx) STREAM(cuLaunchCooperativeKernel)
STREAM(cuGraphLaunch) STREAM(cuGraphInstantiateWithParams) DRIVER(cuGraphInstantiateWithFlags)
STREAM(cuStreamBeginCapture_v2) STREAM(cuStreamEndCapture)
DEFAULT_STREAM(cuMemcpy) STREAM(cuMemcpyAsync)
DEFAULT_STREAM(cuMemcpyHtoD_v2) STREAM(cuMemcpyHtoDAsync_v2)
DEFAULT_STREAM(cuMemcpyDtoH_v2) STREAM(cuMemcpyDtoHAsync_v2)
DEFAULT_STREAM(cuMemcpyDtoD_v2) STREAM(cuMemcpyDtoDAsync_v2)
DEFAULT_STREAM(cuMemcpyPeer) STREAM(cuMemcpyPeerAsync)
DEFAULT_STREAM(cuMemcpy2D_v2) DEFAULT_STREAM(cuMemcpy2DUnaligned_v2) STREAM(cuMemcpy2DAsync_v2)
DEFAULT_STREAM(cuMemcpy3D_v2) STREAM(cuMemcpy3DAsync_v2)
DEFAULT_STREAM(cuMemcpy3DPeer) STREAM(cuMemcpy3DPeerAsync) STREAM(cuMemcpyBatchAsync)
DEFAULT_STREAM(cuMemsetD8_v2) STREAM(cuMemsetD8Async)
DEFAULT_STREAM(cuMemsetD16_v2) STREAM(cuMemsetD16Async)
DEFAULT_STREAM(cuMemsetD32_v2) STREAM(cuMemsetD32Async)
DEFAULT_STREAM(cuMemsetD2D8_v2) STREAM(cuMemsetD2D8Async)
DEFAULT_STREAM(cuMemsetD2D32_v2) STREAM(cuMemsetD2D32Async)
STREAM(cuStreamSynchronize) DRIVER(cuCtxSynchronize) DRIVER(cuEventSynchronize)
ALLOCATES(cuMemAlloc_v2) ALLOCATES(cuMemAllocManaged) ALLOCATES(cuMemAllocPitch_v2)
ALLOCATES(cuMemAllocAsync) ALLOCATES(cuMemAllocAsync_ptsz)
ALLOCATES(cuMemAllocFromPoolAsync) ALLOCATES(cuMemAllocFromPoolAsync_ptsz)
ALLOCATES(cuMemAllocHost_v2) ALLOCATES(cuMemHostAlloc) ALLOCATES(cuMemCreate)
DRIVER(cuMemFree_v2) STREAM(cuMemFreeAsync) DRIVER(cuMemFreeHost)
DRIVER(cuMemHostRegister_v2) DRIVER(cuMemHostUnregister)
DRIVER(cuMemMap) DRIVER(cuMemUnmap) DRIVER(cuMemRelease)
STREAM(cuMemPrefetchAsync) STREAM(cuMemPrefetchAsync_v2) DRIVER(cuMemAdvise) DRIVER(cuMemAdvise_v2)
ALLOCATES(cuLibraryLoadData) ALLOCATES(cuLibraryLoadFromFile) ALLOCATES(cuLibraryGetKernel)
ALLOCATES(cuLibraryGetModule) DRIVER(cuLibraryUnload) ALLOCATES(cuKernelGetFunction)
DRIVER(cuFuncLoad) ALLOCATES(cuModuleLoad) ALLOCATES(cuModuleLoadData)
ALLOCATES(cuModuleLoadDataEx) ALLOCATES(cuModuleLoadFatBinary) ALLOCATES(cuModuleGetFunction)
DRIVER(cuModuleUnload) DRIVER(cuLinkAddData_v2) DRIVER(cuLinkComplete)
DRIVER(cuGraphExecUpdate_v2) DRIVER(cuDevicePrimaryCtxReset_v2)
