"""What production reaches: sourced data, shown beside the ceiling and never as pass or fail."""

from __future__ import annotations

from typing import NamedTuple


class Typical(NamedTuple):
    """The share of attainable throughput that engines were measured to reach, and where from."""

    share: float
    source: str


_OFFLINE = Typical(
    0.85, "60 published TensorRT-LLM throughput rows on H100 and H200: median 0.83 of attainable"
)
_SERVING = Typical(
    0.70,
    "published serving rows on H100 and H200, medians by model and engine: Llama-70B FP8 0.68 to "
    "0.84, DeepSeek-R1 FP8 0.66 to 0.68, Qwen3-32B FP8 0.47 to 0.67, gpt-oss-120b 0.36 to 0.57",
)

TYPICAL = {"prefill": _OFFLINE, "decode": _OFFLINE, "verify": _SERVING, "serve": _SERVING}
"""By phase. Training has no entry: published figures are of whole clusters; see ``PUBLISHED``."""


class Published(NamedTuple):
    """A utilisation that others reported, in percent (low to high), with its convention."""

    metric: str
    phase: str
    workload: str
    low_pct: float
    high_pct: float
    source: str


PUBLISHED = (
    Published("mfu", "train", "PaLM 540B, full rectangle", 45.7, 46.2, "arXiv 2204.02311, app. B"),
    Published(
        "mfu",
        "train",
        "MPT-7B, sequence 2048, 8 H100, full rectangle",
        46.44,
        46.44,
        "mosaicml/llm-foundry scripts/train/benchmarking/README.md",
    ),
    Published("mfu", "train", "Llama 3 405B, 8k to 16k H100", 38, 43, "arXiv 2407.21783, table 4"),
    Published(
        "mfu",
        "train",
        "Llama-3.1-8B, sequence 8192, H100 at 500 W, full rectangle",
        33,
        39,
        "pytorch/torchtitan benchmarks/llama3_h100_202412",
    ),
    Published(
        "mbu",
        "decode",
        "Llama-2-7B, batch 1, A100-80GB",
        68.5,
        68.5,
        "pytorch-labs/gpt-fast README",
    ),
)
"""Figures to hold one's own against; each counts FLOPs as it says."""
