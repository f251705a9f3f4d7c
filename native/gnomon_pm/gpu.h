// One GPU over the life of the helper: sampled, waiting to be tried again, or given up.
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "batch.h"
#include "options.h"
#include "plan.h"
#include "sampler.h"
#include "stream.h"

namespace gnomon {

class Gpu {
public:
    Gpu(int index, const Cuda& cuda, const Cupti& cupti, const Plan& plan, const Options& options,
        Stream& stream);

    bool given_up() const { return given_up_; }

    // `on`: whether it is to be sampled now, at `unix_ns`. True where more waits to be decoded.
    bool step(bool on, int64_t unix_ns);

private:
    using SteadyClock = std::chrono::steady_clock;

    bool is_due(bool on) const;
    void open(int64_t unix_ns);
    void follow(bool on, int64_t unix_ns);
    size_t set_at(int64_t unix_ns) const;
    void begin(int64_t unix_ns);
    void finish();
    void announce();
    void send(Row&& row);
    void send_batch();
    void note(const Loss& loss);
    void tell_statistics(bool at_an_end);
    void close(const SamplingError& error);

    const int index_;
    const Cuda& cuda_;
    const Cupti& cupti_;
    const Plan& plan_;
    const Options& options_;
    Stream& stream_;
    std::unique_ptr<Sampler> sampler_;
    std::vector<size_t> usable_;  // counter sets, by their place in the plan, that take turns
    size_t set_ = 0;              // under way, or the last one
    std::optional<RowBuilder> builder_;
    std::optional<SampleBatch> batch_;
    std::optional<SteadyClock::time_point> next_try_;  // once one has failed
    std::optional<std::pair<StatusCode, int>> told_;   // why it is not sampled
    StatisticsPayload statistics_{};
    uint32_t overflows_before_ = 0;  // of samplers that are gone
    int64_t cpu_ns_ = 0;             // since the last row
    bool given_up_ = false;
    bool lost_something_ = false;    // since the statistics were told
};

}  // namespace gnomon
