/* Calls as a program compiled against NVIDIA's headers makes them, in the order in which the test
 * expects their records. Sizes, addresses and streams are told apart by their values. */
#include <cuda.h>
#include <cuda_runtime_api.h>

#define MEMORY ((void *)0xd000)
#define HOST ((void *)0xe000)
#define STREAM ((cudaStream_t)0x57)
#define CU_MEMORY ((CUdeviceptr)0xd000)

static void launches(void)
{
    struct dim3 grid = {2, 3, 4}, block = {5, 6, 7};
    void *given[1] = {0};
    cudaLaunchConfig_t configuration = {.gridDim = grid, .blockDim = block, .stream = STREAM};
    CUlaunchConfig driver_configuration = {.gridDimX = 2, .hStream = STREAM};
    cudaLaunchKernel(MEMORY, grid, block, given, 11, STREAM);
    cudaLaunchCooperativeKernel(MEMORY, grid, block, given, 11, STREAM);
    cudaLaunchKernelExC(&configuration, MEMORY, given);
    cudaGraphLaunch((cudaGraphExec_t)6, STREAM);
    cuLaunchKernel((CUfunction)MEMORY, 2, 3, 4, 5, 6, 7, 11, STREAM, given, 0);
    cuLaunchCooperativeKernel((CUfunction)MEMORY, 2, 3, 4, 5, 6, 7, 11, STREAM, given);
    cuLaunchKernelEx(&driver_configuration, (CUfunction)MEMORY, given, 0);
}

static void runtime_copies(void)
{
    struct cudaMemcpy3DParms box = {.extent = {30, 20, 10}, .kind = cudaMemcpyDeviceToHost};
    struct cudaMemcpy3DPeerParms peer_box = {.extent = {30, 20, 10}};
    cudaMemcpy(MEMORY, HOST, 1000, cudaMemcpyHostToDevice);
    cudaMemcpyAsync(HOST, MEMORY, 1000, cudaMemcpyDeviceToHost, STREAM);
    cudaMemcpy2D(MEMORY, 64, MEMORY, 65, 30, 20, cudaMemcpyDeviceToDevice);
    cudaMemcpy2DAsync(MEMORY, 64, HOST, 65, 30, 20, cudaMemcpyDefault, STREAM);
    cudaMemcpy3D(&box);
    cudaMemcpy3DAsync(&box, STREAM);
    cudaMemcpyPeer(MEMORY, 1, MEMORY, 2, 1000);
    cudaMemcpyPeerAsync(MEMORY, 1, MEMORY, 2, 1000, STREAM);
    cudaMemcpy3DPeerAsync(&peer_box, STREAM);
    cudaMemcpyToSymbol(MEMORY, HOST, 1000, 8, cudaMemcpyHostToDevice);
    cudaMemcpyFromSymbolAsync(HOST, MEMORY, 1000, 8, cudaMemcpyDeviceToHost, STREAM);
    cudaMemcpy2DToArrayAsync((cudaArray_t)9, 1, 2, HOST, 65, 30, 20, cudaMemcpyHostToDevice,
                             STREAM);
    cudaMemcpy2DFromArray(HOST, 65, (cudaArray_const_t)9, 1, 2, 30, 20, cudaMemcpyDeviceToHost);
}

static void driver_copies(void)
{
    CUDA_MEMCPY2D area = {.WidthInBytes = 30, .Height = 20};
    CUDA_MEMCPY3D box = {.WidthInBytes = 30, .Height = 20, .Depth = 10};
    CUDA_MEMCPY3D_PEER peer_box = {.WidthInBytes = 30, .Height = 20, .Depth = 10};
    cuMemcpy(CU_MEMORY, CU_MEMORY, 1000);
    cuMemcpyAsync(CU_MEMORY, CU_MEMORY, 1000, STREAM);
    cuMemcpyHtoD(CU_MEMORY, HOST, 1000);
    cuMemcpyHtoDAsync(CU_MEMORY, HOST, 1000, STREAM);
    cuMemcpyDtoH(HOST, CU_MEMORY, 1000);
    cuMemcpyDtoHAsync(HOST, CU_MEMORY, 1000, STREAM);
    cuMemcpyDtoD(CU_MEMORY, CU_MEMORY, 1000);
    cuMemcpyDtoDAsync(CU_MEMORY, CU_MEMORY, 1000, STREAM);
    cuMemcpyPeer(CU_MEMORY, (CUcontext)1, CU_MEMORY, (CUcontext)2, 1000);
    cuMemcpyPeerAsync(CU_MEMORY, (CUcontext)1, CU_MEMORY, (CUcontext)2, 1000, STREAM);
    cuMemcpy2D(&area);
    cuMemcpy2DAsync(&area, STREAM);
    cuMemcpy3DAsync(&box, STREAM);
    cuMemcpy3DPeer(&peer_box);
}

static void memsets(void)
{
    cudaMemset(MEMORY, 1, 1000);
    cudaMemsetAsync(MEMORY, 1, 1000, STREAM);
    cudaMemset2DAsync(MEMORY, 64, 1, 30, 20, STREAM);
    cuMemsetD8(CU_MEMORY, 1, 1000);
    cuMemsetD16Async(CU_MEMORY, 1, 1000, STREAM);
    cuMemsetD32(CU_MEMORY, 1, 1000);
    cuMemsetD2D8(CU_MEMORY, 64, 1, 30, 20);
    cuMemsetD2D32Async(CU_MEMORY, 64, 1, 30, 20, STREAM);
}

static void synchronisations(void)
{
    cudaStreamSynchronize(STREAM);
    cudaDeviceSynchronize();
    cudaEventSynchronize((cudaEvent_t)5);
    cuStreamSynchronize(STREAM);
    cuCtxSynchronize();
}

static void allocations(void)
{
    void *place;
    size_t pitch;
    CUdeviceptr address;
    CUmemGenericAllocationHandle handle;
    CUmemAllocationProp properties = {0};
    cudaMalloc(&place, 1000);
    cudaMallocAsync(&place, 1000, STREAM);
    cudaMallocManaged(&place, 1000, 1);
    cudaMallocPitch(&place, &pitch, 30, 20);
    cudaHostAlloc(&place, 1000, 1);
    cudaFree(MEMORY);
    cudaFreeAsync(MEMORY, STREAM);
    cuMemAlloc(&address, 1000);
    cuMemAllocPitch(&address, &pitch, 30, 20, 4);
    cuMemFree(CU_MEMORY);
    cuMemCreate(&handle, 1000, &properties, 0);
    cuMemMap(CU_MEMORY, 1000, 0, 7, 0);
    cuMemUnmap(CU_MEMORY, 1000);
}

static void managed_memory(void)
{
#if CUDART_VERSION >= 13000
    struct cudaMemLocation place = {.type = cudaMemLocationTypeDevice};
    CUmemLocation driver_place = {.type = CU_MEM_LOCATION_TYPE_DEVICE};
    cudaMemPrefetchAsync(MEMORY, 1000, place, 0, STREAM);
    cudaMemAdvise(MEMORY, 1000, cudaMemAdviseSetReadMostly, place);
    cuMemPrefetchAsync(CU_MEMORY, 1000, driver_place, 0, STREAM);
    cuMemAdvise(CU_MEMORY, 1000, CU_MEM_ADVISE_SET_READ_MOSTLY, driver_place);
#else
    cudaMemPrefetchAsync(MEMORY, 1000, 0, STREAM);
    cudaMemAdvise(MEMORY, 1000, cudaMemAdviseSetReadMostly, 0);
    cuMemPrefetchAsync(CU_MEMORY, 1000, 0, STREAM);
    cuMemAdvise(CU_MEMORY, 1000, CU_MEM_ADVISE_SET_READ_MOSTLY, 0);
#endif
}

static void loading(void)
{
    CUlibrary library;
    CUkernel kernel;
    CUfunction function;
    CUmodule module;
    cuLibraryLoadData(&library, HOST, 0, 0, 0, 0, 0, 0);
    cuLibraryGetKernel(&kernel, (CUlibrary)1, "name");
    cuKernelGetFunction(&function, (CUkernel)2);
    cuFuncLoad((CUfunction)MEMORY);
    cuModuleLoadData(&module, HOST);
    cuModuleGetFunction(&function, (CUmodule)3, "name");
    cuModuleUnload((CUmodule)MEMORY);
}

void typed_calls(void)
{
    launches();
    runtime_copies();
    driver_copies();
    memsets();
    synchronisations();
    allocations();
    managed_memory();
    loading();
}
