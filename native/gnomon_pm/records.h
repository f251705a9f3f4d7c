// The wire format between gnomon-pm and its reader (src/gnomon/sources/_pm_records.py).
//
// The helper writes a stream of records to an inherited pipe: a 16-byte RecordHeader, then
// `payload_bytes` of payload. Numbers are little-endian, as on every host CUDA runs on. Both ends
// check `magic` and `version`; change the version with any change of layout.
//
// Why not Arrow IPC: a row is some 300 bytes ten times a second, a batch of samples columns of
// plain numbers, and linking Arrow C++ would make a 100 KB helper without dependencies into one
// that few machines can build.
#pragma once

#include <cstddef>
#include <cstdint>

namespace gnomon {

constexpr uint32_t kMagic = 0x4d504e47;  // "GNPM"
constexpr uint16_t kVersion = 2;
// Up to PIPE_BUF bytes a non-blocking write takes all or nothing; no record is longer.
constexpr size_t kLongestRecordBytes = 4096;

enum class RecordKind : uint16_t {
    kHello = 1,       // HelloPayload, once
    kGpu = 2,         // GpuPayload, then its sets; when a GPU proves to be sampled, at first or
                      // after a kStatus, and when what is sampled of it changes
    kRow = 3,         // RowPayload, then `metrics` doubles of sums, then as many of weights
    kLoss = 4,        // LossPayload
    kStatus = 5,      // StatusPayload, then UTF-8 text to the end of the payload; once a reason
    kSamples = 6,     // SamplesPayload, then columns: int64 end_ns of each sample, uint32 length in
                      // ns of each, then for each metric a float of each
    kStatistics = 7,  // StatisticsPayload, since sampling began; at the end of a turn and when
                      // something was lost
};

enum class StatusCode : uint32_t {
    kBusy = 1,           // another profiler holds the GPU's counters; tried again later
    kPrivileges = 2,     // the driver lets only CAP_SYS_ADMIN read counters
    kUnsupported = 3,    // this GPU, chip or virtualisation has no PM sampling
    kLibraryTooNew = 4,  // libcupti is newer than the driver's CUDA
    kMetrics = 5,        // nothing that is wished for fits one pass of this chip
    kLibrary = 6,        // libcupti or libcuda could not be loaded or lacks a function
    kFailed = 7,         // any other failure of a GPU; tried again later
};

enum class LossReason : uint32_t {
    kOverflow = 1,         // the hardware buffer was full
    kBadSample = 2,        // a sample of absurd length
    kPipeFull = 3,         // the reader did not keep up with rows; counted in samples as well
    kSamplesPipeFull = 4,  // the reader did not keep up with samples
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

// Then, for each set: SetPayload, `metrics` uint16 (numbers of metrics in the plan that was sent,
// in the order of every row and sample), `lacking` uint16 (wishes by their place in the set).
struct GpuPayload {
    uint8_t uuid[16];
    char chip[16];         // NUL-terminated, such as GH100
    uint32_t interval_us;
    uint32_t sets;
};

struct SetPayload {
    uint16_t set;          // which of the plan
    uint16_t metrics;      // 0: it is left out
    uint16_t lacking;
};

struct RowPayload {
    int64_t start_ns;      // Unix ns: start of the first sample
    int64_t end_ns;        // end of the last one
    int64_t time_ns;       // sum of the samples' lengths
    double cycles;         // sum of elapsed SM cycles
    int64_t link_only_ns;  // length of the samples in which a link moved data and no SM had a warp
    int64_t cpu_ns;        // CPU time that decoding and evaluating took
    uint32_t samples;
    uint16_t metrics;
    uint16_t set;
};

struct SamplesPayload {
    uint32_t samples;
    uint16_t metrics;
    uint16_t set;
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

struct StatisticsPayload {
    int64_t samples;       // that became rows
    int64_t lost;          // that were lost in the hardware buffer, or of absurd length
    int64_t decoding_ns;   // CPU time of decoding and evaluating
    uint32_t gaps;         // places where samples are missing
    uint32_t overflows;    // decodes that found the hardware buffer full
};

#pragma pack(pop)

static_assert(sizeof(RecordHeader) == 16 && sizeof(HelloPayload) == 16);
static_assert(sizeof(GpuPayload) == 40 && sizeof(SetPayload) == 6 && sizeof(RowPayload) == 56);
static_assert(sizeof(SamplesPayload) == 8 && sizeof(LossPayload) == 24);
static_assert(sizeof(StatusPayload) == 8 && sizeof(StatisticsPayload) == 32);

}  // namespace gnomon
