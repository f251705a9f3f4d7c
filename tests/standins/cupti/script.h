// What the stand-ins for libcuda and libcupti do, read from the file GNOMON_CUPTI_SCRIPT:
//
//   set KEY VALUE             a number; the keys are where script().number() is called
//   result FUNCTION CODE      that function returns the CUptiResult, each time
//   result FUNCTION CODE N    only the first N times
//   result FUNCTION CODE N M  only N times, after M calls that succeed
//   unknown METRIC            cuptiProfilerHostConfigAddMetrics refuses this metric
//   passes METRIC N           a set with this metric needs N passes
//   refuse METRIC CODE        cuptiPmSamplingSetConfig of a set with this metric fails
//   narrow METRIC             a set with this metric has a smaller config image
//   chip NAME                 the GPUs' chip, instead of GH100
//   decode N                  the next decode finds N further samples (without: none)
//   decode overflow N         the same, and the hardware buffer has run over
//   decode fail CODE          the next decode returns the CUptiResult
//   decode crash              the next decode ends in a segmentation fault
//   sample START END NAME=VALUE ...   a sample, Unix ns; metrics not named are 0
//   live NAME=VALUE ...       instead of decode and sample: whatever time has passed since a start
//                             is found as samples of the configured interval with these values
//
// Calls are logged by name, one a line, to the file GNOMON_CUPTI_LOG where that is set.
#pragma once

#include <cstdlib>
#include <deque>
#include <fstream>
#include <map>
#include <memory>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

using Values = std::map<std::string, double>;

struct Sample {
    unsigned long long start_ns, end_ns;
    std::shared_ptr<const Values> values;
};

struct Decode {
    std::string kind;  // "", overflow, fail or crash
    long number;
};

struct Result {
    int code = 0;
    long times = -1;  // still; -1: always
    long after = 0;   // as many calls that succeed
};

struct Script {
    std::map<std::string, double> numbers, passes, refuse;
    std::shared_ptr<const Values> live;
    std::map<std::string, Result> results;
    std::map<std::string, bool> unknown, narrow;
    std::string chip = "GH100";
    std::vector<Decode> decodes;
    std::deque<Sample> samples;

    double number(const std::string& key, double otherwise) const {
        const auto found = numbers.find(key);
        return found == numbers.end() ? otherwise : found->second;
    }

    void read(std::istream& input) {
        for (std::string line; std::getline(input, line);) {
            std::istringstream words(line);
            std::string verb, name;
            words >> verb;
            if (verb == "set") words >> name >> numbers[name];
            else if (verb == "unknown") words >> name, unknown[name] = true;
            else if (verb == "refuse") words >> name >> refuse[name];
            else if (verb == "narrow") words >> name, narrow[name] = true;
            else if (verb == "chip") words >> chip;
            else if (verb == "passes") words >> name >> passes[name];
            else if (verb == "result") read_result(words);
            else if (verb == "decode") read_decode(words);
            else if (verb == "sample") read_sample(words);
            else if (verb == "live") live = read_values(words);
        }
    }

private:
    void read_result(std::istringstream& words) {
        std::string function;
        Result result;
        words >> function >> result.code;
        if (long times; words >> times) result.times = times;
        if (long after; words >> after) result.after = after;
        results[function] = result;
    }

    void read_decode(std::istringstream& words) {
        Decode decode{"", 0};
        std::string word;
        words >> word;
        if (word == "fail" || word == "crash" || word == "overflow") {
            decode.kind = word;
            words >> decode.number;
        } else {
            decode.number = std::stol(word);
        }
        decodes.push_back(decode);
    }

    void read_sample(std::istringstream& words) {
        Sample sample{};
        words >> sample.start_ns >> sample.end_ns;
        sample.values = read_values(words);
        samples.push_back(sample);
    }

    static std::shared_ptr<const Values> read_values(std::istringstream& words) {
        Values values;
        for (std::string word; words >> word;) {
            const size_t equals = word.find('=');
            values[word.substr(0, equals)] = std::stod(word.substr(equals + 1));
        }
        return std::make_shared<const Values>(std::move(values));
    }
};

inline Script& script() {
    static Script* the_script = [] {
        auto* made = new Script;
        if (const char* path = std::getenv("GNOMON_CUPTI_SCRIPT")) {
            std::ifstream file(path);
            made->read(file);
        }
        return made;
    }();
    return *the_script;
}
