// PM sampling of one GPU: from choosing its metrics to evaluated samples.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "cupti_api.h"
#include "pass.h"
#include "plan.h"
#include "records.h"
#include "rows.h"

namespace gnomon {

struct SamplingOptions {
    int64_t interval_ns = 10'000'000;
    int64_t row_ns = 100'000'000;
    int64_t decode_ns = 500'000'000;
    size_t hardware_buffer_bytes = 32u << 20;
    bool fine = false;  // tell every sample, and take turns with all counter sets
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
    Sampler(const Cuda& cuda, const Cupti& cupti, int gpu, const Plan& plan,
            const SamplingOptions& options);
    ~Sampler();
    Sampler(const Sampler&) = delete;
    Sampler& operator=(const Sampler&) = delete;

    const std::string& chip() const { return chip_; }

    // One a counter set of the plan, in its order.
    const std::vector<Pass>& passes() const { return passes_; }

    bool sampling() const { return sampling_ != nullptr; }

    // Begins to sample passes()[pass]. Throws SamplingError and leaves the GPU to others where that
    // fails.
    void begin(size_t pass);

    // Takes no more samples; those taken can still be drained.
    void stop();

    // Ends it and leaves the GPU to others: an enabled sampler slows it down, sampling or not.
    void end();

    // Hands samples taken since the last call to `builder`, as many as the image holds. True where
    // there are more. Throws SamplingError where the GPU cannot be sampled any longer.
    bool drain(RowBuilder& builder);

    // Decodes since it was made that found the hardware buffer full.
    uint32_t overflows() const { return overflows_; }

private:
    const Pass& pass() const { return passes_[pass_]; }
    void check_supported();
    void read_availability();
    void choose_passes();
    void enable();
    bool is_paced_by_clock() const;
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
    const Plan& plan_;
    const SamplingOptions options_;

    std::string chip_;
    std::vector<uint8_t> availability_;
    std::vector<Pass> passes_;
    size_t pass_ = 0;                        // under way
    std::vector<const char*> metric_names_;  // of it
    std::vector<double> values_;
    std::vector<uint8_t> image_;  // decoded counters of a few samples
    size_t image_samples_ = 0;    // that image_ can hold
    size_t image_reserve_ = 0;    // that must fit in whenever a decode begins
    size_t next_sample_ = 0;      // in image_
    uint32_t overflows_ = 0;
    CUpti_PmSampling_Object* sampling_ = nullptr;  // while enabled
    bool started_ = false;
};

}  // namespace gnomon
