"""Count small models with transformers, for the tests that hold gnomon's counts against them.

    python tests/data/models/make_small_counts.py > tests/data/models/small_counts.json

Needs torch and transformers. Nothing is computed: the models are built on the meta device. The
configs leave out what their classes have defaults for, so that these are compared too.
"""

import json
import sys

SIZES = {"hidden_size": 64, "num_hidden_layers": 6, "vocab_size": 320, "num_attention_heads": 4}
DENSE = {**SIZES, "intermediate_size": 96}
ONE_KV = {**DENSE, "num_key_value_heads": 1}
SPARSE = {**ONE_KV, "num_experts_per_tok": 2}
LATENT = {
    **SPARSE,
    "moe_intermediate_size": 24,
    "n_routed_experts": 6,
    "n_shared_experts": 2,
    "kv_lora_rank": 16,
    "q_lora_rank": 24,
    "qk_nope_head_dim": 12,
    "qk_rope_head_dim": 8,
    "v_head_dim": 20,
    "n_group": 1,
    "topk_group": 1,
}
GPT2 = {"n_embd": 64, "n_layer": 3, "n_head": 4, "vocab_size": 320, "n_positions": 48}
FALCON = {"hidden_size": 64, "num_hidden_layers": 3, "num_attention_heads": 4, "vocab_size": 320}
MOE = {**SPARSE, "num_experts": 6, "moe_intermediate_size": 24}
LOCAL = {**SPARSE, "num_local_experts": 6}
LAYERS = ["full_attention", "sliding_attention", "sliding_attention"] * 2

CASES = [
    ("llama", DENSE),
    ("llama", {**ONE_KV, "attention_bias": True, "mlp_bias": True, "head_dim": 24}),
    ("llama", {**DENSE, "tie_word_embeddings": True}),
    ("mistral", {**ONE_KV, "head_dim": 24}),
    ("mistral", {**ONE_KV, "head_dim": 24, "sliding_window": None}),
    ("ministral3", ONE_KV),
    ("mixtral", LOCAL),
    ("qwen2", ONE_KV),
    ("qwen2", {**ONE_KV, "use_sliding_window": True, "max_window_layers": 2, "sliding_window": 8}),
    ("qwen2_moe", {**MOE, "shared_expert_intermediate_size": 40}),
    (
        "qwen2_moe",
        {
            **MOE,
            "shared_expert_intermediate_size": 40,
            "decoder_sparse_step": 2,
            "mlp_only_layers": [3],
            "qkv_bias": False,
        },
    ),
    ("qwen3", ONE_KV),
    (
        "qwen3",
        {**ONE_KV, "attention_bias": True, "layer_types": LAYERS, "use_sliding_window": True},
    ),
    ("qwen3_moe", MOE),
    ("qwen3_moe", {**MOE, "head_dim": 24, "use_sliding_window": True, "sliding_window": 8}),
    ("gemma", ONE_KV),
    ("gemma2", ONE_KV),
    ("gemma3_text", ONE_KV),
    ("gemma3_text", {**ONE_KV, "head_dim": 24, "sliding_window_pattern": 3}),
    ("phi", DENSE),
    ("phi3", ONE_KV),
    ("phi3", {**ONE_KV, "sliding_window": 16}),
    ("gpt_oss", {**LOCAL, "head_dim": 24}),
    ("deepseek_v2", {**LATENT, "first_k_dense_replace": 1}),
    ("deepseek_v2", {**LATENT, "q_lora_rank": None, "attention_bias": True}),
    ("deepseek_v3", LATENT),
    ("deepseek_v3", {**LATENT, "attention_bias": True, "first_k_dense_replace": 0}),
    ("glm", ONE_KV),
    ("glm4", ONE_KV),
    ("glm4", {**ONE_KV, "attention_bias": False}),
    ("glm4_moe", {**LATENT, "use_qk_norm": True}),
    ("glm4_moe", {**LATENT, "head_dim": 24, "attention_bias": True}),
    ("olmo", DENSE),
    ("olmo2", ONE_KV),
    ("olmo3", ONE_KV),
    ("olmoe", {**ONE_KV, "num_experts": 6, "num_experts_per_tok": 2}),
    ("cohere", ONE_KV),
    ("cohere", {**ONE_KV, "use_qk_norm": True}),
    ("cohere2", ONE_KV),
    ("gpt2", GPT2),
    ("gpt2", {**GPT2, "n_inner": 40, "tie_word_embeddings": False}),
    ("gpt_bigcode", GPT2),
    ("gpt_bigcode", {**GPT2, "multi_query": False}),
    ("gpt_neox", DENSE),
    ("gpt_neox", {**DENSE, "attention_bias": False}),
    ("falcon", FALCON),
    ("falcon", {**FALCON, "parallel_attn": False, "multi_query": False, "bias": True}),
    ("falcon", {**FALCON, "new_decoder_architecture": True, "num_kv_heads": 2}),
    (
        "falcon",
        {
            **FALCON,
            "new_decoder_architecture": True,
            "num_kv_heads": 2,
            "num_ln_in_parallel_attn": 1,
            "ffn_hidden_size": 80,
        },
    ),
    ("mpt", {"d_model": 64, "n_layers": 3, "n_heads": 4, "vocab_size": 320}),
    ("opt", {**SIZES, "ffn_dim": 96, "word_embed_proj_dim": 64, "max_position_embeddings": 48}),
    (
        "opt",
        {
            **SIZES,
            "ffn_dim": 96,
            "word_embed_proj_dim": 64,
            "do_layer_norm_before": False,
            "enable_bias": False,
            "max_position_embeddings": 48,
        },
    ),
    ("starcoder2", ONE_KV),
    ("starcoder2", {**ONE_KV, "use_bias": False, "sliding_window": 16}),
    ("granite", {**ONE_KV, "attention_bias": True}),
    ("granitemoe", LOCAL),
    ("minimax_m2", LOCAL),
    ("nemotron", ONE_KV),
    ("seed_oss", ONE_KV),
    ("seed_oss", {**ONE_KV, "attention_out_bias": True, "head_dim": 24}),
    ("smollm3", {**ONE_KV, "pad_token_id": 0}),
    ("exaone4", ONE_KV),
    ("llama4_text", {**LOCAL, "intermediate_size_mlp": 80, "head_dim": 24}),
    ("llama4_text", {**LOCAL, "intermediate_size_mlp": 80, "interleave_moe_layer_step": 2}),
]


def main() -> None:
    """Write a list of config, total and the number of layers with a window, as JSON."""
    import torch
    import transformers

    counted = []
    for model_type, fields in CASES:
        config = transformers.AutoConfig.for_model(model_type, **{"pad_token_id": 0, **fields})
        with torch.device("meta"):
            model = transformers.AutoModelForCausalLM.from_config(config)
        corrections = [b for name, b in model.named_buffers() if "e_score_correction" in name]
        total = sum(tensor.numel() for tensor in [*model.parameters(), *corrections])
        counted.append(
            {
                "config": {"model_type": model_type, **fields},
                "total": total,
                "windowed_layers": _windowed_layers(config),
            }
        )
    lines = ",\n".join(json.dumps(entry) for entry in counted)
    sys.stdout.write(f"[\n{lines}\n]\n")


def _windowed_layers(config: object) -> int:
    kinds = getattr(config, "layer_types", None)
    has_window = getattr(config, "sliding_window", None) or getattr(
        config, "attention_chunk_size", None
    )
    if not has_window:
        return 0
    if kinds:
        return sum(kind != "full_attention" for kind in kinds)
    return config.num_hidden_layers


if __name__ == "__main__":
    main()
