// A libcupti.so.N of the functions that gnomon-pm calls, replaying the samples of a script
// (script.h). It is compiled against the CUDA 12.6 headers and refuses every structure that does
// not state exactly the size which those give it.
#include <cuda.h>
#include <cupti_result.h>
#include <cupti_pmsampling.h>
#include <cupti_profiler_host.h>
#include <cupti_profiler_target.h>
#include <cupti_target.h>

#include <chrono>
#include <csignal>
#include <cstring>
#include <fstream>

#include "script.h"

// Newer headers have one field more; the helper must state the size of 12.6.
#undef CUpti_PmSampling_SetConfig_Params_STRUCT_SIZE
#define CUpti_PmSampling_SetConfig_Params_STRUCT_SIZE \
    CUPTI_PROFILER_STRUCT_SIZE(CUpti_PmSampling_SetConfig_Params, triggerMode)

struct CUpti_Profiler_Host_Object {
    std::vector<std::string> metrics;
    size_t passes = 0;
    size_t refusal = 0;
    bool is_narrow = false;
};
struct CUpti_PmSampling_Object {
    size_t gpu = 0;
    bool started = false;
    unsigned long long interval_ns = 0;
    unsigned long long sampled_until_ns = 0;  // of a live script
    unsigned long long stopped_ns = 0;        // 0 while it samples
    bool is_first = true;
};

namespace {

// A counter data image: how many samples it holds of how many it can, then which.
struct Image {
    size_t capacity, filled;
    size_t samples[1];
};

// The first sample after a start begins that long before it, as on an H200.
constexpr unsigned long long kFirstTooLongNs = 700'000'000;

size_t next_decode = 0, next_sample = 0;

unsigned long long now_ns() {
    const auto now = std::chrono::system_clock::now().time_since_epoch();
    return static_cast<unsigned long long>(std::chrono::nanoseconds(now).count());
}

bool add(Image* image, size_t sample) {
    if (image->filled == image->capacity) return false;  // it is lost, as with the real library
    image->samples[image->filled++] = sample;
    return true;
}

// Everything sampled so far; false where some of it did not fit.
bool add_live(CUpti_PmSampling_Object& sampling, Image* image) {
    bool fitted = true;
    const auto end_ns = sampling.stopped_ns != 0 ? sampling.stopped_ns : now_ns();
    while (sampling.sampled_until_ns + sampling.interval_ns <= end_ns) {
        const auto begin_ns = sampling.sampled_until_ns - (sampling.is_first ? kFirstTooLongNs : 0);
        sampling.sampled_until_ns += sampling.interval_ns;
        sampling.is_first = false;
        script().samples.push_back({begin_ns, sampling.sampled_until_ns, script().live});
        fitted = add(image, script().samples.size() - 1) && fitted;
    }
    return fitted;
}

CUptiResult begin(const char* function) {
    if (const char* path = std::getenv("GNOMON_CUPTI_LOG"))
        std::ofstream(path, std::ios::app) << function << std::endl;
    const auto told = script().results.find(function);
    if (told == script().results.end()) return CUPTI_SUCCESS;
    Result& result = told->second;
    if (result.after > 0) return --result.after, CUPTI_SUCCESS;
    if (result.times == 0) return CUPTI_SUCCESS;
    if (result.times > 0) --result.times;
    return static_cast<CUptiResult>(result.code);
}

#define BEGIN(Type)                                                       \
    if (p->structSize != Type##_STRUCT_SIZE || p->pPriv != nullptr)       \
        return CUPTI_ERROR_INVALID_PARAMETER;                             \
    if (const CUptiResult told = begin(__func__); told != CUPTI_SUCCESS)  \
        return told;

}  // namespace

extern "C" {

CUptiResult CUPTIAPI cuptiGetVersion(uint32_t* version) {
    *version = static_cast<uint32_t>(script().number("cupti_api_version", GNOMON_STANDIN_VERSION));
    return CUPTI_SUCCESS;
}

CUptiResult CUPTIAPI cuptiGetResultString(CUptiResult result, const char** text) {
    static std::string words;
    words = "CUptiResult " + std::to_string(result);
    *text = words.c_str();
    return CUPTI_SUCCESS;
}

CUptiResult CUPTIAPI cuptiProfilerInitialize(CUpti_Profiler_Initialize_Params* p) {
    BEGIN(CUpti_Profiler_Initialize_Params)
    return CUPTI_SUCCESS;
}

CUptiResult CUPTIAPI cuptiProfilerDeviceSupported(CUpti_Profiler_DeviceSupported_Params* p) {
    BEGIN(CUpti_Profiler_DeviceSupported_Params)
    if (p->api != CUPTI_PROFILER_PM_SAMPLING) return CUPTI_ERROR_INVALID_PARAMETER;
    const auto level = [](const char* key) {
        return static_cast<CUpti_Profiler_Support_Level>(
            static_cast<int>(script().number(key, CUPTI_PROFILER_CONFIGURATION_SUPPORTED)));
    };
    p->architecture = level("architecture");
    p->vGpu = level("vgpu");
    p->sli = p->confidentialCompute = p->cmp = p->wsl = CUPTI_PROFILER_CONFIGURATION_SUPPORTED;
    p->isSupported = p->architecture < p->vGpu ? p->architecture : p->vGpu;
    return CUPTI_SUCCESS;
}

CUptiResult CUPTIAPI cuptiDeviceGetChipName(CUpti_Device_GetChipName_Params* p) {
    BEGIN(CUpti_Device_GetChipName_Params)
    p->pChipName = script().chip.c_str();
    return CUPTI_SUCCESS;
}

CUptiResult CUPTIAPI
cuptiPmSamplingGetCounterAvailability(CUpti_PmSampling_GetCounterAvailability_Params* p) {
    BEGIN(CUpti_PmSampling_GetCounterAvailability_Params)
    if (p->pCounterAvailabilityImage == nullptr) p->counterAvailabilityImageSize = 16;
    return CUPTI_SUCCESS;
}

CUptiResult CUPTIAPI cuptiProfilerHostInitialize(CUpti_Profiler_Host_Initialize_Params* p) {
    BEGIN(CUpti_Profiler_Host_Initialize_Params)
    if (p->pChipName != std::string("GH100")) return CUPTI_ERROR_NOT_SUPPORTED;
    p->pHostObject = new CUpti_Profiler_Host_Object;
    return CUPTI_SUCCESS;
}

CUptiResult CUPTIAPI cuptiProfilerHostDeinitialize(CUpti_Profiler_Host_Deinitialize_Params* p) {
    BEGIN(CUpti_Profiler_Host_Deinitialize_Params)
    delete p->pHostObject;
    return CUPTI_SUCCESS;
}

CUptiResult CUPTIAPI cuptiProfilerHostConfigAddMetrics(CUpti_Profiler_Host_ConfigAddMetrics_Params* p) {
    BEGIN(CUpti_Profiler_Host_ConfigAddMetrics_Params)
    size_t passes = 1;
    for (size_t i = 0; i < p->numMetrics; ++i) {
        const std::string metric = p->ppMetricNames[i];
        if (script().unknown.count(metric)) return CUPTI_ERROR_INVALID_METRIC_NAME;
        if (script().passes.count(metric)) passes = static_cast<size_t>(script().passes[metric]);
        if (script().narrow.count(metric)) p->pHostObject->is_narrow = true;
        if (script().refuse.count(metric))
            p->pHostObject->refusal = static_cast<size_t>(script().refuse[metric]);
        p->pHostObject->metrics.push_back(metric);
    }
    p->pHostObject->passes += passes;  // each call makes passes of its own, as the real one does
    return CUPTI_SUCCESS;
}

CUptiResult CUPTIAPI
cuptiProfilerHostGetConfigImageSize(CUpti_Profiler_Host_GetConfigImageSize_Params* p) {
    BEGIN(CUpti_Profiler_Host_GetConfigImageSize_Params)
    // Grows with the metrics, but for narrow counters.
    const size_t words = p->pHostObject->is_narrow ? 0 : p->pHostObject->metrics.size();
    p->configImageSize = sizeof(size_t) * (2 + words);
    return CUPTI_SUCCESS;
}

CUptiResult CUPTIAPI cuptiProfilerHostGetConfigImage(CUpti_Profiler_Host_GetConfigImage_Params* p) {
    BEGIN(CUpti_Profiler_Host_GetConfigImage_Params)
    const size_t words[]{p->pHostObject->passes, p->pHostObject->refusal};
    std::memcpy(p->pConfigImage, words, sizeof words);
    return CUPTI_SUCCESS;
}

CUptiResult CUPTIAPI cuptiProfilerHostGetNumOfPasses(CUpti_Profiler_Host_GetNumOfPasses_Params* p) {
    BEGIN(CUpti_Profiler_Host_GetNumOfPasses_Params)
    std::memcpy(&p->numOfPasses, p->pConfigImage, sizeof(size_t));
    return CUPTI_SUCCESS;
}

CUptiResult CUPTIAPI cuptiPmSamplingEnable(CUpti_PmSampling_Enable_Params* p) {
    BEGIN(CUpti_PmSampling_Enable_Params)
    p->pPmSamplingObject = new CUpti_PmSampling_Object;
    p->pPmSamplingObject->gpu = p->deviceIndex;
    return CUPTI_SUCCESS;
}

CUptiResult CUPTIAPI cuptiPmSamplingDisable(CUpti_PmSampling_Disable_Params* p) {
    BEGIN(CUpti_PmSampling_Disable_Params)
    delete p->pPmSamplingObject;
    return CUPTI_SUCCESS;
}

CUptiResult CUPTIAPI cuptiPmSamplingSetConfig(CUpti_PmSampling_SetConfig_Params* p) {
    BEGIN(CUpti_PmSampling_SetConfig_Params)
    size_t passes_and_refusal[2]{};
    std::memcpy(passes_and_refusal, p->pConfig, sizeof passes_and_refusal);
    const auto [passes, refusal] = passes_and_refusal;
    p->pPmSamplingObject->interval_ns = p->samplingInterval;
    if (refusal != 0) return static_cast<CUptiResult>(refusal);
    return passes == 1 ? CUPTI_SUCCESS : CUPTI_ERROR_NOT_SUPPORTED;
}

CUptiResult CUPTIAPI cuptiPmSamplingStart(CUpti_PmSampling_Start_Params* p) {
    BEGIN(CUpti_PmSampling_Start_Params)
    p->pPmSamplingObject->started = true;
    p->pPmSamplingObject->sampled_until_ns = now_ns();
    p->pPmSamplingObject->is_first = true;
    p->pPmSamplingObject->stopped_ns = 0;
    return CUPTI_SUCCESS;
}

CUptiResult CUPTIAPI cuptiPmSamplingStop(CUpti_PmSampling_Stop_Params* p) {
    BEGIN(CUpti_PmSampling_Stop_Params)
    if (!p->pPmSamplingObject->started) return CUPTI_ERROR_INVALID_OPERATION;
    p->pPmSamplingObject->started = false;
    p->pPmSamplingObject->stopped_ns = now_ns();
    return CUPTI_SUCCESS;
}

CUptiResult CUPTIAPI cuptiPmSamplingGetCounterDataSize(CUpti_PmSampling_GetCounterDataSize_Params* p) {
    BEGIN(CUpti_PmSampling_GetCounterDataSize_Params)
    p->counterDataSize = sizeof(Image) + p->maxSamples * sizeof(size_t);
    return CUPTI_SUCCESS;
}

CUptiResult CUPTIAPI cuptiPmSamplingCounterDataImageInitialize(
    CUpti_PmSampling_CounterDataImage_Initialize_Params* p) {
    BEGIN(CUpti_PmSampling_CounterDataImage_Initialize_Params)
    auto* image = reinterpret_cast<Image*>(p->pCounterData);
    image->capacity = (p->counterDataSize - sizeof(Image)) / sizeof(size_t);
    image->filled = 0;
    return CUPTI_SUCCESS;
}

CUptiResult CUPTIAPI cuptiPmSamplingDecodeData(CUpti_PmSampling_DecodeData_Params* p) {
    BEGIN(CUpti_PmSampling_DecodeData_Params)
    auto* image = reinterpret_cast<Image*>(p->pCounterDataImage);
    p->decodeStopReason = CUPTI_PM_SAMPLING_DECODE_STOP_REASON_END_OF_RECORDS;
    if (script().live) {
        if (!add_live(*p->pPmSamplingObject, image))
            p->decodeStopReason = CUPTI_PM_SAMPLING_DECODE_STOP_REASON_COUNTER_DATA_FULL;
        return CUPTI_SUCCESS;
    }
    // Only the first GPU has scripted samples: what is told apart is told by its GPU number.
    if (p->pPmSamplingObject->gpu != 0 || next_decode >= script().decodes.size()) return CUPTI_SUCCESS;
    const Decode decode = script().decodes[next_decode++];
    if (decode.kind == "crash") std::raise(SIGSEGV);
    if (decode.kind == "fail") return static_cast<CUptiResult>(decode.number);
    p->overflow = decode.kind == "overflow";
    for (long i = 0; i < decode.number && next_sample < script().samples.size(); ++i, ++next_sample) {
        if (!add(image, next_sample))
            p->decodeStopReason = CUPTI_PM_SAMPLING_DECODE_STOP_REASON_COUNTER_DATA_FULL;
    }
    return CUPTI_SUCCESS;
}

CUptiResult CUPTIAPI cuptiPmSamplingGetCounterDataInfo(CUpti_PmSampling_GetCounterDataInfo_Params* p) {
    BEGIN(CUpti_PmSampling_GetCounterDataInfo_Params)
    const auto* image = reinterpret_cast<const Image*>(p->pCounterDataImage);
    p->numTotalSamples = image->capacity;
    p->numPopulatedSamples = p->numCompletedSamples = image->filled;
    return CUPTI_SUCCESS;
}

CUptiResult CUPTIAPI
cuptiPmSamplingCounterDataGetSampleInfo(CUpti_PmSampling_CounterData_GetSampleInfo_Params* p) {
    BEGIN(CUpti_PmSampling_CounterData_GetSampleInfo_Params)
    const auto* image = reinterpret_cast<const Image*>(p->pCounterDataImage);
    const Sample& sample = script().samples[image->samples[p->sampleIndex]];
    p->startTimestamp = sample.start_ns;
    p->endTimestamp = sample.end_ns;
    return CUPTI_SUCCESS;
}

CUptiResult CUPTIAPI
cuptiProfilerHostEvaluateToGpuValues(CUpti_Profiler_Host_EvaluateToGpuValues_Params* p) {
    BEGIN(CUpti_Profiler_Host_EvaluateToGpuValues_Params)
    const auto* image = reinterpret_cast<const Image*>(p->pCounterDataImage);
    const Sample& sample = script().samples[image->samples[p->rangeIndex]];
    for (size_t i = 0; i < p->numMetrics; ++i) {
        const auto found = sample.values->find(p->ppMetricNames[i]);
        p->pMetricValues[i] = found == sample.values->end() ? 0.0 : found->second;
    }
    return CUPTI_SUCCESS;
}

}  // extern "C"
