// Writes records to the inherited pipe.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "batch.h"
#include "pass.h"
#include "records.h"
#include "rows.h"

namespace gnomon {

// Each record goes out in one write. The pipe does not block: what a slow reader leaves no room for
// is dropped, counted, and reported as a loss once there is room again.
class Stream {
public:
    explicit Stream(int fd);

    // False once nobody reads any more: time to exit. Waits up to `timeout_ns`, or until a signal,
    // also one that is blocked otherwise.
    bool wait_while_open(int64_t timeout_ns) const;

    void hello(const HelloPayload& payload);
    // Of `passes` those in `usable` are sampled, the others left out.
    void gpu(int gpu, GpuPayload payload, const std::vector<Pass>& passes,
             const std::vector<size_t>& usable);
    void row(int gpu, const Row& row);
    void samples(int gpu, uint16_t set, const SampleBatch& batch);
    void loss(int gpu, const Loss& loss);
    // False where the pipe is full.
    bool status(int gpu, StatusCode code, int result, const std::string& text);
    bool statistics(int gpu, const StatisticsPayload& payload);

private:
    bool send(RecordKind kind, int gpu, const std::string& payload);
    void settle(int gpu, LossReason reason);
    void owe(int gpu, const Loss& loss);

    const int fd_;
    std::map<std::pair<int, LossReason>, Loss> unsent_;  // what could not be sent, to be told
};

}  // namespace gnomon
