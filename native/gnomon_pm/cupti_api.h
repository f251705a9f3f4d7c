// libcuda and libcupti, loaded at run time: never linked, so that one build serves every CUDA.
#pragma once

// Order matters: the PM sampling header needs the types of the two before it.
#include <cuda.h>
#include <cupti_result.h>
#include <cupti_pmsampling.h>
#include <cupti_profiler_host.h>
#include <cupti_profiler_target.h>
#include <cupti_target.h>

#include <cstring>
#include <stdexcept>
#include <string>

namespace gnomon {

// A call into libcuda or libcupti that failed.
class CallError : public std::runtime_error {
public:
    CallError(const std::string& what, int result) : std::runtime_error(what), result(result) {}
    const int result;
};

// A library that could not be loaded, or that lacks a function we need.
class LibraryError : public std::runtime_error {
    using std::runtime_error::runtime_error;
};

struct Cuda {
    decltype(&cuInit) init;
    decltype(&cuDriverGetVersion) driver_version;
    decltype(&cuDeviceGetCount) device_count;
    decltype(&cuDeviceGet) device;
    decltype(&cuDeviceGetUuid) device_uuid;

    static Cuda load();
};

struct Cupti {
    CUptiResult(CUPTIAPI* get_version)(uint32_t*);
    CUptiResult(CUPTIAPI* result_string)(CUptiResult, const char**);
    decltype(&cuptiProfilerInitialize) initialize;
    decltype(&cuptiProfilerDeviceSupported) device_supported;
    decltype(&cuptiDeviceGetChipName) chip_name;
    decltype(&cuptiProfilerHostInitialize) host_initialize;
    decltype(&cuptiProfilerHostDeinitialize) host_deinitialize;
    decltype(&cuptiProfilerHostConfigAddMetrics) host_add_metrics;
    decltype(&cuptiProfilerHostGetConfigImageSize) host_config_size;
    decltype(&cuptiProfilerHostGetConfigImage) host_config;
    decltype(&cuptiProfilerHostGetNumOfPasses) host_passes;
    decltype(&cuptiProfilerHostEvaluateToGpuValues) host_evaluate;
    decltype(&cuptiPmSamplingGetCounterAvailability) availability;
    decltype(&cuptiPmSamplingEnable) enable;
    decltype(&cuptiPmSamplingDisable) disable;
    decltype(&cuptiPmSamplingSetConfig) set_config;
    decltype(&cuptiPmSamplingStart) start;
    decltype(&cuptiPmSamplingStop) stop;
    decltype(&cuptiPmSamplingDecodeData) decode;
    decltype(&cuptiPmSamplingGetCounterDataSize) counter_data_size;
    decltype(&cuptiPmSamplingCounterDataImageInitialize) counter_data_initialize;
    decltype(&cuptiPmSamplingGetCounterDataInfo) counter_data_info;
    decltype(&cuptiPmSamplingCounterDataGetSampleInfo) sample_info;

    // `path` is libcupti.so.N; libnvperf_host and libnvperf_target must lie beside it.
    static Cupti load(const std::string& path);

    void check(CUptiResult result, const char* call) const;
};

// cuptiGetVersion of the library at `path`, without touching a GPU. Loads that one library only.
uint32_t cupti_version_of(const std::string& path);

// The CUDA version a cuptiGetVersion number belongs to, on cuDriverGetVersion's scale (12060 is
// 12.6), from the list in cupti_version.h; 0 for a library before PM sampling.
uint32_t cuda_version_of_cupti(uint32_t cupti_api_version);

// A zeroed parameter structure that states the size our header gives it. CUPTI reads no field past
// the stated size, so the oldest supported header (12.6) works with every newer library.
template <typename Params>
Params sized(size_t struct_size) {
    Params params;
    std::memset(&params, 0, sizeof params);
    params.structSize = struct_size;
    return params;
}
#define GNOMON_PARAMS(Type) ::gnomon::sized<Type>(Type##_STRUCT_SIZE)

}  // namespace gnomon
