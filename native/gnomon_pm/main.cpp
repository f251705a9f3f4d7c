// gnomon-pm: samples the performance counters of every GPU through CUPTI PM sampling and streams
// rows, and with --fine 1 every sample, to the pipe it was given. It is a process of its own because
// libcupti may crash, and because only it needs CAP_SYS_ADMIN where the driver restricts profiling.
//
//   gnomon-pm --fd N --libcupti PATH [--interval-us 10000] [--row-ms 100] [--decode-ms 500]
//             [--hardware-buffer-mib 32] [--retry-ms 30000] [--on-ms 0 --every-ms 0] [--fine 0]
//             < metric plan
//   gnomon-pm --cuda-version-of PATH
//   gnomon-pm --choose-for CHIP --libcupti PATH [--availability FILE] < metric plan
//
// It makes no CUDA context: sampling is device-wide and costs the workload no device memory of
// its own beyond the hardware buffer. It exits when nobody reads its pipe any more. SIGUSR1 lets
// go of the GPUs until SIGUSR2.

#include <signal.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <iterator>
#include <memory>

#include "cupti_api.h"
#include "gpu.h"
#include "options.h"
#include "plan.h"
#include "stream.h"

namespace gnomon {
namespace {

enum ExitCode { kOk = 0, kUsage = 2, kNothingToSample = 3 };

volatile sig_atomic_t stop_requested = 0;
volatile sig_atomic_t pause_requested = 0;

int64_t unix_time_ns() {
    const auto now = std::chrono::system_clock::now().time_since_epoch();
    return std::chrono::duration_cast<std::chrono::nanoseconds>(now).count();
}

std::string spell(uint32_t cuda) {
    return std::to_string(cuda / 1000) + "." + std::to_string(cuda % 1000 / 10);
}

int start_cuda(const Cuda& cuda, uint32_t& driver_cuda) {
    int version = 0, count = 0;
    if (const CUresult result = cuda.init(0); result != CUDA_SUCCESS)
        throw CallError("cuInit failed", result);
    if (const CUresult result = cuda.driver_version(&version); result != CUDA_SUCCESS)
        throw CallError("cuDriverGetVersion failed", result);
    if (const CUresult result = cuda.device_count(&count); result != CUDA_SUCCESS)
        throw CallError("cuDeviceGetCount failed", result);
    driver_cuda = static_cast<uint32_t>(version);
    return count;
}

void start_cupti(const Cupti& cupti, uint32_t driver_cuda, Stream& stream, int gpus) {
    uint32_t api_version = 0;
    cupti.check(cupti.get_version(&api_version), "cuptiGetVersion");
    stream.hello({api_version, driver_cuda, static_cast<uint32_t>(gpus), 0});
    // Seen: CUPTI 13.3 on a driver for 13.0 crashes inside cuptiPmSamplingEnable.
    if (cuda_version_of_cupti(api_version) > driver_cuda)
        throw SamplingError(StatusCode::kLibraryTooNew, 0,
                            "libcupti is for CUDA " + spell(cuda_version_of_cupti(api_version)) +
                                ", the driver for " + spell(driver_cuda));
    auto initialize = GNOMON_PARAMS(CUpti_Profiler_Initialize_Params);
    cupti.check(cupti.initialize(&initialize), "cuptiProfilerInitialize");
}

int sample(const Options& options, const Plan& plan, Stream& stream) {
    const Cuda cuda = Cuda::load();
    const Cupti cupti = Cupti::load(options.libcupti);
    uint32_t driver_cuda = 0;
    const int count = start_cuda(cuda, driver_cuda);
    start_cupti(cupti, driver_cuda, stream, count);

    std::vector<std::unique_ptr<Gpu>> gpus;
    for (int i = 0; i < count; ++i)
        gpus.push_back(std::make_unique<Gpu>(i, cuda, cupti, plan, options, stream));
    const pid_t parent = getppid();
    // PR_SET_PDEATHSIG would fire at the end of the thread that started us, not of the process:
    // the pipe and the parent's id tell the same without that trap.
    int64_t wait_ns = 0;
    do {
        const int64_t begun_ns = unix_time_ns();
        const bool on = options.turns.on_at(begun_ns);
        bool more = false;
        for (const auto& gpu : gpus) more = gpu->step(on && !pause_requested, begun_ns) || more;
        if (std::all_of(gpus.begin(), gpus.end(), [](const auto& gpu) { return gpu->given_up(); }))
            return kNothingToSample;
        // Opening GPUs may have outlasted an edge.
        const int64_t now_ns = unix_time_ns();
        wait_ns = more || options.turns.on_at(now_ns) != on
                      ? 0
                      : std::min(options.sampling.decode_ns, options.turns.until_edge_ns(now_ns));
    } while (stream.wait_while_open(wait_ns) && getppid() == parent && !stop_requested);
    return kOk;
}

// Prints, for each counter set, what of it fits one pass of a chip, and the first choice of what
// does not.
int choose(const Options& options) {
    const Plan plan = read_plan(std::cin);
    const Cupti cupti = Cupti::load(options.libcupti);
    std::vector<uint8_t> availability;
    if (!options.availability.empty()) {
        std::ifstream file(options.availability, std::ios::binary);
        availability.assign(std::istreambuf_iterator<char>(file), {});
        if (availability.empty()) throw std::runtime_error("cannot read " + options.availability);
    }
    for (size_t set = 0; set < plan.sets.size(); ++set) {
        const Pass pass = choose_pass(cupti, options.choose_for, availability, plan, set);
        std::printf("set %s\n", plan.sets[set].name.c_str());
        for (const Metric& metric : pass.metrics) std::printf("takes %u\n", metric.number);
        for (const uint16_t wish : pass.lacking) std::printf("lacks %u\n", wish);
    }
    return kOk;
}

int run(const Options& options) {
    Stream stream(options.fd);
    try {
        return sample(options, read_plan(std::cin), stream);
    } catch (const SamplingError& error) {
        stream.status(-1, error.code, error.result, error.what());
    } catch (const LibraryError& error) {
        stream.status(-1, StatusCode::kLibrary, 0, error.what());
    } catch (const CallError& error) {
        stream.status(-1, StatusCode::kFailed, error.result, error.what());
    } catch (const std::exception& error) {
        stream.status(-1, StatusCode::kFailed, 0, error.what());
    }
    return kNothingToSample;
}

void handle_signals() {
    struct sigaction action {};
    action.sa_handler = [](int) { stop_requested = 1; };
    sigaction(SIGTERM, &action, nullptr);
    // A pause disables the sampler, as the time between turns does: it costs the GPU nothing, and
    // what takes long to set up stays.
    action.sa_handler = [](int) { pause_requested = 1; };
    sigaction(SIGUSR1, &action, nullptr);
    action.sa_handler = [](int) { pause_requested = 0; };
    sigaction(SIGUSR2, &action, nullptr);
    signal(SIGINT, SIG_IGN);  // Ctrl-C reaches the whole group; our parent decides when we end
    signal(SIGPIPE, SIG_IGN);
    // The rest waits for wait_while_open: neither does one come just before the wait and go
    // unheard through it, nor does a thread of CUDA's take it.
    sigset_t held;
    sigemptyset(&held);
    for (const int number : {SIGTERM, SIGUSR1, SIGUSR2}) sigaddset(&held, number);
    sigprocmask(SIG_BLOCK, &held, nullptr);
}

}  // namespace
}  // namespace gnomon

int main(int count, char** words) {
    using namespace gnomon;
    try {
        const Options options = parse_options(count, words);
        if (!options.version_of.empty()) {
            std::printf("%u\n", cuda_version_of_cupti(cupti_version_of(options.version_of)));
            return kOk;
        }
        if (!options.choose_for.empty()) return choose(options);
        handle_signals();
        return run(options);
    } catch (const std::exception& error) {
        std::fprintf(stderr, "gnomon-pm: %s\n", error.what());
        return kUsage;
    }
}
