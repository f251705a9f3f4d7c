#include "plan.h"

#include <algorithm>
#include <array>
#include <sstream>
#include <stdexcept>
#include <utility>

namespace gnomon {
namespace {

const std::array<std::pair<const char*, Role>, 6> kRoles{{
    {"cycles", Role::kCycles},
    {"sm_active", Role::kSmActive},
    {"sm_pct", Role::kSmPct},
    {"time_pct", Role::kTimePct},
    {"bytes", Role::kBytes},
    {"link", Role::kLink},
}};

}  // namespace

std::vector<Plan> read_plans(std::istream& input) {
    std::vector<Plan> plans;
    for (std::string line; std::getline(input, line);) {
        std::istringstream words(line);
        std::string key, value, trigger;
        if (!(words >> key)) continue;
        words >> value >> trigger;
        if (key == "chip" && (trigger == "time" || trigger == "clock")) {
            plans.push_back({value, trigger == "time" ? Trigger::kTime : Trigger::kClock, {}, {}});
            continue;
        }
        const auto role = std::find_if(kRoles.begin(), kRoles.end(),
                                       [&](const auto& entry) { return key == entry.first; });
        if (role == kRoles.end() || value.empty() || plans.empty())
            throw std::runtime_error("cannot read this line of the metric plan: " + line);
        plans.back().roles.push_back(role->second);
        plans.back().metrics.push_back(value);
    }
    return plans;
}

}  // namespace gnomon
