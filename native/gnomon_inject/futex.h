// Waiting for a word in memory to change.
#pragma once

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "clocks.h"

namespace gnomon {

// Return when *word is no longer `expected`, when somebody wakes it, or after timeout_ns.
// Not FUTEX_PRIVATE: the word may lie in memory that another process maps.
inline void futex_wait(uint32_t* word, uint32_t expected, int64_t timeout_ns) {
    const timespec timeout = as_timespec(timeout_ns);
    syscall(SYS_futex, word, FUTEX_WAIT, expected, &timeout, nullptr, 0);
}

inline void futex_wake(uint32_t* word) {
    syscall(SYS_futex, word, FUTEX_WAKE, INT32_MAX, nullptr, nullptr, 0);
}

}  // namespace gnomon
