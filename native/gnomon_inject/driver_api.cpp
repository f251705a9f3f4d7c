#include "driver_api.h"

#include <cuda.h>
#include <dlfcn.h>

#include <cstring>

namespace gnomon {
namespace {

template <typename Function>
Function find(const char* name) {
    // It loaded us: this only counts one more use of it.
    void* library = dlopen("libcuda.so.1", RTLD_NOW | RTLD_NOLOAD);
    return library == nullptr ? nullptr : reinterpret_cast<Function>(dlsym(library, name));
}

void describe(Device& device, CUdevice handle) {
    // The function behind the name is cuda.h's own choice: _v2 tells a MIG instance's UUID.
    const auto whole = find<CUresult(CUDAAPI*)(CUuuid*, CUdevice)>("cuDeviceGetUuid");
    const auto instance = find<CUresult(CUDAAPI*)(CUuuid*, CUdevice)>("cuDeviceGetUuid_v2");
    const auto attribute =
        find<CUresult(CUDAAPI*)(int*, CUdevice_attribute, CUdevice)>("cuDeviceGetAttribute");
    CUuuid uuid{};
    if (whole == nullptr || whole(&uuid, handle) != CUDA_SUCCESS) return;
    memcpy(device.uuid, uuid.bytes, sizeof device.uuid);
    if (instance != nullptr && instance(&uuid, handle) == CUDA_SUCCESS &&
        memcmp(device.uuid, uuid.bytes, sizeof device.uuid) != 0) {
        memcpy(device.mig_uuid, uuid.bytes, sizeof device.mig_uuid);
        device.is_mig = 1;
    }
    const auto ask = [&](CUdevice_attribute which, int32_t& value) {
        int answer = 0;
        if (attribute != nullptr && attribute(&answer, which, handle) == CUDA_SUCCESS)
            value = answer;
    };
    ask(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, device.capability_major);
    ask(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR, device.capability_minor);
    ask(CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT, device.multiprocessors);
    ask(CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_MULTIPROCESSOR, device.threads_per_multiprocessor);
    ask(CU_DEVICE_ATTRIBUTE_MAX_BLOCKS_PER_MULTIPROCESSOR, device.blocks_per_multiprocessor);
    ask(CU_DEVICE_ATTRIBUTE_MAX_REGISTERS_PER_MULTIPROCESSOR,
        device.registers_per_multiprocessor);
    ask(CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_MULTIPROCESSOR,
        device.shared_bytes_per_multiprocessor);
    ask(CU_DEVICE_ATTRIBUTE_RESERVED_SHARED_MEMORY_PER_BLOCK,
        device.reserved_shared_bytes_per_block);
    __atomic_store_n(&device.is_known, 1u, __ATOMIC_RELEASE);
}

}  // namespace

int driver_cuda() {
    const auto ask = find<CUresult(CUDAAPI*)(int*)>("cuDriverGetVersion");
    int version = 0;
    return ask != nullptr && ask(&version) == CUDA_SUCCESS ? version : 0;
}

void describe_devices(Header& header) {
    const auto count_of = find<CUresult(CUDAAPI*)(int*)>("cuDeviceGetCount");
    const auto get = find<CUresult(CUDAAPI*)(CUdevice*, int)>("cuDeviceGet");
    int count = 0;
    if (count_of == nullptr || get == nullptr || count_of(&count) != CUDA_SUCCESS) return;
    for (int ordinal = 0; ordinal < count && ordinal < static_cast<int>(kMostDevices); ++ordinal) {
        CUdevice handle = 0;
        Device& device = header.devices[ordinal];
        if (!device.is_known && get(&handle, ordinal) == CUDA_SUCCESS) describe(device, handle);
    }
}

bool is_driver_alive() {
    const auto count_of = find<CUresult(CUDAAPI*)(int*)>("cuDeviceGetCount");
    int count = 0;
    return count_of != nullptr && count_of(&count) == CUDA_SUCCESS;
}

}  // namespace gnomon
