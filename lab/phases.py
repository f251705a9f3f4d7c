"""Every phase of the tour: its name, what it shows, how to build it. One table.

``bounds`` are the words of ``bound_by`` that a truthful diagnosis may use for the phase.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from lab import llm, matrix, small_kernels
from lab.activity import Activity

MIB = 1 << 20
GIB = 1 << 30


@dataclass(frozen=True, slots=True)
class Phase:
    name: str
    shows: str
    build: Callable[[], Activity]
    bounds: tuple[str, ...]


PHASES: tuple[Phase, ...] = (
    Phase("idle", "nothing runs", small_kernels.idle, ("idle",)),
    Phase(
        "decode_launch_bound",
        "Llama-3.1-8B decode, eager, batch 1, context 512: the host cannot launch fast enough",
        lambda: llm.eager_decode(1, 512),
        ("host",),
    ),
    Phase(
        "decode_large_batch",
        "Llama-3.1-8B decode, CUDA graph, batch 512, context 1024: GPU-bound, half of it padding",
        lambda: llm.graph_decode(512, 1024),
        ("compute", "memory", "clock"),
    ),
    Phase(
        "prefill_8x2048",
        "Llama-3.1-8B prefill of 8 prompts of 2048 tokens: tensor cores under a power cap",
        lambda: llm.prefill(8, 2048),
        ("compute", "clock"),
    ),
    Phase(
        "prefill_1x512",
        "Llama-3.1-8B prefill of one prompt of 512 tokens: half host, half tensor cores",
        lambda: llm.prefill(1, 512),
        ("host", "compute", "latency"),
    ),
    Phase(
        "gemm_bf16_8192",
        "bf16 product 8192^3: as fast as the power limit lets the tensor cores run",
        lambda: matrix.gemm(8192, 8192, 8192),
        ("compute", "clock"),
    ),
    Phase(
        "copy_device",
        "copies inside device memory",
        lambda: matrix.device_copy(4 * GIB),
        ("memory",),
    ),
    Phase(
        "gemv",
        "matrix-vector products over 64 matrices of 8192 x 8192",
        lambda: matrix.gemv(8192, 8192, 64),
        ("memory",),
    ),
    Phase(
        "one_thread_loop",
        "one thread spins: busy 100 %, one SM of all holds one warp",
        small_kernels.one_thread,
        ("latency",),
    ),
    Phase(
        "lora_8x1024",
        "LoRA training of Llama-3.1-8B, 8 sequences of 1024 tokens",
        lambda: llm.lora_training(8, 1024),
        ("compute", "clock", "memory"),
    ),
    Phase(
        "transfer_h2d",
        "copies from pinned host memory, back to back",
        lambda: small_kernels.pinned_transfer(256 * MIB),
        ("copy",),
    ),
    Phase(
        "transfer_h2d_half",
        "copies from pinned host memory, half of the time",
        lambda: small_kernels.pinned_transfer(256 * MIB, duty=0.5),
        ("copy", "host", "idle"),
    ),
    Phase(
        "quarter_of_sms",
        "kernels of over 1 ms on a quarter of the SMs (33 of an H200's 132)",
        lambda: small_kernels.partial_grid(1 / 4),
        ("latency",),
    ),
    Phase(
        "half_of_sms",
        "kernels of over 1 ms on half of the SMs (66 of an H200's 132)",
        lambda: small_kernels.partial_grid(1 / 2),
        ("latency", "compute"),
    ),
    Phase(
        "graph_of_4us_kernels",
        "a CUDA graph of full-grid kernels of 4 us: SMs are empty between them",
        small_kernels.graph_of_short_kernels,
        ("latency", "compute"),
    ),
    Phase(
        "sleep_share",
        "the program sleeps 60 % of the time",
        lambda: small_kernels.sleep_share(0.6),
        ("host", "idle"),
    ),
    Phase(
        "gemm_half_padding",
        "bf16 product 8192^3, half of whose rows are padding",
        lambda: matrix.padded_gemm(8192, 0.5),
        ("compute", "clock"),
    ),
    Phase(
        "gemm_bf16_4096",
        "bf16 product 4096^3",
        lambda: matrix.gemm(4096, 4096, 4096),
        ("compute", "clock"),
    ),
    Phase(
        "gemm_bf16_16384x14336x4096",
        "bf16 product of an MLP's shape",
        lambda: matrix.gemm(16384, 14336, 4096),
        ("compute", "clock"),
    ),
    Phase(
        "gemm_bf16_128x8192x8192",
        "bf16 product with few rows",
        lambda: matrix.gemm(128, 8192, 8192),
        ("compute", "memory", "latency"),
    ),
    Phase(
        "gemm_bf16_8192_zeros",
        "bf16 product of zeros: little switching, little power",
        lambda: matrix.gemm(8192, 8192, 8192, zeros=True),
        ("compute", "clock"),
    ),
    Phase(
        "gemm_fp8_8192",
        "fp8 product 8192^3",
        lambda: matrix.gemm(8192, 8192, 8192, "fp8"),
        ("compute", "clock"),
    ),
    Phase(
        "gemm_tf32_8192",
        "TF32 product 8192^3",
        lambda: matrix.gemm(8192, 8192, 8192, "tf32"),
        ("compute", "clock"),
    ),
    Phase(
        "attention_causal",
        "causal attention, 4 x 32 heads x 4096 x 128",
        lambda: matrix.attention(4, 32, 4096, 128),
        ("compute", "clock"),
    ),
    Phase(
        "gemm_fp64_4096",
        "fp64 product 4096^3 on the tensor cores",
        lambda: matrix.gemm(4096, 4096, 4096, "fp64_tensor"),
        ("compute", "clock"),
    ),
    Phase(
        "gemm_fp32_8192",
        "fp32 product 8192^3 without tensor cores",
        lambda: matrix.gemm(8192, 8192, 8192, "fp32"),
        ("compute", "clock"),
    ),
)

NINE_KERNELS = (
    "gemm_bf16_4096",
    "gemm_bf16_16384x14336x4096",
    "gemm_bf16_128x8192x8192",
    "gemm_bf16_8192_zeros",
    "gemm_fp8_8192",
    "gemm_tf32_8192",
    "attention_causal",
    "gemm_fp64_4096",
    "gemm_fp32_8192",
)

DEMO = (
    "idle",
    "decode_launch_bound",
    "decode_large_batch",
    "prefill_8x2048",
    "gemm_bf16_8192",
    "copy_device",
    "one_thread_loop",
    "lora_8x1024",
)
"""The phases of the bundled recording."""

SETS = {
    "all": tuple(phase.name for phase in PHASES),
    "demo": DEMO,
    "kernels": NINE_KERNELS,
}


def select(names: str) -> tuple[Phase, ...]:
    """Return the phases of a comma-separated list of names and sets (all, demo, kernels).

    Raises ValueError, naming what there is, for an unknown name.
    """
    known = {phase.name: phase for phase in PHASES}
    chosen: list[Phase] = []
    for name in names.split(","):
        for one in SETS.get(name.strip(), (name.strip(),)):
            if one not in known:
                raise ValueError(f"no phase {one!r}; there are {', '.join([*SETS, *known])}")
            if known[one] not in chosen:
                chosen.append(known[one])
    return tuple(chosen)
