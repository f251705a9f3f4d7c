"""LLM work in Llama-3.1-8B's shape with random weights: prefill, decode, LoRA training.

Random weights cost what trained ones cost: no kernel here looks at values. (Power does depend on
them a little; all-zero weights would clock higher.)
"""

from __future__ import annotations

import functools
from typing import Any

from lab import known_work
from lab.activity import Activity, NotPossibleError, need_memory
from lab.decode_graph import DecodeGraph
from lab.known_work import LlamaShape, Work

SHAPE = LlamaShape()
WEIGHTS_BYTES = SHAPE.parameters * 2
LORA_TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj")


@functools.cache
def model() -> Any:
    """Build the model once a process; it stays on the GPU."""
    import torch

    try:
        from transformers import LlamaConfig, LlamaForCausalLM
    except ImportError as error:
        raise NotPossibleError(f"transformers is not installed ({error})") from None

    need_memory(WEIGHTS_BYTES * 1.2)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=SHAPE.vocabulary,
        hidden_size=SHAPE.hidden,
        intermediate_size=SHAPE.intermediate,
        num_hidden_layers=SHAPE.layers,
        num_attention_heads=SHAPE.heads,
        num_key_value_heads=SHAPE.kv_heads,
        max_position_embeddings=8192,
        rope_theta=500000.0,
        attn_implementation="sdpa",
    )
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.bfloat16)
    try:
        with torch.device("cuda"):
            built = LlamaForCausalLM(config)
    finally:
        torch.set_default_dtype(before)
    parameters = sum(parameter.numel() for parameter in built.parameters())
    if parameters != SHAPE.parameters:
        raise RuntimeError(f"the model has {parameters} parameters, its shape {SHAPE.parameters}")
    return built.eval()


def tokens(batch: int, length: int) -> Any:
    import torch

    return torch.randint(0, SHAPE.vocabulary, (batch, length), device="cuda")


def prefill(batch: int, length: int) -> Activity:
    """Run whole prompts through the bare model, one synchronized pass after the other."""
    import torch

    llama = model()
    need_memory(batch * length * SHAPE.intermediate * 2 * 8)
    prompt = tokens(batch, length)

    def step() -> None:
        with torch.inference_mode():
            llama.model(prompt, use_cache=False)
        torch.cuda.synchronize()

    return Activity(step, known_work.prefill(SHAPE, batch, length).times)


def eager_decode(batch: int, context: int) -> Activity:
    """Decode token by token in eager transformers: the host launches every small kernel."""
    import torch

    llama = model()
    need_memory(3 * batch * context * SHAPE.kv_bytes_per_token)
    with torch.inference_mode():
        cache = llama(tokens(batch, context), use_cache=True, logits_to_keep=1).past_key_values
    token = tokens(batch, 1)

    def step() -> None:
        nonlocal token
        with torch.inference_mode():
            logits = llama(token, past_key_values=cache, use_cache=True).logits
            token = logits[:, -1:].argmax(-1)
        torch.cuda.synchronize()

    def work(steps: int) -> Work:
        return known_work.growing_decode(SHAPE, batch, context + 1, steps)

    def back_to_the_prompt() -> None:
        grown = cache.get_seq_length() - context
        if grown:
            cache.crop(-grown)

    return Activity(step, work, begin=back_to_the_prompt)


def graph_decode(batch: int, context: int) -> Activity:
    """Decode at a fixed context with a preallocated KV cache, one CUDA graph a step."""
    llama = model()
    need_memory(batch * context * SHAPE.kv_bytes_per_token * 1.05)
    graph = DecodeGraph.capture(llama, SHAPE, batch, context)
    return Activity(
        graph.replay,
        known_work.decode_step(SHAPE, batch, context).times,
        queued=3,
        release=graph.release,
    )


def lora_training(batch: int, length: int) -> Activity:
    """Train rank-16 adapters of the attention projections, all in bf16."""
    import torch

    try:
        from peft import LoraConfig, get_peft_model
    except ImportError as error:
        raise NotPossibleError(f"peft is not installed ({error})") from None

    llama = model()
    need_memory(batch * length * SHAPE.hidden * 2 * SHAPE.layers * 34 // 2)
    config = LoraConfig(r=known_work.LoraShape().rank, target_modules=list(LORA_TARGETS))
    trained = get_peft_model(llama, config, autocast_adapter_dtype=False).train()
    learning = [parameter for parameter in trained.parameters() if parameter.requires_grad]
    if sum(p.numel() for p in learning) != known_work.LoraShape().parameters(SHAPE):
        raise RuntimeError("the adapters do not have the parameters that their work is counted by")
    optimizer = torch.optim.AdamW(learning, lr=1e-5)
    batch_of_tokens = tokens(batch, length)

    def step() -> None:
        trained(input_ids=batch_of_tokens, labels=batch_of_tokens).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        torch.cuda.synchronize()

    def release() -> None:
        trained.unload()
        llama.eval()

    return Activity(step, known_work.lora_step(SHAPE, batch, length).times, release=release)
