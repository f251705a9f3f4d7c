/* What one rank of a job does; RANK and WORLD_SIZE are in the environment, as launchers set them.
 * Counts, types and streams are told apart by their values; the tests have them once more. */
#include "nccl.h"

#include <stdlib.h>
#include <string.h>

#define STREAM ((cudaStream_t)0x57)

static int rank, ranks;

static ncclUniqueId identity(int number)
{
    ncclUniqueId id;
    for (int i = 0; i < 128; i++)
        id.internal[i] = i * 7 + number;
    return id;
}

static void sum(ncclComm_t comm, size_t count)
{
    ncclAllReduce(0, 0, count, ncclFloat32, 0, comm, STREAM);
}

static void collectives(ncclComm_t world)
{
    for (int i = 0; i < 23; i++)
        sum(world, 1000);
    ncclReduceScatter(0, 0, 400, ncclFloat8e4m3, 0, world, STREAM);
    ncclAllGather(0, 0, 500, ncclBfloat16, world, STREAM);
    ncclAlltoAll(0, 0, 60, ncclInt32, world, STREAM);
    ncclBroadcast(0, 0, 300, ncclFloat64, 1, world, STREAM);
    ncclBcast(0, 200, ncclInt8, 0, world, STREAM);
    ncclGather(0, 0, 70, ncclFloat16, 0, world, STREAM);
    ncclScatter(0, 0, 80, ncclFloat16, 1, world, STREAM);
    ncclReduce(0, 0, 90, ncclFloat64, 0, 1, world, STREAM);
    ncclAllReduce(0, 0, 1, ncclNumTypes, 0, world, STREAM); /* fails */
}

static void groups(ncclComm_t world)
{
    ncclGroupStart();
    ncclSend(0, 64, ncclFloat16, (rank + 1) % ranks, world, STREAM);
    ncclRecv(0, 64, ncclFloat16, (rank + ranks - 1) % ranks, world, STREAM);
    ncclGroupEnd();
    ncclGroupStart();
    ncclGroupStart();
    sum(world, 11);
    ncclGroupEnd();
    sum(world, 12);
    ncclGroupEnd();
    ncclGroupStart();
    sum(world, 13);
    ncclGroupSimulateEnd(0);
    sum(world, 14);
}

static void children(ncclComm_t world)
{
    ncclComm_t reversed, last;
    ncclCommSplit(world, 0, -rank, &reversed, 0);
    sum(reversed, 21);
    sum(reversed, 22);
    ncclCommSplit(world, rank == ranks - 1 ? 5 : NCCL_SPLIT_NOCOLOR, 0, &last, 0);
    if (last)
        sum(last, 23);
    ncclCommDestroy(reversed);
}

static void others(void)
{
    ncclUniqueId ids[2] = {identity(3), identity(4)};
    ncclComm_t configured, scalable, devices[3];
    ncclCommInitRankConfig(&configured, ranks, identity(2), rank, 0);
    sum(configured, 31);
    ncclCommAbort(configured);
    ncclCommInitRankScalable(&scalable, ranks, rank, 2, ids, 0);
    sum(scalable, 32);
    ncclCommDestroy(scalable);
    ncclCommInitAll(devices, 3, 0);
    ncclGroupStart();
    for (int i = 0; i < 3; i++)
        sum(devices[i], 33);
    ncclGroupEnd();
}

void typed_calls(void)
{
    ncclComm_t world, smaller;
    int excluded[1] = {0};
    rank = atoi(getenv("RANK"));
    ranks = atoi(getenv("WORLD_SIZE"));
    ncclCommInitRank(&world, ranks, identity(1), rank);
    collectives(world);
    groups(world);
    children(world);
    ncclCommShrink(world, excluded, 1, &smaller, 0, 0);
    sum(smaller, 41);
    others();
    ncclCommFinalize(world);
    ncclCommDestroy(world);
}
