// Which metrics to sample on which chip, as the Python source sent them on standard input.
//
//   chip GH100 time                      begins a metric set; a chip may have several, tried in
//   cycles sm__cycles_elapsed.max        order until one fits a single pass. `time` or `clock`
//   sm_active TPC.TriageCompute....      is what paces the samples. Then one line a metric: its
//                                        role and its name
#pragma once

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
    kBytes,     // a count; becomes a rate
    kLink,      // bytes over PCIe or NVLink; becomes a rate and tells whether a link is in use
};

enum class Trigger {
    kTime,   // a sample each interval of time
    kClock,  // a sample each so many cycles of the system clock, whose frequency varies
};

struct Plan {
    std::string chip;
    Trigger trigger;
    std::vector<Role> roles;
    std::vector<std::string> metrics;
};

// Throws std::runtime_error naming the line that is not understood.
std::vector<Plan> read_plans(std::istream& input);

}  // namespace gnomon
