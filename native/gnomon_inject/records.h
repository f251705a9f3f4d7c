// CUPTI's records into ours.
#pragma once

#include "cupti_api.h"
#include "ring.h"

namespace gnomon {

// What a window has seen.
struct Counts {
    uint64_t records = 0;
    uint64_t incomplete = 0;
    int64_t overhead_ns = 0;
};

// Put one record into the ring; kinds that we do not keep are left out.
void keep(const CUpti_Activity& activity, Ring& ring, Counts& counts);

}  // namespace gnomon
