// Writes records to the inherited pipe.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "records.h"
#include "rows.h"

namespace gnomon {

// Each record goes out in one write. The pipe does not block: rows that a slow reader leaves no
// room for are dropped, counted, and reported as a loss once there is room again.
class Stream {
public:
    explicit Stream(int fd);

    // False once nobody reads any more: time to exit. Waits up to `timeout_ns`, or until a signal,
    // also one that is blocked otherwise.
    bool wait_while_open(int64_t timeout_ns) const;

    void hello(const HelloPayload& payload);
    void gpu(int gpu, const GpuPayload& payload);
    void row(int gpu, const Row& row);
    void loss(int gpu, const Loss& loss);
    // False where the pipe is full.
    bool status(int gpu, StatusCode code, int result, const std::string& text);

private:
    bool send(RecordKind kind, int gpu, const void* payload, size_t payload_bytes,
              const std::vector<double>& sums = {}, const std::vector<double>& weights = {},
              const std::string& text = {});

    const int fd_;
    std::vector<Loss> unsent_;  // by GPU; samples 0 where nothing is owed
};

}  // namespace gnomon
