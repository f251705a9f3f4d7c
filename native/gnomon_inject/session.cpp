#include "session.h"

#include <unistd.h>

#include "clocks.h"
#include "driver_api.h"
#include "futex.h"
#include "process.h"

namespace gnomon {
namespace {

constexpr int64_t kFlushEveryNs = 250'000'000;
constexpr int64_t kLookEveryNs = 1'000'000'000;
constexpr int64_t kLongestWindowNs = 10'000'000'000;
// Kernels that are running when a window ends have this long to get into it.
constexpr int kGraceSteps = 8;
constexpr useconds_t kGraceStepUs = 25'000;
// A detached CUPTI needs a call into CUDA to come by.
constexpr int64_t kDetachTimeoutNs = 150'000'000;

struct NamedKind {
    Wanted wanted;
    CUpti_ActivityKind kind;
};
constexpr NamedKind kKinds[] = {
    {kWantKernels, CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL},
    {kWantCopies, CUPTI_ACTIVITY_KIND_MEMCPY},
    {kWantCopies, CUPTI_ACTIVITY_KIND_MEMCPY2},
    {kWantFills, CUPTI_ACTIVITY_KIND_MEMSET},
    {kWantSynchronizations, CUPTI_ACTIVITY_KIND_SYNCHRONIZATION},
    {kWantRanges, CUPTI_ACTIVITY_KIND_MARKER},
    {kWantOverhead, CUPTI_ACTIVITY_KIND_OVERHEAD},
};

// What CUPTI's callbacks see: they bring no pointer of ours.
Pool* the_pool = nullptr;
uint32_t is_accepting = 0;
uint32_t requested = 0, completed = 0, foreign = 0;

uint32_t load(const uint32_t& value) { return __atomic_load_n(&value, __ATOMIC_ACQUIRE); }
void store(uint32_t& value, uint32_t now) { __atomic_store_n(&value, now, __ATOMIC_RELEASE); }
void count(uint32_t& value) { __atomic_fetch_add(&value, 1, __ATOMIC_ACQ_REL); }

// Called on any thread of the workload. Without a buffer CUPTI drops records and counts them.
void CUPTIAPI on_request(uint8_t** buffer, size_t* size, size_t* most_records) {
    *buffer = nullptr;
    *size = 0;
    *most_records = 0;
    if (!load(is_accepting) || !is_own_process()) return;
    count(requested);
    *buffer = the_pool->take();
    if (*buffer != nullptr) *size = the_pool->buffer_bytes();
}

// Called on any thread of the workload: the work is left to ours.
void CUPTIAPI on_complete(CUcontext, uint32_t, uint8_t* buffer, size_t, size_t valid_bytes) {
    if (!is_own_process()) return;
    if (the_pool->give_back(buffer, valid_bytes)) count(completed);
    else count(foreign);  // of somebody who registered before us; theirs to free
}

// The subscriber that looks whether there is another one, and the one that detaches CUPTI.
struct Detaching {
    decltype(&cuptiFinalize) finalize;
    uint32_t state;  // 0 waiting, 1 done or given up
};

void CUPTIAPI on_nothing(void*, CUpti_CallbackDomain, CUpti_CallbackId, const void*) {}

// CUPTI is to be detached where a call into CUDA ends: elsewhere it would race with such calls.
void CUPTIAPI on_call(void* data, CUpti_CallbackDomain domain, CUpti_CallbackId,
                      const void* call) {
    auto* detaching = static_cast<Detaching*>(data);
    if (domain != CUPTI_CB_DOMAIN_RUNTIME_API && domain != CUPTI_CB_DOMAIN_DRIVER_API) return;
    if (static_cast<const CUpti_CallbackData*>(call)->callbackSite != CUPTI_API_EXIT) return;
    uint32_t waiting = 0;
    if (!__atomic_compare_exchange_n(&detaching->state, &waiting, 2u, false, __ATOMIC_ACQ_REL,
                                     __ATOMIC_ACQUIRE))
        return;
    detaching->finalize();
    store(detaching->state, 1);
    futex_wake(&detaching->state);
}

}  // namespace

bool Session::open(Ring& ring, const Control& control) {
    const int64_t began_ns = monotonic_ns();
    Reason reason = Reason::kNone;
    if (!ring.is_allocated() && !ring.allocate(control.ring_records, control.names_bytes))
        reason = Reason::kSpace;
    if (reason == Reason::kNone) reason = prepare(control);
    ring.header().cupti_version = cupti_.version;
    ring.header().driver_cuda = driver_cuda();
    if (reason == Reason::kNone) reason = begin(control);
    if (reason != Reason::kNone) {
        ring.set_state(State::kSteppedBack, reason, result_);
        return false;
    }
    begin_window(ring);
    window_.opening_ns = monotonic_ns() - began_ns;
    next_flush_ns_ = monotonic_ns() + kFlushEveryNs;
    next_look_ns_ = monotonic_ns() + kLookEveryNs;
    ring.header().kinds = kinds_;
    ring.set_state(State::kOpen);
    return true;
}

void Session::begin_window(Ring& ring) {
    window_ = {};
    window_.kind = static_cast<uint16_t>(Kind::kWindow);
    window_.start_ns = unix_ns();
    counts_ = {};
    lost_before_ = ring.header().lost;
    dropped_before_ = ring.header().dropped;
    __atomic_store_n(&ring.header().opened_ns, window_.start_ns, __ATOMIC_RELEASE);
}

Reason Session::prepare(const Control& control) {
    result_ = 0;
    if (has_left_for_good_) return Reason::kReplaced;
    if (!is_loaded_) {
        const int driver = driver_cuda();
        if (driver == 0) return Reason::kDriver;
        const Reason reason = cupti_.load(library_, driver);
        if (reason != Reason::kNone) return reason;
        is_loaded_ = true;
        // After libcupti, so that at the end we are called before it.
        flush_at_exit();
    }
    if (!pool_.is_allocated()) {
        if (!pool_.allocate(control.buffer_bytes)) return Reason::kMemory;
        the_pool = &pool_;
    }
    return Reason::kNone;
}

Reason Session::begin(const Control& control) {
    if (is_replaced()) return Reason::kTaken;
    store(requested, 0);
    store(completed, 0);
    store(foreign, 0);
    choose_attributes();
    store(is_accepting, 1);
    CUptiResult result = cupti_.register_callbacks(on_request, on_complete);
    if (result == CUPTI_SUCCESS) result = enable_kinds(control.kinds, &kinds_);
    if (result == CUPTI_SUCCESS) return Reason::kNone;
    store(is_accepting, 0);
    restore_attributes();
    result_ = result;
    return result == CUPTI_ERROR_MULTIPLE_SUBSCRIBERS_NOT_SUPPORTED ? Reason::kTaken
                                                                    : Reason::kRefused;
}

// CUPTI has room for one subscriber, and who uses it properly subscribes first. We subscribe for a
// moment only, to see whether somebody has: a profiler that comes while a window is open finds the
// place free, and we find it.
bool Session::is_replaced() {
    if (load(foreign) > 0) return true;
    CUpti_SubscriberHandle subscriber = nullptr;
    const CUptiResult result = cupti_.subscribe(&subscriber, on_nothing, nullptr);
    if (result == CUPTI_SUCCESS) cupti_.unsubscribe(subscriber);
    return result == CUPTI_ERROR_MULTIPLE_SUBSCRIBERS_NOT_SUPPORTED;
}

// Buffers come zeroed from us, or CUPTI would zero each on a thread of the workload. Threads are
// named as the kernel does.
void Session::choose_attributes() {
    size_t size = sizeof former_zeroed_;
    const auto zeroed = CUPTI_ACTIVITY_ATTR_ZEROED_OUT_ACTIVITY_BUFFER;
    if (cupti_.get_attribute(zeroed, &size, &former_zeroed_) != CUPTI_SUCCESS) former_zeroed_ = 0;
    uint8_t yes = 1;
    size = sizeof yes;
    cupti_.set_attribute(zeroed, &size, &yes);
    if (cupti_.get_thread_id_type(&former_thread_id_) == CUPTI_SUCCESS)
        cupti_.set_thread_id_type(CUPTI_ACTIVITY_THREAD_ID_TYPE_SYSTEM);
}

// As they were: the next user of CUPTI in this process may not know of them.
void Session::restore_attributes() {
    size_t size = sizeof former_zeroed_;
    cupti_.set_attribute(CUPTI_ACTIVITY_ATTR_ZEROED_OUT_ACTIVITY_BUFFER, &size, &former_zeroed_);
    cupti_.set_thread_id_type(former_thread_id_);
}

// Kernels are what a window is for; of the others each may be missing.
CUptiResult Session::enable_kinds(uint32_t kinds, uint32_t* granted) {
    *granted = 0;
    for (const NamedKind& named : kKinds) {
        if ((kinds & named.wanted) == 0) continue;
        const CUptiResult result = cupti_.enable(named.kind);
        if (result == CUPTI_SUCCESS) {
            *granted |= named.wanted;
        } else if (named.wanted == kWantKernels) {
            return result;
        }
    }
    return CUPTI_SUCCESS;
}

void Session::disable_kinds(uint32_t kinds) {
    for (const NamedKind& named : kKinds)
        if ((kinds & named.wanted) != 0) cupti_.disable(named.kind);
}

bool Session::tick(Ring& ring) {
    read_returned(ring);
    if (load(foreign) > 0) {
        leave(ring, Reason::kReplaced);
        return false;
    }
    const int64_t now_ns = monotonic_ns();
    if (now_ns < next_flush_ns_) return true;
    next_flush_ns_ = now_ns + kFlushEveryNs;
    if (now_ns >= next_look_ns_) {
        next_look_ns_ = now_ns + kLookEveryNs;
        if (is_replaced()) {
            leave(ring, Reason::kReplaced);
            return false;
        }
    }
    // Not forced: whole buffers of finished operations only, safe while the GPU runs.
    cupti_.flush_all(0);
    read_returned(ring);
    if (unix_ns() - window_.start_ns > kLongestWindowNs) {
        // One that goes on is told in parts, or a killed process would leave nothing of it.
        window_.end_ns = unix_ns();
        write_window(ring, Reason::kNone);
        begin_window(ring);
    }
    return true;
}

void Session::read_returned(Ring& ring) {
    // The driver may not have been initialised before.
    if (!ring.header().devices[0].is_known) describe_devices(ring.header());
    pool_.read_all([&](uint8_t* buffer, size_t valid_bytes) {
        CUpti_Activity* activity = nullptr;
        while (cupti_.next_record(buffer, valid_bytes, &activity) == CUPTI_SUCCESS)
            keep(*activity, ring, counts_);
    });
    ring.header().incomplete += counts_.incomplete - window_.incomplete;
    window_.incomplete = counts_.incomplete;
}

void Session::close(Ring& ring, const Control& control, bool in_a_hurry) {
    const int64_t began_ns = monotonic_ns();
    window_.end_ns = unix_ns();
    if (is_replaced()) return leave(ring, Reason::kReplaced);
    disable_kinds(kinds_);
    cupti_.flush_all(0);
    read_returned(ring);
    window_.closing_ns = monotonic_ns() - began_ns;
    const auto may_wait = [&] { return !in_a_hurry && !is_ending(); };
    for (int step = 0; may_wait() && step < kGraceSteps && pool_.outstanding() > 0; ++step) {
        usleep(kGraceStepUs);
        cupti_.flush_all(0);
        read_returned(ring);
    }
    const int64_t forced_ns = monotonic_ns();
    cupti_.flush_all(CUPTI_ACTIVITY_FLAG_FLUSH_FORCED);
    read_returned(ring);
    window_.closing_ns += monotonic_ns() - forced_ns;
    // Buffers that were asked for and none of which came back went to somebody who took our place
    // without subscribing: to register again would take theirs away.
    if (load(requested) > 0 && load(completed) == 0) return leave(ring, Reason::kReplaced);
    restore_attributes();
    store(is_accepting, 0);
    if ((control.flags & kFinalize) != 0 && may_wait()) detach();
    write_window(ring, Reason::kNone);
    ring.set_state(State::kClosed);
}

// Somebody else records: what is switched on is theirs now, and nothing is switched off.
void Session::leave(Ring& ring, Reason reason) {
    if (window_.end_ns == 0) window_.end_ns = unix_ns();
    read_returned(ring);
    store(is_accepting, 0);
    if (load(foreign) > 0 || (load(requested) > 0 && load(completed) == 0))
        has_left_for_good_ = true;
    // Their buffers need not be zeroed.
    restore_attributes();
    write_window(ring, reason);
    ring.set_state(State::kSteppedBack, reason);
}

void Session::write_window(Ring& ring, Reason reason) {
    size_t dropped = 0;
    if (reason == Reason::kNone && cupti_.dropped_records(nullptr, 0, &dropped) == CUPTI_SUCCESS)
        ring.header().dropped += dropped;
    window_.reason = static_cast<uint32_t>(reason);
    window_.records = counts_.records;
    window_.lost = ring.header().lost - lost_before_;
    window_.dropped = ring.header().dropped - dropped_before_;
    window_.overhead_ns = counts_.overhead_ns;
    ring.push_window(window_);
}

void Session::detach() {
    // Static: a call that is late must not find a stack that is gone.
    static Detaching detaching;
    detaching.finalize = cupti_.finalize;
    store(detaching.state, 0);
    CUpti_SubscriberHandle subscriber = nullptr;
    if (cupti_.subscribe(&subscriber, on_call, &detaching) != CUPTI_SUCCESS) return;
    cupti_.enable_domain(1, subscriber, CUPTI_CB_DOMAIN_RUNTIME_API);
    cupti_.enable_domain(1, subscriber, CUPTI_CB_DOMAIN_DRIVER_API);
    futex_wait(&detaching.state, 0, kDetachTimeoutNs);
    uint32_t waiting = 0;
    if (__atomic_compare_exchange_n(&detaching.state, &waiting, 1u, false, __ATOMIC_ACQ_REL,
                                    __ATOMIC_ACQUIRE)) {
        // No call came by: it stays attached until after the next window.
        cupti_.unsubscribe(subscriber);
        return;
    }
    while (load(detaching.state) == 2) futex_wait(&detaching.state, 2, kDetachTimeoutNs);
    pool_.forget_outstanding();
}

}  // namespace gnomon
