// A process's file in shared memory: header, records, names. Written by one thread.
#pragma once

#include <sys/types.h>

#include "layout.h"

namespace gnomon {

class Ring {
public:
    // Make the file with its header alone. False: `refusal` says why.
    bool create(const char* directory, Refusal* refusal);

    // Make room for records and names, once; false where shared memory has not so much. Memory is
    // taken from the system here: writing to a page that it cannot give later would be a SIGBUS.
    bool allocate(uint32_t records, uint32_t names_bytes);

    bool is_allocated() const { return records_ != nullptr; }
    Header& header() { return *header_; }

    // Append one; counted as lost where there is no room.
    template <typename Record>
    void push(const Record& record) {
        static_assert(sizeof(Record) == kRecordBytes);
        push_bytes(&record, kReserve);
    }

    // As push, into the room that is kept for windows: they are the last to be lost.
    void push_window(const Window& window) { push_bytes(&window, 0); }

    // The number of a name, which is stored at its first use; kNoName for none or no room.
    uint32_t name(const char* text);

    void set_state(State state, Reason reason = Reason::kNone, int32_t result = 0);

private:
    static constexpr uint32_t kReserve = 64;
    static constexpr uint32_t kSlots = 1 << 16;
    struct Slot {
        uint64_t hash;
        uint32_t number;
        uint32_t is_used;
    };

    void push_bytes(const void* record, uint32_t reserve);
    uint32_t store_name(const char* text, uint32_t length, Slot& slot, uint64_t hash);

    char path_[512] = {};
    dev_t device_ = 0;
    ino_t inode_ = 0;
    Header* header_ = nullptr;
    uint8_t* records_ = nullptr;
    uint8_t* names_ = nullptr;
    Slot* slots_ = nullptr;
    uint32_t name_count_ = 0;
};

}  // namespace gnomon
