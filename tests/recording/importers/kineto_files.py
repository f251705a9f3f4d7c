"""Writes PyTorch traces with the fields that Kineto writes.

Shapes are those of pytorch/kineto's docs/traces/before_fix_trace.json (a trace of its own tests on
an H100, 2026), CudaMetadataFields.h, CuptiActivity.cpp (names of copies, fills and waits) and
output_json.cpp (the document), and of a trace that torch 2.13 for CPUs wrote (base time, units,
metadata events, host_name).
"""

import gzip
import json

BASE_NS = 1_790_857_026_000_000_000
PID = 18743
H100 = {
    "id": 0, "name": "NVIDIA H100", "totalGlobalMem": 102085492736,
    "computeMajor": 9, "computeMinor": 0,
    "maxThreadsPerBlock": 1024, "maxThreadsPerMultiprocessor": 2048,
    "regsPerBlock": 65536, "warpSize": 32,
    "sharedMemPerBlock": 49152, "numSms": 132,
}  # fmt: skip


def span(category, name, begin_us, duration_us, args=None, pid=PID, tid=PID):
    return {
        "ph": "X", "cat": category, "name": name, "pid": pid, "tid": tid,
        "ts": begin_us, "dur": duration_us, "args": args or {},
    }  # fmt: skip


def launch(begin_us, duration_us, correlation, name="cudaLaunchKernel", category="cuda_runtime"):
    return span(category, name, begin_us, duration_us, {"cbid": 211, "correlation": correlation})


def kernel(begin_us, duration_us, correlation, name="void add<float>(float*)", **more):
    args = {
        "External id": 1, "queued": 0, "device": 0, "context": 1, "stream": 7,
        "correlation": correlation, "registers per thread": 32, "shared memory": 4096,
        "blocks per SM": 8.0, "warps per SM": 32.0, "grid": [1056, 1, 1], "block": [128, 1, 1],
        "est. achieved occupancy %": 50, "graph id": 0, "graph node id": 0,
    } | more  # fmt: skip
    return span("kernel", name, begin_us, duration_us, args, pid=0, tid=7)


def operation(category, name, begin_us, duration_us, **args):
    place = {"device": 0, "context": 1, "stream": 7, "correlation": 9}
    return span(category, name, begin_us, duration_us, place | args, pid=0, tid=7)


def document(events, **facts):
    """Return a trace; a fact that is None is left out."""
    head = {
        "schemaVersion": 1, "deviceProperties": [H100], "cuda_driver_version": 13000,
        "host_name": "node-1", "displayTimeUnit": "ms", "baseTimeNanoseconds": BASE_NS,
    } | facts  # fmt: skip
    kept = {key: value for key, value in head.items() if value is not None}
    return kept | {"traceEvents": events, "traceName": "trace.json"}


def write(path, events, **facts):
    text = json.dumps(document(events, **facts), indent=1)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


def a_step():
    """A step of training: calls, a kernel each way, a graph's node, a copy, a fill, waits."""
    return [
        {"ph": "M", "name": "thread_name", "ts": 0.5, "pid": PID, "tid": PID,
         "args": {"name": f"thread {PID} (python)"}},
        span("user_annotation", "step", 100, 900),
        span("user_annotation", "forward", 110, 100.5),
        span("cpu_op", "aten::add", 112, 30),
        launch(120, 10.25, 5),
        launch(122, 5, 5, "cuLaunchKernel", "cuda_driver"),
        kernel(140.125, 20.5, 5),
        launch(150, 4, 6, "cudaGraphLaunch"),
        kernel(170, 3, 6, "gemm", **{"graph id": 2, "graph node id": 8589934593}),
        operation("gpu_memcpy", "Memcpy HtoD (Pinned -> Device)", 180, 2, bytes=1 << 20),
        operation("gpu_memset", "Memset (Device)", 185, 1, bytes=64),
        operation("cuda_sync", "Stream Wait Event", 190, 1, cuda_sync_kind="Stream Wait Event",
                  wait_on_cuda_event_id=7777, stream=-1),
        span("gpu_user_annotation", "forward", 140, 30, pid=0, tid=7),
        {"ph": "s", "id": 5, "pid": PID, "tid": PID, "ts": 120, "cat": "ac2g", "name": "ac2g"},
        span("Trace", "PyTorch Profiler (0)", 50, 2000, pid="Spans", tid="PyTorch Profiler"),
        {"name": "Record Window End", "ph": "i", "s": "g", "pid": "", "tid": "", "ts": 2060},
    ]  # fmt: skip
