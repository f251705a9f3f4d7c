// NVIDIA's own calculator, asked about shapes from stdin:
//   major minor warps shared_bytes shared_per_block reserved  threads registers shared_of_block
// Prints the blocks that an SM holds, or -1 where this version does not know the device.
#include <cstdio>
#include <cuda_occupancy.h>

int main()
{
    int major, minor, warps, per_sm, per_block, reserved, threads, registers, shared;
    while (std::scanf("%d %d %d %d %d %d %d %d %d", &major, &minor, &warps, &per_sm, &per_block,
                      &reserved, &threads, &registers, &shared) == 9) {
        cudaOccDeviceProp device;
        device.computeMajor = major;
        device.computeMinor = minor;
        device.maxThreadsPerBlock = 1024;
        device.maxThreadsPerMultiprocessor = 32 * warps;
        device.regsPerBlock = 65536;
        device.regsPerMultiprocessor = 65536;
        device.warpSize = 32;
        device.sharedMemPerBlock = 48 * 1024;
        device.sharedMemPerMultiprocessor = per_sm;
        device.numSms = 132;
        device.sharedMemPerBlockOptin = per_block;
        device.reservedSharedMemPerBlock = reserved;
        cudaOccFuncAttributes kernel;
        kernel.maxThreadsPerBlock = 1024;
        kernel.numRegs = registers;
        kernel.shmemLimitConfig = FUNC_SHMEM_LIMIT_OPTIN;
        kernel.maxDynamicSharedSizeBytes = per_block;
        cudaOccDeviceState state;
        cudaOccResult result;
        const cudaOccError status = cudaOccMaxActiveBlocksPerMultiprocessor(
            &result, &device, &kernel, &state, threads, shared);
        std::printf("%d\n", status == CUDA_OCC_SUCCESS ? result.activeBlocksPerMultiprocessor : -1);
    }
    return 0;
}
