// A libcuda.so.1 that loads CUDA_INJECTION64_PATH as the driver does, knows two GPUs, the second an
// instance in MIG mode, and runs nothing: operations go to whoever hooked in, our libcupti.
#include <cuda.h>
#include <dlfcn.h>

#include <atomic>
#include <cstdlib>
#include <cstring>

#include "operation.h"

#undef cuDeviceGetUuid

namespace {

std::atomic<Hook> hook{nullptr};
std::atomic<bool> is_initialised{false}, is_gone{false};

CUresult state() {
    if (is_gone) return CUDA_ERROR_DEINITIALIZED;
    return is_initialised ? CUDA_SUCCESS : CUDA_ERROR_NOT_INITIALIZED;
}

void inject() {
    const char* path = std::getenv("CUDA_INJECTION64_PATH");
    if (path == nullptr) return;
    void* library = dlopen(path, RTLD_NOW);
    if (library == nullptr) return;
    const auto initialize = reinterpret_cast<int (*)()>(dlsym(library, "InitializeInjection"));
    if (initialize != nullptr) initialize();
}

// GPU-00000000-0000-4000-8000-00000000000N; its instance ends in fN.
void uuid_of(CUuuid* uuid, CUdevice device, unsigned char high) {
    std::memset(uuid->bytes, 0, sizeof uuid->bytes);
    uuid->bytes[6] = 0x40;
    uuid->bytes[8] = static_cast<char>(0x80);
    uuid->bytes[15] = static_cast<char>(high | static_cast<unsigned char>(device));
}

}  // namespace

extern "C" {

CUresult CUDAAPI cuInit(unsigned int) {
    if (!is_initialised) inject();
    is_initialised = true;
    return CUDA_SUCCESS;
}

CUresult CUDAAPI cuDriverGetVersion(int* version) {
    const char* told = std::getenv("STANDIN_DRIVER_CUDA");
    *version = told == nullptr ? 13000 : std::atoi(told);
    return CUDA_SUCCESS;
}

CUresult CUDAAPI cuDeviceGetCount(int* count) {
    *count = 2;
    return state();
}

CUresult CUDAAPI cuDeviceGet(CUdevice* device, int ordinal) {
    *device = ordinal;
    return state();
}

CUresult CUDAAPI cuDeviceGetUuid(CUuuid* uuid, CUdevice device) {
    uuid_of(uuid, device, 0);
    return state();
}

CUresult CUDAAPI cuDeviceGetUuid_v2(CUuuid* uuid, CUdevice device) {
    uuid_of(uuid, device, device == 1 ? 0xf0 : 0);
    return state();
}

CUresult CUDAAPI cuDeviceGetAttribute(int* value, CUdevice_attribute attribute, CUdevice) {
    switch (attribute) {  // an H200
        case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR: *value = 9; break;
        case CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT: *value = 132; break;
        case CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_MULTIPROCESSOR: *value = 2048; break;
        case CU_DEVICE_ATTRIBUTE_MAX_BLOCKS_PER_MULTIPROCESSOR: *value = 32; break;
        case CU_DEVICE_ATTRIBUTE_MAX_REGISTERS_PER_MULTIPROCESSOR: *value = 65536; break;
        case CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_MULTIPROCESSOR: *value = 233472; break;
        case CU_DEVICE_ATTRIBUTE_RESERVED_SHARED_MEMORY_PER_BLOCK: *value = 1024; break;
        default: *value = 0;
    }
    return state();
}

void standin_hook(Hook now) { hook = now; }
void standin_run(const Operation* operation) {
    if (const Hook now = hook) now(operation);
}
void standin_tear_down() { is_gone = true; }

}  // extern "C"
