"""What a change would bring: remedies, each asked of the same model that made the ceiling.

A gain is the change of tokens per second and GPU, because that is what is paid for; the time of a
token or step stands beside it, for a larger batch costs it and more GPUs buy it. What the ceiling
takes for granted (CUDA graphs, fused attention) is listed with what it would cost to be without.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

from gnomon._errors import ModelError
from gnomon.performance_model.architecture import Formats, WeightFormat
from gnomon.performance_model.ceiling import Ceiling
from gnomon.performance_model.operators import Kind
from gnomon.performance_model.padding import padded
from gnomon.performance_model.parameters import weight_bytes
from gnomon.performance_model.phases import Decode, MicroStep, Verify
from gnomon.performance_model.retiming import launched_eagerly, retimed
from gnomon.performance_model.roofline import Timed, roofs, time_operator
from gnomon.performance_model.workload import Workload

DRAFTED = 4
ACCEPTANCE = 0.7
"""Speculative decoding as it is assumed: 4 drafts, each accepted with this probability if all
before it were; a round assumption, not a measurement, and the drafts are taken to cost nothing."""

EXPECTED_ACCEPTED = ACCEPTANCE * (1 - ACCEPTANCE**DRAFTED) / (1 - ACCEPTANCE)
"""Mean length of the accepted run: the sum of a^i for i = 1 to 4."""

SPARSE_COMPUTE_CAPABILITY = 8.0
"""Sparse tensor cores came with Ampere (NVIDIA A100 whitepaper); they skip 2 weights of 4."""

_INDEX_BITS = 2

_NARROWER = 0.95
"""A format has to take less than this share of the present one's bytes to be worth naming."""


class NotApplicableError(Exception):
    """A remedy that this workload has no use for; the message says why."""


class Answer(NamedTuple):
    """A remedy's ceiling, whether it fits into memory, and what it takes for granted.

    ``is_predicted`` is False where the ceiling has the remedy's price and not its gain.
    """

    ceiling: Ceiling
    fits: bool | None
    remark: str
    is_predicted: bool = True


@dataclass(frozen=True, slots=True)
class Remedy:
    """A change and what it predicts.

    ``gain_pct`` is that of tokens per second and GPU, ``latency_pct`` the change of the time per
    token (decode, serve) or step; negative is sooner. Both are None where the model cannot tell.
    ``flops_per_token_ratio``: FLOPs after over before. ``is_assumed``: the ceiling has it
    already, and ``gain_pct`` is what it is worth there.
    """

    name: str
    gain_pct: float | None
    latency_pct: float | None
    tokens_per_s: float | None
    flops_per_token_ratio: float
    fits: bool | None
    remark: str
    is_assumed: bool = False


@dataclass(frozen=True, slots=True)
class WhatIf:
    """Remedies, the best first and those that do not fit last; and why others do not apply."""

    remedies: tuple[Remedy, ...]
    assumed: tuple[Remedy, ...]
    not_applicable: dict[str, str]


def what_if(workload: Workload) -> WhatIf:
    """Return what every remedy would bring. Raises ModelError as ``ceiling`` does."""
    before = workload.ceiling()
    remedies: list[Remedy] = []
    assumed: list[Remedy] = []
    refused: dict[str, str] = {}
    for name, ask in _REMEDIES.items():
        try:
            remedies.append(_remedy(name, before, ask(workload, before)))
        except (NotApplicableError, ModelError) as reason:
            refused[name] = str(reason)
    for name, option, remark in _ASSUMED:
        has = not workload.request.is_eager if option == "is_eager" else _is_fused(workload)
        without = workload.changed(**{option: option == "is_eager"})
        if has:
            worth = _remedy(name, without.ceiling(), Answer(before, workload.fits(), remark))
            assumed.append(replace(worth, is_assumed=True))
    remedies.sort(key=_rank)
    return WhatIf(tuple(remedies), tuple(assumed), refused)


def _rank(remedy: Remedy) -> tuple[bool, float]:
    gain = -math.inf if remedy.gain_pct is None else remedy.gain_pct
    return (remedy.fits is False, -gain)


def _remedy(name: str, before: Ceiling, answer: Answer) -> Remedy:
    after = answer.ceiling
    gain_pct = 100 * (after.tokens_per_s_per_gpu / before.tokens_per_s_per_gpu - 1)
    latency_pct = 100 * (_latency_s(after) / _latency_s(before) - 1)
    return Remedy(
        name=name,
        gain_pct=gain_pct if answer.is_predicted else None,
        latency_pct=latency_pct if answer.is_predicted else None,
        tokens_per_s=after.tokens_per_s if answer.is_predicted else None,
        flops_per_token_ratio=flops_per_token(after) / flops_per_token(before),
        fits=answer.fits,
        remark=answer.remark,
    )


def flops_per_token(answer: Ceiling) -> float:
    """Return the FLOPs of all GPUs for a token that throughput counts."""
    return answer.flops * answer.gpus / answer.tokens


def _latency_s(answer: Ceiling) -> float:
    return answer.time_s if answer.tpot_s is None else answer.tpot_s


def _changed(workload: Workload, remark: str, **options: object) -> Answer:
    after = workload.changed(**options)
    return Answer(after.ceiling(), after.fits(), remark)


def _weights(dtype: str, remark: str) -> Callable[[Workload, Ceiling], Answer]:
    """Return the remedy that stores the weights in a narrower format."""

    def ask(workload: Workload, before: Ceiling) -> Answer:
        if isinstance(workload.phase, MicroStep):
            raise NotApplicableError("training keeps 16-bit weights; --dtype nf4 is QLoRA")
        after = workload.changed(dtype=dtype)
        if weight_bytes(after.architecture) >= _NARROWER * weight_bytes(workload.architecture):
            names = " and ".join(sorted({form.name for form in _layer_forms(workload)}))
            raise NotApplicableError(f"the weights are as narrow already ({names})")
        answer = after.ceiling()
        return Answer(answer, after.fits(), _with_news(remark, before, answer))

    return ask


def _layer_forms(workload: Workload) -> tuple[WeightFormat, ...]:
    formats: Formats = workload.architecture.formats
    return (formats.feed_forward, formats.attention, formats.experts)


def _narrow_cache(workload: Workload, _: Ceiling) -> Answer:
    if isinstance(workload.phase, MicroStep):
        raise NotApplicableError("training keeps no KV cache")
    if workload.execution.kv_bytes <= 1:
        raise NotApplicableError(f"the cache is {workload.execution.kv_dtype} already")
    return _changed(workload, "half the cache, room for more", kv_dtype="fp8")


def _fused_attention(workload: Workload, _: Ceiling) -> Answer:
    if _is_fused(workload):
        raise NotApplicableError("the ceiling has it already")
    return _changed(workload, "scores stay on the chip", is_attention_fused=True)


def _cuda_graphs(workload: Workload, _: Ceiling) -> Answer:
    if not workload.request.is_eager:
        raise NotApplicableError("the ceiling has them already")
    return _changed(workload, "kernels no longer wait for Python", is_eager=False)


def _kernel_fusion(workload: Workload, before: Ceiling) -> Answer:
    """Leave out the kernels that only move activations: what a megakernel could save at most."""
    kept = [one for one in before.operators if not _is_fusible(one)]
    remark = "norms, rope, activations in GEMMs: at most"
    return Answer(retimed(before, kept), workload.fits(), remark)


def _is_fusible(timed: Timed) -> bool:
    one = timed.operator
    moves_only_activations = one.weight_bytes == one.kv_write_bytes == one.gradient_bytes == 0
    return (
        one.kind is Kind.MEMORY
        and moves_only_activations
        and one.name not in {"sampling", "loss", "dequantisation"}
    )


def _larger_batch(workload: Workload, _: Ceiling) -> Answer:
    if workload.request.phase in {"train", "lora"}:
        raise NotApplicableError("a batch is part of the training recipe: try --sweep batch=...")
    most = workload.capacity().max_batch
    batch = workload.phase.batch
    if most is None:
        raise NotApplicableError("the memory of the GPU is not known")
    if most <= batch:
        raise NotApplicableError(f"no more than {most} sequences fit, and there are {batch}")
    return _changed(workload, f"{most:,} sequences are what fits", batch=most)


def _sparsity(workload: Workload, before: Ceiling) -> Answer:
    """Halve compute and weight bytes of the layers' GEMMs; kept weights bring 2 bits of index."""
    spec = workload.gpu.spec
    if isinstance(workload.phase, MicroStep):
        raise NotApplicableError("training changes which weights are zero")
    if spec is None or float(spec.compute_capability) < SPARSE_COMPUTE_CAPABILITY:
        raise NotApplicableError(f"{workload.gpu.name} has no sparse tensor cores")
    forms = {form for form in _layer_forms(workload) if form.name != form.compute_dtype}
    if forms:
        names = ", ".join(sorted(form.name for form in forms))
        raise NotApplicableError(f"sparse tensor cores do not take {names} weights as they are")
    bytes_per_weight = _layer_forms(workload)[0].bytes_per_weight
    share = 0.5 * (1 + _INDEX_BITS / (8 * bytes_per_weight))
    operators = [_sparse(one, share, before) for one in before.operators]
    if workload.request.is_eager:
        operators = [launched_eagerly(one) for one in operators]
    # Sparse weights are smaller, so that what did not fit may.
    fits = workload.fits() or None
    remark = "2 of 4 weights pruned: check the quality"
    return Answer(retimed(before, operators), fits, remark)


def _sparse(timed: Timed, share: float, before: Ceiling) -> Timed:
    one = timed.operator
    if one.kind is not Kind.PRODUCT or one.name in {"lm_head", "router"}:
        return timed
    # The FLOPs stay those of the dense product, done at twice its peak.
    dense = roofs(before.gpu)
    sparse = dense._replace(flops={dtype: 2 * peak for dtype, peak in dense.flops.items()})
    pruned = replace(one, weight_bytes=one.weight_bytes * share)
    return time_operator(pruned, sparse, before.constants)


def _more_tensor_parallelism(workload: Workload, before: Ceiling) -> Answer:
    tp = 2 * workload.layout.tp
    after = workload.changed(tp=tp, count=None, dp=workload.layout.dp)
    answer = after.ceiling()
    remark = _with_news(f"TP {tp}: twice the GPUs", before, answer)
    return Answer(answer, after.fits(), remark)


def _with_news(remark: str, before: Ceiling, after: Ceiling) -> str:
    """Return the remark with what the remedy is warned of and the present state is not."""
    news = (warning for warning in after.warnings if warning not in before.warnings)
    return "; ".join((remark, *news))


def _speculation(workload: Workload, _: Ceiling) -> Answer:
    phase = workload.phase
    if not isinstance(phase, Decode):
        raise NotApplicableError("it is computed for --phase decode")
    after = replace(workload, phase=Verify(phase.batch, phase.context, DRAFTED, EXPECTED_ACCEPTED))
    remark = f"assumed: {DRAFTED} free drafts, {ACCEPTANCE * 100:.0f} % accepted"
    return Answer(after.ceiling(), after.fits(), remark)


def _power_cap(workload: Workload, _: Ceiling) -> Answer:
    constants = workload.constants
    held = {
        dtype: burst
        for dtype, burst in constants.burst.items()
        if burst > constants.compute.get(dtype, math.inf)
    }
    if not held:
        raise NotApplicableError(
            "what power costs is measured: `gnomon calibrate`, then --constants calibrated"
        )
    after = replace(workload, constants=replace(constants, compute={**constants.compute, **held}))
    return Answer(after.ceiling(), after.fits(), "products at their burst rate, before the cap")


def _padding(workload: Workload, _: Ceiling) -> Answer:
    architecture, changes = padded(workload.architecture, workload.layout)
    if not changes:
        raise NotApplicableError("every dimension of a rank is a multiple of 16 bytes")
    after = replace(workload, architecture=architecture)
    remark = f"{'; '.join(changes)}. What unaligned kernels lose has to be measured"
    return Answer(after.ceiling(), after.fits(), remark, is_predicted=False)


def _is_fused(workload: Workload) -> bool:
    return workload.execution.is_attention_fused


_Ask = Callable[[Workload, Ceiling], Answer]

_REMEDIES: dict[str, _Ask] = {
    "fp8 weights": _weights("fp8", "with fp8 activations"),
    "int8 weights": _weights("int8", "with int8 activations"),
    "int8 weights only": _weights("int8-weights", "arithmetic stays in 16 bits"),
    "int4 weights only": _weights("int4", "arithmetic stays in 16 bits"),
    "fp8 KV cache": _narrow_cache,
    "fused attention": _fused_attention,
    "CUDA graphs": _cuda_graphs,
    "kernel fusion": _kernel_fusion,
    "larger batch": _larger_batch,
    "2:4 sparsity": _sparsity,
    "tensor parallelism x2": _more_tensor_parallelism,
    "speculative decoding": _speculation,
    "more power": _power_cap,
    "padded dimensions": _padding,
}

_ASSUMED = (
    ("CUDA graphs", "is_eager", "kernels would wait 7 us for Python"),
    ("fused attention", "is_attention_fused", "scores would go through memory"),
)
