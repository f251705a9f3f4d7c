// The wire format between gnomon-pm and its reader (src/gnomon/sources/_pm_records.py).
//
// The helper writes a stream of records to an inherited pipe: a 16-byte RecordHeader, then
// `payload_bytes` of payload. Numbers are little-endian, as on every host CUDA runs on. Both ends
// check `magic` and `version`; change the version with any change of layout.
//
// Why not Arrow IPC: a row is some 300 bytes ten times a second, and linking Arrow C++ would make
// a 100 KB helper without dependencies into one that few machines can build.
#pragma once

#include <cstdint>

namespace gnomon {

constexpr uint32_t kMagic = 0x4d504e47;  // "GNPM"
constexpr uint16_t kVersion = 1;

enum class RecordKind : uint16_t {
    kHello = 1,   // HelloPayload, once
    kGpu = 2,     // GpuPayload, when a GPU proves to be sampled, at first or after a kStatus
    kRow = 3,     // RowPayload, then `metrics` doubles of sums, then as many of weights
    kLoss = 4,    // LossPayload
    kStatus = 5,  // StatusPayload, then UTF-8 text to the end of the payload; once a reason
};

enum class StatusCode : uint32_t {
    kBusy = 1,           // another profiler holds the GPU's counters; tried again later
    kPrivileges = 2,     // the driver lets only CAP_SYS_ADMIN read counters
    kUnsupported = 3,    // this GPU, chip or virtualisation has no PM sampling
    kLibraryTooNew = 4,  // libcupti is newer than the driver's CUDA
    kMetrics = 5,        // no metric set of this chip fits one pass
    kLibrary = 6,        // libcupti or libcuda could not be loaded or lacks a function
    kFailed = 7,         // any other failure of a GPU; tried again later
};

enum class LossReason : uint32_t {
    kOverflow = 1,   // the hardware buffer was full
    kBadSample = 2,  // a sample of absurd length
    kPipeFull = 3,   // the reader did not keep up; counted in samples as well
};

#pragma pack(push, 1)

struct RecordHeader {
    uint32_t magic;
    uint16_t version;
    uint16_t kind;           // RecordKind
    uint32_t payload_bytes;
    int32_t gpu;             // CUDA ordinal, or -1 where the record is about the helper itself
};

struct HelloPayload {
    uint32_t cupti_api_version;  // cuptiGetVersion
    uint32_t driver_cuda;        // cuDriverGetVersion: 13000 is 13.0
    uint32_t gpus;
    uint32_t reserved;
};

struct GpuPayload {
    uint8_t uuid[16];
    char chip[16];         // NUL-terminated, such as GH100
    uint32_t plan;         // index of the chosen metric set in the plan that was sent
    uint32_t metrics;
    uint32_t interval_us;
    uint32_t reserved;
};

struct RowPayload {
    int64_t start_ns;      // Unix ns: start of the first sample
    int64_t end_ns;        // end of the last one
    int64_t time_ns;       // sum of the samples' lengths
    double cycles;         // sum of elapsed SM cycles
    int64_t link_only_ns;  // length of the samples in which a link moved data and no SM had a warp
    int64_t cpu_ns;        // CPU time that decoding and evaluating took
    uint32_t samples;
    uint32_t metrics;
};

struct LossPayload {
    int64_t start_ns;
    int64_t end_ns;
    uint32_t samples;
    uint32_t reason;       // LossReason
};

struct StatusPayload {
    uint32_t code;         // StatusCode
    int32_t result;        // CUptiResult or CUresult
};

#pragma pack(pop)

static_assert(sizeof(RecordHeader) == 16 && sizeof(HelloPayload) == 16);
static_assert(sizeof(GpuPayload) == 48 && sizeof(RowPayload) == 56);
static_assert(sizeof(LossPayload) == 24 && sizeof(StatusPayload) == 8);

}  // namespace gnomon
