#include "records.h"

#include <cupti_activity_deprecated.h>

namespace gnomon {
namespace {

// Records grow at their end from one CUPTI to the next. What is read here lies at the same place in
// all of them from CUDA 12.0 on; what a version added since is not read.
#define SAME_PLACE(A, B, field) static_assert(offsetof(A, field) == offsetof(B, field))
SAME_PLACE(CUpti_ActivityKernel8, CUpti_ActivityKernel9, start);
SAME_PLACE(CUpti_ActivityKernel8, CUpti_ActivityKernel9, name);
SAME_PLACE(CUpti_ActivityKernel8, CUpti_ActivityKernel9, graphNodeId);
SAME_PLACE(CUpti_ActivityKernel8, CUpti_ActivityKernel9, graphId);
SAME_PLACE(CUpti_ActivityKernel8, CUpti_ActivityKernel9, clusterZ);
SAME_PLACE(CUpti_ActivityMemcpy4, CUpti_ActivityMemcpy5, graphId);
SAME_PLACE(CUpti_ActivityMemcpyPtoP3, CUpti_ActivityMemcpyPtoP4, graphId);
SAME_PLACE(CUpti_ActivityMemset3, CUpti_ActivityMemset4, graphId);
SAME_PLACE(CUpti_ActivityOverhead2, CUpti_ActivityOverhead3, end);
#if CUPTI_API_VERSION >= 130000
SAME_PLACE(CUpti_ActivityKernel9, CUpti_ActivityKernel10, clusterZ);
SAME_PLACE(CUpti_ActivityMemcpy5, CUpti_ActivityMemcpy6, graphId);
SAME_PLACE(CUpti_ActivitySynchronization, CUpti_ActivitySynchronization2, cudaEventId);
#endif
#undef SAME_PLACE

// Records lie at multiples of 8, the structures are declared packed: read through them, fields are
// where they say.
template <typename Record>
const Record& as(const CUpti_Activity& activity) {
    return reinterpret_cast<const Record&>(activity);
}

template <typename Record>
Place place_of(const Record& record) {
    return {record.deviceId, record.contextId, record.streamId, record.correlationId,
            record.graphNodeId, record.graphId, 0};
}

// Whether an operation was over when its record was handed over.
bool is_over(uint64_t start_ns, uint64_t end_ns) { return start_ns != 0 && end_ns >= start_ns; }

int64_t signed_ns(uint64_t ns) { return static_cast<int64_t>(ns); }

void keep_kernel(const CUpti_ActivityKernel9& record, Ring& ring, Counts& counts) {
    if (!is_over(record.start, record.end)) {
        ++counts.incomplete;
        return;
    }
    Kernel kernel{};
    kernel.kind = static_cast<uint16_t>(Kind::kKernel);
    kernel.name = ring.name(record.name);
    kernel.start_ns = signed_ns(record.start);
    kernel.end_ns = signed_ns(record.end);
    kernel.place = place_of(record);
    kernel.grid[0] = record.gridX;
    kernel.grid[1] = record.gridY;
    kernel.grid[2] = record.gridZ;
    kernel.block[0] = record.blockX;
    kernel.block[1] = record.blockY;
    kernel.block[2] = record.blockZ;
    kernel.cluster_blocks = record.clusterX * record.clusterY * record.clusterZ;
    kernel.registers = record.registersPerThread;
    kernel.static_shared_bytes = record.staticSharedMemory;
    kernel.dynamic_shared_bytes = record.dynamicSharedMemory;
    kernel.local_bytes = record.localMemoryPerThread;
    kernel.shared_executed_bytes = record.sharedMemoryExecuted;
    ring.push(kernel);
    ++counts.records;
}

template <typename Record>
void keep_copy(Copy copy, const Record& record, Ring& ring, Counts& counts) {
    if (!is_over(record.start, record.end)) {
        ++counts.incomplete;
        return;
    }
    copy.start_ns = signed_ns(record.start);
    copy.end_ns = signed_ns(record.end);
    copy.place = place_of(record);
    copy.bytes = record.bytes;
    ring.push(copy);
    ++counts.records;
}

void keep_copy_within(const CUpti_ActivityMemcpy5& record, Ring& ring, Counts& counts) {
    Copy copy{};
    copy.kind = static_cast<uint16_t>(Kind::kCopy);
    copy.direction = record.copyKind;
    copy.source = record.srcKind;
    copy.destination = record.dstKind;
    keep_copy(copy, record, ring, counts);
}

void keep_copy_between(const CUpti_ActivityMemcpyPtoP4& record, Ring& ring, Counts& counts) {
    Copy copy{};
    copy.kind = static_cast<uint16_t>(Kind::kCopy);
    copy.direction = record.copyKind;
    copy.source = record.srcKind;
    copy.destination = record.dstKind;
    copy.is_peer = 1;
    copy.source_device = record.srcDeviceId;
    copy.destination_device = record.dstDeviceId;
    keep_copy(copy, record, ring, counts);
}

void keep_fill(const CUpti_ActivityMemset4& record, Ring& ring, Counts& counts) {
    Copy fill{};
    fill.kind = static_cast<uint16_t>(Kind::kFill);
    fill.destination = static_cast<uint8_t>(record.memoryKind);
    keep_copy(fill, record, ring, counts);
}

void keep_synchronization(const CUpti_ActivitySynchronization& record, Ring& ring,
                          Counts& counts) {
    if (!is_over(record.start, record.end)) {
        ++counts.incomplete;
        return;
    }
    Synchronization wait{};
    wait.kind = static_cast<uint16_t>(Kind::kSynchronization);
    wait.type = static_cast<uint32_t>(record.type);
    wait.start_ns = signed_ns(record.start);
    wait.end_ns = signed_ns(record.end);
    wait.place.context = record.contextId;
    wait.place.stream = record.streamId;
    wait.place.correlation = record.correlationId;
    wait.event = record.cudaEventId;
    ring.push(wait);
    ++counts.records;
}

void keep_marker(const CUpti_ActivityMarker2& record, Ring& ring, Counts& counts) {
    Marker marker{};
    marker.kind = static_cast<uint16_t>(Kind::kMarker);
    marker.name = ring.name(record.name);
    marker.domain = ring.name(record.domain);
    marker.at_ns = signed_ns(record.timestamp);
    marker.flags = static_cast<uint32_t>(record.flags);
    marker.id = record.id;
    if (record.objectKind == CUPTI_ACTIVITY_OBJECT_THREAD) marker.tid = record.objectId.pt.threadId;
    ring.push(marker);
    ++counts.records;
}

}  // namespace

void keep(const CUpti_Activity& activity, Ring& ring, Counts& counts) {
    switch (activity.kind) {
        case CUPTI_ACTIVITY_KIND_KERNEL:
        case CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL:
            return keep_kernel(as<CUpti_ActivityKernel9>(activity), ring, counts);
        case CUPTI_ACTIVITY_KIND_MEMCPY:
            return keep_copy_within(as<CUpti_ActivityMemcpy5>(activity), ring, counts);
        case CUPTI_ACTIVITY_KIND_MEMCPY2:
            return keep_copy_between(as<CUpti_ActivityMemcpyPtoP4>(activity), ring, counts);
        case CUPTI_ACTIVITY_KIND_MEMSET:
            return keep_fill(as<CUpti_ActivityMemset4>(activity), ring, counts);
        case CUPTI_ACTIVITY_KIND_SYNCHRONIZATION:
            return keep_synchronization(as<CUpti_ActivitySynchronization>(activity), ring, counts);
        case CUPTI_ACTIVITY_KIND_MARKER:
            return keep_marker(as<CUpti_ActivityMarker2>(activity), ring, counts);
        case CUPTI_ACTIVITY_KIND_OVERHEAD: {
            const auto& record = as<CUpti_ActivityOverhead3>(activity);
            if (is_over(record.start, record.end))
                counts.overhead_ns += signed_ns(record.end - record.start);
            return;
        }
        default:
            return;
    }
}

}  // namespace gnomon
