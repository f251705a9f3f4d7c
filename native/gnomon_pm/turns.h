// When the GPUs are sampled: all the time, or in turns.
#pragma once

#include <cstddef>
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

    // Which of several counter sets is read: the first in every other turn, the others one after
    // another in between. Without turns they change every ten seconds: a change takes 0.2 s.
    size_t set_at(int64_t unix_ns, size_t sets) const {
        if (sets < 2) return 0;
        const auto turn = static_cast<size_t>(unix_ns / (always() ? kSetWithoutTurnsNs : every_ns));
        return turn % 2 == 0 ? 0 : 1 + turn / 2 % (sets - 1);
    }

private:
    static constexpr int64_t kSetWithoutTurnsNs = 10'000'000'000;
};

}  // namespace gnomon
