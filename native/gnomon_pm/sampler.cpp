#include "sampler.h"

#include <algorithm>

namespace gnomon {
namespace {

// The counter data image is filled by many decodes before it is emptied, because emptying it spoils
// the sample under way. Decoding into a full image drops what does not fit, so it is emptied while
// there is still room for some decode periods (a sample takes 20 to 60 KB on an H200).
constexpr int64_t kLeastImageSamples = 256;
constexpr int64_t kImageDecodePeriods = 4;
constexpr int64_t kReserveDecodePeriods = 2;
constexpr int64_t kSpareSamples = 16;
// Near the system clock of a busy A100. A slower clock makes longer samples, which tell their
// length themselves.
constexpr double kSystemClockGhz = 1.2;

StatusCode code_of(int result) {
    switch (result) {
        case CUPTI_ERROR_HARDWARE_BUSY:
            return StatusCode::kBusy;
        case CUPTI_ERROR_INSUFFICIENT_PRIVILEGES:
        case CUPTI_ERROR_VIRTUALIZED_DEVICE_INSUFFICIENT_PRIVILEGES:
            return StatusCode::kPrivileges;
        case CUPTI_ERROR_NOT_SUPPORTED:
        case CUPTI_ERROR_VIRTUALIZED_DEVICE_NOT_SUPPORTED:
        case CUPTI_ERROR_CONFIDENTIAL_COMPUTING_NOT_SUPPORTED:
        case CUPTI_ERROR_CMP_DEVICE_NOT_SUPPORTED:
        case 43:  // MIG, 44: SLI, 45: WSL; named by headers newer than the one we build with
        case 44:
        case 45:
            return StatusCode::kUnsupported;
        default:
            return StatusCode::kFailed;
    }
}

std::string unsupported_because(const CUpti_Profiler_DeviceSupported_Params& answer) {
    const auto refused = [](CUpti_Profiler_Support_Level level) {
        return level != CUPTI_PROFILER_CONFIGURATION_SUPPORTED;
    };
    if (refused(answer.architecture)) return "CUPTI cannot profile this architecture";
    if (answer.vGpu == CUPTI_PROFILER_CONFIGURATION_DISABLED)
        return "profiling is switched off for this vGPU; its host can allow it";
    if (refused(answer.vGpu)) return "CUPTI cannot profile a vGPU";
    if (refused(answer.confidentialCompute)) return "confidential computing forbids profiling";
    if (refused(answer.cmp)) return "CUPTI cannot profile a mining processor";
    if (refused(answer.wsl)) return "CUPTI cannot profile under this version of WSL";
    if (refused(answer.sli)) return "CUPTI cannot profile a GPU in SLI";
    return "CUPTI does not support this GPU";
}

}  // namespace

Sampler::Sampler(const Cuda& cuda, const Cupti& cupti, int gpu, const Plan& plan,
                 const SamplingOptions& options)
    : cuda_(cuda), cupti_(cupti), gpu_(static_cast<size_t>(gpu)), plan_(plan), options_(options) {
    try {
        check_supported();
        read_availability();
        choose_passes();
    } catch (const CallError& error) {
        throw SamplingError(code_of(error.result), error.result, error.what());
    }
}

Sampler::~Sampler() { end(); }

void Sampler::check_supported() {
    auto answer = GNOMON_PARAMS(CUpti_Profiler_DeviceSupported_Params);
    if (cuda_.device(&answer.cuDevice, static_cast<int>(gpu_)) != CUDA_SUCCESS)
        throw SamplingError(StatusCode::kFailed, 0, "cuDeviceGet failed");
    answer.api = CUPTI_PROFILER_PM_SAMPLING;
    // A library that cannot answer for this API is no reason to give up: enabling will tell.
    if (cupti_.device_supported(&answer) == CUPTI_SUCCESS &&
        answer.isSupported != CUPTI_PROFILER_CONFIGURATION_SUPPORTED)
        throw SamplingError(StatusCode::kUnsupported, 0, unsupported_because(answer));

    auto name = GNOMON_PARAMS(CUpti_Device_GetChipName_Params);
    name.deviceIndex = gpu_;
    cupti_.check(cupti_.chip_name(&name), "cuptiDeviceGetChipName");
    chip_ = name.pChipName;
}

void Sampler::read_availability() {
    auto query = GNOMON_PARAMS(CUpti_PmSampling_GetCounterAvailability_Params);
    query.deviceIndex = gpu_;
    cupti_.check(cupti_.availability(&query), "cuptiPmSamplingGetCounterAvailability");
    availability_.resize(query.counterAvailabilityImageSize);
    query.pCounterAvailabilityImage = availability_.data();
    cupti_.check(cupti_.availability(&query), "cuptiPmSamplingGetCounterAvailability");
}

void Sampler::choose_passes() {
    for (size_t set = 0; set < plan_.sets.size(); ++set)
        passes_.push_back(choose_pass(cupti_, chip_, availability_, plan_, set));
    if (passes_.empty() || !passes_.front().is_of_use())
        throw SamplingError(StatusCode::kMetrics, 0,
                            "nothing that gnomon asks for fits one pass of " + chip_);
}

void Sampler::begin(size_t number) {
    pass_ = number;
    metric_names_ = pass().names();
    values_.assign(metric_names_.size(), 0.0);
    try {
        enable();
        make_image();
        start();
    } catch (const CallError& error) {
        end();
        throw SamplingError(code_of(error.result), error.result, error.what());
    }
}

void Sampler::enable() {
    auto enable = GNOMON_PARAMS(CUpti_PmSampling_Enable_Params);
    enable.deviceIndex = gpu_;
    cupti_.check(cupti_.enable(&enable), "cuptiPmSamplingEnable");
    sampling_ = enable.pPmSamplingObject;

    // The size of 12.6, also where newer headers have one field more: older libraries take no other.
    auto config = sized<CUpti_PmSampling_SetConfig_Params>(
        CUPTI_PROFILER_STRUCT_SIZE(CUpti_PmSampling_SetConfig_Params, triggerMode));
    config.pPmSamplingObject = sampling_;
    config.configSize = pass().config->image().size();
    config.pConfig = pass().config->image().data();
    config.hardwareBufferSize = options_.hardware_buffer_bytes;
    config.samplingInterval = static_cast<uint64_t>(options_.interval_ns);
    config.triggerMode = CUPTI_PM_SAMPLING_TRIGGER_MODE_GPU_TIME_INTERVAL;
    if (is_paced_by_clock()) {
        config.samplingInterval =
            static_cast<uint64_t>(static_cast<double>(options_.interval_ns) * kSystemClockGhz);
        config.triggerMode = CUPTI_PM_SAMPLING_TRIGGER_MODE_GPU_SYSCLK_INTERVAL;
    }
    cupti_.check(cupti_.set_config(&config), "cuptiPmSamplingSetConfig");
}

bool Sampler::is_paced_by_clock() const {
    const auto& chips = plan_.paced_by_clock;
    return std::find(chips.begin(), chips.end(), chip_) != chips.end();
}

void Sampler::make_image() {
    auto size = GNOMON_PARAMS(CUpti_PmSampling_GetCounterDataSize_Params);
    size.pPmSamplingObject = sampling_;
    size.pMetricNames = metric_names_.data();
    size.numMetrics = metric_names_.size();
    const int64_t in_a_period = options_.decode_ns / options_.interval_ns;
    image_samples_ = static_cast<size_t>(
        std::max(kLeastImageSamples, kImageDecodePeriods * in_a_period + kSpareSamples));
    image_reserve_ = static_cast<size_t>(kReserveDecodePeriods * in_a_period + kSpareSamples);
    size.maxSamples = static_cast<uint32_t>(image_samples_);
    cupti_.check(cupti_.counter_data_size(&size), "cuptiPmSamplingGetCounterDataSize");
    image_.resize(size.counterDataSize);
    reset_image();
}

void Sampler::start() {
    auto start = GNOMON_PARAMS(CUpti_PmSampling_Start_Params);
    start.pPmSamplingObject = sampling_;
    cupti_.check(cupti_.start(&start), "cuptiPmSamplingStart");
    started_ = true;
}

void Sampler::stop() {
    if (!started_) return;
    auto stop = GNOMON_PARAMS(CUpti_PmSampling_Stop_Params);
    stop.pPmSamplingObject = sampling_;
    cupti_.stop(&stop);
    started_ = false;
}

void Sampler::end() {
    if (sampling_ == nullptr) return;
    stop();
    auto disable = GNOMON_PARAMS(CUpti_PmSampling_Disable_Params);
    disable.pPmSamplingObject = sampling_;
    cupti_.disable(&disable);
    sampling_ = nullptr;
}

void Sampler::reset_image() {
    auto reset = GNOMON_PARAMS(CUpti_PmSampling_CounterDataImage_Initialize_Params);
    reset.pPmSamplingObject = sampling_;
    reset.counterDataSize = image_.size();
    reset.pCounterData = image_.data();
    cupti_.check(cupti_.counter_data_initialize(&reset), "cuptiPmSamplingCounterDataImageInitialize");
    next_sample_ = 0;
}

bool Sampler::drain(RowBuilder& builder) {
    try {
        const bool full = decode(builder);
        if (full || next_sample_ + image_reserve_ > image_samples_) {
            reset_image();
            builder.skip_split_sample();
        }
        return full;
    } catch (const CallError& error) {
        if (error.result != CUPTI_ERROR_OUT_OF_MEMORY)
            throw SamplingError(code_of(error.result), error.result, error.what());
        ++overflows_;
        restart(builder);
        return false;
    }
}

// The hardware buffer ran over and decoding refuses to go on: only a fresh start empties it. What
// was lost shows as a gap before the next sample.
void Sampler::restart(RowBuilder& builder) {
    if (!started_) return;
    end();
    begin(pass_);
    builder.restart();
}

// Decodes once and evaluates what is complete. True where the image is full, so that there may be
// more to decode once it has been emptied.
bool Sampler::decode(RowBuilder& builder) {
    auto decode = GNOMON_PARAMS(CUpti_PmSampling_DecodeData_Params);
    decode.pPmSamplingObject = sampling_;
    decode.pCounterDataImage = image_.data();
    decode.counterDataImageSize = image_.size();
    cupti_.check(cupti_.decode(&decode), "cuptiPmSamplingDecodeData");
    if (decode.overflow != 0) ++overflows_;
    const size_t completed = completed_samples();
    for (; next_sample_ < completed; ++next_sample_) evaluate(next_sample_, builder);
    return decode.decodeStopReason == CUPTI_PM_SAMPLING_DECODE_STOP_REASON_COUNTER_DATA_FULL;
}

size_t Sampler::completed_samples() {
    auto info = GNOMON_PARAMS(CUpti_PmSampling_GetCounterDataInfo_Params);
    info.pCounterDataImage = image_.data();
    info.counterDataImageSize = image_.size();
    cupti_.check(cupti_.counter_data_info(&info), "cuptiPmSamplingGetCounterDataInfo");
    return info.numCompletedSamples;
}

void Sampler::evaluate(size_t index, RowBuilder& builder) {
    auto info = GNOMON_PARAMS(CUpti_PmSampling_CounterData_GetSampleInfo_Params);
    info.pPmSamplingObject = sampling_;
    info.pCounterDataImage = image_.data();
    info.counterDataImageSize = image_.size();
    info.sampleIndex = index;
    cupti_.check(cupti_.sample_info(&info), "cuptiPmSamplingCounterDataGetSampleInfo");

    auto values = GNOMON_PARAMS(CUpti_Profiler_Host_EvaluateToGpuValues_Params);
    values.pHostObject = pass().config->host();
    values.pCounterDataImage = image_.data();
    values.counterDataImageSize = image_.size();
    values.rangeIndex = index;
    values.ppMetricNames = metric_names_.data();
    values.numMetrics = metric_names_.size();
    values.pMetricValues = values_.data();
    cupti_.check(cupti_.host_evaluate(&values), "cuptiProfilerHostEvaluateToGpuValues");
    builder.add({static_cast<int64_t>(info.startTimestamp), static_cast<int64_t>(info.endTimestamp),
                 values_.data()});
}

}  // namespace gnomon
