"""Count the FLOPs of small models with torch, for the tests that hold gnomon's against them.

    python tests/data/models/make_small_flops.py > tests/data/models/small_flops.json

Needs torch and transformers, and no GPU. Attention and experts run eagerly, because torch's
counter misses fused experts; it then counts the whole rectangle, windows or not, and all logits.
What the rotary embedding multiplies (positions by frequencies) is left out: engines tabulate it.
"""

import json
import sys

from make_small_counts import CASES

BATCH, TOKENS = 2, 24

# transformers sends every token through every expert of Llama 4, times 0 where not chosen.
LEFT_OUT = {"llama4_text"}

# Eager latent attention repeats keys by this, although it has none to share; counts ignore it.
AS_MANY_KV_HEADS = {"deepseek_v2", "deepseek_v3"}


def main() -> None:
    """Write a list of config, batch, tokens, forward and forward + backward FLOPs, as JSON."""
    counted = []
    for model_type, case in CASES:
        if model_type in LEFT_OUT:
            continue
        shared = {} if model_type not in AS_MANY_KV_HEADS else {"num_key_value_heads": 4}
        fields = {**case, **shared}
        forward, trained = _flops(model_type, fields)
        counted.append(
            {
                "config": {"model_type": model_type, **fields},
                "batch": BATCH,
                "tokens": TOKENS,
                "forward_flops": forward,
                "forward_backward_flops": trained,
            }
        )
    lines = ",\n".join(json.dumps(entry) for entry in counted)
    sys.stdout.write(f"[\n{lines}\n]\n")


def _flops(model_type: str, fields: dict[str, object]) -> tuple[int, int]:
    import torch
    import transformers
    from torch.utils.flop_counter import FlopCounterMode

    torch.manual_seed(0)
    config = transformers.AutoConfig.for_model(model_type, **{"pad_token_id": 0, **fields})
    model = transformers.AutoModelForCausalLM.from_config(
        config, attn_implementation="eager", experts_implementation="eager"
    )
    ids = torch.randint(1, config.vocab_size, (BATCH, TOKENS))
    counts = []
    for is_trained in (False, True):
        with FlopCounterMode(display=False) as counter:
            logits = model.train(is_trained)(input_ids=ids, use_cache=False).logits
            if is_trained:
                logits.float().square().mean().backward()
        by_module = counter.get_flop_counts()
        rotary = sum(
            sum(flops.values()) for name, flops in by_module.items() if name.endswith("rotary_emb")
        )
        counts.append(counter.get_total_flops() - rotary)
    return counts[0], counts[1]


if __name__ == "__main__":
    main()
