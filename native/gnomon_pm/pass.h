// Chooses what one pass reads, and holds the configuration that CUPTI makes of it. No GPU needed.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "cupti_api.h"
#include "plan.h"

namespace gnomon {

// CUPTI does not know the chip.
class ChipError : public CallError {
    using CallError::CallError;
};

// What CUPTI made of a list of metrics.
class HostConfig {
public:
    // Throws ChipError, or CallError where the chip does not have one of the metrics. An empty
    // `availability` stands for every counter of the chip.
    HostConfig(const Cupti& cupti, const std::string& chip,
               const std::vector<uint8_t>& availability, const std::vector<const char*>& metrics);
    ~HostConfig();
    HostConfig(const HostConfig&) = delete;
    HostConfig& operator=(const HostConfig&) = delete;

    CUpti_Profiler_Host_Object* host() const { return host_; }
    const std::vector<uint8_t>& image() const { return image_; }
    size_t passes() const { return passes_; }

private:
    void add(const std::vector<const char*>& metrics);
    void make_image();
    void count_passes();
    void drop();

    const Cupti& cupti_;
    CUpti_Profiler_Host_Object* host_ = nullptr;
    std::vector<uint8_t> image_;
    size_t passes_ = 0;
};

// The metrics of one counter set that a chip reads in one pass.
struct Pass {
    size_t set = 0;                     // of the plan
    std::vector<Metric> metrics;
    std::vector<uint16_t> lacking;      // wishes, by their place in the set, that were not granted
    std::unique_ptr<HostConfig> config;  // null where nothing was granted

    std::vector<const char*> names() const;
    std::vector<Role> roles() const;

    // Beyond the clock and SM activity, which every set begins with.
    bool is_of_use() const { return config != nullptr && metrics.size() > 2; }
};

// Grants the wishes of `plan.sets[set]` in their order: the first alternative of each that the chip
// knows, that still fits one pass and keeps the counters wide. Throws ChipError.
Pass choose_pass(const Cupti& cupti, const std::string& chip,
                 const std::vector<uint8_t>& availability, const Plan& plan, size_t set);

}  // namespace gnomon
