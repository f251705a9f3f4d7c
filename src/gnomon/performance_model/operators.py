"""The operators of one forward step on one GPU, with their FLOPs and bytes.

FLOPs: 2 for each weight and token of a GEMM, 2 n_q (d_qk + d_v) for each (query, key) pair of an
attention core; gathers, norms, rope, activations and softmax count none, because they do not
run on the tensor pipe, but their bytes and kernels do. Bytes are DRAM traffic of well-fused
kernels: norms with the residual, rope with the write to the cache, activations with their product.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from gnomon.performance_model._checks import number, one_of
from gnomon.performance_model.architecture import (
    Architecture,
    Attention,
    FeedForward,
    WeightFormat,
)
from gnomon.performance_model.attention_pairs import CONVENTIONS
from gnomon.performance_model.matrices import Product
from gnomon.performance_model.parallelism import Layout
from gnomon.performance_model.phases import Step

KV_BYTES = {"bf16": 2.0, "fp16": 2.0, "fp8": 1.0, "int8": 1.0, "int4": 0.5}
"""Bytes of one number in the KV cache by dtype, without scales."""


class Kind(StrEnum):
    """What limits an operator, and so which efficiencies hold for it."""

    PRODUCT = "product"
    PREFILL_ATTENTION = "prefill_attention"
    DECODE_ATTENTION = "decode_attention"
    MEMORY = "memory"
    COLLECTIVE = "collective"


@dataclass(frozen=True, slots=True)
class Operator:
    """One operator of a step: the sums over its ``count`` kernels, on one GPU.

    ``flops`` are counted by the chosen attention convention. ``executed_flops`` are what the
    kernels do, in any convention: causal attention, and work that engines repeat and nobody
    counts. ``is_recompute``: done again in the backward pass, in HFU and not in MFU.
    ``is_backward``: belongs to the backward pass, recompute included. ``is_overlapped``: runs
    beside the others of its pass, as gradients are exchanged beside the backward one.
    """

    name: str
    kind: Kind
    count: float
    dtype: str
    flops: float = 0.0
    executed_flops: float = 0.0
    weight_bytes: float = 0.0
    kv_read_bytes: float = 0.0
    kv_write_bytes: float = 0.0
    activation_read_bytes: float = 0.0
    activation_write_bytes: float = 0.0
    gradient_bytes: float = 0.0
    collective_bytes: float = 0.0
    is_recompute: bool = False
    is_backward: bool = False
    is_overlapped: bool = False

    @property
    def bytes_read(self) -> float:
        """Bytes read from DRAM."""
        return self.weight_bytes + self.kv_read_bytes + self.activation_read_bytes

    @property
    def bytes_written(self) -> float:
        """Bytes written to DRAM."""
        return self.kv_write_bytes + self.activation_write_bytes + self.gradient_bytes

    @property
    def total_bytes(self) -> float:
        """Bytes read and written."""
        return self.bytes_read + self.bytes_written


@dataclass(frozen=True, slots=True)
class Execution:
    """How an engine runs a model, apart from where.

    ``attention`` is the convention of counting. Unfused attention writes and reads the scores and
    probabilities, five times the rectangle in all. ``routing_skew`` is the share of
    the experts hit by uniform routing that real routing hits: 0.8 to 1.
    """

    kv_dtype: str = "bf16"
    attention: str = "causal"
    is_attention_fused: bool = True
    routing_skew: float = 1.0
    activation_dtype: str = "bf16"
    activation_bytes: float = 2.0

    def __post_init__(self) -> None:
        one_of("--kv-dtype", self.kv_dtype, tuple(KV_BYTES))
        one_of("--attention", self.attention, CONVENTIONS)
        number("routing skew", self.routing_skew, 0.01, 1)

    @property
    def kv_bytes(self) -> float:
        """Bytes of one number in the KV cache."""
        return KV_BYTES[self.kv_dtype]


@dataclass(frozen=True, slots=True)
class Forward:
    """The operators of a forward step: those of the layers apart, because only they repeat."""

    before: tuple[Operator, ...]
    layers: tuple[Operator, ...]
    after: tuple[Operator, ...]


@dataclass(frozen=True, slots=True)
class Work:
    """What the operators of a step have in common, and the two kinds of rows that most are.

    Training keeps no cache: keys and values are activations then.
    """

    architecture: Architecture
    layout: Layout
    step: Step
    execution: Execution
    is_training: bool = False

    @property
    def tokens(self) -> float:
        """New tokens of the step on one replica."""
        return self.step.tokens

    def product(
        self,
        product: Product,
        form: WeightFormat,
        layers: float,
        tokens: float,
        weight_reads: float | None = None,
    ) -> Operator:
        """Return the GEMM of ``product`` in ``layers`` layers.

        ``weight_reads``: how often its weights are read, where not once in a pass.
        """
        flops = 2 * tokens * product.weights * layers
        read = self.input_bytes(form)
        passes = self.step.passes
        reads = passes if weight_reads is None else weight_reads
        return Operator(
            product.name,
            Kind.PRODUCT,
            layers * passes,
            form.compute_dtype,
            flops,
            flops,
            weight_bytes=product.weights * form.bytes_per_weight * layers * reads,
            activation_read_bytes=tokens * product.reads * read * layers,
            activation_write_bytes=tokens
            * product.writes
            * self.execution.activation_bytes
            * layers,
        )

    def memory(
        self, name: str, layers: float, reads: float, writes: float, kernels: int = 1
    ) -> Operator:
        """Return an operator that only moves ``reads`` and ``writes`` numbers a layer."""
        size = self.execution.activation_bytes * layers
        return Operator(
            name,
            Kind.MEMORY,
            layers * kernels * self.step.passes,
            self.execution.activation_dtype,
            activation_read_bytes=reads * size,
            activation_write_bytes=writes * size,
        )

    def input_bytes(self, form: WeightFormat) -> float:
        """Return the bytes of one number that enters a GEMM of this format."""
        if not form.quantizes_activations:
            return self.execution.activation_bytes
        return 0.5 if form.compute_dtype == "fp4" else 1.0

    def quantise(
        self, name: str, form: WeightFormat, layers: float, numbers: tuple[float, ...]
    ) -> Iterator[Operator]:
        """Yield the pass that narrows GEMM inputs of ``numbers`` each, where a format needs it."""
        if form.quantizes_activations:
            read = sum(numbers)
            written = read * self.input_bytes(form) / self.execution.activation_bytes
            yield self.memory(f"{name}_quantisation", layers, read, written, len(numbers))


def attentions(architecture: Architecture) -> Counter[Attention]:
    """Return how many layers have each kind of attention."""
    counts: Counter[Attention] = Counter()
    for group in architecture.groups:
        counts[group.attention] += group.count
    return counts


def feed_forwards(architecture: Architecture) -> Counter[FeedForward]:
    """Return how many layers have each kind of feed-forward."""
    counts: Counter[FeedForward] = Counter()
    for group in architecture.groups:
        counts[group.feed_forward] += group.count
    return counts


def expected_distinct(count: int, active: int, tokens: float) -> float:
    """Return how many of ``count`` experts ``tokens`` tokens hit, ``active`` each, uniformly.

    E (1 - (1 - k/E)^T): an expert is missed by one token with the probability 1 - k/E.
    """
    missed: float = (1 - active / count) ** tokens
    return count * (1 - missed)
