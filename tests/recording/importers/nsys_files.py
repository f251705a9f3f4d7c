"""Writes SQLite exports of Nsight Systems from the schema that NVIDIA publishes.

Columns are a choice of those of the "SQLite Schema Reference" of Nsight Systems 2024.6 (export
schema 3.16), in its order, with its types; numbers are those of its "SQLite Schema Event Values".
No real export was at hand.
"""

import sqlite3

BEGIN_NS = 1_790_000_000_000_000_000
PID, TID = 4711, 4712
PROCESS = PID << 24
THREAD = PROCESS | TID
UUID = "12345678-1234-1234-1234-123456789abc"
PLACE = (
    "start INTEGER NOT NULL, end INTEGER NOT NULL, deviceId INTEGER NOT NULL, contextId INTEGER "
    "NOT NULL, greenContextId INTEGER, streamId INTEGER NOT NULL, correlationId INTEGER, "
    "globalPid INTEGER"
)
SCHEMA = {
    "StringIds": "id INTEGER NOT NULL PRIMARY KEY, value TEXT NOT NULL",
    "ThreadNames": "nameId INTEGER NOT NULL, priority INTEGER, globalTid INTEGER",
    "TARGET_INFO_SESSION_START_TIME": "utcEpochNs INTEGER, utcTime TEXT, localTime TEXT",
    "TARGET_INFO_GPU": (
        "vmId INTEGER NOT NULL, id INTEGER NOT NULL, name TEXT, busLocation TEXT, totalMemory "
        "INTEGER, smCount INTEGER, uuid TEXT, cuDevice INTEGER, maxWarpsPerSm INTEGER, "
        "computeMajor INTEGER, computeMinor INTEGER"
    ),
    "TARGET_INFO_CUDA_DEVICE": "gpuId INTEGER, cudaId INTEGER, pid INTEGER, uuid TEXT",
    "TARGET_INFO_SYSTEM_ENV": "globalVid INTEGER, name TEXT NOT NULL, value TEXT NOT NULL",
    "META_DATA_EXPORT": "name TEXT NOT NULL, value TEXT",
    "DIAGNOSTIC_EVENT": (
        "timestamp INTEGER NOT NULL, severity INTEGER NOT NULL, text TEXT, globalPid INTEGER"
    ),
    "CUPTI_ACTIVITY_KIND_KERNEL": (
        f"{PLACE}, demangledName INTEGER NOT NULL, shortName INTEGER NOT NULL, mangledName "
        "INTEGER, registersPerThread INTEGER NOT NULL, gridX INTEGER NOT NULL, gridY INTEGER NOT "
        "NULL, gridZ INTEGER NOT NULL, blockX INTEGER NOT NULL, blockY INTEGER NOT NULL, blockZ "
        "INTEGER NOT NULL, staticSharedMemory INTEGER NOT NULL, dynamicSharedMemory INTEGER NOT "
        "NULL, localMemoryPerThread INTEGER NOT NULL, graphNodeId INTEGER"
    ),
    "CUPTI_ACTIVITY_KIND_MEMCPY": (
        f"{PLACE}, bytes INTEGER NOT NULL, copyKind INTEGER NOT NULL, srcKind INTEGER, dstKind "
        "INTEGER, srcDeviceId INTEGER, dstDeviceId INTEGER, graphNodeId INTEGER"
    ),
    "CUPTI_ACTIVITY_KIND_MEMSET": (
        f"{PLACE}, value INTEGER NOT NULL, bytes INTEGER NOT NULL, memKind INTEGER"
    ),
    "CUPTI_ACTIVITY_KIND_SYNCHRONIZATION": (
        f"{PLACE}, syncType INTEGER NOT NULL, eventId INTEGER NOT NULL"
    ),
    "CUPTI_ACTIVITY_KIND_RUNTIME": (
        "start INTEGER NOT NULL, end INTEGER NOT NULL, eventClass INTEGER NOT NULL, globalTid "
        "INTEGER, correlationId INTEGER, nameId INTEGER NOT NULL, returnValue INTEGER NOT NULL"
    ),
    "NVTX_EVENTS": (
        "start INTEGER NOT NULL, end INTEGER, eventType INTEGER NOT NULL, text TEXT, globalTid "
        "INTEGER, textId INTEGER, domainId INTEGER"
    ),
}
STRINGS = {
    1: "void gemm<float>(float*)", 2: "gemm", 3: "_Z4gemmIfEvPT_", 4: "cudaLaunchKernel_v7000",
    5: "cuLaunchKernel", 6: "registered", 7: "main",
}  # fmt: skip
GPU = {
    "vmId": 0, "id": 0, "name": "NVIDIA H200", "busLocation": "0000:18:00.0", "smCount": 132,
    "totalMemory": 150754820096, "uuid": UUID, "cuDevice": 0, "maxWarpsPerSm": 64,
    "computeMajor": 9, "computeMinor": 0,
}  # fmt: skip
KERNEL = {
    "start": 2_000, "end": 5_500, "deviceId": 0, "contextId": 1, "streamId": 7,
    "correlationId": 99, "globalPid": PROCESS, "demangledName": 1, "shortName": 2,
    "mangledName": 3, "registersPerThread": 64, "gridX": 8, "gridY": 4, "gridZ": 1, "blockX": 256,
    "blockY": 1, "blockZ": 1, "staticSharedMemory": 1024, "dynamicSharedMemory": 2048,
    "localMemoryPerThread": 16, "graphNodeId": None,
}  # fmt: skip
ON_GPU = {key: KERNEL[key] for key in ("deviceId", "contextId", "streamId", "globalPid")}
CALL = {
    "start": 1_000, "end": 1_800, "eventClass": 0, "globalTid": THREAD, "correlationId": 99,
    "nameId": 4, "returnValue": 0,
}  # fmt: skip
RANGE = {"start": 500, "end": 9_000, "eventType": 59, "text": "step", "globalTid": THREAD}
ROWS = {
    "StringIds": [{"id": key, "value": value} for key, value in STRINGS.items()],
    "ThreadNames": [{"nameId": 7, "globalTid": THREAD}],
    "TARGET_INFO_SESSION_START_TIME": [{"utcEpochNs": BEGIN_NS}],
    "TARGET_INFO_GPU": [GPU],
    "TARGET_INFO_SYSTEM_ENV": [{"name": "Hostname", "value": "node-1"}],
    "META_DATA_EXPORT": [{"name": "EXPORT_SCHEMA_VERSION", "value": "3.16.1"}],
    "CUPTI_ACTIVITY_KIND_RUNTIME": [
        CALL, CALL | {"start": 1_100, "end": 1_700, "eventClass": 1, "nameId": 5},
    ],
    "CUPTI_ACTIVITY_KIND_KERNEL": [KERNEL],
    "CUPTI_ACTIVITY_KIND_MEMCPY": [
        ON_GPU | {"start": 6_000, "end": 6_100, "bytes": 4096, "copyKind": 1, "srcKind": 1,
                  "dstKind": 2},
    ],
    "CUPTI_ACTIVITY_KIND_MEMSET": [
        ON_GPU | {"start": 6_200, "end": 6_210, "value": 0, "bytes": 64, "memKind": 2},
    ],
    "CUPTI_ACTIVITY_KIND_SYNCHRONIZATION": [
        ON_GPU | {"start": 6_300, "end": 6_900, "syncType": 3, "eventId": 0},
    ],
    "NVTX_EVENTS": [
        RANGE,
        RANGE | {"start": 600, "end": 800, "text": None, "textId": 6, "domainId": 5},
        RANGE | {"start": 700, "end": None, "eventType": 34, "text": "mark"},
        RANGE | {"start": 0, "end": None, "eventType": 75, "text": "NCCL", "domainId": 5},
    ],
}  # fmt: skip


def write(path, **rows):
    """Write an export; tables named take other rows, and those whose rows are None are left out."""
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA page_size = 512")
        for table, columns in SCHEMA.items():
            listed = (ROWS | rows).get(table, [])
            if listed is None:
                continue
            db.execute(f"CREATE TABLE {table} ({columns})")
            for row in listed:
                marks = ", ".join("?" * len(row))
                names = ", ".join(row)
                db.execute(f"INSERT INTO {table} ({names}) VALUES ({marks})", tuple(row.values()))
    db.close()
    return path
