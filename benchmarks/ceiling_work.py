"""The work that is held against the ceiling: Llama-3.1-8B's shape, random bf16 weights.

Prefill runs the layers of transformers, compiled (fused element-wise operations) and, where that
can be captured, as a CUDA graph; a decode step is the lab's CUDA graph; the chain is a decode step
of nothing but its products and its attention.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from lab.activity import Activity, need_memory
from lab.decode_graph import warm_up
from lab.known_work import LlamaShape

from benchmarks.ceiling_points import Workload
from lab import llm

SHAPE = llm.SHAPE
QUEUED = 3


def build(workload: Workload) -> tuple[Activity, str]:
    """Return a workload ready to run, and how it is run. Raises NotPossibleError."""
    if workload.kind == "prefill":
        return prefill(workload.batch, workload.length)
    if workload.kind == "decode":
        return llm.graph_decode(workload.batch, workload.length), "eager operators, CUDA graph"
    return chain(workload.batch, workload.length)


def prefill(batch: int, length: int) -> tuple[Activity, str]:
    import torch

    llama, compiled = _compiled()
    need_memory(batch * length * SHAPE.intermediate * 2 * 8)
    prompt = llm.tokens(batch, length)

    def step() -> None:
        with torch.inference_mode():
            forward(llama, prompt)

    try:
        replay, how = captured(step), "CUDA graph"
    except RuntimeError as error:
        print(f"  prefill {batch}x{length} cannot be captured: {error}", flush=True)
        torch.cuda.synchronize()
        replay, how = step, "no CUDA graph"
    return Activity(replay, queued=QUEUED), f"{compiled}, {how}"


def forward(llama: Any, prompt: Any) -> Any:
    """Return the logits that follow each prompt, shape (batch, vocabulary).

    transformers' own forward asks the GPU whether prompts are packed, and so cannot be captured.
    """
    import torch

    decoder = llama.model
    hidden = decoder.embed_tokens(prompt)
    positions = torch.arange(prompt.shape[1], device=prompt.device)[None]
    rotation = decoder.rotary_emb(hidden, positions)
    for layer in decoder.layers:
        out = layer(
            hidden, attention_mask=None, position_ids=positions, position_embeddings=rotation
        )
        hidden = out[0] if isinstance(out, tuple) else out
    return llama.lm_head(decoder.norm(hidden)[:, -1])


@functools.cache
def _compiled() -> tuple[Any, str]:
    """Return the lab's model with its layers compiled, where there is a compiler."""
    import torch

    llama = llm.model()
    torch._dynamo.config.cache_size_limit = 64  # noqa: SLF001  a graph for each shape
    for layer in llama.model.layers:
        layer.compile(dynamic=False)
    try:
        with torch.inference_mode():
            forward(llama, llm.tokens(1, 128))
    except Exception as error:  # noqa: BLE001  no C compiler, no Triton: it still runs eagerly
        words = str(error).strip().splitlines() or [type(error).__name__]
        print(f"  layers cannot be compiled: {words[0]}", flush=True)
        for layer in llama.model.layers:
            layer._compiled_call_impl = None  # noqa: SLF001  undoes Module.compile
        return llama, "eager"
    return llama, "compiled"


def captured(step: Callable[[], Any]) -> Callable[[], None]:
    """Return a step as one CUDA graph, warmed up. Raises RuntimeError where it cannot be one."""
    import torch

    warm_up(step, times=3)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, capture_error_mode="thread_local"):
        step()
    return graph.replay


def chain(batch: int, context: int) -> tuple[Activity, str]:
    """The products and the attention of a decode step, one after the other, as one CUDA graph."""
    import torch

    need_memory(
        1.05 * (SHAPE.parameters * 2 + batch * context * SHAPE.kv_bytes_per_token) + (1 << 30)
    )
    layers = [_Layer(SHAPE, batch, context, "cuda") for _ in range(SHAPE.layers)]
    head = _weights(SHAPE.vocabulary, SHAPE.hidden, "cuda")
    hidden = torch.randn(batch, SHAPE.hidden, device="cuda", dtype=torch.bfloat16)
    backend = _fastest_attention(layers[0])

    def step() -> Any:
        state = hidden
        with torch.inference_mode(), torch.nn.attention.sdpa_kernel(backend):
            for layer in layers:
                state = layer(state)
            return state @ head

    replay = captured(step)
    layers_held = [layers]  # the graph reads their memory until it is released
    return (
        Activity(replay, queued=QUEUED, release=layers_held.clear),
        f"{backend.name.lower()}, CUDA graph",
    )


class _Layer:
    """A layer's weights and cache, and its products with attention between them."""

    def __init__(self, shape: LlamaShape, batch: int, context: int, device: str) -> None:
        import torch

        self.shape = shape
        queries = shape.heads * shape.head_dim
        self.qkv = _weights(shape.qkv_width, shape.hidden, device)
        self.output = _weights(shape.hidden, queries, device)
        self.gate_up = _weights(2 * shape.intermediate, shape.hidden, device)
        self.down = _weights(shape.hidden, shape.intermediate, device)
        held = (batch, shape.kv_heads, context, shape.head_dim)
        self.keys, self.values = (
            torch.randn(held, device=device, dtype=torch.bfloat16) for _ in range(2)
        )

    def attend(self, queries: Any) -> Any:
        """Heads that share keys are put as queries over the same keys: the cache is read once."""
        import torch

        batch, shape = queries.shape[0], self.shape
        grouped = (batch, shape.kv_heads, shape.heads // shape.kv_heads, shape.head_dim)
        mixed = torch.nn.functional.scaled_dot_product_attention(
            queries.reshape(grouped), self.keys, self.values
        )
        return mixed.reshape(batch, -1)

    def __call__(self, hidden: Any) -> Any:
        queries = (hidden @ self.qkv)[:, : self.shape.heads * self.shape.head_dim]
        state = self.attend(queries) @ self.output
        return (state @ self.gate_up)[:, : self.shape.intermediate] @ self.down


def _weights(rows: int, columns: int, device: str) -> Any:
    """Return (columns, rows), kept transposed as linear layers do, so scaled that nothing grows."""
    import torch

    made = torch.randn(rows, columns, device=device, dtype=torch.bfloat16)
    return made.mul_(columns**-0.5).t()


def _fastest_attention(layer: _Layer) -> Any:
    """Return the backend that attends this layer's cache the fastest."""
    import torch
    from torch.nn.attention import SDPBackend, sdpa_kernel

    width = layer.shape.heads * layer.shape.head_dim
    queries = torch.randn(layer.keys.shape[0], width, device="cuda", dtype=torch.bfloat16)
    milliseconds: dict[Any, float] = {}
    for backend in (SDPBackend.FLASH_ATTENTION, SDPBackend.CUDNN_ATTENTION):
        try:
            with torch.inference_mode(), sdpa_kernel(backend):
                replay = captured(lambda: [layer.attend(queries) for _ in range(20)])
        except RuntimeError:
            continue  # this PyTorch lacks it, or it refuses the shape
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        replay()
        end.record()
        end.synchronize()
        milliseconds[backend] = begin.elapsed_time(end)
    return min(milliseconds, key=lambda backend: milliseconds[backend], default=SDPBackend.MATH)
