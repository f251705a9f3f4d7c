// PM sampling of one GPU: from choosing its metrics to evaluated samples.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "cupti_api.h"
#include "plan.h"
#include "records.h"
#include "rows.h"

namespace gnomon {

struct SamplingOptions {
    int64_t interval_ns = 10'000'000;
    int64_t row_ns = 100'000'000;
    int64_t decode_ns = 500'000'000;
    size_t hardware_buffer_bytes = 32u << 20;
};

// Why a GPU cannot be sampled, in the words of the wire format.
class SamplingError : public std::runtime_error {
public:
    SamplingError(StatusCode code, int result, const std::string& what)
        : std::runtime_error(what), code(code), result(result) {}
    const StatusCode code;
    const int result;
};

class Sampler {
public:
    // Prepares what all turns share, 0.3 s of CPU. Throws SamplingError where that fails.
    // `plans` are the metric sets to try, all of them for this GPU's chip or not.
    Sampler(const Cuda& cuda, const Cupti& cupti, int gpu, const std::vector<Plan>& plans,
            const SamplingOptions& options);
    ~Sampler();
    Sampler(const Sampler&) = delete;
    Sampler& operator=(const Sampler&) = delete;

    const std::string& chip() const { return chip_; }
    size_t plan_index() const { return plan_index_; }
    const Plan& plan() const { return plans_[plan_index_]; }

    bool sampling() const { return sampling_ != nullptr; }

    // Begins to sample. Throws SamplingError and leaves the GPU to others where that fails.
    void begin();

    // Ends it and leaves the GPU to others: an enabled sampler slows it down, sampling or not.
    void end();

    // Hands every sample taken since the last call to `builder`. Throws SamplingError where the
    // GPU cannot be sampled any longer.
    void drain(RowBuilder& builder);

private:
    void check_supported();
    void read_availability();
    void choose_plan();
    size_t passes_of(const Plan& plan);
    void make_config();
    void drop_host();
    void enable();
    void make_image();
    void start();
    void restart(RowBuilder& builder);
    void reset_image();
    bool decode(RowBuilder& builder);
    size_t completed_samples();
    void evaluate(size_t index, RowBuilder& builder);

    const Cuda& cuda_;
    const Cupti& cupti_;
    const size_t gpu_;
    const std::vector<Plan>& plans_;
    const SamplingOptions options_;

    std::string chip_;
    size_t plan_index_ = 0;
    std::vector<const char*> metric_names_;
    std::vector<uint8_t> availability_;
    std::vector<uint8_t> config_;
    std::vector<uint8_t> image_;  // decoded counters of a few samples
    std::vector<double> values_;
    size_t image_samples_ = 0;    // that image_ can hold
    size_t image_reserve_ = 0;    // that must fit in whenever a decode begins
    size_t next_sample_ = 0;      // in image_
    CUpti_Profiler_Host_Object* host_ = nullptr;
    CUpti_PmSampling_Object* sampling_ = nullptr;  // while enabled
    bool started_ = false;
};

}  // namespace gnomon
