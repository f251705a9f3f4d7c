#include "batch.h"


namespace gnomon {
namespace {

size_t capacity_of(size_t metrics) {
    const size_t room = kLongestRecordBytes - sizeof(RecordHeader) - sizeof(SamplesPayload);
    return room / (sizeof(int64_t) + sizeof(uint32_t) + metrics * sizeof(float));
}

}  // namespace

SampleBatch::SampleBatch(size_t metrics) : capacity_(capacity_of(metrics)), values_(metrics) {
    ends_ns_.reserve(capacity_);
    lengths_ns_.reserve(capacity_);
    for (auto& column : values_) column.reserve(capacity_);
}

bool SampleBatch::add(const Sample& sample) {
    ends_ns_.push_back(sample.end_ns);
    lengths_ns_.push_back(static_cast<uint32_t>(sample.end_ns - sample.start_ns));
    for (size_t i = 0; i < values_.size(); ++i)
        values_[i].push_back(static_cast<float>(sample.values[i]));
    return ends_ns_.size() >= capacity_;
}

void SampleBatch::clear() {
    ends_ns_.clear();
    lengths_ns_.clear();
    for (auto& column : values_) column.clear();
}

std::vector<uint8_t> SampleBatch::payload(uint16_t set) const {
    std::vector<uint8_t> bytes;
    bytes.reserve(kLongestRecordBytes);
    const auto append = [&](const void* data, size_t size) {
        const auto* first = static_cast<const uint8_t*>(data);
        bytes.insert(bytes.end(), first, first + size);
    };
    const SamplesPayload head{static_cast<uint32_t>(samples()),
                              static_cast<uint16_t>(values_.size()), set};
    append(&head, sizeof head);
    append(ends_ns_.data(), ends_ns_.size() * sizeof(int64_t));
    append(lengths_ns_.data(), lengths_ns_.size() * sizeof(uint32_t));
    for (const auto& column : values_) append(column.data(), column.size() * sizeof(float));
    return bytes;
}

}  // namespace gnomon
