"""The operators of attention: projections, rope with the cache's write, and the core."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace

from gnomon.performance_model.architecture import GroupedAttention, LatentAttention
from gnomon.performance_model.attention_pairs import keys, pairs
from gnomon.performance_model.matrices import attention_products, kv_heads_per_rank
from gnomon.performance_model.operators import Kind, Operator, Work, attentions
from gnomon.performance_model.phases import Sequences

UNFUSED_PASSES = 5
"""Times the rectangle of scores goes through DRAM without a fused kernel: written by the first
product, read and written by the mask or softmax, and read by the second product (4 to 6)."""


@dataclass(frozen=True, slots=True)
class _Core:
    """An attention core of ``layers`` layers; ``query``, ``output``, ``cached``: numbers a token.

    A pair costs 2 (query + output) FLOP: the first product runs over d_qk, the second over d_v.
    """

    name: str
    layers: float
    heads: float
    query: float
    output: float
    cached: float
    window: int | None = None


def attention_operators(work: Work) -> Iterator[Operator]:
    """Yield the attention operators of all layers; layers that differ by window share GEMMs."""
    windows: dict[GroupedAttention, Counter[int | None]] = {}
    for attention, count in attentions(work.architecture).items():
        if isinstance(attention, LatentAttention):
            yield from _latent(work, attention, count / work.layout.pp)
        else:
            alike = attention if attention.window is None else replace(attention, window=None)
            windows.setdefault(alike, Counter())[attention.window] += count
    for attention, counts in windows.items():
        yield from _grouped(work, attention, counts)


def _grouped(
    work: Work, attention: GroupedAttention, windows: Counter[int | None]
) -> Iterator[Operator]:
    form, tokens, tp = work.architecture.formats.attention, work.tokens, work.layout.tp
    layers = windows.total() / work.layout.pp
    projection, output = attention_products(attention, work.architecture.hidden, tp)
    query = attention.query_heads * attention.head_dim / tp
    cached = 2 * kv_heads_per_rank(attention, tp) * attention.head_dim
    inputs = (tokens * projection.reads, tokens * output.reads)
    yield from work.quantise("attention", form, layers, inputs)
    yield work.product(projection, form, layers, tokens)
    yield _cache_write(work, layers, query + cached, query, cached)
    for window, count in windows.items():
        name = "attention" if window is None else f"attention_window_{window}"
        heads = attention.query_heads / tp
        core = _Core(name, count / work.layout.pp, heads, query, query, cached, window)
        yield from _prefill_core(work, core)
        yield from _decode_core(work, core)
    yield work.product(output, form, layers, tokens)


def _latent(work: Work, attention: LatentAttention, layers: float) -> Iterator[Operator]:
    """Yield the operators of MLA: naive for prompts, absorbed for decoded tokens.

    A step with both reads the expanding matrix twice.
    """
    form, tokens, step = work.architecture.formats.attention, work.tokens, work.step
    hidden, tp = work.architecture.hidden, work.layout.tp
    heads = attention.query_heads / tp
    rank, rope = attention.kv_rank, attention.rope_dim
    *first, expansion, output = attention_products(attention, hidden, tp)
    inputs = tuple(tokens * product.reads for product in (*first, output))
    yield from work.quantise("attention", form, layers, inputs)
    for product in first:
        yield work.product(product, form, layers, tokens)
    # The norms of both latents, rope, and the write of the one that is cached.
    latents = (attention.query_rank or 0) + rank + rope
    query = heads * (attention.nope_dim + rope)
    yield _cache_write(work, layers, latents + query, query, rank + rope)
    if step.prefilled:
        prompts = sum(part.batch * part.new for part in step.prefilled)
        expand = work.product(expansion, form, layers, prompts)
        prefix = sum(part.batch * part.cached for part in step.prefilled)
        yield _expand_prefix(
            work, expand, expansion.writes * layers, prefix, layers * (rank + rope)
        )
        naive = _Core(
            "attention", layers, heads, query, heads * attention.value_dim, expansion.writes
        )
        yield from _prefill_core(work, naive, is_cached=False)
    if step.decoded:
        absorption = attention_products(attention, hidden, tp, is_absorbed=True)[-2]
        decoded = sum(part.batch * part.new for part in step.decoded)
        yield work.product(absorption, form, layers, decoded)
        absorbed = _Core(
            "attention", layers, heads, heads * (rank + rope), heads * rank, rank + rope
        )
        yield from _decode_core(work, absorbed)
    yield work.product(output, form, layers, tokens)


def _expand_prefix(
    work: Work, expand: Operator, writes: float, prefix: float, cached: float
) -> Operator:
    """Return the expansion with that of the cached prefix, which naive MLA does once more.

    It reads the cache of prefix and prompt. The prefix's FLOPs were counted when it was new: they
    are executed, and stand in no convention.
    """
    per_token = writes * work.execution.activation_bytes
    prompts = expand.activation_write_bytes / per_token
    repeated = expand.flops / prompts * prefix
    read = (prefix + prompts) * cached
    size = work.execution.activation_bytes if work.is_training else work.execution.kv_bytes
    return replace(
        expand,
        executed_flops=expand.flops + repeated,
        activation_read_bytes=read * size if work.is_training else 0.0,
        kv_read_bytes=0.0 if work.is_training else read * size,
        activation_write_bytes=(prefix + prompts) * per_token,
    )


def _cache_write(work: Work, layers: float, reads: float, writes: float, cached: float) -> Operator:
    """Return the kernel that turns queries and keys and writes what is cached."""
    tokens = work.tokens
    if work.is_training:
        return work.memory("rope", layers, tokens * reads, tokens * (writes + cached))
    moved = work.memory("rope_kv_write", layers, tokens * reads, tokens * writes)
    return replace(moved, kv_write_bytes=tokens * cached * work.execution.kv_bytes * layers)


def _prefill_core(work: Work, core: _Core, *, is_cached: bool = True) -> Iterator[Operator]:
    if work.step.prefilled:
        yield _attend(work, core, Kind.PREFILL_ATTENTION, work.step.prefilled, is_cached=is_cached)


def _decode_core(work: Work, core: _Core) -> Iterator[Operator]:
    if work.step.decoded:
        yield _attend(work, core, Kind.DECODE_ATTENTION, work.step.decoded, is_cached=True)


def _attend(
    work: Work,
    core: _Core,
    kind: Kind,
    sequences: tuple[Sequences, ...],
    *,
    is_cached: bool,
) -> Operator:
    execution, layers = work.execution, core.layers
    counted = executed = read = tokens = rectangle = 0.0
    for batch, new, cached in sequences:
        seen = batch * pairs(new, cached, core.window)
        executed += seen
        counted += (
            seen
            if execution.attention == "causal"
            else batch * pairs(new, cached, core.window, execution.attention)
        )
        read += batch * keys(new, cached, core.window)
        tokens += batch * new
        rectangle += batch * new * (cached + new)
    flops_per_pair = 2 * (core.query + core.output) * layers
    activations = execution.activation_bytes * layers
    scores = 0.0 if execution.is_attention_fused else core.heads * rectangle * activations
    # Only what is in the cache is its traffic; else keys and values are activations.
    in_cache = is_cached and not work.is_training
    keys_read = read * core.cached
    return Operator(
        f"{'prefill' if kind is Kind.PREFILL_ATTENTION else 'decode'}_{core.name}",
        kind,
        layers * work.step.passes,
        execution.activation_dtype,
        counted * flops_per_pair,
        executed * flops_per_pair,
        kv_read_bytes=keys_read * execution.kv_bytes * layers if in_cache else 0.0,
        activation_read_bytes=tokens * core.query * activations
        + (0.0 if in_cache else keys_read * activations)
        + scores * (UNFUSED_PASSES - 2),
        activation_write_bytes=tokens * core.output * activations + scores * 2,
    )
