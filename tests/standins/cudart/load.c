/* Works on command, one a line of standard input, and tells the truth about it:
 *
 *   open PATH                     load a library now; answers "ok"
 *   run CPU NAME TASK [; TASK]... do it in a new thread of that name on that processor, -1: any
 *   hog CPU                       fork a process "hog" that burns there until "quit"
 *   wait                          until all threads are done; answers "done"
 *   exec                          become this program anew; answers "pid N" again
 *   quit PATH                     write what was done as JSON, and end
 *
 * TASK:  call FUNCTION COUNT BURN_NS SLEEP_NS CODE
 *        futex FUNCTION COUNT DELAY_NS      blocks in the call; a thread "waker" ends it
 *        read FUNCTION COUNT BYTES PATH     in the call, past the page cache
 *        touch FUNCTION PAGES PATH          in the call, pages of a file that is not in memory
 *        fork FUNCTION COUNT                a child calls and exits
 *        jump FUNCTION COUNT                leaves each call by longjmp
 *        typed PATH                         the function typed_calls of that library
 */
#define _GNU_SOURCE
#include "standin.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define THREADS 16
#define ENTRIES 200000
#define LINE 65536

struct worker {
    pthread_t thread;
    char name[16];
    char *tasks;
    int cpu, tid, waker_tid;
    struct book *book;
    struct entry *entries;
    uint64_t wall_ns, cpu_ns, run_delay_ns;
    long blocked, preempted, faults, major_faults;
    struct book total;
};

static struct worker workers[THREADS];
static int worker_count;
static int hog_pid;

static void fail(const char *what)
{
    perror(what);
    _exit(2);
}

static void pin(int cpu)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    if (cpu >= 0 && sched_setaffinity(0, sizeof set, &set))
        fail("sched_setaffinity");
}

static uint64_t now(int clock)
{
    struct timespec time;
    clock_gettime(clock, &time);
    return time.tv_sec * 1000000000ULL + time.tv_nsec;
}

static void schedstat(uint64_t *cpu_ns, uint64_t *run_delay_ns)
{
    FILE *file = fopen("/proc/thread-self/schedstat", "r");
    if (!file || fscanf(file, "%lu %lu", cpu_ns, run_delay_ns) != 2)
        fail("/proc/thread-self/schedstat");
    fclose(file);
}

static void *symbol(const char *name)
{
    void *found = dlsym(RTLD_DEFAULT, name);
    if (!found)
        fail(name);
    return found;
}

static struct book *book_of_thread(void)
{
    return ((struct book * (*)(void)) symbol("standin_book"))();
}

static void call(function *called, uint64_t count)
{
    uint64_t out[32] = {0};
    for (uint64_t i = 0; i < count; i++)
        called((uint64_t)out, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12);
}

/* ---- the waker: sets the futex to 0 a known time after it was set to 1 ---- */

struct waking {
    int32_t futex, stop;
    volatile int tid;
    int64_t delay_ns;
};

static void *wake(void *argument)
{
    struct waking *waking = argument;
    struct timespec delay = {waking->delay_ns / 1000000000, waking->delay_ns % 1000000000};
    prctl(PR_SET_NAME, "waker");
    waking->tid = syscall(SYS_gettid);
    while (!__atomic_load_n(&waking->stop, __ATOMIC_SEQ_CST)) {
        if (!__atomic_load_n(&waking->futex, __ATOMIC_SEQ_CST)) {
            usleep(50);
            continue;
        }
        nanosleep(&delay, 0);
        __atomic_store_n(&waking->futex, 0, __ATOMIC_SEQ_CST);
        syscall(SYS_futex, &waking->futex, FUTEX_WAKE_PRIVATE, 1, 0, 0, 0);
    }
    return 0;
}

static void do_futex(struct worker *worker, function *called, uint64_t count, int64_t delay_ns)
{
    struct waking waking = {.delay_ns = delay_ns};
    pthread_t thread;
    if (pthread_create(&thread, 0, wake, &waking))
        fail("pthread_create");
    while (!waking.tid)
        usleep(50);
    worker->waker_tid = waking.tid;
    worker->book->task.futex = &waking.futex;
    call(called, count);
    __atomic_store_n(&waking.stop, 1, __ATOMIC_SEQ_CST);
    pthread_join(thread, 0);
}

static void do_read(struct worker *worker, function *called, uint64_t count, int64_t bytes,
                    const char *path)
{
    struct task *task = &worker->book->task;
    task->file = open(path, O_RDONLY | O_DIRECT);
    if (task->file < 0 || posix_memalign(&task->buffer, 4096, bytes))
        fail(path);
    task->read_bytes = bytes;
    for (uint64_t i = 0; i < count; i++) {
        task->read_offset = i * bytes;
        call(called, 1);
    }
    close(task->file);
}

static void do_touch(struct worker *worker, function *called, int64_t count, const char *path)
{
    struct task *task = &worker->book->task;
    int file = open(path, O_RDONLY);
    task->pages = mmap(0, count * 4096, PROT_READ, MAP_PRIVATE, file, 0);
    if (file < 0 || task->pages == MAP_FAILED || madvise((void *)task->pages, 1, MADV_RANDOM) ||
        posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED))
        fail(path);
    task->page_count = count;
    call(called, 1);
    close(file);
}

static void do_fork(function *called, uint64_t count)
{
    int pid = fork();
    if (pid == 0) {
        call(called, count);
        _exit(0);
    }
    waitpid(pid, 0, 0);
}

static void do_jump(struct worker *worker, function *called, volatile uint64_t count)
{
    jmp_buf landing;
    worker->book->task.jump = &landing;
    while (count--)
        if (!setjmp(landing))
            call(called, 1);
    worker->book->depth = 0;
}

static void do_task(struct worker *worker, char *text)
{
    char kind[16], name[512], path[512] = "";
    long count = 0, first = 0, second = 0, code = 0;
    if (sscanf(text, "%15s %511s %ld %ld", kind, name, &count, &first) < 2)
        fail(text);
    memset(&worker->book->task, 0, sizeof worker->book->task);
    if (strcmp(kind, "typed") == 0) {
        void *library = dlopen(name, RTLD_NOW);
        if (!library)
            fail(dlerror());
        ((void (*)(void))dlsym(library, "typed_calls"))();
        return;
    }
    function *called = (function *)symbol(name);
    if (strcmp(kind, "call") == 0) {
        sscanf(text, "%*s %*s %*s %ld %ld %ld", &first, &second, &code);
        worker->book->task.burn_ns = first;
        worker->book->task.sleep_ns = second;
        worker->book->task.code = code;
        call(called, count);
    } else if (strcmp(kind, "futex") == 0) {
        do_futex(worker, called, count, first);
    } else if (strcmp(kind, "read") == 0) {
        sscanf(text, "%*s %*s %*s %*s %511s", path);
        do_read(worker, called, count, first, path);
    } else if (strcmp(kind, "touch") == 0) {
        sscanf(text, "%*s %*s %*s %511s", path);
        do_touch(worker, called, count, path);
    } else if (strcmp(kind, "fork") == 0) {
        do_fork(called, count);
    } else if (strcmp(kind, "jump") == 0) {
        do_jump(worker, called, count);
    } else {
        fail(kind);
    }
}

static void *work(void *argument)
{
    struct worker *worker = argument;
    struct rusage before, after;
    uint64_t wall_ns, cpu_ns, run_delay_ns;
    char *rest = 0;
    /* First of all: moving to a busy processor already is waiting for it. */
    getrusage(RUSAGE_THREAD, &before);
    wall_ns = now(CLOCK_MONOTONIC);
    schedstat(&cpu_ns, &run_delay_ns);
    prctl(PR_SET_NAME, worker->name);
    pin(worker->cpu);
    worker->tid = syscall(SYS_gettid);
    worker->book = book_of_thread();
    worker->book->entries = worker->entries;
    worker->book->room = ENTRIES;
    for (char *task = strtok_r(worker->tasks, ";", &rest); task; task = strtok_r(0, ";", &rest))
        do_task(worker, task);
    schedstat(&worker->cpu_ns, &worker->run_delay_ns);
    worker->wall_ns = now(CLOCK_MONOTONIC) - wall_ns;
    worker->cpu_ns -= cpu_ns;
    worker->run_delay_ns -= run_delay_ns;
    getrusage(RUSAGE_THREAD, &after);
    worker->blocked = after.ru_nvcsw - before.ru_nvcsw;
    worker->preempted = after.ru_nivcsw - before.ru_nivcsw;
    worker->faults = after.ru_minflt + after.ru_majflt - before.ru_minflt - before.ru_majflt;
    worker->major_faults = after.ru_majflt - before.ru_majflt;
    worker->total = *worker->book;
    return 0;
}

static void start(const char *line)
{
    struct worker *worker = &workers[worker_count++];
    int used = 0;
    if (worker_count > THREADS ||
        sscanf(line, "run %d %15s %n", &worker->cpu, worker->name, &used) < 2)
        fail(line);
    worker->tasks = strdup(line + used);
    worker->entries = calloc(ENTRIES, sizeof *worker->entries);
    /* Touched now: the first use of a page must not be a fault inside a call. */
    memset(worker->entries, 1, ENTRIES * sizeof *worker->entries);
    if (pthread_create(&worker->thread, 0, work, worker))
        fail("pthread_create");
}

static void start_hog(int cpu)
{
    hog_pid = fork();
    if (hog_pid)
        return;
    prctl(PR_SET_NAME, "hog");
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    pin(cpu);
    for (;;)
        __builtin_ia32_pause();
}

static void join_all(void)
{
    for (int i = 0; i < worker_count; i++)
        if (workers[i].thread) {
            pthread_join(workers[i].thread, 0);
            workers[i].thread = 0;
        }
}

static void tell_worker(FILE *file, const struct worker *worker)
{
    const struct book *book = &worker->total;
    fprintf(file,
            "{\"name\":\"%s\",\"tid\":%d,\"waker_tid\":%d,\"wall_ns\":%lu,\"cpu_ns\":%lu,"
            "\"run_delay_ns\":%lu,\"blocked_switches\":%ld,\"preempted_switches\":%ld,"
            "\"page_faults\":%ld,\"major_faults\":%ld,\"calls\":%lu,\"slept_ns\":%lu,\"waited_ns\":%lu,"
            "\"read_ns\":%lu,\"entries\":[",
            worker->name, worker->tid, worker->waker_tid, worker->wall_ns, worker->cpu_ns,
            worker->run_delay_ns, worker->blocked, worker->preempted, worker->faults,
            worker->major_faults, book->calls, book->slept_ns, book->waited_ns, book->read_ns);
    for (uint64_t i = 0; i < book->written; i++) {
        const struct entry *entry = &worker->entries[i];
        fprintf(file, "%s[\"%s\",%d,%d,%d,%lu,%lu]", i ? "," : "", entry->name, entry->layer,
                entry->depth, entry->code, entry->entry_ns, entry->exit_ns);
    }
    fprintf(file, "]}");
}

static void tell(const char *path)
{
    FILE *file = fopen(path, "w");
    if (!file)
        fail(path);
    fprintf(file, "{\"pid\":%d,\"hog_pid\":%d,\"threads\":[", getpid(), hog_pid);
    for (int i = 0; i < worker_count; i++) {
        fprintf(file, i ? "," : "");
        tell_worker(file, &workers[i]);
    }
    fprintf(file, "]}\n");
    fclose(file);
}

int main(int count, char **arguments)
{
    char line[LINE], path[512];
    (void)count;
    setvbuf(stdin, 0, _IONBF, 0); /* what is not read yet must survive exec */
    printf("pid %d\n", getpid());
    fflush(stdout);
    while (fgets(line, sizeof line, stdin)) {
        line[strcspn(line, "\n")] = 0;
        if (sscanf(line, "open %511s", path) == 1) {
            if (!dlopen(path, RTLD_NOW | RTLD_GLOBAL))
                fail(dlerror());
            puts("ok");
        } else if (strncmp(line, "run ", 4) == 0) {
            start(line);
        } else if (strncmp(line, "hog ", 4) == 0) {
            start_hog(atoi(line + 4));
        } else if (strcmp(line, "wait") == 0) {
            join_all();
            puts("done");
        } else if (strcmp(line, "exec") == 0) {
            execv(arguments[0], arguments);
            fail("exec");
        } else if (sscanf(line, "quit %511s", path) == 1) {
            if (hog_pid)
                kill(hog_pid, SIGKILL);
            tell(path);
            return 0;
        } else {
            fail(line);
        }
        fflush(stdout);
    }
    if (hog_pid)
        kill(hog_pid, SIGKILL);
    return 0;
}
