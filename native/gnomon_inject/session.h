// CUPTI in this process, from the first window on. Used by one thread, ours.
#pragma once

#include "cupti_api.h"
#include "pool.h"
#include "records.h"
#include "ring.h"

namespace gnomon {

class Session {
public:
    // The libcupti for processes that have loaded none; may be empty. Kept, not copied.
    void set_library(const char* path) { library_ = path; }

    // Begin to record. False: nothing of it is left behind, and the ring's header says why not.
    bool open(Ring& ring, const Control& control);

    // Take what CUPTI has handed over, and ask it for more. False: somebody else has come, and
    // the window was left.
    bool tick(Ring& ring);

    // End a window and wait until what ran in it has been handed over. `in_a_hurry`: the process
    // is about to end.
    void close(Ring& ring, const Control& control, bool in_a_hurry);

private:
    Reason prepare(const Control& control);
    Reason begin(const Control& control);
    CUptiResult enable_kinds(uint32_t kinds, uint32_t* granted);
    void disable_kinds(uint32_t kinds);
    void choose_attributes();
    void restore_attributes();
    bool is_replaced();
    void read_returned(Ring& ring);
    void leave(Ring& ring, Reason reason);
    void write_window(Ring& ring, Reason reason);
    void begin_window(Ring& ring);
    void detach();

    const char* library_ = "";
    Cupti cupti_{};
    Pool pool_;
    Counts counts_;
    Window window_{};
    uint32_t kinds_ = 0;
    int64_t next_flush_ns_ = 0;
    int64_t next_look_ns_ = 0;
    uint64_t lost_before_ = 0;
    uint64_t dropped_before_ = 0;
    int32_t result_ = 0;
    bool is_loaded_ = false;
    bool has_left_for_good_ = false;
    uint8_t former_zeroed_ = 0;
    CUpti_ActivityThreadIdType former_thread_id_ = CUPTI_ACTIVITY_THREAD_ID_TYPE_DEFAULT;
};

}  // namespace gnomon
