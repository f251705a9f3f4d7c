// What to sample, as the Python source sent it on standard input.
//
//   paced-by-clock GA100 TU102      chips whose samples the system clock paces
//   set throughput                  begins a counter set: what one pass is to read
//   want                            begins a wish, the most important first
//   sm_active TPC.TriageCompute.... a metric of its first alternative: role and name
//   or                              begins its next alternative, taken where none before fits
//   sm_active sm__cycles_active...
#pragma once

#include <cstdint>
#include <istream>
#include <string>
#include <vector>

namespace gnomon {

// What a metric is for, which decides how its samples are averaged.
enum class Role {
    kCycles,    // elapsed SM cycles: the clock, and the weight of every SM percentage
    kSmActive,  // percentage of elapsed SM cycles with a warp resident; weighs by cycles
    kSmPct,     // percentage of elapsed SM cycles; weighs by cycles
    kTimePct,   // percentage in another clock domain; weighs by time
    kCount,     // a count, added up
    kLink,      // bytes over PCIe or NVLink: a count that tells whether a link is in use
};

struct Metric {
    Role role;
    std::string name;
    uint16_t number;  // among all metrics of the plan, from 0
};

using Alternative = std::vector<Metric>;  // all of it or nothing
using Wish = std::vector<Alternative>;    // the first that fits

struct CounterSet {
    std::string name;
    std::vector<Wish> wishes;
};

struct Plan {
    std::vector<std::string> paced_by_clock;
    std::vector<CounterSet> sets;
};

// Throws std::runtime_error naming the line that is not understood.
Plan read_plan(std::istream& input);

}  // namespace gnomon
