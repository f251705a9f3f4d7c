// libcupti, opened at run time: never linked, so that one build serves every CUDA from 12.0 on.
#pragma once

#include <cuda.h>
#include <cupti_result.h>
#include <cupti_activity.h>
#include <cupti_callbacks.h>

#include "layout.h"

namespace gnomon {

struct Cupti {
    CUptiResult(CUPTIAPI* get_version)(uint32_t*);
    decltype(&cuptiSubscribe) subscribe;
    decltype(&cuptiUnsubscribe) unsubscribe;
    decltype(&cuptiEnableDomain) enable_domain;
    decltype(&cuptiActivityRegisterCallbacks) register_callbacks;
    decltype(&cuptiActivityEnable) enable;
    decltype(&cuptiActivityDisable) disable;
    decltype(&cuptiActivityFlushAll) flush_all;
    decltype(&cuptiActivityGetNextRecord) next_record;
    decltype(&cuptiActivityGetNumDroppedRecords) dropped_records;
    decltype(&cuptiActivityGetAttribute) get_attribute;
    decltype(&cuptiActivitySetAttribute) set_attribute;
    decltype(&cuptiSetThreadIdType) set_thread_id_type;
    decltype(&cuptiGetThreadIdType) get_thread_id_type;
    decltype(&cuptiFinalize) finalize;
    uint32_t version;

    // Open the libcupti that the process has loaded already, else the one at `path` (may be empty).
    // `driver_cuda` is what it may not be newer than; the reason where it cannot be used.
    Reason load(const char* path, int driver_cuda);
};

// The CUDA version that a cuptiGetVersion number belongs to, on cuDriverGetVersion's scale (12060
// is 12.6), by the list in cupti_version.h; 0 below 12.0.
int cuda_of_cupti(uint32_t cupti_version);

}  // namespace gnomon
