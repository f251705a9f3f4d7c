// A program that uses a GPU, as far as the stand-in driver has one. Each line of its input is a
// thing to do, each is answered by a line.
#include <dlfcn.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cuda.h>
#include <cupti_result.h>
#include <cupti_activity.h>
#include <cupti_callbacks.h>

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <mutex>
#include <set>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "operation.h"

namespace {

void* driver = nullptr;
std::atomic<long> profiled{0};

template <typename Function>
Function find(void* library, const char* name) {
    return reinterpret_cast<Function>(dlsym(library, name));
}

void init() {
    driver = dlopen("libcuda.so.1", RTLD_NOW);
    find<CUresult (*)(unsigned)>(driver, "cuInit")(0);
}

void run(const Operation& operation) {
    find<void (*)(const Operation*)>(driver, "standin_run")(&operation);
}

const char* lasting(const std::string& name) { return strdup(name.c_str()); }

void launch(const std::string& name, long times, unsigned device = 0, unsigned graph = 0) {
    Operation kernel{CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL, lasting(name), nullptr, 0, graph, device,
                     0};
    for (long i = 0; i < times; ++i) run(kernel);
}

// A profiler of the program's own, as torch.profiler is one.
constexpr size_t kBufferBytes = 1 << 16;
std::set<uint8_t*>* own = new std::set<uint8_t*>;
std::mutex* guard = new std::mutex;
void* cupti = nullptr;

void request(uint8_t** buffer, size_t* size, size_t* most) {
    *buffer = static_cast<uint8_t*>(std::calloc(1, kBufferBytes));
    const std::lock_guard<std::mutex> lock(*guard);
    own->insert(*buffer);
    *size = kBufferBytes;
    *most = 0;
}

void complete(CUcontext, uint32_t, uint8_t* buffer, size_t, size_t valid) {
    const std::lock_guard<std::mutex> lock(*guard);
    if (own->count(buffer) == 0) return;  // not ours: left alone
    CUpti_Activity* record = nullptr;
    const auto next = find<decltype(&cuptiActivityGetNextRecord)>(cupti, "cuptiActivityGetNextRecord");
    while (next(buffer, valid, &record) == CUPTI_SUCCESS) ++profiled;
}

void nothing(void*, CUpti_CallbackDomain, CUpti_CallbackId, const void*) {}

// A well-behaved profiler subscribes. Returns the result of that.
int begin_profiling(const std::string& path, bool subscribes) {
    static CUpti_SubscriberHandle subscriber;
    cupti = dlopen(path.c_str(), RTLD_NOW);
    int result = 0;
    if (subscribes)
        result = find<decltype(&cuptiSubscribe)>(cupti, "cuptiSubscribe")(&subscriber, nothing, nullptr);
    find<decltype(&cuptiActivityRegisterCallbacks)>(cupti, "cuptiActivityRegisterCallbacks")(request, complete);
    find<decltype(&cuptiActivityEnable)>(cupti, "cuptiActivityEnable")(CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL);
    return result;
}

void end_profiling() {
    find<decltype(&cuptiActivityDisable)>(cupti, "cuptiActivityDisable")(CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL);
    find<decltype(&cuptiActivityFlushAll)>(cupti, "cuptiActivityFlushAll")(1);
    find<decltype(&cuptiUnsubscribe)>(cupti, "cuptiUnsubscribe")(nullptr);
}

// The status of a child that launches and ends, the way Python's multiprocessing forks.
// 1: it initialises CUDA; 2: its driver loads the injected library anew.
int fork_and_launch(long how, long times) {
    const pid_t child = fork();
    if (child == 0) {
        if (how == 1) init();
        if (how == 2) {
            void* library = dlopen(std::getenv("CUDA_INJECTION64_PATH"), RTLD_NOW);
            find<int (*)()>(library, "InitializeInjection")();
        }
        for (long i = 0; i < times; ++i) {
            if (driver != nullptr) launch("in_the_child", 1);
            usleep(1000);
        }
        std::exit(7);
    }
    int status = 0;
    waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

std::string answer(std::istringstream& words, const std::string& verb) {
    std::string name;
    long number = 1, second = 0, third = 0;
    if (verb == "init") init();
    else if (verb == "launch") words >> name >> number >> second >> third, launch(name, number, static_cast<unsigned>(second), static_cast<unsigned>(third));
    else if (verb == "threads") {
        words >> number >> second;
        std::vector<std::thread> threads;
        for (long i = 0; i < number; ++i) threads.emplace_back([=] { launch("threaded", second); });
        for (auto& thread : threads) thread.join();
    }
    else if (verb == "start") words >> name, run({CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL, lasting(name), nullptr, 0, 0, 0, 1});
    else if (verb == "finish") run({});
    else if (verb == "copy") words >> number, run({CUPTI_ACTIVITY_KIND_MEMCPY, nullptr, nullptr, static_cast<unsigned long long>(number), 0, 0, 0});
    else if (verb == "peer") words >> number, run({CUPTI_ACTIVITY_KIND_MEMCPY2, nullptr, nullptr, static_cast<unsigned long long>(number), 0, 0, 0});
    else if (verb == "fill") words >> number, run({CUPTI_ACTIVITY_KIND_MEMSET, nullptr, nullptr, static_cast<unsigned long long>(number), 0, 0, 0});
    else if (verb == "wait") run({CUPTI_ACTIVITY_KIND_SYNCHRONIZATION, nullptr, nullptr, 0, 0, 0, 0});
    else if (verb == "push") words >> number >> name, run({CUPTI_ACTIVITY_KIND_MARKER, lasting(name), nullptr, 0, 2, static_cast<unsigned>(number), 0});
    else if (verb == "pop") words >> number, run({CUPTI_ACTIVITY_KIND_MARKER, nullptr, nullptr, 0, 4, static_cast<unsigned>(number), 0});
    else if (verb == "mark") words >> name, run({CUPTI_ACTIVITY_KIND_MARKER, lasting(name), "mine", 0, 1, 99, 0});
    else if (verb == "fork") words >> number >> second, number = fork_and_launch(number, second);
    else if (verb == "load") words >> name, number = dlopen(name.c_str(), RTLD_NOW) != nullptr;
    else if (verb == "profile") words >> number >> name, number = begin_profiling(name, number != 0);
    else if (verb == "profiled") end_profiling(), number = profiled;
    else if (verb == "closefds") for (int fd = 3; fd < 256; ++fd) close(fd);
    else if (verb == "teardown") find<void (*)()>(driver, "standin_tear_down")();
    else if (verb == "sleep") words >> number, usleep(static_cast<useconds_t>(number) * 1000);
    else if (verb == "limit") {
        words >> number;
        const rlimit limit{static_cast<rlim_t>(number), static_cast<rlim_t>(number)};
        setrlimit(RLIMIT_FSIZE, &limit);
    }
    else if (verb == "setuid") words >> number, number = setuid(static_cast<uid_t>(number));
    else if (verb == "exit") words >> number, std::exit(static_cast<int>(number));
    else if (verb == "kill") raise(SIGKILL);
    else return "unknown " + verb;
    return "ok " + std::to_string(number);
}

}  // namespace

int main() {
    std::cout << "ok " << getpid() << std::endl;
    for (std::string line; std::getline(std::cin, line);) {
        std::istringstream words(line);
        std::string verb;
        words >> verb;
        std::cout << answer(words, verb) << std::endl;
    }
    return 0;
}
