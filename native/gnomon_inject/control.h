// The recorder's side of shared memory, as the library sees it.
#pragma once

#include "layout.h"

namespace gnomon {

// The control file of a directory, mapped for as long as the process lives; nullptr where there is
// none that we understand. No file descriptor stays open: programs close those they do not know,
// and their numbers are then other files'.
Control* map_control(const char* directory);

// How long the window that is asked for still lasts; 0 or less: none is.
int64_t left_of_window_ns(const Control& control, int64_t monotonic_now_ns);

void count_refusal(Control& control, Refusal refusal);

}  // namespace gnomon
