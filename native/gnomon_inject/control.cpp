#include "control.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>

namespace gnomon {

Control* map_control(const char* directory) {
    char path[512];
    const int length = snprintf(path, sizeof path, "%s/control", directory);
    if (length < 0 || static_cast<size_t>(length) >= sizeof path) return nullptr;
    const int fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0) return nullptr;
    struct stat status{};
    void* mapped = MAP_FAILED;
    // Reading behind the end of a file is a SIGBUS.
    if (fstat(fd, &status) == 0 && status.st_size >= static_cast<off_t>(kControlBytes))
        mapped = mmap(nullptr, kControlBytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (mapped == MAP_FAILED) return nullptr;
    auto* control = static_cast<Control*>(mapped);
    if (control->magic == kControlMagic && control->version == kLayoutVersion) return control;
    munmap(mapped, kControlBytes);
    return nullptr;
}

int64_t left_of_window_ns(const Control& control, int64_t monotonic_now_ns) {
    return __atomic_load_n(&control.deadline_ns, __ATOMIC_ACQUIRE) - monotonic_now_ns;
}

void count_refusal(Control& control, Refusal refusal) {
    __atomic_fetch_add(&control.refusals[static_cast<uint32_t>(refusal)], 1, __ATOMIC_RELAXED);
}

}  // namespace gnomon
