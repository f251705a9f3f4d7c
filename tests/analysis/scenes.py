"""Small measurements with known truth, for the tests of analysis."""

from gnomon import tables
from gnomon.recording.base import Meta
from gnomon.recording.memory import MemoryRecording

BEGIN_NS = 1_795_202_080_000_000_000
SECOND_NS = 1_000_000_000
TICK_NS = 100_000_000
GPU = "GPU-1"
H200 = {
    "name": "NVIDIA H200",
    "index": 0,
    "compute_capability": "9.0",
    "sm_count": 132,
    "max_sm_clock_mhz": 1980.0,
    "max_memory_clock_mhz": 3201.0,
    "pcie_generation_max": 5,
    "pcie_lanes_max": 16,
}
# A GEMM under a power cap: counters as an H200 gives them.
GEMM = {
    "engine_active_pct": 99.8,
    "sm_active_pct": 96.0,
    "tensor_active_pct": 93.0,
    "tensor_dfma_active_pct": 0.0,
    "tensor_dmma_active_pct": 0.0,
    "fp64_active_pct": 0.0,
    "fp32_active_pct": 0.1,
    "fp16_active_pct": 0.0,
    "dram_active_pct": 17.0,
    "pcie_rx_bytes_per_s": 1e6,
    "pcie_tx_bytes_per_s": 1e6,
    "sm_clock_mhz": 1489.0,
    "sm_clock_source": "nvml",
    "memory_clock_mhz": 3201.0,
}
IDLE = {name: 0.0 if name.endswith("_pct") else value for name, value in GEMM.items()}


def rows(source, values, first=0, count=10, length_ns=TICK_NS, gpu=GPU):
    """``count`` rows of one source, back to back, from interval ``first`` on."""
    return [
        {
            "ts_ns": BEGIN_NS + (index + 1) * length_ns,
            "duration_ns": length_ns,
            "gpu_uuid": gpu,
            "source": source,
            **values,
        }
        for index in range(first, first + count)
    ]


def memory(counters=(), gpus=None, unavailable=(), **others):
    """Measurements of ``gpu_counters`` and of any other table by name."""
    recording = MemoryRecording(max_age_ns=3600 * SECOND_NS)
    recording.update_meta(
        Meta(tables.SCHEMA_VERSION, gpus=gpus or {GPU: H200}, unavailable=tuple(unavailable))
    )
    for table, some in {"gpu_counters": counters, **others}.items():
        if some:
            recording.append(table, tables.batch(table, list(some)))
    return recording
