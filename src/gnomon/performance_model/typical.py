"""What production reaches: sourced data, shown beside the ceiling and never as pass or fail."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby
from typing import NamedTuple


class Typical(NamedTuple):
    """The share of attainable throughput that engines were measured to reach, and where from."""

    share: float
    source: str


_OFFLINE = {
    1: Typical(
        0.83,
        "0.83 of attainable: median of 60 throughput rows published for TensorRT-LLM on H100 and "
        "H200, which mix prompts and outputs; applied here to one phase",
    )
}
_BY_MODEL = (
    "published serving rows on H100 and H200; by model and engine Llama-70B FP8 0.68 to 0.84, "
    "DeepSeek-R1 FP8 0.66 to 0.68, Qwen3-32B FP8 0.47 to 0.67, gpt-oss-120b 0.36 to 0.57"
)
_SERVING = {
    1: Typical(
        0.70, f"0.70 of attainable: middle of the medians at TP 1, 0.67 to 0.73; {_BY_MODEL}"
    ),
    **{
        tp: Typical(share, f"{share:.2f} of attainable: median at TP {tp}; {_BY_MODEL}")
        for tp, share in ((2, 0.61), (4, 0.55), (8, 0.50))
    },
}
# Training has none: published figures are of whole clusters, see PUBLISHED.
_SHARES = {"prefill": _OFFLINE, "decode": _OFFLINE, "verify": _SERVING, "serve": _SERVING}


def typical(phase: str, tp: int) -> Typical | None:
    """Return what engines reach of attainable in a phase; None where nothing was published.

    That of the largest published ``tp`` up to the one asked for. The rows are not in this
    repository: shares and sources are quoted, not computed here.
    """
    shares = _SHARES.get(phase)
    return None if shares is None else shares[max(known for known in shares if known <= tp)]


class Published(NamedTuple):
    """A utilisation that others reported, in percent (low to high), with its convention.

    ``params``: the model's parameters, by which a figure is found for a model of like size.
    """

    metric: str
    phase: str
    workload: str
    params: float
    low_pct: float
    high_pct: float
    source: str


_FOUNDRY = "mosaicml/llm-foundry scripts/train/benchmarking/README.md"
# Its bandwidths are over the 2,039 GB/s of an A100-80GB.
_GPT_FAST = "pytorch-labs/gpt-fast README"

PUBLISHED = (
    Published(
        "mfu",
        "train",
        "MPT-7B, sequence 2048, 8 H100, full rectangle",
        6.66e9,
        46.44,
        46.44,
        _FOUNDRY,
    ),
    Published(
        "mfu",
        "train",
        "Llama-3.1-8B, sequence 8192, H100 at 500 W, full rectangle",
        8.03e9,
        33,
        39,
        "pytorch/torchtitan benchmarks/llama3_h100_202412",
    ),
    Published(
        "mfu",
        "train",
        "MPT-13B, sequence 2048, 8 to 64 H100, full rectangle",
        12.9e9,
        39.58,
        39.95,
        _FOUNDRY,
    ),
    Published(
        "mfu",
        "train",
        "MPT-30B, sequence 2048, 8 to 32 H100, full rectangle",
        30.0e9,
        38.11,
        43.92,
        _FOUNDRY,
    ),
    Published(
        "mfu",
        "train",
        "MPT-70B, sequence 2048, 32 to 64 H100, full rectangle",
        64.9e9,
        36.15,
        42.57,
        _FOUNDRY,
    ),
    Published(
        "mfu", "train", "Llama 3 405B, 8k to 16k H100", 405e9, 38, 43, "arXiv 2407.21783, table 4"
    ),
    Published(
        "mfu", "train", "PaLM 540B, full rectangle", 540e9, 45.7, 46.2, "arXiv 2204.02311, app. B"
    ),
    Published(
        "mfu",
        "prefill",
        "PaLM 540B, large batches, TPU v4",
        540e9,
        76,
        76,
        "arXiv 2211.05102, abstract",
    ),
    Published("mbu", "decode", "Llama-2-7B, batch 1, A100-80GB", 6.74e9, 68.5, 68.5, _GPT_FAST),
    Published("mbu", "decode", "Llama-2-70B, batch 1, 2 to 8 A100", 69e9, 55.7, 72.7, _GPT_FAST),
    Published(
        "mbu", "decode", "Llama-2-70B int8, batch 1, 1 A100-80GB", 69e9, 64.9, 64.9, _GPT_FAST
    ),
)
"""Figures to hold one's own against; each counts FLOPs as it says."""

SIZES = ((15e9, "up to 15B"), (100e9, "to 100B"), (float("inf"), "above 100B"))
"""Classes of models by parameters (upper bound, name): one GPU, one node, many nodes."""


class Band(NamedTuple):
    """What was published of one metric for one phase and size of model, low to high in percent."""

    metric: str
    phase: str
    size: str
    low_pct: float
    high_pct: float
    figures: tuple[Published, ...]


def size_of(params: float) -> str:
    """Return the class of ``SIZES`` that a model of so many parameters is in."""
    return next(name for bound, name in SIZES if params <= bound)


def bands(phase: str, figures: Iterable[Published] = PUBLISHED) -> tuple[Band, ...]:
    """Return the bands of a phase by metric and size, small models first; empty without figures.

    A reference, never pass or fail: hardware, lengths and conventions differ between figures.
    """
    ordered = sorted(
        (one for one in figures if one.phase == phase), key=lambda one: (one.metric, one.params)
    )
    grouped = groupby(ordered, key=lambda one: (one.metric, size_of(one.params)))
    return tuple(_band(metric, phase, size, tuple(group)) for (metric, size), group in grouped)


def _band(metric: str, phase: str, size: str, figures: tuple[Published, ...]) -> Band:
    low = min(one.low_pct for one in figures)
    high = max(one.high_pct for one in figures)
    return Band(metric, phase, size, low, high, figures)
