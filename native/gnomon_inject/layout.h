// What lies in shared memory between the injected library and its reader
// (src/gnomon/sources/_kernels_control.py, _kernels_ring.py).
//
// GNOMON_KERNELS_DIR holds `control`, written by the recorder, and one `<pid>-<start ticks>.ring`
// a process, written by the library but for `tail`. Numbers are little-endian. Both ends check
// magic and version; change the version with any change of layout.
#pragma once

#include <cstddef>
#include <cstdint>

namespace gnomon {

constexpr uint64_t kControlMagic = 0x434b4e4f4d4f4e47;  // "GNOMONKC"
constexpr uint64_t kRingMagic = 0x524b4e4f4d4f4e47;     // "GNOMONKR"
constexpr uint32_t kLayoutVersion = 1;
constexpr uint32_t kControlBytes = 4096;
constexpr uint32_t kHeaderBytes = 4096;
constexpr uint32_t kMostDevices = 32;
constexpr uint32_t kNoName = 0xffffffff;

// Kinds that the recorder wants, as bits of Control::kinds.
enum Wanted : uint32_t {
    kWantKernels = 1,
    kWantCopies = 2,
    kWantFills = 4,
    kWantSynchronizations = 8,
    kWantRanges = 16,
    kWantOverhead = 32,
};

enum ControlFlag : uint32_t {
    kFinalize = 1,  // detach CUPTI after each window
};

// Why a process has no ring at all; the place of its count in Control::refusals.
enum class Refusal : uint32_t {
    kDirectory = 1,  // the file could not be made
    kSpace = 2,      // shared memory is full
    kThread = 3,     // no thread could be started
    kForked = 4,     // forked from a process in which CUPTI had been loaded
};

struct Control {
    uint64_t magic;
    uint32_t version;
    uint32_t word;          // futex: changes with every change of deadline_ns
    int64_t deadline_ns;    // CLOCK_MONOTONIC at which the window ends by itself; 0: closed
    uint32_t kinds;         // Wanted
    uint32_t flags;         // ControlFlag
    uint32_t ring_records;  // how many records a ring holds
    uint32_t names_bytes;   // room for names
    uint32_t buffer_bytes;  // of each of CUPTI's buffers
    uint32_t recorder_pid;
    int64_t reserved;
    uint64_t window;        // which window is asked for; one that was left is not tried again
    uint32_t refusals[16];  // processes by Refusal
};
static_assert(sizeof(Control) == 128);

enum class State : uint32_t {
    kWaiting = 1,      // no window has been opened yet: nothing of CUPTI is loaded
    kOpen = 2,
    kClosed = 3,
    kSteppedBack = 4,  // the last window did not open, or was left, for Header::reason
    kEnded = 5,        // the process has called exit
};

enum class Reason : uint32_t {
    kNone = 0,
    kNoLibrary = 1,  // no libcupti is loaded in the process, and ours cannot be loaded
    kLibrary = 2,    // the libcupti lacks a function
    kTooNew = 3,     // the libcupti is newer than the driver's CUDA
    kTooOld = 4,     // the libcupti is older than CUDA 12.0
    kTaken = 5,      // somebody else uses CUPTI in this process
    kReplaced = 6,   // somebody else's buffers took the place of ours
    kRefused = 7,    // CUPTI returned Header::result
    kMemory = 8,     // no memory for buffers
    kSpace = 9,      // shared memory is full
    kDriver = 10,    // the driver's CUDA version cannot be asked
};

struct Device {
    uint8_t uuid[16];      // of the whole GPU
    uint8_t mig_uuid[16];  // of the MIG instance where is_mig
    uint32_t is_known;
    uint32_t is_mig;
    int32_t capability_major;
    int32_t capability_minor;
    int32_t multiprocessors;
    int32_t threads_per_multiprocessor;
    int32_t blocks_per_multiprocessor;
    int32_t registers_per_multiprocessor;
    int32_t shared_bytes_per_multiprocessor;
    int32_t reserved_shared_bytes_per_block;
    uint32_t reserved[6];
};
static_assert(sizeof(Device) == 96);

struct Header {
    uint64_t magic;
    uint32_t version;
    uint32_t header_bytes;
    int32_t pid;            // as the process sees itself
    uint32_t state;         // State
    uint64_t start_ticks;   // field 22 of /proc/self/stat
    uint32_t reason;        // Reason
    int32_t result;         // CUptiResult of Reason::kRefused
    uint32_t cupti_version; // cuptiGetVersion
    int32_t driver_cuda;    // cuDriverGetVersion: 13000 is 13.0
    uint32_t ring_records;  // 0 until the first window: then the file ends behind the header
    uint32_t record_bytes;
    uint64_t names_offset;
    uint32_t names_bytes;
    uint32_t kinds;         // Wanted that CUPTI granted in the last window
    int64_t opened_ns;      // Unix ns: the window that is open
    uint8_t reserved0[48];
    uint64_t head;          // records written since the beginning
    uint8_t reserved1[56];
    uint64_t tail;          // records read; the reader's alone
    uint8_t reserved2[56];
    uint64_t names_used;    // bytes
    uint64_t lost;          // records for which the ring had no room
    uint64_t dropped;       // records that CUPTI had no room for
    uint64_t incomplete;    // records handed over before the operation was over
    uint64_t names_lost;    // names for which there was no room
    uint8_t reserved3[216];
    Device devices[kMostDevices];
};
static_assert(offsetof(Header, head) == 128 && offsetof(Header, tail) == 192);
static_assert(offsetof(Header, names_used) == 256 && offsetof(Header, devices) == 512);
static_assert(sizeof(Header) <= kHeaderBytes);

enum class Kind : uint16_t {
    kKernel = 1,
    kCopy = 2,
    kFill = 3,
    kSynchronization = 4,
    kMarker = 5,
    kWindow = 6,
};

// Where an operation was put.
struct Place {
    uint32_t device;
    uint32_t context;
    uint32_t stream;
    uint32_t correlation;
    uint64_t graph_node;
    uint32_t graph;
    uint32_t reserved;
};

struct Kernel {
    uint16_t kind;
    uint16_t reserved;
    uint32_t name;
    int64_t start_ns;
    int64_t end_ns;
    Place place;
    int32_t grid[3];
    int32_t block[3];
    uint32_t cluster_blocks;
    uint32_t registers;
    int32_t static_shared_bytes;
    int32_t dynamic_shared_bytes;
    uint32_t local_bytes;
    uint32_t shared_executed_bytes;
};

// A copy or a fill.
struct Copy {
    uint16_t kind;
    uint8_t direction;    // CUpti_ActivityMemcpyKind
    uint8_t source;       // CUpti_ActivityMemoryKind
    uint8_t destination;  // CUpti_ActivityMemoryKind
    uint8_t is_peer;
    uint16_t reserved;
    int64_t start_ns;
    int64_t end_ns;
    Place place;
    uint64_t bytes;
    uint32_t source_device;
    uint32_t destination_device;
    uint8_t reserved2[32];
};

struct Synchronization {
    uint16_t kind;
    uint16_t reserved;
    uint32_t type;  // CUpti_ActivitySynchronizationType
    int64_t start_ns;
    int64_t end_ns;
    Place place;
    uint32_t event;
    uint8_t reserved2[44];
};

struct Marker {
    uint16_t kind;
    uint16_t reserved;
    uint32_t name;
    int64_t at_ns;
    uint32_t flags;  // CUpti_ActivityFlag: 1 instantaneous, 2 begin, 4 end
    uint32_t id;
    uint32_t domain;
    uint32_t tid;
    uint8_t reserved2[72];
};

struct Window {
    uint16_t kind;
    uint16_t reserved;
    uint32_t reason;  // Reason for which it was left early
    int64_t start_ns;
    int64_t end_ns;
    int64_t opening_ns;
    int64_t closing_ns;
    uint64_t records;
    uint64_t lost;
    uint64_t dropped;
    uint64_t incomplete;
    int64_t overhead_ns;
    uint8_t reserved2[24];
};

constexpr uint32_t kRecordBytes = 104;
static_assert(sizeof(Kernel) == kRecordBytes && sizeof(Copy) == kRecordBytes);
static_assert(sizeof(Synchronization) == kRecordBytes && sizeof(Marker) == kRecordBytes);
static_assert(sizeof(Window) == kRecordBytes);

}  // namespace gnomon
