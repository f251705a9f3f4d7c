"""The backward pass, made from the operators of the forward pass.

Each GEMM comes back twice: the gradient of its input (dY W') and of its weights (X' dY), so that
training is 3 x forward. Frozen weights need only the first. Recompute adds a forward of what it
recomputes, which HFU counts and MFU does not.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from gnomon.performance_model._lora import adapter_operators
from gnomon.performance_model.architecture import BF16
from gnomon.performance_model.data_parallel import replica_exchange
from gnomon.performance_model.operators import Forward, Kind, Operator, Work
from gnomon.performance_model.phases import Lora, Train

BACKWARD_ATTENTION = 2.0
"""The backward core by the convention: gradients of q, k, v and of the scores, 4 products to 2."""

EXECUTED_BACKWARD_ATTENTION = 2.5
"""FlashAttention's backward makes the scores again: 5 products to 2 (arXiv 2307.08691)."""

QLORA_BYTES_PER_WEIGHT = 0.5 + 0.127 / 8
"""NF4 with double quantisation: 4 bits and 0.127 of constants a weight (arXiv 2305.14314)."""

_UNPACKING = "dequantisation"
_ATTENTION = (Kind.PREFILL_ATTENTION, Kind.DECODE_ATTENTION)


def training(work: Work, forward: Forward, phase: Train | Lora) -> tuple[Operator, ...]:
    """Return forward, recompute and backward of a micro-step, with gradients on the wire.

    Raises ModelError where LoRA's targets name no matrix of the model.
    """
    frozen = isinstance(phase, Lora)
    layers = forward.layers
    adapters: tuple[Operator, ...] = ()
    if isinstance(phase, Lora):
        adapters = tuple(adapter_operators(work, phase))
        if phase.is_quantised:
            layers = (_unpacking(layers), *layers)
    backward = (*layers, *forward.after) if frozen else (*forward.before, *layers, *forward.after)
    behind = (
        *_recomputed((*layers, *adapters), phase.recompute),
        *_backward(backward, is_frozen=frozen),
        *_backward(adapters, is_frozen=False),
    )
    return (
        *forward.before,
        *layers,
        *adapters,
        *forward.after,
        *(replace(one, is_backward=True) for one in behind),
        *replica_exchange(work, phase),
    )


def _recomputed(layers: tuple[Operator, ...], recompute: str) -> Iterator[Operator]:
    for one in layers:
        if recompute == "full" or (recompute == "selective" and one.kind in _ATTENTION):
            yield replace(one, name=f"{one.name}_recompute", is_recompute=True)


def _backward(operators: tuple[Operator, ...], *, is_frozen: bool) -> Iterator[Operator]:
    for one in operators:
        if one.name == "loss":
            # It has written the gradient of the logits already.
            continue
        if one.kind is Kind.PRODUCT:
            yield _swapped(one, "input_gradient")
            if not is_frozen:
                yield _weight_gradient(one)
        elif one.kind in _ATTENTION:
            yield _attention_backward(one)
        elif one.name == _UNPACKING or one.kind is Kind.COLLECTIVE:
            yield replace(one, name=f"{one.name}_backward")
        elif one.name == "embedding":
            yield _scatter(one)
        else:
            yield _elementwise_backward(one)


def _swapped(one: Operator, suffix: str) -> Operator:
    """Return the gradient of a GEMM's input: what it wrote is read, what it read is written."""
    return replace(
        one,
        name=f"{one.name}_{suffix}",
        activation_read_bytes=one.activation_write_bytes,
        activation_write_bytes=one.activation_read_bytes,
    )


def _weight_gradient(one: Operator) -> Operator:
    """Return the gradient of a GEMM's weights: input and output gradient in, weights' size out."""
    return replace(
        one,
        name=f"{one.name}_weight_gradient",
        weight_bytes=0.0,
        activation_read_bytes=one.activation_read_bytes + one.activation_write_bytes,
        activation_write_bytes=0.0,
        gradient_bytes=one.weight_bytes,
    )


def _attention_backward(one: Operator) -> Operator:
    """Return the backward core: q, k, v, output and its gradient in, gradients of q, k, v out."""
    return replace(
        one,
        name=f"{one.name}_backward",
        flops=one.flops * BACKWARD_ATTENTION,
        executed_flops=one.executed_flops * EXECUTED_BACKWARD_ATTENTION,
        activation_read_bytes=one.activation_read_bytes + 2 * one.activation_write_bytes,
        activation_write_bytes=one.activation_read_bytes,
    )


def _elementwise_backward(one: Operator) -> Operator:
    """Return the backward of norms and the like: input and output gradient in, input's out."""
    return replace(
        one,
        name=f"{one.name}_backward",
        activation_read_bytes=one.activation_read_bytes + one.activation_write_bytes,
        activation_write_bytes=one.activation_read_bytes,
    )


def _scatter(one: Operator) -> Operator:
    """Return the embedding's gradient: added to the rows of the tokens alone."""
    return replace(
        one,
        name="embedding_gradient",
        weight_bytes=0.0,
        activation_read_bytes=one.activation_write_bytes,
        activation_write_bytes=0.0,
        gradient_bytes=one.weight_bytes,
    )


def _unpacking(layers: tuple[Operator, ...]) -> Operator:
    """Return the pass that unpacks QLoRA's weights to the 16 bits that every GEMM then reads."""
    products = [one for one in layers if one.kind is Kind.PRODUCT and one.name != "router"]
    wide = sum(one.weight_bytes for one in products)
    return Operator(
        _UNPACKING,
        Kind.MEMORY,
        sum(one.count for one in products),
        products[0].dtype,
        weight_bytes=wide / BF16.bytes_per_weight * QLORA_BYTES_PER_WEIGHT,
        activation_write_bytes=wide,
    )
