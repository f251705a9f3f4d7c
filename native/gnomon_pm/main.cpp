// gnomon-pm: samples the performance counters of every GPU through CUPTI PM sampling and streams
// rows to the pipe it was given. It is a process of its own because libcupti may crash, and
// because only it needs CAP_SYS_ADMIN where the driver restricts profiling.
//
//   gnomon-pm --fd N --libcupti PATH [--interval-us 10000] [--row-ms 100] [--decode-ms 500]
//             [--hardware-buffer-mib 32] [--retry-ms 30000] < metric plan
//   gnomon-pm --cuda-version-of PATH
//
// It makes no CUDA context: sampling is device-wide and costs the workload no device memory of
// its own beyond the hardware buffer. It exits when nobody reads its pipe any more.

#include <signal.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <memory>
#include <optional>
#include <thread>

#include "cupti_api.h"
#include "plan.h"
#include "sampler.h"
#include "stream.h"

namespace gnomon {
namespace {

enum ExitCode { kOk = 0, kUsage = 2, kNothingToSample = 3 };

using SteadyClock = std::chrono::steady_clock;

volatile sig_atomic_t stop_requested = 0;
volatile sig_atomic_t pause_requested = 0;

struct Options {
    int fd = -1;
    std::string libcupti;
    std::string version_of;
    SamplingOptions sampling;
    std::chrono::milliseconds retry{30'000};
};

int64_t cpu_time_ns() {
    timespec now{};
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return now.tv_sec * 1'000'000'000LL + now.tv_nsec;
}

// One GPU over the life of the helper: sampled, waiting to be tried again, or given up.
class Gpu {
public:
    Gpu(int index, const Cuda& cuda, const Cupti& cupti, const std::vector<Plan>& plans,
        const Options& options, Stream& stream)
        : index_(index), cuda_(cuda), cupti_(cupti), plans_(plans), options_(options),
          stream_(stream) {}

    bool given_up() const { return given_up_; }

    void step() {
        if (given_up_) return;
        try {
            if (sampler_ == nullptr && SteadyClock::now() >= next_try_) open();
            if (sampler_ == nullptr) return;
            follow(pause_requested != 0);
            if (!paused_) drain();
        } catch (const SamplingError& error) {
            close(error);
        }
    }

private:
    void open() {
        const int64_t cpu_before_ns = cpu_time_ns();
        sampler_ = std::make_unique<Sampler>(cuda_, cupti_, index_, plans_, options_.sampling);
        builder_.emplace(
            sampler_->plan(), options_.sampling.interval_ns, options_.sampling.row_ns,
            [this](Row&& row) { send(std::move(row)); },
            [this](const Loss& loss) { stream_.loss(index_, loss); });
        cpu_ns_ = cpu_time_ns() - cpu_before_ns;
        announce();
    }

    void follow(bool pause) {
        if (pause == paused_) return;
        if (pause) {
            drain();  // what has been sampled until now
            sampler_->pause();
        } else {
            sampler_->resume(*builder_);
        }
        paused_ = pause;
    }

    void announce() {
        GpuPayload payload{};
        CUuuid uuid{};
        CUdevice device{};
        if (cuda_.device(&device, index_) == CUDA_SUCCESS && cuda_.device_uuid(&uuid, device) == CUDA_SUCCESS)
            std::memcpy(payload.uuid, uuid.bytes, sizeof payload.uuid);
        std::snprintf(payload.chip, sizeof payload.chip, "%s", sampler_->chip().c_str());
        payload.plan = static_cast<uint32_t>(sampler_->plan_index());
        payload.metrics = static_cast<uint32_t>(sampler_->plan().metrics.size());
        payload.interval_us = static_cast<uint32_t>(options_.sampling.interval_ns / 1000);
        stream_.gpu(index_, payload);
    }

    void drain() {
        const int64_t cpu_before_ns = cpu_time_ns();
        sampler_->drain(*builder_);
        cpu_ns_ += cpu_time_ns() - cpu_before_ns;
    }

    void send(Row&& row) {
        row.totals.cpu_ns = cpu_ns_;
        cpu_ns_ = 0;
        stream_.row(index_, row);
    }

    void close(const SamplingError& error) {
        builder_.reset();
        sampler_.reset();
        paused_ = false;
        given_up_ = error.code != StatusCode::kBusy && error.code != StatusCode::kFailed;
        next_try_ = SteadyClock::now() + options_.retry;
        stream_.status(index_, error.code, error.result, error.what());
    }

    const int index_;
    const Cuda& cuda_;
    const Cupti& cupti_;
    const std::vector<Plan>& plans_;
    const Options& options_;
    Stream& stream_;
    std::unique_ptr<Sampler> sampler_;
    std::optional<RowBuilder> builder_;
    SteadyClock::time_point next_try_{};
    int64_t cpu_ns_ = 0;
    bool paused_ = false;
    bool given_up_ = false;
};

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

int sample(const Options& options, const std::vector<Plan>& plans, Stream& stream) {
    const Cuda cuda = Cuda::load();
    const Cupti cupti = Cupti::load(options.libcupti);
    uint32_t driver_cuda = 0;
    const int count = start_cuda(cuda, driver_cuda);
    start_cupti(cupti, driver_cuda, stream, count);

    std::vector<std::unique_ptr<Gpu>> gpus;
    for (int i = 0; i < count; ++i)
        gpus.push_back(std::make_unique<Gpu>(i, cuda, cupti, plans, options, stream));
    const pid_t parent = getppid();
    const auto decode_ms = static_cast<int>(options.sampling.decode_ns / 1'000'000);
    // PR_SET_PDEATHSIG would fire at the end of the thread that started us, not of the process:
    // the pipe and the parent's id tell the same without that trap.
    do {
        for (const auto& gpu : gpus) gpu->step();
        if (std::all_of(gpus.begin(), gpus.end(), [](const auto& gpu) { return gpu->given_up(); }))
            return kNothingToSample;
    } while (stream.wait_while_open(decode_ms) && getppid() == parent && !stop_requested);
    return kOk;
}

int run(const Options& options) {
    Stream stream(options.fd);
    try {
        return sample(options, read_plans(std::cin), stream);
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

Options parse(int count, char** words) {
    Options options;
    for (int i = 1; i < count; ++i) {
        const std::string key = words[i];
        if (i + 1 == count) throw std::runtime_error("no value after " + key);
        const char* value = words[++i];
        const auto number = [&](long long least, long long most) {
            char* end = nullptr;
            const long long result = std::strtoll(value, &end, 10);
            if (*end != '\0' || end == value || result < least || result > most)
                throw std::runtime_error("not a value for " + key + ": " + value);
            return result;
        };
        if (key == "--fd") options.fd = static_cast<int>(number(0, 1 << 20));
        else if (key == "--libcupti") options.libcupti = value;
        else if (key == "--cuda-version-of") options.version_of = value;
        else if (key == "--interval-us") options.sampling.interval_ns = number(20, 1'000'000) * 1000;
        else if (key == "--row-ms") options.sampling.row_ns = number(1, 60'000) * 1'000'000;
        else if (key == "--decode-ms") options.sampling.decode_ns = number(1, 60'000) * 1'000'000;
        else if (key == "--hardware-buffer-mib") options.sampling.hardware_buffer_bytes = static_cast<size_t>(number(1, 1024)) << 20;
        else if (key == "--retry-ms") options.retry = std::chrono::milliseconds(number(1, 3'600'000));
        else throw std::runtime_error("unknown option " + key);
    }
    if (options.version_of.empty() && (options.fd < 0 || options.libcupti.empty()))
        throw std::runtime_error("--fd and --libcupti are needed");
    return options;
}

void handle_signals() {
    struct sigaction action {};
    action.sa_handler = [](int) { stop_requested = 1; };
    sigaction(SIGTERM, &action, nullptr);
    // A pause costs the GPU nothing and ends within a sample; opening anew takes seconds.
    action.sa_handler = [](int) { pause_requested = 1; };
    sigaction(SIGUSR1, &action, nullptr);
    action.sa_handler = [](int) { pause_requested = 0; };
    sigaction(SIGUSR2, &action, nullptr);
    signal(SIGINT, SIG_IGN);  // Ctrl-C reaches the whole group; our parent decides when we end
    signal(SIGPIPE, SIG_IGN);
}

}  // namespace
}  // namespace gnomon

int main(int count, char** words) {
    using namespace gnomon;
    try {
        const Options options = parse(count, words);
        if (!options.version_of.empty()) {
            std::printf("%u\n", cuda_version_of_cupti(cupti_version_of(options.version_of)));
            return kOk;
        }
        handle_signals();
        return run(options);
    } catch (const std::exception& error) {
        std::fprintf(stderr, "gnomon-pm: %s\n", error.what());
        return kUsage;
    }
}
