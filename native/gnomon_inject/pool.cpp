#include "pool.h"

#include <sys/mman.h>

#include <cstring>

namespace gnomon {
namespace {

// Touched before a window, so that no thread of the workload waits for their pages.
constexpr size_t kTouchedBuffers = 4;

}  // namespace

bool Pool::allocate(size_t buffer_bytes) {
    void* memory = mmap(nullptr, buffer_bytes * kSlots, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) return false;
    memset(memory, 0, buffer_bytes * kTouchedBuffers);
    buffer_bytes_ = buffer_bytes;
    memory_ = static_cast<uint8_t*>(memory);
    return true;
}

uint8_t* Pool::take() {
    for (size_t slot = 0; slot < kSlots; ++slot) {
        uint32_t expected = kFree;
        if (__atomic_compare_exchange_n(&states_[slot], &expected, kTaken, false, __ATOMIC_ACQUIRE,
                                        __ATOMIC_RELAXED))
            return memory_ + slot * buffer_bytes_;
    }
    return nullptr;
}

bool Pool::give_back(const uint8_t* buffer, size_t valid_bytes) {
    if (buffer < memory_ || buffer >= memory_ + kSlots * buffer_bytes_) return false;
    const size_t slot = static_cast<size_t>(buffer - memory_) / buffer_bytes_;
    valid_bytes_[slot] = valid_bytes < buffer_bytes_ ? valid_bytes : buffer_bytes_;
    __atomic_store_n(&states_[slot], kReturned, __ATOMIC_RELEASE);
    return true;
}

size_t Pool::outstanding() const {
    size_t count = 0;
    for (const uint32_t& state : states_)
        if (__atomic_load_n(&state, __ATOMIC_ACQUIRE) == kTaken) ++count;
    return count;
}

void Pool::forget_outstanding() {
    for (size_t slot = 0; slot < kSlots; ++slot)
        if (__atomic_load_n(&states_[slot], __ATOMIC_ACQUIRE) == kTaken) free_again(slot);
}

void Pool::free_again(size_t slot) {
    // All of it: what CUPTI writes behind the valid bytes is not told.
    memset(memory_ + slot * buffer_bytes_, 0, buffer_bytes_);
    __atomic_store_n(&states_[slot], kFree, __ATOMIC_RELEASE);
}

}  // namespace gnomon
