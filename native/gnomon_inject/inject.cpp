// libgnomon_inject.so: loaded into a program by the CUDA driver, which finds it by
// CUDA_INJECTION64_PATH. It opens windows in which CUPTI records what runs on the GPUs, when the
// recorder asks for them through shared memory, and touches nothing of CUPTI before the first.
//
// The program comes first. Whatever cannot be done is left, told in shared memory and never on the
// program's own output; nothing waits for the recorder; and CUPTI is used on one thread, ours.
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <new>

#include "clocks.h"
#include "control.h"
#include "driver_api.h"
#include "futex.h"
#include "process.h"
#include "ring.h"
#include "session.h"

namespace gnomon {
namespace {

// While a window is open CUPTI is asked, and its buffers are read, this often.
constexpr int64_t kTickNs = 10'000'000;
constexpr int64_t kIdleNs = 3600ll * 1'000'000'000;
constexpr int64_t kExitTimeoutNs = 200'000'000;

enum Busy : uint32_t { kIdle = 0, kBusy = 1, kLeaving = 2, kDone = 3 };

struct Process {
    pid_t pid = 0;
    // Copied while the program waits for us: it may change its environment at any time.
    char directory[400] = {};
    char library[1024] = {};
    Control* control = nullptr;
    Ring ring;
    Session session;
    uint32_t busy = kIdle;  // kBusy: our thread may be inside of CUPTI
    bool has_cupti = false;
};

// Never destroyed: our thread may outlive the destructors of the process.
alignas(Process) unsigned char memory[sizeof(Process)];
Process* process = nullptr;
bool is_fork_watched = false;

uint32_t busy_state() { return __atomic_load_n(&process->busy, __ATOMIC_ACQUIRE); }

// Change the state; false where it was not the one expected.
bool change_busy(uint32_t from, uint32_t to) {
    return __atomic_compare_exchange_n(&process->busy, &from, to, false, __ATOMIC_ACQ_REL,
                                       __ATOMIC_ACQUIRE);
}

// The process calls exit while a window is open: hand over what there is, and tell who waits.
void finish(Session& session, bool is_open) {
    if (is_open && is_driver_alive()) session.close(process->ring, *process->control, true);
    process->ring.set_state(State::kEnded);
    __atomic_store_n(&process->busy, static_cast<uint32_t>(kDone), __ATOMIC_RELEASE);
    futex_wake(&process->busy);
}

// Keep one window, from its opening to its end. False: the process is ending.
bool keep_window() {
    Control& control = *process->control;
    Session& session = process->session;
    if (!change_busy(kIdle, kBusy)) return false;
    // The window may be open while cuInit, which loaded us, is still running.
    while (!is_driver_alive() && busy_state() == kBusy &&
           left_of_window_ns(control, monotonic_ns()) > 0)
        futex_wait(&process->busy, kBusy, kTickNs);
    bool is_open = false;
    if (busy_state() == kBusy && left_of_window_ns(control, monotonic_ns()) > 0) {
        process->has_cupti = true;
        is_open = session.open(process->ring, control);
    }
    while (is_open && busy_state() == kBusy && left_of_window_ns(control, monotonic_ns()) > 0) {
        const uint32_t word = __atomic_load_n(&control.word, __ATOMIC_ACQUIRE);
        const int64_t left_ns = left_of_window_ns(control, monotonic_ns());
        if (left_ns > 0) futex_wait(&control.word, word, left_ns < kTickNs ? left_ns : kTickNs);
        is_open = session.tick(process->ring);
    }
    if (busy_state() == kBusy) {
        if (is_open) session.close(process->ring, control, false);
        if (change_busy(kBusy, kIdle)) return true;
        is_open = false;
    }
    finish(session, is_open);
    return false;
}

void* run(void*) {
    Control& control = *process->control;
    Refusal refusal;
    if (!process->ring.create(process->directory, &refusal)) {
        count_refusal(control, refusal);
        return nullptr;
    }
    uint64_t last_window = 0;
    for (;;) {
        const uint32_t word = __atomic_load_n(&control.word, __ATOMIC_ACQUIRE);
        const uint64_t window = __atomic_load_n(&control.window, __ATOMIC_ACQUIRE);
        // A window that was left is not tried again until the next is asked for.
        if (window != last_window && left_of_window_ns(control, monotonic_ns()) > 0) {
            if (!keep_window()) return nullptr;
            last_window = window;
        } else {
            futex_wait(&control.word, word, kIdleNs);
        }
    }
}

// In a child after fork: there is no thread of ours, and CUDA has to begin anew.
void after_fork_in_child() {
    if (process != nullptr) process->pid = 0;
}

void at_exit() {
    if (!is_own_process()) return;
    if (!change_busy(kBusy, kLeaving)) {
        change_busy(kIdle, kDone);  // our thread will not begin another window
        return;
    }
    const int64_t deadline_ns = monotonic_ns() + kExitTimeoutNs;
    for (int64_t left_ns = kExitTimeoutNs; busy_state() == kLeaving && left_ns > 0;
         left_ns = deadline_ns - monotonic_ns())
        futex_wait(&process->busy, kLeaving, left_ns);
}

bool start_thread() {
    pthread_t thread;
    sigset_t all, former;
    sigfillset(&all);
    // A thread starts with the mask of its maker: signals stay the workload's.
    pthread_sigmask(SIG_SETMASK, &all, &former);
    const int result = pthread_create(&thread, nullptr, run, nullptr);
    pthread_sigmask(SIG_SETMASK, &former, nullptr);
    if (result != 0) return false;
    pthread_setname_np(thread, "gnomon");
    pthread_detach(thread);
    return true;
}

void start() {
    const bool had_cupti = process != nullptr && process->has_cupti;
    if (process != nullptr && process->pid == getpid()) return;
    const char* directory = getenv("GNOMON_KERNELS_DIR");
    if (directory == nullptr) return;
    Control* control = map_control(directory);
    if (control == nullptr) return;
    if (had_cupti) {
        // What CUPTI's other threads were doing at the fork stays half done for ever.
        count_refusal(*control, Refusal::kForked);
        return;
    }
    process = new (memory) Process;
    process->control = control;
    process->pid = getpid();
    const char* library = getenv("GNOMON_LIBCUPTI");
    snprintf(process->directory, sizeof process->directory, "%s", directory);
    snprintf(process->library, sizeof process->library, "%s", library == nullptr ? "" : library);
    process->session.set_library(process->library);
    if (!is_fork_watched)
        is_fork_watched = pthread_atfork(nullptr, nullptr, after_fork_in_child) == 0;
    flush_at_exit();
    if (!start_thread()) count_refusal(*control, Refusal::kThread);
}

}  // namespace

bool is_ending() { return busy_state() == kLeaving; }

bool is_own_process() { return process != nullptr && process->pid == getpid(); }

void flush_at_exit() { atexit(at_exit); }

}  // namespace gnomon

// Called by the driver while it is initialised. Anything but 1 is an error of the injection.
extern "C" __attribute__((visibility("default"))) int InitializeInjection(void) {
    gnomon::start();
    return 1;
}
