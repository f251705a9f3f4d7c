#include "rows.h"

#include <algorithm>
#include <cmath>
#include <utility>

namespace gnomon {
namespace {

// A sample this many intervals long is a mistake of its timestamps, not of the scheduler: on an
// H200 good samples stay within 1 % of the interval.
constexpr int64_t kAbsurdIntervals = 10;

// Below this an SM held no warp to speak of, and a link carried doorbells and polling only.
constexpr double kNoWarpPct = 0.01;
constexpr double kLinkInUseBytesPerSecond = 100e6;

double weight_of(Role role, double cycles, double time_ns) {
    switch (role) {
        case Role::kSmActive:
        case Role::kSmPct:
            return cycles;
        default:
            return time_ns;
    }
}

bool is_percentage(Role role) {
    return role == Role::kSmActive || role == Role::kSmPct || role == Role::kTimePct;
}

}  // namespace

double LinkRuns::Cut::share_of(double reference) const {
    return reference > 0.0 ? time_ns * std::min(1.0, bytes_per_s / reference) : time_ns;
}

double LinkRuns::add(bool link_only, double bytes_per_s, double time_ns) {
    fastest_bytes_per_s_ = std::max(fastest_bytes_per_s_, bytes_per_s);
    if (!link_only) return end();
    const Cut now{bytes_per_s, time_ns};
    double certain_ns = 0.0;
    ++samples_;
    if (samples_ == 1) {
        first_ = now;
    } else if (samples_ > 2) {
        inside_bytes_per_s_ = last_.bytes_per_s;
        certain_ns = last_.time_ns;
        if (samples_ == 3) certain_ns += first_.share_of(inside_bytes_per_s_);
    }
    last_ = now;
    return certain_ns;
}

double LinkRuns::end() {
    const uint64_t samples = std::exchange(samples_, 0);
    switch (samples) {
        case 0:
            return 0.0;
        case 1:
            return first_.share_of(fastest_bytes_per_s_);
        case 2:
            return first_.share_of(fastest_bytes_per_s_) + last_.share_of(fastest_bytes_per_s_);
        default:
            return last_.share_of(inside_bytes_per_s_);
    }
}

RowBuilder::RowBuilder(std::vector<Role> roles, int64_t interval_ns, int64_t row_ns, OnRow on_row,
                       OnSample on_sample, OnLoss on_loss)
    : roles_(std::move(roles)),
      interval_ns_(interval_ns),
      row_ns_(row_ns),
      on_row_(std::move(on_row)),
      on_sample_(std::move(on_sample)),
      on_loss_(std::move(on_loss)) {}

void RowBuilder::restart() { skip_ = Skip::kFirst; }

void RowBuilder::end_turn() {
    const double link_only_ns = link_runs_.end();
    if (row_.totals.samples > 0) {
        row_.totals.link_only_ns += static_cast<int64_t>(link_only_ns);
        flush();
    }
    restart();
    previous_end_ns_ = 0;
}

void RowBuilder::skip_split_sample() {
    if (skip_ == Skip::kNone) skip_ = Skip::kSplit;
}

void RowBuilder::add(const Sample& sample) {
    const int64_t length_ns = sample.end_ns - sample.start_ns;
    if (skip_ == Skip::kFirst) {
        skip_ = Skip::kNone;
        // Later, after a restart, what lies between shows as a gap before the next sample.
        if (previous_end_ns_ == 0) previous_end_ns_ = sample.end_ns;
        return;
    }
    if (length_ns <= 0 || length_ns > kAbsurdIntervals * interval_ns_) {
        on_loss_({sample.start_ns, sample.end_ns, 1, LossReason::kBadSample});
        previous_end_ns_ = sample.end_ns;
        return;
    }
    report_gap(sample);
    previous_end_ns_ = sample.end_ns;
    if (skip_ == Skip::kSplit) {
        skip_ = Skip::kNone;
        return;
    }
    if (row_.totals.samples > 0 && (sample.end_ns - 1) / row_ns_ != (row_.totals.end_ns - 1) / row_ns_)
        flush();
    accumulate(sample);
    if (on_sample_) on_sample_(sample);
}

// Samples touch each other; where they do not, the hardware buffer lost some in between.
void RowBuilder::report_gap(const Sample& sample) {
    const int64_t gap_ns = sample.start_ns - previous_end_ns_;
    if (gap_ns < interval_ns_ / 2) return;
    const auto lost = static_cast<uint32_t>((gap_ns + interval_ns_ / 2) / interval_ns_);
    on_loss_({previous_end_ns_, sample.start_ns, lost, LossReason::kOverflow});
    link_runs_.end();
}

void RowBuilder::accumulate(const Sample& sample) {
    const size_t metrics = roles_.size();
    if (row_.totals.samples == 0) {
        row_.totals.start_ns = sample.start_ns;
        row_.sums.assign(metrics, 0.0);
        row_.weights.assign(metrics, 0.0);
    }
    const int64_t time_ns = sample.end_ns - sample.start_ns;
    double cycles = 0.0, link_bytes = 0.0, sm_active_pct = 0.0;
    bool sm_active_known = false;
    for (size_t i = 0; i < metrics; ++i) {
        const double value = std::isfinite(sample.values[i]) ? sample.values[i] : 0.0;
        if (roles_[i] == Role::kCycles) cycles = value;
        if (roles_[i] == Role::kLink) link_bytes += value;
        if (roles_[i] == Role::kSmActive) {
            sm_active_pct = value;
            sm_active_known = true;
        }
    }
    for (size_t i = 0; i < metrics; ++i) {
        const double value = sample.values[i];
        // A unit whose clock stood still divides 0 by 0: no cycles, hence no weight.
        if (!std::isfinite(value)) continue;
        const double weight = weight_of(roles_[i], cycles, static_cast<double>(time_ns));
        row_.sums[i] += is_percentage(roles_[i]) ? value * weight : value;
        row_.weights[i] += weight;
    }
    const double link_bytes_per_s = link_bytes * 1e9 / static_cast<double>(time_ns);
    const bool link_only = sm_active_known && sm_active_pct < kNoWarpPct &&
                           link_bytes_per_s > kLinkInUseBytesPerSecond;
    row_.totals.link_only_ns += static_cast<int64_t>(
        link_runs_.add(link_only, link_bytes_per_s, static_cast<double>(time_ns)));
    row_.totals.end_ns = sample.end_ns;
    row_.totals.time_ns += time_ns;
    row_.totals.cycles += cycles;
    row_.totals.samples += 1;
}

void RowBuilder::flush() {
    row_.totals.metrics = static_cast<uint16_t>(row_.sums.size());
    on_row_(std::move(row_));
    row_ = Row{};
}

}  // namespace gnomon
