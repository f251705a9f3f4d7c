#include "stream.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

namespace gnomon {
namespace {

template <typename Payload>
std::string bytes_of(const Payload& payload) {
    return std::string(reinterpret_cast<const char*>(&payload), sizeof payload);
}

template <typename Number>
std::string bytes_of(const std::vector<Number>& numbers) {
    return std::string(reinterpret_cast<const char*>(numbers.data()),
                       numbers.size() * sizeof(Number));
}

LossPayload payload_of(const Loss& loss) {
    return {loss.start_ns, loss.end_ns, loss.samples, static_cast<uint32_t>(loss.reason)};
}

}  // namespace

Stream::Stream(int fd) : fd_(fd) { fcntl(fd_, F_SETFL, fcntl(fd_, F_GETFL) | O_NONBLOCK); }

bool Stream::wait_while_open(int64_t timeout_ns) const {
    pollfd reader{fd_, 0, 0};  // no events asked for: the reader's going away comes unasked
    const timespec timeout{timeout_ns / 1'000'000'000, timeout_ns % 1'000'000'000};
    sigset_t none;
    sigemptyset(&none);
    const int ready = ppoll(&reader, 1, &timeout, &none);
    return ready == 0 || (ready < 0 && errno == EINTR);
}

void Stream::hello(const HelloPayload& payload) {
    send(RecordKind::kHello, -1, bytes_of(payload));
}

void Stream::gpu(int gpu, GpuPayload payload, const std::vector<Pass>& passes,
                 const std::vector<size_t>& usable) {
    payload.sets = static_cast<uint32_t>(passes.size());
    std::string bytes = bytes_of(payload);
    for (const Pass& pass : passes) {
        const bool in_use = std::find(usable.begin(), usable.end(), pass.set) != usable.end();
        const size_t metrics = in_use ? pass.metrics.size() : 0;
        const SetPayload set{static_cast<uint16_t>(pass.set), static_cast<uint16_t>(metrics),
                             static_cast<uint16_t>(pass.lacking.size())};
        bytes += bytes_of(set);
        for (size_t i = 0; i < metrics; ++i) bytes += bytes_of(pass.metrics[i].number);
        for (const uint16_t wish : pass.lacking) bytes += bytes_of(wish);
    }
    send(RecordKind::kGpu, gpu, bytes);
}

void Stream::row(int gpu, const Row& row) {
    settle(gpu, LossReason::kPipeFull);
    const std::string bytes = bytes_of(row.totals) + bytes_of(row.sums) + bytes_of(row.weights);
    if (send(RecordKind::kRow, gpu, bytes)) return;
    owe(gpu, {row.totals.start_ns, row.totals.end_ns, row.totals.samples, LossReason::kPipeFull});
}

void Stream::samples(int gpu, uint16_t set, const SampleBatch& batch) {
    settle(gpu, LossReason::kSamplesPipeFull);
    if (send(RecordKind::kSamples, gpu, bytes_of(batch.payload(set)))) return;
    owe(gpu, {batch.start_ns(), batch.end_ns(), static_cast<uint32_t>(batch.samples()),
              LossReason::kSamplesPipeFull});
}

void Stream::loss(int gpu, const Loss& loss) {
    settle(gpu, loss.reason);
    if (!send(RecordKind::kLoss, gpu, bytes_of(payload_of(loss)))) owe(gpu, loss);
}

bool Stream::status(int gpu, StatusCode code, int result, const std::string& text) {
    const StatusPayload payload{static_cast<uint32_t>(code), result};
    return send(RecordKind::kStatus, gpu, bytes_of(payload) + text);
}

bool Stream::statistics(int gpu, const StatisticsPayload& payload) {
    return send(RecordKind::kStatistics, gpu, bytes_of(payload));
}

// Tells of what is owed, where there is room again.
void Stream::settle(int gpu, LossReason reason) {
    const auto owed = unsent_.find({gpu, reason});
    if (owed != unsent_.end() && send(RecordKind::kLoss, gpu, bytes_of(payload_of(owed->second))))
        unsent_.erase(owed);
}

void Stream::owe(int gpu, const Loss& loss) {
    const auto [owed, is_new] = unsent_.try_emplace({gpu, loss.reason}, loss);
    if (is_new) return;
    owed->second.end_ns = loss.end_ns;
    owed->second.samples += loss.samples;
}

bool Stream::send(RecordKind kind, int gpu, const std::string& payload) {
    const RecordHeader header{kMagic, kVersion, static_cast<uint16_t>(kind),
                              static_cast<uint32_t>(payload.size()), gpu};
    const std::string bytes = bytes_of(header) + payload;
    return write(fd_, bytes.data(), bytes.size()) == static_cast<ssize_t>(bytes.size());
}

}  // namespace gnomon
