// A libcupti.so.13 of the activity API. It records what the stand-in driver runs into buffers that
// it asks for, and hands them over on a thread of its own, as the real one does. The environment
// tells it what to be:
//
//   STANDIN_CUPTI_VERSION  what cuptiGetVersion returns (130001)
//   STANDIN_REFUSE         a function and the CUptiResult it returns: "cuptiActivityEnable 35"
//   STANDIN_FLUSH_MS       how long a flush takes (0); a minus sign: for ever
//   STANDIN_LOG            a file for the names of the functions that were called, one a line
#include <cuda.h>
#include <cupti_result.h>
#include <cupti_activity.h>
#include <cupti_callbacks.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <unistd.h>

#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <mutex>
#include <set>
#include <thread>

#include "operation.h"

struct CUpti_Subscriber_st {
    CUpti_CallbackFunc callback;
    void* data;
    std::set<int> domains;
};

namespace {

struct Buffer {
    uint8_t* memory = nullptr;
    size_t size = 0, used = 0;
    CUpti_BuffersCallbackCompleteFunc complete = nullptr;
};

struct Library {
    std::mutex mutex;
    std::condition_variable changed;
    CUpti_BuffersCallbackRequestFunc request = nullptr;
    CUpti_BuffersCallbackCompleteFunc complete = nullptr;
    CUpti_Subscriber_st* subscriber = nullptr;
    std::set<int> kinds;
    Buffer current;
    std::deque<Buffer> full;
    bool is_handing_over = false;
    bool has_worker = false;
    size_t dropped = 0;
    uint8_t zeroed = 0;
    CUpti_ActivityThreadIdType thread_ids = CUPTI_ACTIVITY_THREAD_ID_TYPE_DEFAULT;
    CUpti_ActivityKernel9* running = nullptr;
    unsigned correlation = 0;
};

// Never destroyed: the worker outlives the destructors of the process.
Library& library() {
    static Library* the_library = new Library;
    return *the_library;
}

uint64_t now_ns() {
    const auto now = std::chrono::system_clock::now().time_since_epoch();
    return static_cast<uint64_t>(std::chrono::nanoseconds(now).count());
}

CUptiResult called(const char* function) {
    if (const char* path = std::getenv("STANDIN_LOG")) {
        const int fd = open(path, O_WRONLY | O_APPEND | O_CREAT, 0666);
        dprintf(fd, "%s\n", function);
        close(fd);
    }
    const char* refused = std::getenv("STANDIN_REFUSE");
    const size_t length = std::strlen(function);
    if (refused == nullptr || std::strncmp(refused, function, length) != 0) return CUPTI_SUCCESS;
    return static_cast<CUptiResult>(std::atoi(refused + length));
}

#define CALLED() \
    if (const CUptiResult told = called(__func__); told != CUPTI_SUCCESS) return told

void work() {
    Library& state = library();
    std::unique_lock<std::mutex> lock(state.mutex);
    for (;;) {
        state.changed.wait(lock, [&] { return !state.full.empty(); });
        const Buffer buffer = state.full.front();
        state.full.pop_front();
        state.is_handing_over = true;
        // Whoever is registered by now gets it, as with the real library.
        const auto complete = state.complete;
        lock.unlock();
        complete(nullptr, 0, buffer.memory, buffer.size, buffer.used);
        lock.lock();
        state.is_handing_over = false;
        state.changed.notify_all();
    }
}

void hand_over_current(Library& state) {
    if (state.current.memory == nullptr) return;
    state.full.push_back(state.current);
    state.current = {};
    state.changed.notify_all();
}

// Room for a record in the current buffer or in a new one; nullptr where it is dropped.
template <typename Record>
Record* append(Library& state, int kind) {
    if (state.current.memory != nullptr && state.current.used + sizeof(Record) > state.current.size)
        hand_over_current(state);
    if (state.current.memory == nullptr) {
        size_t most = 0;
        Buffer fresh;
        state.request(&fresh.memory, &fresh.size, &most);
        if (fresh.memory == nullptr || fresh.size < sizeof(Record)) {
            ++state.dropped;
            return nullptr;
        }
        for (size_t at = 0; state.zeroed && at < fresh.size; ++at)
            if (fresh.memory[at] != 0) std::abort();  // it was promised to be zeroed
        if (!state.zeroed) std::memset(fresh.memory, 0, fresh.size);
        state.current = fresh;
    }
    auto* record = reinterpret_cast<Record*>(state.current.memory + state.current.used);
    state.current.used += sizeof(Record);
    record->kind = static_cast<CUpti_ActivityKind>(kind);
    return record;
}

void add_kernel(Library& state, const Operation& operation) {
    auto* kernel = append<CUpti_ActivityKernel9>(state, operation.kind);
    if (kernel == nullptr) return;
    kernel->name = operation.name;
    kernel->start = now_ns();
    kernel->end = operation.is_running ? 0 : kernel->start + 1000;
    if (operation.is_running) state.running = kernel;
    kernel->deviceId = operation.id;
    kernel->contextId = 1 + operation.id;
    kernel->streamId = 7;
    kernel->correlationId = ++state.correlation;
    kernel->gridX = 264, kernel->gridY = kernel->gridZ = 1;
    kernel->blockX = 128, kernel->blockY = kernel->blockZ = 1;
    kernel->registersPerThread = 64;
    kernel->dynamicSharedMemory = 1024;
    kernel->graphId = operation.flags;
    kernel->graphNodeId = operation.flags * 100ull;
}

template <typename Record>
void add_move(Library& state, const Operation& operation, Record* move) {
    if (move == nullptr) return;
    move->bytes = operation.bytes;
    move->start = now_ns();
    move->end = move->start + 2000;
    move->contextId = 1;
    move->correlationId = ++state.correlation;
}

void add(Library& state, const Operation& operation) {
    switch (operation.kind) {
        case CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL: return add_kernel(state, operation);
        case CUPTI_ACTIVITY_KIND_MEMCPY: {
            auto* copy = append<CUpti_ActivityMemcpy5>(state, operation.kind);
            add_move(state, operation, copy);
            if (copy == nullptr) return;
            copy->copyKind = CUPTI_ACTIVITY_MEMCPY_KIND_HTOD;
            copy->srcKind = CUPTI_ACTIVITY_MEMORY_KIND_PINNED;
            copy->dstKind = CUPTI_ACTIVITY_MEMORY_KIND_DEVICE;
            return;
        }
        case CUPTI_ACTIVITY_KIND_MEMCPY2: {
            auto* copy = append<CUpti_ActivityMemcpyPtoP4>(state, operation.kind);
            add_move(state, operation, copy);
            if (copy == nullptr) return;
            copy->copyKind = CUPTI_ACTIVITY_MEMCPY_KIND_PTOP;
            copy->dstDeviceId = 1;
            return;
        }
        case CUPTI_ACTIVITY_KIND_MEMSET: {
            auto* fill = append<CUpti_ActivityMemset4>(state, operation.kind);
            add_move(state, operation, fill);
            if (fill != nullptr) fill->memoryKind = CUPTI_ACTIVITY_MEMORY_KIND_DEVICE;
            return;
        }
        case CUPTI_ACTIVITY_KIND_SYNCHRONIZATION: {
            auto* wait = append<CUpti_ActivitySynchronization>(state, operation.kind);
            if (wait == nullptr) return;
            wait->type = CUPTI_ACTIVITY_SYNCHRONIZATION_TYPE_STREAM_SYNCHRONIZE;
            wait->start = now_ns();
            wait->end = wait->start + 3000;
            wait->contextId = 1;
            wait->streamId = 7;
            return;
        }
        case CUPTI_ACTIVITY_KIND_MARKER: {
            auto* marker = append<CUpti_ActivityMarker2>(state, operation.kind);
            if (marker == nullptr) return;
            marker->flags = static_cast<CUpti_ActivityFlag>(operation.flags);
            marker->timestamp = now_ns();
            marker->id = operation.id;
            marker->objectKind = CUPTI_ACTIVITY_OBJECT_THREAD;
            const bool is_system = state.thread_ids == CUPTI_ACTIVITY_THREAD_ID_TYPE_SYSTEM;
            marker->objectId.pt.threadId = is_system ? static_cast<uint32_t>(gettid()) : 1u;
            marker->name = operation.name;
            marker->domain = operation.domain;
            return;
        }
        default: return;
    }
}

void on_operation(const Operation* operation) {
    Library& state = library();
    std::unique_lock<std::mutex> lock(state.mutex);
    if (operation->kind == 0 && state.running != nullptr) {
        state.running->end = now_ns();
        state.running = nullptr;
    }
    if (state.request != nullptr && state.kinds.count(operation->kind)) add(state, *operation);
    CUpti_Subscriber_st* subscriber = state.subscriber;
    if (subscriber == nullptr || !subscriber->domains.count(CUPTI_CB_DOMAIN_DRIVER_API)) return;
    lock.unlock();
    CUpti_CallbackData data{};
    data.callbackSite = CUPTI_API_EXIT;
    subscriber->callback(subscriber->data, CUPTI_CB_DOMAIN_DRIVER_API, 1, &data);
}

// The driver tells it what runs from the first use on.
void attach(Library& state) {
    void* driver = dlopen("libcuda.so.1", RTLD_NOW | RTLD_NOLOAD);
    const auto hook = reinterpret_cast<void (*)(Hook)>(dlsym(driver, "standin_hook"));
    hook(on_operation);
    if (!state.has_worker) std::thread(work).detach();
    state.has_worker = true;
}

}  // namespace

extern "C" {

CUptiResult CUPTIAPI cuptiGetVersion(uint32_t* version) {
    CALLED();
    const char* told = std::getenv("STANDIN_CUPTI_VERSION");
    *version = told == nullptr ? 130001 : static_cast<uint32_t>(std::atoi(told));
    return CUPTI_SUCCESS;
}

CUptiResult CUPTIAPI cuptiSubscribe(CUpti_SubscriberHandle* handle, CUpti_CallbackFunc callback,
                                    void* data) {
    CALLED();
    Library& state = library();
    const std::lock_guard<std::mutex> lock(state.mutex);
    if (state.subscriber != nullptr) return CUPTI_ERROR_MULTIPLE_SUBSCRIBERS_NOT_SUPPORTED;
    *handle = state.subscriber = new CUpti_Subscriber_st{callback, data, {}};
    return CUPTI_SUCCESS;
}

CUptiResult CUPTIAPI cuptiUnsubscribe(CUpti_SubscriberHandle) {
    CALLED();
    Library& state = library();
    const std::lock_guard<std::mutex> lock(state.mutex);
    state.subscriber = nullptr;
    return CUPTI_SUCCESS;
}

CUptiResult CUPTIAPI cuptiEnableDomain(uint32_t enable, CUpti_SubscriberHandle handle,
                                       CUpti_CallbackDomain domain) {
    CALLED();
    Library& state = library();
    const std::lock_guard<std::mutex> lock(state.mutex);
    if (enable) handle->domains.insert(domain);
    else handle->domains.erase(domain);
    return CUPTI_SUCCESS;
}

CUptiResult CUPTIAPI cuptiActivityRegisterCallbacks(CUpti_BuffersCallbackRequestFunc request,
                                                    CUpti_BuffersCallbackCompleteFunc complete) {
    CALLED();
    Library& state = library();
    const std::lock_guard<std::mutex> lock(state.mutex);
    attach(state);
    state.request = request;
    state.complete = complete;
    return CUPTI_SUCCESS;
}

CUptiResult CUPTIAPI cuptiActivityEnable(CUpti_ActivityKind kind) {
    CALLED();
    Library& state = library();
    const std::lock_guard<std::mutex> lock(state.mutex);
    state.kinds.insert(kind);
    return CUPTI_SUCCESS;
}

CUptiResult CUPTIAPI cuptiActivityDisable(CUpti_ActivityKind kind) {
    CALLED();
    Library& state = library();
    const std::lock_guard<std::mutex> lock(state.mutex);
    state.kinds.erase(kind);
    return CUPTI_SUCCESS;
}

CUptiResult CUPTIAPI cuptiActivityFlushAll(uint32_t flag) {
    CALLED();
    if (const char* told = std::getenv("STANDIN_FLUSH_MS")) {
        const int ms = std::atoi(told);
        std::this_thread::sleep_for(ms < 0 ? std::chrono::hours(1) : std::chrono::milliseconds(ms));
    }
    Library& state = library();
    std::unique_lock<std::mutex> lock(state.mutex);
    if (flag != 0 || state.running == nullptr) {
        hand_over_current(state);
        state.running = nullptr;
    }
    state.changed.wait(lock, [&] { return state.full.empty() && !state.is_handing_over; });
    return CUPTI_SUCCESS;
}

CUptiResult CUPTIAPI cuptiActivityGetNextRecord(uint8_t* buffer, size_t valid,
                                                CUpti_Activity** record) {
    const auto size_of = [](int kind) -> size_t {
        switch (kind) {
            case CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL: return sizeof(CUpti_ActivityKernel9);
            case CUPTI_ACTIVITY_KIND_MEMCPY: return sizeof(CUpti_ActivityMemcpy5);
            case CUPTI_ACTIVITY_KIND_MEMCPY2: return sizeof(CUpti_ActivityMemcpyPtoP4);
            case CUPTI_ACTIVITY_KIND_MEMSET: return sizeof(CUpti_ActivityMemset4);
            case CUPTI_ACTIVITY_KIND_SYNCHRONIZATION: return sizeof(CUpti_ActivitySynchronization);
            default: return sizeof(CUpti_ActivityMarker2);
        }
    };
    uint8_t* next = buffer;
    if (*record != nullptr)
        next = reinterpret_cast<uint8_t*>(*record) + size_of((*record)->kind);
    if (next >= buffer + valid) return CUPTI_ERROR_MAX_LIMIT_REACHED;
    *record = reinterpret_cast<CUpti_Activity*>(next);
    return CUPTI_SUCCESS;
}

CUptiResult CUPTIAPI cuptiActivityGetNumDroppedRecords(CUcontext, uint32_t, size_t* dropped) {
    Library& state = library();
    const std::lock_guard<std::mutex> lock(state.mutex);
    *dropped = state.dropped;
    state.dropped = 0;
    return CUPTI_SUCCESS;
}

CUptiResult CUPTIAPI cuptiActivityGetAttribute(CUpti_ActivityAttribute, size_t* size, void* value) {
    *size = 1;
    *static_cast<uint8_t*>(value) = library().zeroed;
    return CUPTI_SUCCESS;
}

CUptiResult CUPTIAPI cuptiActivitySetAttribute(CUpti_ActivityAttribute, size_t*, void* value) {
    const std::lock_guard<std::mutex> lock(library().mutex);
    library().zeroed = *static_cast<uint8_t*>(value);
    return CUPTI_SUCCESS;
}

CUptiResult CUPTIAPI cuptiSetThreadIdType(CUpti_ActivityThreadIdType type) {
    const std::lock_guard<std::mutex> lock(library().mutex);
    library().thread_ids = type;
    return CUPTI_SUCCESS;
}

CUptiResult CUPTIAPI cuptiGetThreadIdType(CUpti_ActivityThreadIdType* type) {
    const std::lock_guard<std::mutex> lock(library().mutex);
    *type = library().thread_ids;
    return CUPTI_SUCCESS;
}

CUptiResult CUPTIAPI cuptiFinalize(void) {
    CALLED();
    Library& state = library();
    const std::lock_guard<std::mutex> lock(state.mutex);
    state.request = nullptr;
    state.subscriber = nullptr;
    state.kinds.clear();
    state.current = {};
    return CUPTI_SUCCESS;
}

}  // extern "C"
