"""Rows with holes and nonsense in them: detectors of calls and memory stay calm and truthful."""

from random import Random

import pytest

from gnomon.detectors.causes import (
    allocator_thrash,
    cold_start,
    first_use_loading,
    host_memory_spill,
    memory_leak,
    oom,
    synchronization,
    transfer_rate,
    transfer_size,
)
from tests.analysis.recordings import BEGIN_NS, SECOND
from tests.detectors.causes.proving import proved

DETECTORS = (
    allocator_thrash,
    cold_start,
    first_use_loading,
    host_memory_spill,
    memory_leak,
    oom,
    synchronization,
    transfer_rate,
    transfer_size,
)
WHO = {"host": (None, "it's"), "pid": (None, 1, 2), "tid": (None, 1)}
COLUMNS = {
    "host_calls": WHO
    | {
        "duration_ns": (None, 0, 5, SECOND),
        "layer": (None, "cuda_runtime", "cuda_driver"),
        "operation": (
            None,
            "it's",
            "cudaLaunchKernel",
            "cudaGraphLaunch",
            "cudaMemcpy",
            "cudaMemcpyAsync",
            "cudaStreamSynchronize",
            "cudaMalloc",
            "cudaFree",
            "cudaMallocManaged",
        ),
        "depth": (None, 0, 1),
        "bytes": (None, -5, 0, 1 << 21, (1 << 63) - 1),
        "direction": (None, "h2d", "d2h", "default"),
        "address": (None, 0, 7),
        "stream": (None, 0, 7),
        "return_code": (None, 0, 2),
        "first_call": (None, 0, 1),
        "run_queue_ns": (None, 0, 10 * SECOND),
        "selection": (None, "all", "uniform", "biased"),
        "weight": (None, 1.0, 4.0),
    },
    "off_cpu": WHO
    | {"duration_ns": (None, 0, SECOND), "io_ns": (None, 5), "stack_hash": (None, 5)},
    "stacks": {"stack_hash": (None, 5), "symbol": (None, "do_swap_page")},
    "host_samples": {"swap_used_bytes": (None, 0, 1 << 40), "memory_total_bytes": (None, 1 << 40)},
    "process_samples": {"pid": (None, 1), "rss_bytes": (None, 0, 1 << 40)},
    "gpu_processes": {
        "gpu_uuid": (None, "G"),
        "pid": (None, 1),
        "vram_used_bytes": (None, 1 << 40),
    },
    "gpu_counters": {"gpu_uuid": (None, "G"), "engine_active_pct": (None, 50.0)},
    "events": {"kind": (None, "oom_kill"), "message": (None, "{value} it's")},
    "losses": {"table": (None, "host_calls"), "rows": (None, 1)},
}


@pytest.mark.parametrize("seed", range(12))
def test_every_finding_is_proved_whatever_is_missing(case_with, seed):
    random = Random(seed)
    rows_of = {}
    for table, columns in COLUMNS.items():
        moments = sorted(
            random.randrange(10 * SECOND) for _ in range(random.choice((0, 1, 30, 400)))
        )
        rows_of[table] = [
            {"ts_ns": BEGIN_NS + at} | {name: random.choice(of) for name, of in columns.items()}
            for at in moments
        ]
    case = case_with(**{table: rows for table, rows in rows_of.items() if rows})

    for detector in DETECTORS:
        proved(case, detector.detect(case))
