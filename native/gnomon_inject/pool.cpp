#include "pool.h"

#include <cstdlib>
#include <cstring>

namespace gnomon {
namespace {

// Touched before a window, so that no thread of the workload waits for their pages.
constexpr size_t kTouchedBuffers = 4;

}  // namespace

bool Pool::allocate(size_t buffer_bytes) {
    buffer_bytes_ = buffer_bytes;
    for (size_t slot = 0; slot < kTouchedBuffers; ++slot) {
        if (!provide(slot)) return false;
        memset(buffers_[slot], 0, buffer_bytes);
    }
    return true;
}

bool Pool::provide(size_t slot) {
    // Of malloc, each by itself: another profiler that is handed one may free it.
    if (buffers_[slot] == nullptr)
        buffers_[slot] = static_cast<uint8_t*>(calloc(1, buffer_bytes_));
    return buffers_[slot] != nullptr;
}

uint8_t* Pool::take() {
    for (size_t slot = 0; slot < kSlots; ++slot) {
        uint32_t expected = kFree;
        if (!__atomic_compare_exchange_n(&states_[slot], &expected, kTaken, false,
                                         __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
            continue;
        if (provide(slot)) return buffers_[slot];
        __atomic_store_n(&states_[slot], kFree, __ATOMIC_RELEASE);
        return nullptr;
    }
    return nullptr;
}

bool Pool::give_back(const uint8_t* buffer, size_t valid_bytes) {
    for (size_t slot = 0; slot < kSlots; ++slot) {
        if (__atomic_load_n(&states_[slot], __ATOMIC_ACQUIRE) != kTaken || buffers_[slot] != buffer)
            continue;
        valid_bytes_[slot] = valid_bytes < buffer_bytes_ ? valid_bytes : buffer_bytes_;
        __atomic_store_n(&states_[slot], kReturned, __ATOMIC_RELEASE);
        return true;
    }
    return false;
}

size_t Pool::outstanding() const {
    size_t count = 0;
    for (const uint32_t& state : states_)
        if (__atomic_load_n(&state, __ATOMIC_ACQUIRE) == kTaken) ++count;
    return count;
}

void Pool::forget_outstanding() {
    for (size_t slot = 0; slot < kSlots; ++slot) {
        if (__atomic_load_n(&states_[slot], __ATOMIC_ACQUIRE) != kTaken) continue;
        // Whoever holds it may write to it or have freed it: it is not ours to touch again.
        buffers_[slot] = nullptr;
        __atomic_store_n(&states_[slot], kFree, __ATOMIC_RELEASE);
    }
}

void Pool::free_again(size_t slot) {
    // All of it: what CUPTI writes behind the valid bytes is not told.
    memset(buffers_[slot], 0, buffer_bytes_);
    __atomic_store_n(&states_[slot], kFree, __ATOMIC_RELEASE);
}

}  // namespace gnomon
