// When the GPUs are sampled: all the time, or in turns.
#pragma once

#include <cstdint>
#include <limits>

namespace gnomon {

// While a GPU's sampler is enabled the GPU itself runs a little slower
// (docs/measurements/pm_sampling.md), so that it is enabled for a part of the time only. Turns
// begin at multiples of `every_ns` of Unix time: those of several GPUs and hosts line up, and
// whoever reads the rows knows when there are none.
struct Turns {
    int64_t on_ns = 0;
    int64_t every_ns = 0;  // not longer than on_ns: all the time

    bool always() const { return every_ns <= on_ns; }

    bool on_at(int64_t unix_ns) const { return always() || unix_ns % every_ns < on_ns; }

    // How long the answer of on_at stays as it is.
    int64_t until_edge_ns(int64_t unix_ns) const {
        if (always()) return std::numeric_limits<int64_t>::max();
        const int64_t into_ns = unix_ns % every_ns;
        return (into_ns < on_ns ? on_ns : every_ns) - into_ns;
    }
};

}  // namespace gnomon
