#include "pass.h"

#include <utility>

namespace gnomon {

HostConfig::HostConfig(const Cupti& cupti, const std::string& chip,
                       const std::vector<uint8_t>& availability,
                       const std::vector<const char*>& metrics)
    : cupti_(cupti) {
    auto host = GNOMON_PARAMS(CUpti_Profiler_Host_Initialize_Params);
    host.profilerType = CUPTI_PROFILER_TYPE_PM_SAMPLING;
    host.pChipName = chip.c_str();
    host.pCounterAvailabilityImage = availability.empty() ? nullptr : availability.data();
    if (const CUptiResult result = cupti_.host_initialize(&host); result != CUPTI_SUCCESS)
        throw ChipError("CUPTI cannot sample the chip " + chip, result);
    host_ = host.pHostObject;
    try {
        add(metrics);
        make_image();
        count_passes();
    } catch (...) {
        drop();
        throw;
    }
}

HostConfig::~HostConfig() { drop(); }

// One call for all: each call of its own would make a pass of its own.
void HostConfig::add(const std::vector<const char*>& metrics) {
    std::vector<const char*> names(metrics);
    auto add = GNOMON_PARAMS(CUpti_Profiler_Host_ConfigAddMetrics_Params);
    add.pHostObject = host_;
    add.ppMetricNames = names.data();
    add.numMetrics = names.size();
    cupti_.check(cupti_.host_add_metrics(&add), "cuptiProfilerHostConfigAddMetrics");
}

void HostConfig::make_image() {
    auto size = GNOMON_PARAMS(CUpti_Profiler_Host_GetConfigImageSize_Params);
    size.pHostObject = host_;
    cupti_.check(cupti_.host_config_size(&size), "cuptiProfilerHostGetConfigImageSize");
    image_.resize(size.configImageSize);
    auto image = GNOMON_PARAMS(CUpti_Profiler_Host_GetConfigImage_Params);
    image.pHostObject = host_;
    image.configImageSize = image_.size();
    image.pConfigImage = image_.data();
    cupti_.check(cupti_.host_config(&image), "cuptiProfilerHostGetConfigImage");
}

void HostConfig::count_passes() {
    auto passes = GNOMON_PARAMS(CUpti_Profiler_Host_GetNumOfPasses_Params);
    passes.configImageSize = image_.size();
    passes.pConfigImage = image_.data();
    cupti_.check(cupti_.host_passes(&passes), "cuptiProfilerHostGetNumOfPasses");
    passes_ = passes.numOfPasses;
}

void HostConfig::drop() {
    if (host_ == nullptr) return;
    auto last = GNOMON_PARAMS(CUpti_Profiler_Host_Deinitialize_Params);
    last.pHostObject = host_;
    cupti_.host_deinitialize(&last);
    host_ = nullptr;
}

std::vector<const char*> Pass::names() const {
    std::vector<const char*> names;
    for (const Metric& metric : metrics) names.push_back(metric.name.c_str());
    return names;
}

std::vector<Role> Pass::roles() const {
    std::vector<Role> roles;
    for (const Metric& metric : metrics) roles.push_back(metric.role);
    return roles;
}

namespace {

// Adds an alternative to the pass, where it fits.
bool grant(const Cupti& cupti, const std::string& chip, const std::vector<uint8_t>& availability,
           const Alternative& alternative, Pass& pass) {
    std::vector<const char*> names = pass.names();
    for (const Metric& metric : alternative) names.push_back(metric.name.c_str());
    std::unique_ptr<HostConfig> config;
    try {
        config = std::make_unique<HostConfig>(cupti, chip, availability, names);
    } catch (const ChipError&) {
        throw;
    } catch (const CallError&) {
        return false;  // a name that this chip, or this version of CUPTI, does not have
    }
    // An image that grows smaller with one metric more has changed to narrow counters, which cost
    // ten times as much to read (docs/measurements/pm_sampling.md).
    const bool is_narrow = pass.config && config->image().size() < pass.config->image().size();
    if (config->passes() != 1 || is_narrow) return false;
    pass.config = std::move(config);
    pass.metrics.insert(pass.metrics.end(), alternative.begin(), alternative.end());
    return true;
}

}  // namespace

Pass choose_pass(const Cupti& cupti, const std::string& chip,
                 const std::vector<uint8_t>& availability, const Plan& plan, size_t set) {
    Pass pass;
    pass.set = set;
    const std::vector<Wish>& wishes = plan.sets[set].wishes;
    for (size_t number = 0; number < wishes.size(); ++number) {
        bool granted = false;
        for (const Alternative& alternative : wishes[number]) {
            granted = grant(cupti, chip, availability, alternative, pass);
            if (granted) break;
        }
        if (!granted) pass.lacking.push_back(static_cast<uint16_t>(number));
        // Every other metric weighs by the cycles, or means nothing without them.
        if (!granted && number == 0) break;
    }
    return pass;
}

}  // namespace gnomon
