// Memory that CUPTI writes records into. Handed out and taken back on any thread, without locks.
#pragma once

#include <cstddef>
#include <cstdint>

namespace gnomon {

class Pool {
public:
    static constexpr size_t kSlots = 64;

    // Memory comes as it is used, that of the first buffers at once.
    bool allocate(size_t buffer_bytes);

    bool is_allocated() const { return buffer_bytes_ != 0; }
    size_t buffer_bytes() const { return buffer_bytes_; }

    // Take a buffer, zeroed; nullptr where all are in use.
    uint8_t* take();

    // Remember that a buffer came back. False: it is none of ours.
    bool give_back(const uint8_t* buffer, size_t valid_bytes);

    // Hand each buffer that came back to `read`, then zero it and make it free. One thread only.
    template <typename Read>
    void read_all(Read read) {
        for (size_t slot = 0; slot < kSlots; ++slot) {
            if (__atomic_load_n(&states_[slot], __ATOMIC_ACQUIRE) != kReturned) continue;
            if (valid_bytes_[slot] > 0) read(buffers_[slot], valid_bytes_[slot]);
            free_again(slot);
        }
    }

    // How many CUPTI holds.
    size_t outstanding() const;

    // Give up what CUPTI, or who took its place, held when it was detached.
    void forget_outstanding();

private:
    enum : uint32_t { kFree = 0, kTaken = 1, kReturned = 2 };

    bool provide(size_t slot);
    void free_again(size_t slot);

    uint8_t* buffers_[kSlots] = {};
    size_t buffer_bytes_ = 0;
    uint32_t states_[kSlots] = {};
    size_t valid_bytes_[kSlots] = {};
};

}  // namespace gnomon
