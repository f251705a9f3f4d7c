/* libnccl.so.2: signatures, groups, and CUDA calls inside of NCCL calls are those of the real
 * one; nothing is communicated. Written into the same book as the CUDA stand-ins' calls. */
#include "nccl.h"
#include "../cudart/standin.h"

#include <stdlib.h>

function cudaLaunchKernelExC, cudaMalloc, cudaFree;

struct ncclComm {
    int ranks;
};

static __thread int group_depth, queued;

static void launch(void)
{
    uint64_t configuration[8] = {0};
    cudaLaunchKernelExC((uint64_t)configuration, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0);
}

/* In a group nothing is launched before its end. */
static int enqueue(const char *name, ncclDataType_t type)
{
    struct entry *entry = standin_enter(name, 3);
    if (type < 0 || type >= ncclNumTypes)
        return standin_leave(entry, ncclInvalidArgument);
    if (group_depth)
        queued++;
    else
        launch();
    return standin_leave(entry, ncclSuccess);
}

#define REDUCES                                                                                   \
    (const void *in, void *out, size_t count, ncclDataType_t type, ncclRedOp_t op,                \
     ncclComm_t comm, cudaStream_t stream)
#define GATHERS                                                                                   \
    (const void *in, void *out, size_t count, ncclDataType_t type, ncclComm_t comm,               \
     cudaStream_t stream)
#define HAS_ROOT                                                                                  \
    (const void *in, void *out, size_t count, ncclDataType_t type, int root, ncclComm_t comm,     \
     cudaStream_t stream)
#define ENQUEUES(name, arguments)                                                                 \
    ncclResult_t name arguments                                                                   \
    {                                                                                             \
        return enqueue(#name, type);                                                              \
    }

ENQUEUES(ncclAllReduce, REDUCES)
ENQUEUES(ncclReduceScatter, REDUCES)
ENQUEUES(ncclAllGather, GATHERS)
ENQUEUES(ncclAlltoAll, GATHERS)
ENQUEUES(ncclBroadcast, HAS_ROOT)
ENQUEUES(ncclGather, HAS_ROOT)
ENQUEUES(ncclScatter, HAS_ROOT)
ENQUEUES(ncclReduce, (const void *in, void *out, size_t count, ncclDataType_t type, ncclRedOp_t op,
                      int root, ncclComm_t comm, cudaStream_t stream))
ENQUEUES(ncclSend, (const void *buffer, size_t count, ncclDataType_t type, int peer,
                    ncclComm_t comm, cudaStream_t stream))
ENQUEUES(ncclRecv, (void *buffer, size_t count, ncclDataType_t type, int peer, ncclComm_t comm,
                    cudaStream_t stream))

/* As in the real one: a call of the library into its own public function. */
ncclResult_t ncclBcast(void *buffer, size_t count, ncclDataType_t type, int root, ncclComm_t comm,
                       cudaStream_t stream)
{
    struct entry *entry = standin_enter("ncclBcast", 3);
    return standin_leave(entry, ncclBroadcast(buffer, buffer, count, type, root, comm, stream));
}

ncclResult_t ncclGroupStart(void)
{
    struct entry *entry = standin_enter("ncclGroupStart", 3);
    group_depth++;
    return standin_leave(entry, ncclSuccess);
}

ncclResult_t ncclGroupEnd(void)
{
    struct entry *entry = standin_enter("ncclGroupEnd", 3);
    if (!--group_depth)
        for (; queued; queued--)
            launch();
    return standin_leave(entry, ncclSuccess);
}

ncclResult_t ncclGroupSimulateEnd(void *information)
{
    struct entry *entry = standin_enter("ncclGroupSimulateEnd", 3);
    if (!--group_depth)
        queued = 0;
    return standin_leave(entry, ncclSuccess);
}

static int make(const char *name, ncclComm_t *made, int ranks, int code)
{
    struct entry *entry = standin_enter(name, 3);
    uint64_t memory;
    cudaMalloc((uint64_t)&memory, 4096, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0);
    *made = malloc(sizeof **made);
    (*made)->ranks = ranks;
    return standin_leave(entry, code);
}

ncclResult_t ncclCommInitRank(ncclComm_t *comm, int nranks, ncclUniqueId id, int rank)
{
    return make("ncclCommInitRank", comm, nranks, ncclSuccess);
}

/* Configured not to block. */
ncclResult_t ncclCommInitRankConfig(ncclComm_t *comm, int nranks, ncclUniqueId id, int rank,
                                    ncclConfig_t *config)
{
    return make("ncclCommInitRankConfig", comm, nranks, ncclInProgress);
}

ncclResult_t ncclCommInitRankScalable(ncclComm_t *comm, int nranks, int rank, int nid,
                                      ncclUniqueId *ids, ncclConfig_t *config)
{
    return make("ncclCommInitRankScalable", comm, nranks, ncclSuccess);
}

ncclResult_t ncclCommInitAll(ncclComm_t *comms, int ndev, const int *devices)
{
    struct entry *entry = standin_enter("ncclCommInitAll", 3);
    for (int i = 0; i < ndev; i++)
        comms[i] = calloc(1, sizeof **comms);
    return standin_leave(entry, ncclSuccess);
}

ncclResult_t ncclCommSplit(ncclComm_t comm, int color, int key, ncclComm_t *made,
                           ncclConfig_t *config)
{
    struct entry *entry = standin_enter("ncclCommSplit", 3);
    *made = color == NCCL_SPLIT_NOCOLOR ? 0 : calloc(1, sizeof **made);
    return standin_leave(entry, ncclSuccess);
}

ncclResult_t ncclCommShrink(ncclComm_t comm, int *excluded, int count, ncclComm_t *made,
                            ncclConfig_t *config, int flags)
{
    return make("ncclCommShrink", made, comm->ranks - count, ncclSuccess);
}

static int end(const char *name, ncclComm_t comm)
{
    struct entry *entry = standin_enter(name, 3);
    cudaFree((uint64_t)comm, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0);
    free(comm);
    return standin_leave(entry, ncclSuccess);
}

ncclResult_t ncclCommFinalize(ncclComm_t comm)
{
    struct entry *entry = standin_enter("ncclCommFinalize", 3);
    return standin_leave(entry, ncclSuccess);
}

ncclResult_t ncclCommDestroy(ncclComm_t comm)
{
    return end("ncclCommDestroy", comm);
}

ncclResult_t ncclCommAbort(ncclComm_t comm)
{
    return end("ncclCommAbort", comm);
}
