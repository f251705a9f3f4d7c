#include "cupti_api.h"

#include <dlfcn.h>

namespace gnomon {
namespace {

void* open_library(const std::string& path, int flags) {
    void* library = dlopen(path.c_str(), flags);
    if (library == nullptr) throw LibraryError("cannot load " + path + ": " + dlerror());
    return library;
}

template <typename Function>
void find(void* library, const char* name, Function& function) {
    function = reinterpret_cast<Function>(dlsym(library, name));
    if (function == nullptr) throw LibraryError(std::string("no function ") + name + ": " + dlerror());
}

}  // namespace

Cuda Cuda::load() {
    void* library = open_library("libcuda.so.1", RTLD_NOW | RTLD_GLOBAL);
    Cuda cuda{};
    find(library, "cuInit", cuda.init);
    find(library, "cuDriverGetVersion", cuda.driver_version);
    find(library, "cuDeviceGetCount", cuda.device_count);
    find(library, "cuDeviceGet", cuda.device);
    find(library, "cuDeviceGetUuid", cuda.device_uuid);
    return cuda;
}

Cupti Cupti::load(const std::string& path) {
    // libcupti opens these two by their bare names: loaded first, by path, ours are found whatever
    // other CUDA the library search path holds.
    const size_t slash = path.rfind('/');
    const std::string directory = slash == std::string::npos ? "" : path.substr(0, slash + 1);
    open_library(directory + "libnvperf_host.so", RTLD_NOW | RTLD_GLOBAL);
    open_library(directory + "libnvperf_target.so", RTLD_NOW | RTLD_GLOBAL);
    void* library = open_library(path, RTLD_NOW | RTLD_GLOBAL);

    Cupti cupti{};
    find(library, "cuptiGetVersion", cupti.get_version);
    find(library, "cuptiGetResultString", cupti.result_string);
    find(library, "cuptiProfilerInitialize", cupti.initialize);
    find(library, "cuptiProfilerDeviceSupported", cupti.device_supported);
    find(library, "cuptiDeviceGetChipName", cupti.chip_name);
    find(library, "cuptiProfilerHostInitialize", cupti.host_initialize);
    find(library, "cuptiProfilerHostDeinitialize", cupti.host_deinitialize);
    find(library, "cuptiProfilerHostConfigAddMetrics", cupti.host_add_metrics);
    find(library, "cuptiProfilerHostGetConfigImageSize", cupti.host_config_size);
    find(library, "cuptiProfilerHostGetConfigImage", cupti.host_config);
    find(library, "cuptiProfilerHostGetNumOfPasses", cupti.host_passes);
    find(library, "cuptiProfilerHostEvaluateToGpuValues", cupti.host_evaluate);
    find(library, "cuptiPmSamplingGetCounterAvailability", cupti.availability);
    find(library, "cuptiPmSamplingEnable", cupti.enable);
    find(library, "cuptiPmSamplingDisable", cupti.disable);
    find(library, "cuptiPmSamplingSetConfig", cupti.set_config);
    find(library, "cuptiPmSamplingStart", cupti.start);
    find(library, "cuptiPmSamplingStop", cupti.stop);
    find(library, "cuptiPmSamplingDecodeData", cupti.decode);
    find(library, "cuptiPmSamplingGetCounterDataSize", cupti.counter_data_size);
    find(library, "cuptiPmSamplingCounterDataImageInitialize", cupti.counter_data_initialize);
    find(library, "cuptiPmSamplingGetCounterDataInfo", cupti.counter_data_info);
    find(library, "cuptiPmSamplingCounterDataGetSampleInfo", cupti.sample_info);
    return cupti;
}

void Cupti::check(CUptiResult result, const char* call) const {
    if (result == CUPTI_SUCCESS) return;
    const char* text = nullptr;
    if (result_string(result, &text) != CUPTI_SUCCESS || text == nullptr) text = "unknown result";
    throw CallError(std::string(call) + ": " + text, result);
}

uint32_t cupti_version_of(const std::string& path) {
    void* library = open_library(path, RTLD_LAZY | RTLD_LOCAL);
    CUptiResult(CUPTIAPI * get_version)(uint32_t*) = nullptr;
    find(library, "cuptiGetVersion", get_version);
    uint32_t version = 0;
    if (get_version(&version) != CUPTI_SUCCESS) throw LibraryError(path + " does not tell its version");
    return version;
}

uint32_t cuda_version_of_cupti(uint32_t cupti_api_version) {
    // Since CUDA 13.0 the number spells the version: 130001 is 13.0, second release.
    if (cupti_api_version >= 130000) {
        const uint32_t major = cupti_api_version / 10000, minor = cupti_api_version / 100 % 100;
        return major * 1000 + minor * 10;
    }
    if (cupti_api_version >= 27) return 12090;
    if (cupti_api_version >= 25) return 12080;
    return cupti_api_version == 24 ? 12060 : 0;
}

}  // namespace gnomon
