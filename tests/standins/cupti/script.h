// What the stand-ins for libcuda and libcupti do, read from the file GNOMON_CUPTI_SCRIPT:
//
//   set KEY VALUE             a number; the keys are where script().number() is called
//   result FUNCTION CODE      that function returns the CUptiResult, each time
//   result FUNCTION CODE N    only the first N times
//   result FUNCTION CODE N M  only N times, after M calls that succeed
//   unknown METRIC            cuptiProfilerHostConfigAddMetrics refuses this metric
//   passes METRIC N           a set with this metric needs N passes
//   decode N                  the next decode finds N further samples (without: none)
//   decode fail CODE          the next decode returns the CUptiResult
//   decode crash              the next decode ends in a segmentation fault
//   sample START END NAME=VALUE ...   a sample, Unix ns; metrics not named are 0
//   live NAME=VALUE ...       instead of decode and sample: whatever time has passed since a start
//                             is found as samples of the configured interval with these values
//
// Calls are logged by name, one a line, to the file GNOMON_CUPTI_LOG where that is set.
#pragma once

#include <cstdlib>
#include <fstream>
#include <map>
#include <sstream>
#include <string>
#include <vector>

struct Sample {
    unsigned long long start_ns, end_ns;
    std::map<std::string, double> values;
};

struct Decode {
    std::string kind;  // "", fail or crash
    long number;
};

struct Result {
    int code = 0;
    long times = -1;  // still; -1: always
    long after = 0;   // as many calls that succeed
};

struct Script {
    std::map<std::string, double> numbers, passes, live;
    std::map<std::string, Result> results;
    std::map<std::string, bool> unknown;
    std::vector<Decode> decodes;
    std::vector<Sample> samples;

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
        if (word == "fail" || word == "crash") {
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

    static std::map<std::string, double> read_values(std::istringstream& words) {
        std::map<std::string, double> values;
        for (std::string word; words >> word;) {
            const size_t equals = word.find('=');
            values[word.substr(0, equals)] = std::stod(word.substr(equals + 1));
        }
        return values;
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
