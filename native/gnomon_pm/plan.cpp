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
    {"count", Role::kCount},
    {"link", Role::kLink},
}};

// Adds what one line says. False where it is not understood.
bool add_line(Plan& plan, const std::string& key, std::istringstream& words, uint16_t& metrics) {
    std::string value;
    if (key == "paced-by-clock") {
        while (words >> value) plan.paced_by_clock.push_back(value);
        return true;
    }
    if (key == "set") {
        if (!(words >> value)) return false;
        plan.sets.push_back({value, {}});
        return true;
    }
    if (plan.sets.empty()) return false;
    auto& wishes = plan.sets.back().wishes;
    if (key == "want") {
        wishes.push_back({{}});
        return true;
    }
    if (wishes.empty()) return false;
    if (key == "or") {
        wishes.back().push_back({});
        return true;
    }
    const auto role = std::find_if(kRoles.begin(), kRoles.end(),
                                   [&](const auto& entry) { return key == entry.first; });
    if (role == kRoles.end() || !(words >> value)) return false;
    wishes.back().back().push_back({role->second, value, metrics++});
    return true;
}

}  // namespace

Plan read_plan(std::istream& input) {
    Plan plan;
    uint16_t metrics = 0;
    for (std::string line; std::getline(input, line);) {
        std::istringstream words(line);
        std::string key;
        if (words >> key && !add_line(plan, key, words, metrics))
            throw std::runtime_error("cannot read this line of the metric plan: " + line);
    }
    return plan;
}

}  // namespace gnomon
