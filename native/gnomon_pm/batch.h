// Samples on their way to the reader, many in a record.
#pragma once

#include <cstdint>
#include <vector>

#include "records.h"
#include "rows.h"

namespace gnomon {

// Collects samples column by column, up to what one record takes.
class SampleBatch {
public:
    explicit SampleBatch(size_t metrics);

    // True once the batch is full: to be sent and cleared before the next one.
    bool add(const Sample& sample);
    void clear();

    bool empty() const { return ends_ns_.empty(); }
    size_t samples() const { return ends_ns_.size(); }
    int64_t start_ns() const { return ends_ns_.front() - lengths_ns_.front(); }
    int64_t end_ns() const { return ends_ns_.back(); }

    // The payload of a kSamples record.
    std::vector<uint8_t> payload(uint16_t set) const;

private:
    const size_t capacity_;
    std::vector<int64_t> ends_ns_;
    std::vector<uint32_t> lengths_ns_;
    std::vector<std::vector<float>> values_;  // by metric
};

}  // namespace gnomon
