// From hardware samples to rows: pure arithmetic, no CUPTI.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "plan.h"
#include "records.h"

namespace gnomon {

struct Sample {
    int64_t start_ns;
    int64_t end_ns;
    const double* values;  // one a metric of the plan
};

struct Row {
    RowPayload totals{};
    std::vector<double> sums;     // of value x weight (percentages) or of values (counts)
    std::vector<double> weights;  // cycles, or ns
};

struct Loss {
    int64_t start_ns;
    int64_t end_ns;
    uint32_t samples;
    LossReason reason;
};

// How long links moved data while no SM held a warp, from samples longer than many a transfer.
//
// In a run of such samples the inner ones count whole: a slow copy is a copy all the time. The
// first and the last are cut by the run's begin and end, so they count in proportion to their rate,
// against the rate inside the run; a run without an inside, against the fastest rate seen so far.
class LinkRuns {
public:
    // Returns the ns that have become certain with this sample, up to two samples late.
    double add(bool link_only, double bytes_per_s, double time_ns);

    // What follows does not touch what came before. Returns the ns of the run that ends here.
    double end();

private:
    struct Cut {
        double bytes_per_s;
        double time_ns;
        double share_of(double reference) const;
    };
    Cut first_{};
    Cut last_{};
    double inside_bytes_per_s_ = 0.0;
    double fastest_bytes_per_s_ = 0.0;
    uint64_t samples_ = 0;  // of the run under way
};

// Adds samples up into rows that end on multiples of the row length of Unix time, so that rows of
// several GPUs line up.
class RowBuilder {
public:
    using OnRow = std::function<void(Row&&)>;
    using OnSample = std::function<void(const Sample&)>;
    using OnLoss = std::function<void(const Loss&)>;

    // `on_sample` is told every sample that becomes part of a row; it may be empty.
    RowBuilder(std::vector<Role> roles, int64_t interval_ns, int64_t row_ns, OnRow on_row,
               OnSample on_sample, OnLoss on_loss);

    // The next sample is the first after a start. Its start time lies up to a second in the past
    // (seen on an H200), so that it is left out.
    void restart();

    // The GPU is not sampled until the next sample, as was asked for: what lies between is no loss.
    // Sends the row under way, which would otherwise wait for that sample.
    void end_turn();

    // The next sample lacks what was decoded of it before the image was emptied: on an H200 its SM
    // counters then read low, by up to the whole sample. It is left out and is no loss.
    void skip_split_sample();

    void add(const Sample& sample);

private:
    void report_gap(const Sample& sample);
    void accumulate(const Sample& sample);
    void flush();

    const std::vector<Role> roles_;
    const int64_t interval_ns_;
    const int64_t row_ns_;
    const OnRow on_row_;
    const OnSample on_sample_;
    const OnLoss on_loss_;
    Row row_;
    LinkRuns link_runs_;
    enum class Skip { kNone, kFirst, kSplit };
    Skip skip_ = Skip::kFirst;
    int64_t previous_end_ns_ = 0;  // 0: nothing sampled yet
};

}  // namespace gnomon
