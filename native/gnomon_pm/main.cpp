// gnomon-pm: samples the performance counters of every GPU through CUPTI PM sampling and streams
// rows to the pipe it was given. It is a process of its own because libcupti may crash, and
// because only it needs CAP_SYS_ADMIN where the driver restricts profiling.
//
//   gnomon-pm --fd N --libcupti PATH [--interval-us 10000] [--row-ms 100] [--decode-ms 500]
//             [--hardware-buffer-mib 32] [--retry-ms 30000] [--on-ms 0 --every-ms 0] < metric plan
//   gnomon-pm --cuda-version-of PATH
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
#include <cstdlib>
#include <iostream>
#include <memory>
#include <optional>
#include <utility>

#include "cupti_api.h"
#include "plan.h"
#include "sampler.h"
#include "stream.h"
#include "turns.h"

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
    Turns turns;
    std::chrono::milliseconds retry{30'000};
};

int64_t cpu_time_ns() {
    timespec now{};
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return now.tv_sec * 1'000'000'000LL + now.tv_nsec;
}

int64_t unix_time_ns() {
    const auto now = std::chrono::system_clock::now().time_since_epoch();
    return std::chrono::duration_cast<std::chrono::nanoseconds>(now).count();
}

// One GPU over the life of the helper: sampled, waiting to be tried again, or given up.
class Gpu {
public:
    Gpu(int index, const Cuda& cuda, const Cupti& cupti, const std::vector<Plan>& plans,
        const Options& options, Stream& stream)
        : index_(index), cuda_(cuda), cupti_(cupti), plans_(plans), options_(options),
          stream_(stream) {}

    bool given_up() const { return given_up_; }

    // `on`: whether it is to be sampled now.
    void step(bool on) {
        if (given_up_) return;
        const int64_t cpu_before_ns = cpu_time_ns();
        try {
            if (sampler_ == nullptr && is_due(on)) open();
            if (sampler_ == nullptr) return;
            if (sampler_->sampling()) sampler_->drain(*builder_);
            follow(on);
        } catch (const SamplingError& error) {
            close(error);
        }
        cpu_ns_ += cpu_time_ns() - cpu_before_ns;
    }

private:
    // The first try is made at once, also between turns: it tells whether the GPU can be sampled.
    bool is_due(bool on) const {
        return !next_try_ || (on && SteadyClock::now() >= *next_try_);
    }

    void open() {
        sampler_ = std::make_unique<Sampler>(cuda_, cupti_, index_, plans_, options_.sampling);
        builder_.emplace(
            sampler_->plan(), options_.sampling.interval_ns, options_.sampling.row_ns,
            [this](Row&& row) { send(std::move(row)); },
            [this](const Loss& loss) { stream_.loss(index_, loss); });
        sampler_->begin();
        announce();
    }

    void follow(bool on) {
        if (on == sampler_->sampling()) return;
        if (on) {
            sampler_->begin();
        } else {
            sampler_->end();
            builder_->end_turn();
        }
    }

    void announce() {
        told_.reset();
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

    void send(Row&& row) {
        row.totals.cpu_ns = cpu_ns_;
        cpu_ns_ = 0;
        stream_.row(index_, row);
    }

    void close(const SamplingError& error) {
        builder_.reset();
        sampler_.reset();
        given_up_ = error.code != StatusCode::kBusy && error.code != StatusCode::kFailed;
        next_try_ = SteadyClock::now() + options_.retry;
        const std::pair<StatusCode, int> news{error.code, error.result};
        if (told_ != news && stream_.status(index_, error.code, error.result, error.what()))
            told_ = news;
    }

    const int index_;
    const Cuda& cuda_;
    const Cupti& cupti_;
    const std::vector<Plan>& plans_;
    const Options& options_;
    Stream& stream_;
    std::unique_ptr<Sampler> sampler_;
    std::optional<RowBuilder> builder_;
    std::optional<SteadyClock::time_point> next_try_;  // once one has failed
    std::optional<std::pair<StatusCode, int>> told_;   // why it is not sampled
    int64_t cpu_ns_ = 0;                               // since the last row
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
    // PR_SET_PDEATHSIG would fire at the end of the thread that started us, not of the process:
    // the pipe and the parent's id tell the same without that trap.
    int64_t wait_ns = 0;
    do {
        const bool on = options.turns.on_at(unix_time_ns());
        for (const auto& gpu : gpus) gpu->step(on && !pause_requested);
        if (std::all_of(gpus.begin(), gpus.end(), [](const auto& gpu) { return gpu->given_up(); }))
            return kNothingToSample;
        // Opening GPUs may have outlasted an edge.
        const int64_t now_ns = unix_time_ns();
        wait_ns = options.turns.on_at(now_ns) != on
                      ? 0
                      : std::min(options.sampling.decode_ns, options.turns.until_edge_ns(now_ns));
    } while (stream.wait_while_open(wait_ns) && getppid() == parent && !stop_requested);
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
        else if (key == "--on-ms") options.turns.on_ns = number(0, 3'600'000) * 1'000'000;
        else if (key == "--every-ms") options.turns.every_ns = number(0, 3'600'000) * 1'000'000;
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
