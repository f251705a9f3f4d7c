#include "stream.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace gnomon {

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
    send(RecordKind::kHello, -1, &payload, sizeof payload);
}

void Stream::gpu(int gpu, const GpuPayload& payload) {
    send(RecordKind::kGpu, gpu, &payload, sizeof payload);
}

void Stream::row(int gpu, const Row& row) {
    const auto index = static_cast<size_t>(gpu);
    if (index >= unsent_.size()) unsent_.resize(index + 1, Loss{0, 0, 0, LossReason::kPipeFull});
    Loss& unsent = unsent_[index];
    if (unsent.samples > 0) {
        const LossPayload owed{unsent.start_ns, unsent.end_ns, unsent.samples,
                               static_cast<uint32_t>(unsent.reason)};
        if (send(RecordKind::kLoss, gpu, &owed, sizeof owed)) unsent.samples = 0;
    }
    if (send(RecordKind::kRow, gpu, &row.totals, sizeof row.totals, row.sums, row.weights)) return;
    if (unsent.samples == 0) unsent.start_ns = row.totals.start_ns;
    unsent.end_ns = row.totals.end_ns;
    unsent.samples += row.totals.samples;
}

void Stream::loss(int gpu, const Loss& loss) {
    const LossPayload payload{loss.start_ns, loss.end_ns, loss.samples,
                              static_cast<uint32_t>(loss.reason)};
    send(RecordKind::kLoss, gpu, &payload, sizeof payload);
}

bool Stream::status(int gpu, StatusCode code, int result, const std::string& text) {
    const StatusPayload payload{static_cast<uint32_t>(code), result};
    return send(RecordKind::kStatus, gpu, &payload, sizeof payload, {}, {}, text);
}

bool Stream::send(RecordKind kind, int gpu, const void* payload, size_t payload_bytes,
                  const std::vector<double>& sums, const std::vector<double>& weights,
                  const std::string& text) {
    std::string bytes(sizeof(RecordHeader), '\0');
    const auto append = [&](const void* data, size_t size) {
        bytes.append(static_cast<const char*>(data), size);
    };
    append(payload, payload_bytes);
    append(sums.data(), sums.size() * sizeof(double));
    append(weights.data(), weights.size() * sizeof(double));
    append(text.data(), text.size());
    const RecordHeader header{kMagic, kVersion, static_cast<uint16_t>(kind),
                              static_cast<uint32_t>(bytes.size() - sizeof(RecordHeader)), gpu};
    std::memcpy(bytes.data(), &header, sizeof header);
    // Up to PIPE_BUF (4096) bytes a non-blocking write takes all or nothing; no record is longer.
    return write(fd_, bytes.data(), bytes.size()) == static_cast<ssize_t>(bytes.size());
}

}  // namespace gnomon
