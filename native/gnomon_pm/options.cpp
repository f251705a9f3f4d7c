#include "options.h"

#include <cstdlib>
#include <stdexcept>

namespace gnomon {
namespace {

constexpr int64_t kNsPerMs = 1'000'000;
constexpr long long kLongestMs = 3'600'000;

class Word {
public:
    Word(std::string key, const char* value) : key_(std::move(key)), value_(value) {}

    long long number(long long least, long long most) const {
        char* end = nullptr;
        const long long result = std::strtoll(value_, &end, 10);
        if (*end != '\0' || end == value_ || result < least || result > most)
            throw std::runtime_error("not a value for " + key_ + ": " + value_);
        return result;
    }

private:
    const std::string key_;
    const char* value_;
};

bool set_sampling(SamplingOptions& sampling, const std::string& key, const Word& word) {
    if (key == "--interval-us") sampling.interval_ns = word.number(20, 1'000'000) * 1000;
    else if (key == "--row-ms") sampling.row_ns = word.number(1, 60'000) * kNsPerMs;
    else if (key == "--decode-ms") sampling.decode_ns = word.number(1, 60'000) * kNsPerMs;
    else if (key == "--hardware-buffer-mib")
        sampling.hardware_buffer_bytes = static_cast<size_t>(word.number(1, 1024)) << 20;
    else if (key == "--fine") sampling.fine = word.number(0, 1) != 0;
    else return false;
    return true;
}

void set(Options& options, const std::string& key, const char* value) {
    const Word word(key, value);
    if (set_sampling(options.sampling, key, word)) return;
    if (key == "--fd") options.fd = static_cast<int>(word.number(0, 1 << 20));
    else if (key == "--libcupti") options.libcupti = value;
    else if (key == "--cuda-version-of") options.version_of = value;
    else if (key == "--choose-for") options.choose_for = value;
    else if (key == "--availability") options.availability = value;
    else if (key == "--on-ms") options.turns.on_ns = word.number(0, kLongestMs) * kNsPerMs;
    else if (key == "--every-ms") options.turns.every_ns = word.number(0, kLongestMs) * kNsPerMs;
    else if (key == "--retry-ms")
        options.retry = std::chrono::milliseconds(word.number(1, kLongestMs));
    else throw std::runtime_error("unknown option " + key);
}

}  // namespace

Options parse_options(int count, char** words) {
    Options options;
    for (int i = 1; i < count; i += 2) {
        if (i + 1 == count) throw std::runtime_error(std::string("no value after ") + words[i]);
        set(options, words[i], words[i + 1]);
    }
    const bool only_tells = !options.version_of.empty() || !options.choose_for.empty();
    const bool needs_library = options.version_of.empty();
    if ((!only_tells && options.fd < 0) || (needs_library && options.libcupti.empty()))
        throw std::runtime_error("--fd and --libcupti are needed, or to --choose-for the latter");
    return options;
}

}  // namespace gnomon
