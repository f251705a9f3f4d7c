"""Each cause in words that need no glossary, as the heading of a finding."""

from __future__ import annotations

from collections.abc import Mapping

from gnomon.enums import Cause

TITLES: Mapping[Cause, str] = {
    Cause.COLD_START: "a process was starting up",
    Cause.FIRST_USE_LOADING: "kernels were loaded at their first use",
    Cause.TRANSFER_SIZE: "copies cost time by their size: many small ones, or many bytes",
    Cause.TRANSFER_RATE: "copies run below the rate of their link",
    Cause.CPU_CONTENTION: "a thread had to wait for a CPU",
    Cause.HOST_BOUND: "the thread that feeds the GPU is busy itself",
    Cause.IO_WAIT: "a thread waited for a disk",
    Cause.LOCK_CONTENTION: "a thread waited for a lock",
    Cause.VOLUNTARY_WAIT: "a thread slept or waited of its own will",
    Cause.INPUT_PIPELINE_STALL: "a thread waited for input data",
    Cause.COLLECTIVE_STRAGGLER: "ranks waited for the slowest one in collectives",
    Cause.ALLOCATOR_THRASH: "device memory is allocated and freed again and again",
    Cause.MEMORY_LEAK: "memory in use keeps growing",
    Cause.PREFILL_DECODE_IMBALANCE: "prefill and decode hold each other up",
    Cause.MEMORY_BANDWIDTH_SATURATION: "device memory is at its bandwidth",
    Cause.LAUNCH_BOUND: "kernels are shorter than their launches",
    Cause.SMALL_BATCH: "batches are too small to fill the GPU",
    Cause.POWER_THROTTLE: "the power limit holds the clock down",
    Cause.THERMAL_THROTTLE: "heat holds the clock down",
    Cause.KV_CACHE_PRESSURE: "the KV cache is full",
    Cause.NOISY_NEIGHBOUR: "another workload takes what this one needs",
    Cause.MISALIGNED_SHAPES: "shapes do not fit the tensor cores",
    Cause.UNFUSED_ATTENTION: "attention is not fused",
    Cause.UNFUSED_ELEMENTWISE: "elementwise kernels are not fused",
    Cause.QUANTIZED_FALLBACK: "quantised weights run without quantised kernels",
    Cause.SYNCHRONIZATION: "synchronisations leave the GPU without queued work",
    Cause.REQUEST_AMPLIFICATION: "a few requests cost more than all others",
    Cause.EXPOSED_COMMUNICATION: "the GPU waited for communication",
    Cause.EXPOSED_COPY: "the GPU waited for copies",
    Cause.NETWORK_WAIT: "a thread waited for the network",
    Cause.TOKENIZATION: "tokenisation holds requests up",
    Cause.GPU_IMBALANCE: "GPUs of one job have unequal work",
    Cause.MOE_IMBALANCE: "experts have unequal work",
    Cause.OOM: "memory ran out",
    Cause.HOST_MEMORY_SPILL: "memory spilled to the host or to disk",
    Cause.BUSY_WITHOUT_THROUGHPUT: "the GPU reads busy and gets little done",
    Cause.DATA_LOSS: "measurements were lost: what is found may be incomplete",
}
