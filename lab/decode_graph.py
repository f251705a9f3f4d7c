"""A decode step as serving engines run it: preallocated KV cache, one CUDA graph, no host work.

The weights are those of the transformers model; only the way in which they are called differs.
All four query heads of a key-value head are put to attention as four queries over the same keys,
so that the cache is read once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from lab.known_work import LlamaShape


@dataclass(slots=True)
class DecodeGraph:
    """Replays one step: from ``tokens``, over the whole ``cache``, to the next ``tokens``."""

    graph: Any
    tokens: Any
    cache: Any

    @classmethod
    def capture(cls, llama: Any, shape: LlamaShape, batch: int, context: int) -> DecodeGraph:
        import torch

        held = (shape.layers, 2, batch, shape.kv_heads, context, shape.head_dim)
        cache = torch.empty(held, device="cuda", dtype=torch.bfloat16)
        for layer in cache:  # a layer at a time: random numbers are made in fp32 first
            layer.normal_()
        tokens = torch.randint(0, shape.vocabulary, (batch,), device="cuda")
        rotation = _rotation(shape, position=context - 1)

        def step() -> None:
            tokens.copy_(_decode(llama, shape, cache, tokens, rotation))

        with torch.inference_mode():
            warm_up(step)
            graph = torch.cuda.CUDAGraph()
            # Other threads (a clock probe) go on launching while this one captures.
            with torch.cuda.graph(graph, capture_error_mode="thread_local"):
                step()
        return cls(graph, tokens, cache)

    def replay(self) -> None:
        self.graph.replay()

    def release(self) -> None:
        self.graph = self.tokens = self.cache = None


def warm_up(step: Callable[[], Any], times: int = 2) -> None:
    """Run a step on a stream of its own, as a graph of it must be before it is captured."""
    import torch

    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(times):
            step()
    torch.cuda.current_stream().wait_stream(side)
    torch.cuda.synchronize()


def _rotation(shape: LlamaShape, position: int) -> tuple[Any, Any]:
    """Cosine and sine of the rotary embedding at one position, shape (head_dim,) each."""
    import torch

    exponent = torch.arange(0, shape.head_dim, 2, device="cuda") / shape.head_dim
    angle = (position * 500000.0**-exponent).repeat(2)
    return angle.cos().to(torch.bfloat16), angle.sin().to(torch.bfloat16)


def _rotated(states: Any, rotation: tuple[Any, Any]) -> Any:
    import torch

    cosine, sine = rotation
    half = states.shape[-1] // 2
    turned = torch.cat((-states[..., half:], states[..., :half]), dim=-1)
    return states * cosine + turned * sine


def _decode(llama: Any, shape: LlamaShape, cache: Any, tokens: Any, rotation: Any) -> Any:
    """Return the next token of each sequence, shape (batch,)."""
    decoder = llama.model
    hidden = decoder.embed_tokens(tokens)
    for layer, (keys, values) in zip(decoder.layers, cache, strict=True):
        attended = _attend(layer, shape, layer.input_layernorm(hidden), keys, values, rotation)
        hidden = hidden + attended
        hidden = hidden + layer.mlp(layer.post_attention_layernorm(hidden))
    return llama.lm_head(decoder.norm(hidden)).argmax(-1)


def _attend(
    layer: Any, shape: LlamaShape, hidden: Any, keys: Any, values: Any, rotation: Any
) -> Any:
    import torch

    batch, attention = hidden.shape[0], layer.self_attn
    grouped = (batch, shape.kv_heads, shape.heads // shape.kv_heads, shape.head_dim)
    queries = _rotated(attention.q_proj(hidden).view(grouped), rotation)
    new = (batch, shape.kv_heads, shape.head_dim)
    keys[:, :, -1] = _rotated(attention.k_proj(hidden).view(new), rotation)
    values[:, :, -1] = attention.v_proj(hidden).view(new)
    mixed = torch.nn.functional.scaled_dot_product_attention(queries, keys, values)
    return attention.o_proj(mixed.reshape(batch, -1))
