#include "gpu.h"

#include <time.h>

#include <algorithm>
#include <cstdio>
#include <cstring>

namespace gnomon {
namespace {

// Bounded: a library that always calls its image full must not hang the helper.
constexpr int kMostImagesAtAnEnd = 1'000;

int64_t cpu_time_ns() {
    timespec now{};
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return now.tv_sec * 1'000'000'000LL + now.tv_nsec;
}

bool is_of_the_gpu(StatusCode code) {
    return code == StatusCode::kBusy || code == StatusCode::kPrivileges;
}

}  // namespace

Gpu::Gpu(int index, const Cuda& cuda, const Cupti& cupti, const Plan& plan, const Options& options,
         Stream& stream)
    : index_(index), cuda_(cuda), cupti_(cupti), plan_(plan), options_(options), stream_(stream) {}

bool Gpu::step(bool on, int64_t unix_ns) {
    if (given_up_) return false;
    const int64_t cpu_before_ns = cpu_time_ns();
    bool more = false;
    try {
        if (sampler_ == nullptr && is_due(on)) open(unix_ns);
        if (sampler_ == nullptr) return false;
        if (sampler_->sampling()) more = sampler_->drain(*builder_);
        follow(on, unix_ns);
        send_batch();
    } catch (const SamplingError& error) {
        close(error);
    }
    const int64_t took_ns = cpu_time_ns() - cpu_before_ns;
    cpu_ns_ += took_ns;
    statistics_.decoding_ns += took_ns;
    tell_statistics(false);
    return more && sampler_ != nullptr && sampler_->sampling();
}

// The first try is made at once, also between turns: it tells whether the GPU can be sampled.
bool Gpu::is_due(bool on) const {
    return !next_try_ || (on && SteadyClock::now() >= *next_try_);
}

void Gpu::open(int64_t unix_ns) {
    sampler_ = std::make_unique<Sampler>(cuda_, cupti_, index_, plan_, options_.sampling);
    usable_.clear();
    for (const Pass& pass : sampler_->passes())
        if (pass.is_of_use()) usable_.push_back(pass.set);
    begin(unix_ns);
    announce();
}

void Gpu::follow(bool on, int64_t unix_ns) {
    if (sampler_->sampling() && (!on || set_at(unix_ns) != set_)) finish();
    if (on && !sampler_->sampling()) begin(unix_ns);
}

size_t Gpu::set_at(int64_t unix_ns) const {
    return usable_[options_.turns.set_at(unix_ns, usable_.size())];
}

// A set beside the first that CUPTI refuses is left out from then on.
void Gpu::begin(int64_t unix_ns) {
    const size_t before = set_;
    set_ = set_at(unix_ns);
    if (!builder_ || set_ != before) {
        const Pass& pass = sampler_->passes()[set_];
        builder_.emplace(
            pass.roles(), options_.sampling.interval_ns, options_.sampling.row_ns,
            [this](Row&& row) { send(std::move(row)); },
            options_.sampling.fine ? RowBuilder::OnSample([this](const Sample& sample) {
                if (batch_->add(sample)) send_batch();
            })
                                   : RowBuilder::OnSample(),
            [this](const Loss& loss) { note(loss); });
        batch_.emplace(pass.metrics.size());
    }
    try {
        sampler_->begin(set_);
    } catch (const SamplingError& error) {
        if (set_ == usable_.front() || is_of_the_gpu(error.code)) throw;
        usable_.erase(std::find(usable_.begin(), usable_.end(), set_));
        announce();
    }
}

// What was taken before the end is not left behind, where CUPTI still hands it out.
void Gpu::finish() {
    sampler_->stop();
    try {
        for (int i = 0; i < kMostImagesAtAnEnd && sampler_->drain(*builder_); ++i) {
        }
    } catch (const SamplingError&) {
        // The turn is over in any case, and the next one tells what is wrong.
    }
    sampler_->end();
    builder_->end_turn();
    send_batch();
    tell_statistics(true);
}

void Gpu::announce() {
    told_.reset();
    GpuPayload payload{};
    CUuuid uuid{};
    CUdevice device{};
    if (cuda_.device(&device, index_) == CUDA_SUCCESS &&
        cuda_.device_uuid(&uuid, device) == CUDA_SUCCESS)
        std::memcpy(payload.uuid, uuid.bytes, sizeof payload.uuid);
    std::snprintf(payload.chip, sizeof payload.chip, "%s", sampler_->chip().c_str());
    payload.interval_us = static_cast<uint32_t>(options_.sampling.interval_ns / 1000);
    stream_.gpu(index_, payload, sampler_->passes(), usable_);
}

void Gpu::send(Row&& row) {
    row.totals.cpu_ns = cpu_ns_;
    row.totals.set = static_cast<uint16_t>(set_);
    cpu_ns_ = 0;
    statistics_.samples += row.totals.samples;
    stream_.row(index_, row);
}

void Gpu::send_batch() {
    if (!batch_ || batch_->empty()) return;
    stream_.samples(index_, static_cast<uint16_t>(set_), *batch_);
    batch_->clear();
}

void Gpu::note(const Loss& loss) {
    statistics_.lost += loss.samples;
    ++statistics_.gaps;
    lost_something_ = true;
    stream_.loss(index_, loss);
}

void Gpu::tell_statistics(bool at_an_end) {
    const uint32_t overflows = overflows_before_ + (sampler_ ? sampler_->overflows() : 0);
    if (!at_an_end && !lost_something_ && overflows == statistics_.overflows) return;
    statistics_.overflows = overflows;
    lost_something_ = !stream_.statistics(index_, statistics_);
}

void Gpu::close(const SamplingError& error) {
    send_batch();
    builder_.reset();
    batch_.reset();
    if (sampler_) overflows_before_ += sampler_->overflows();
    sampler_.reset();
    given_up_ = error.code != StatusCode::kBusy && error.code != StatusCode::kFailed;
    next_try_ = SteadyClock::now() + options_.retry;
    const std::pair<StatusCode, int> news{error.code, error.result};
    if (told_ != news && stream_.status(index_, error.code, error.result, error.what()))
        told_ = news;
}

}  // namespace gnomon
