// The command line of gnomon-pm; main.cpp says what it means.
#pragma once

#include <chrono>
#include <string>

#include "sampler.h"
#include "turns.h"

namespace gnomon {

struct Options {
    int fd = -1;
    std::string libcupti;
    std::string version_of;    // only tell the CUDA version of this libcupti
    std::string choose_for;    // only tell what is sampled on this chip
    std::string availability;  // file of an image of the counters that a driver offers
    SamplingOptions sampling;
    Turns turns;
    std::chrono::milliseconds retry{30'000};
};

// Throws std::runtime_error naming what is not understood.
Options parse_options(int count, char** words);

}  // namespace gnomon
