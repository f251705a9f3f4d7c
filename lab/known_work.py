"""How many FLOPs and bytes the lab's work is, from shapes alone: pure functions, no GPU.

A multiply-add counts as 2 FLOPs. Attention is counted causally (what kernels must compute and
what a model needs), not as the full rectangle that some published MFU figures use. Bytes are
what must cross the DRAM interface when nothing is read twice and caches keep nothing between
iterations: a lower bound for work that is not a plain copy.
"""

from __future__ import annotations

from dataclasses import dataclass

BYTES_OF_DTYPE = {"fp64_tensor": 8, "fp32": 4, "tf32": 4, "bf16": 2, "fp16": 2, "fp8": 1}


@dataclass(frozen=True, slots=True)
class Work:
    """What a piece of work comes to; None where no closed form is known.

    ``flops`` in FLOP of type ``flops_dtype`` (a key of the GPU table's peaks), ``dram_bytes`` in
    bytes, ``tokens`` in tokens processed.
    """

    flops: float | None = None
    flops_dtype: str | None = None
    dram_bytes: float | None = None
    tokens: float | None = None

    def times(self, count: float) -> Work:
        """Return the work of ``count`` repetitions."""

        def scaled(value: float | None) -> float | None:
            return None if value is None else value * count

        return Work(
            scaled(self.flops), self.flops_dtype, scaled(self.dram_bytes), scaled(self.tokens)
        )


def gemm(m: int, n: int, k: int, dtype: str, output_dtype: str | None = None) -> Work:
    """Return the work of one (m, k) x (k, n) product: 2 m n k FLOPs, each matrix moved once."""
    inputs = (m * k + k * n) * BYTES_OF_DTYPE[dtype]
    output = m * n * BYTES_OF_DTYPE[output_dtype or dtype]
    return Work(flops=2.0 * m * n * k, flops_dtype=dtype, dram_bytes=inputs + output)


def device_copy(size_bytes: int) -> Work:
    """Return the work of a copy inside device memory: every byte is read and written."""
    return Work(dram_bytes=2 * size_bytes)


def gemv(rows: int, columns: int, matrices: int, dtype: str = "bf16") -> Work:
    """Return the work of one matrix-vector product with each of several matrices."""
    elements = matrices * (rows * columns + rows + columns)
    return Work(
        flops=2.0 * matrices * rows * columns,
        flops_dtype=dtype,
        dram_bytes=elements * BYTES_OF_DTYPE[dtype],
    )


def causal_pairs(new_tokens: int, past_tokens: int = 0) -> int:
    """Return the (query, key) pairs of causal attention: S P + S (S + 1) / 2."""
    return new_tokens * past_tokens + new_tokens * (new_tokens + 1) // 2


def causal_attention(batch: int, heads: int, length: int, head_dim: int) -> Work:
    """Return the work of scaled dot-product attention: QK^T and PV over causal pairs."""
    return Work(
        flops=4.0 * batch * heads * head_dim * causal_pairs(length),
        flops_dtype="bf16",
        dram_bytes=4 * batch * heads * length * head_dim * BYTES_OF_DTYPE["bf16"],
    )


def tiled_causal_attention_flops(
    batch: int, heads: int, length: int, head_dim: int, tile_rows: int = 128
) -> float:
    """FLOPs that a tiled kernel executes for causal attention: tiles on the diagonal are whole.

    S (S + tile) / 2 pairs instead of S (S + 1) / 2. 128 rows is what PyTorch 2.11 runs on an H200
    at head_dim 128: 3.1 % more than the causal count at S = 4096, and the tensor counter times
    the true clock read 3.1 % more.
    """
    tiles = -(-length // tile_rows)
    pairs = tile_rows * tile_rows * tiles * (tiles + 1) // 2
    return 4.0 * batch * heads * head_dim * pairs


def fused_multiply_adds(blocks: int, threads: int, per_thread: int) -> Work:
    """Return the work of a kernel in which each thread does so many fp32 FMAs; no memory."""
    return Work(flops=2.0 * blocks * threads * per_thread, flops_dtype="fp32")


@dataclass(frozen=True, slots=True)
class LlamaShape:
    """A decoder with grouped-query attention and a gated MLP; the defaults are Llama-3.1-8B's."""

    layers: int = 32
    hidden: int = 4096
    intermediate: int = 14336
    heads: int = 32
    kv_heads: int = 8
    head_dim: int = 128
    vocabulary: int = 128256

    @property
    def qkv_width(self) -> int:
        return (self.heads + 2 * self.kv_heads) * self.head_dim

    @property
    def matrix_parameters(self) -> int:
        """Parameters that every token is multiplied with, the LM head left out."""
        attention = self.hidden * (self.qkv_width + self.heads * self.head_dim)
        return self.layers * (attention + 3 * self.hidden * self.intermediate)

    @property
    def head_parameters(self) -> int:
        return self.hidden * self.vocabulary

    @property
    def parameters(self) -> int:
        """All parameters: matrices, embedding, untied LM head, two norms a layer and one more."""
        norms = (2 * self.layers + 1) * self.hidden
        return self.matrix_parameters + 2 * self.head_parameters + norms

    @property
    def kv_bytes_per_token(self) -> int:
        """bf16 keys and values of one token in all layers."""
        return self.layers * 2 * self.kv_heads * self.head_dim * BYTES_OF_DTYPE["bf16"]

    def attention_flops(self, pairs: int) -> float:
        """FLOPs of QK^T and PV over so many (query, key) pairs, in all layers."""
        return 4.0 * self.layers * self.heads * self.head_dim * pairs


def prefill(shape: LlamaShape, batch: int, length: int) -> Work:
    """Return one forward pass over ``batch`` prompts without LM head (the bare model).

    2 T N + attention. Bytes: weights once and what activations cost when neighbouring
    element-wise operations are fused; eager code moves more.
    """
    tokens = batch * length
    flops = 2.0 * tokens * shape.matrix_parameters
    flops += shape.attention_flops(batch * causal_pairs(length))
    weights = shape.matrix_parameters * BYTES_OF_DTYPE["bf16"]
    moved = weights + tokens * fused_activation_bytes_per_token(shape)
    return Work(flops, "bf16", moved, tokens)


def fused_activation_bytes_per_token(shape: LlamaShape) -> float:
    """DRAM bytes of activations per token under realistic fusion, in all layers.

    Elements per layer: norms with residual 4 h each; QKV in and out; rope and KV write; attention
    in and out; output projection; MLP in, gate and up; activation; down.
    """
    h, i = shape.hidden, shape.intermediate
    qkv, queries = shape.qkv_width, shape.heads * shape.head_dim
    elements = (
        8 * h + (h + qkv) + 2 * qkv + 2 * queries + (queries + h) + (h + 2 * i) + 3 * i + (i + h)
    )
    return float(shape.layers * elements * BYTES_OF_DTYPE["bf16"])


def decode_step(shape: LlamaShape, batch: int, context: int) -> Work:
    """Return one decode step with LM head; each new token attends to ``context`` tokens.

    Bytes: all matrices once, one embedding row a sequence, the KV cache read once, its new
    entry written.
    """
    matrices = shape.matrix_parameters + shape.head_parameters
    flops = 2.0 * batch * matrices + shape.attention_flops(batch * context)
    weights = (matrices + batch * shape.hidden) * BYTES_OF_DTYPE["bf16"]
    cache = batch * (context + 1) * shape.kv_bytes_per_token
    return Work(flops, "bf16", weights + cache, batch)


def growing_decode(shape: LlamaShape, batch: int, first_context: int, steps: int) -> Work:
    """Return ``steps`` decode steps whose context starts at ``first_context`` and grows by one."""
    whole = decode_step(shape, batch, first_context).times(steps)
    grown = steps * (steps - 1) // 2  # sum of 0 + 1 + ... + (steps - 1)
    return Work(
        (whole.flops or 0.0) + shape.attention_flops(batch * grown),
        "bf16",
        (whole.dram_bytes or 0.0) + batch * grown * shape.kv_bytes_per_token,
        whole.tokens,
    )


@dataclass(frozen=True, slots=True)
class LoraShape:
    """Low-rank adapters on the four attention projections."""

    rank: int = 16

    def parameters(self, shape: LlamaShape) -> int:
        """Adapter parameters: r (in + out) for each of q, k, v and o in each layer."""
        h, queries = shape.hidden, shape.heads * shape.head_dim
        kv = shape.kv_heads * shape.head_dim
        return shape.layers * self.rank * ((h + queries) + 2 * (h + kv) + (queries + h))


def lora_step(shape: LlamaShape, batch: int, length: int, lora: LoraShape | None = None) -> Work:
    """Return forward and backward of one LoRA training step over all tokens, LM head included.

    Frozen weights need forward and the gradient of their input (4 N), adapters also their own
    gradient (6 P), attention 2 x its forward in backward (recomputing QK^T there is the kernel's
    affair, not the model's). Nothing before the first layer learns, so the input gradient of its
    q, k and v (and of their adapters' inner matrix) is never formed.
    """
    adapters = lora or LoraShape()
    tokens = batch * length
    frozen = 4.0 * (shape.matrix_parameters + shape.head_parameters)
    learned = 6.0 * adapters.parameters(shape)
    not_formed = 2.0 * shape.hidden * (shape.qkv_width + 3 * adapters.rank)
    flops = tokens * (frozen + learned - not_formed)
    flops += 3.0 * shape.attention_flops(batch * causal_pairs(length))
    return Work(flops, "bf16", None, tokens)
