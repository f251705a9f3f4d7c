"""Dimensions that tensor cores do not like, and the nearest ones that they do.

A GEMM's rows have to start at multiples of 16 bytes for the tensor cores to be used well, or for
TMA to load them at all: 8 numbers of 16 bits, 16 of 8 bits (NVIDIA, "Matrix Multiplication
Background User's Guide", and the CUDA C++ Programming Guide on tensor maps). It is what one rank
holds that counts, after the split by tensor parallelism.
"""

from __future__ import annotations

import math
from dataclasses import replace

from gnomon.performance_model.architecture import Architecture, FeedForward, Mlp, WeightFormat
from gnomon.performance_model.parallelism import Layout


def multiple(form: WeightFormat) -> int:
    """Return of what a dimension has to be a multiple: 8 in 16 bits, 16 in 8 bits or fewer."""
    return 8 if form.compute_dtype in {"bf16", "fp16"} else 16


def padded(architecture: Architecture, layout: Layout) -> tuple[Architecture, tuple[str, ...]]:
    """Return the model with vocabulary and widths padded for a layout, and what was changed.

    The hidden size and heads are left: they are the model.
    """
    formats, tp = architecture.formats, layout.tp
    changes: list[str] = []

    def pad(name: str, value: int, shards: float, form: WeightFormat) -> int:
        step = round(multiple(form) * shards)
        wanted = math.ceil(value / step) * step
        if wanted != value:
            changes.append(f"{name} {value:,} to {wanted:,} (a multiple of {step})")
        return wanted

    def pad_mlp(name: str, mlp: Mlp, shards: float, form: WeightFormat) -> Mlp:
        return replace(mlp, width=pad(name, mlp.width, shards, form))

    def pad_layer(layer: FeedForward) -> FeedForward:
        if isinstance(layer, Mlp):
            return pad_mlp("intermediate_size", layer, tp, formats.feed_forward)
        expert = pad_mlp(
            "moe_intermediate_size", layer.expert, layout.expert_shards, formats.experts
        )
        shared = layer.shared and pad_mlp(
            "shared_expert_intermediate_size", layer.shared, tp, formats.feed_forward
        )
        return replace(layer, expert=expert, shared=shared)

    groups = tuple(
        replace(group, feed_forward=pad_layer(group.feed_forward)) for group in architecture.groups
    )
    vocabulary = pad("vocab_size", architecture.vocabulary, tp, formats.lm_head)
    changed = replace(architecture, groups=groups, vocabulary=vocabulary)
    return changed, tuple(dict.fromkeys(changes))
