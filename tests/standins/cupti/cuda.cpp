// A libcuda.so.1 of the five functions that gnomon-pm calls; see script.h for what it can be told.
#include <cuda.h>

#include <cstring>

#include "script.h"

extern "C" {

CUresult CUDAAPI cuInit(unsigned int) { return static_cast<CUresult>(script().number("cuda_init", 0)); }

CUresult CUDAAPI cuDriverGetVersion(int* version) {
    *version = static_cast<int>(script().number("driver_cuda", 13000));
    return CUDA_SUCCESS;
}

CUresult CUDAAPI cuDeviceGetCount(int* count) {
    *count = static_cast<int>(script().number("gpus", 1));
    return CUDA_SUCCESS;
}

CUresult CUDAAPI cuDeviceGet(CUdevice* device, int ordinal) {
    *device = ordinal;
    return CUDA_SUCCESS;
}

// The UUIDs of the NVML stand-in: GPU-00000000-0000-4000-8000-00000000000N.
CUresult CUDAAPI cuDeviceGetUuid(CUuuid* uuid, CUdevice device) {
    std::memset(uuid->bytes, 0, sizeof uuid->bytes);
    uuid->bytes[6] = 0x40;
    uuid->bytes[8] = static_cast<char>(0x80);
    uuid->bytes[15] = static_cast<char>(device);
    return CUDA_SUCCESS;
}

}  // extern "C"
