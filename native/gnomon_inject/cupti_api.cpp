#include "cupti_api.h"

#include <dlfcn.h>

namespace gnomon {
namespace {

template <typename Function>
bool find(void* library, const char* name, Function& function) {
    function = reinterpret_cast<Function>(dlsym(library, name));
    return function != nullptr;
}

// A second copy of libcupti in a process would fight the first one for the driver: what is loaded
// is taken, whatever its version. From CUDA 13 on the name has the major version alone.
void* open_loaded() {
    static const char* const kNames[] = {"libcupti.so.14", "libcupti.so.13", "libcupti.so.12",
                                         "libcupti.so.11.8", "libcupti.so"};
    for (const char* name : kNames)
        if (void* library = dlopen(name, RTLD_NOW | RTLD_NOLOAD)) return library;
    return nullptr;
}

}  // namespace

int cuda_of_cupti(uint32_t cupti_version) {
    // Since CUDA 13.0 the number spells the version: 130001 is 13.0, second release.
    if (cupti_version >= 130000)
        return static_cast<int>(cupti_version / 10000 * 1000 + cupti_version / 100 % 100 * 10);
    if (cupti_version >= 27) return 12090;
    if (cupti_version >= 25) return 12080;
    // 19 is 12.0, 20 is 12.2, and so on to 24, which is 12.6.
    if (cupti_version >= 20) return 12020 + static_cast<int>(cupti_version - 20) * 10;
    return cupti_version == 19 ? 12000 : 0;
}

Reason Cupti::load(const char* path, int driver_cuda) {
    void* library = open_loaded();
    // RTLD_LOCAL: the program's own search for symbols must not find ours.
    if (library == nullptr && *path != '\0') library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (library == nullptr) return Reason::kNoLibrary;
    if (!find(library, "cuptiGetVersion", get_version)) return Reason::kLibrary;
    if (get_version(&version) != CUPTI_SUCCESS) return Reason::kLibrary;
    const int cuda = cuda_of_cupti(version);
    if (cuda == 0) return Reason::kTooOld;
    // One that is newer crashed inside of the driver (13.3 on a driver for 13.0).
    if (cuda > driver_cuda) return Reason::kTooNew;
    const bool found = find(library, "cuptiSubscribe", subscribe) &&
                       find(library, "cuptiUnsubscribe", unsubscribe) &&
                       find(library, "cuptiEnableDomain", enable_domain) &&
                       find(library, "cuptiActivityRegisterCallbacks", register_callbacks) &&
                       find(library, "cuptiActivityEnable", enable) &&
                       find(library, "cuptiActivityDisable", disable) &&
                       find(library, "cuptiActivityFlushAll", flush_all) &&
                       find(library, "cuptiActivityGetNextRecord", next_record) &&
                       find(library, "cuptiActivityGetNumDroppedRecords", dropped_records) &&
                       find(library, "cuptiActivityGetAttribute", get_attribute) &&
                       find(library, "cuptiActivitySetAttribute", set_attribute) &&
                       find(library, "cuptiSetThreadIdType", set_thread_id_type) &&
                       find(library, "cuptiGetThreadIdType", get_thread_id_type) &&
                       find(library, "cuptiFinalize", finalize);
    return found ? Reason::kNone : Reason::kLibrary;
}

}  // namespace gnomon
