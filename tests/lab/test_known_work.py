"""Closed forms against published figures, against brute force and against each other."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lab.known_work import (
    LlamaShape,
    LoraShape,
    Work,
    causal_attention,
    causal_pairs,
    decode_step,
    device_copy,
    fused_activation_bytes_per_token,
    fused_multiply_adds,
    gemm,
    gemv,
    growing_decode,
    lora_step,
    prefill,
    tiled_causal_attention_flops,
)

LLAMA = LlamaShape()
SMALL = LlamaShape(
    layers=2, hidden=64, intermediate=96, heads=4, kv_heads=2, head_dim=16, vocabulary=100
)


def test_the_default_shape_has_the_published_parameter_count_of_llama_3_1_8b():
    assert LLAMA.parameters == 8_030_261_248


def test_kv_cache_of_llama_3_1_8b_is_128_kib_a_token():
    assert LLAMA.kv_bytes_per_token == 131_072


def test_prefill_matches_the_flops_of_a_measured_h200_run():
    # 8 x 2048 tokens at 34,228.7 tokens/s were 50.15 % of 989.4 TFLOP/s (causal, no LM head).
    flops_per_token = prefill(LLAMA, 8, 2048).flops / (8 * 2048)

    assert flops_per_token * 34_228.7 / 989.4e12 == pytest.approx(0.5015, abs=5e-5)


def test_decode_matches_the_flops_of_a_measured_h200_run():
    # 512 sequences at context 1024 and 2,778.6 tokens/s were 4.37 % of 989.4 TFLOP/s.
    flops_per_token = decode_step(LLAMA, 512, 1024).flops / 512

    assert flops_per_token * 2_778.6 / 989.4e12 == pytest.approx(0.0437, rel=0.01)


def test_lora_matches_the_flops_of_a_measured_h200_run():
    # 8 x 1024 tokens at 12,291.2 tokens/s were 38.39 % of 989.4 TFLOP/s, first layer's
    # unneeded gradient counted there.
    flops_per_token = lora_step(LLAMA, 8, 1024).flops / (8 * 1024)

    assert flops_per_token * 12_291.2 / 989.4e12 == pytest.approx(0.3839, rel=0.005)


def test_lora_on_attention_has_peft_s_parameter_count():
    # print_trainable_parameters() of r = 16 on q, k, v, o of Llama-3.1-8B
    assert LoraShape(16).parameters(LLAMA) == 13_631_488


def test_fused_activations_of_llama_3_1_8b_are_10_5_mb_a_token():
    assert fused_activation_bytes_per_token(LLAMA) == pytest.approx(10.5e6, rel=0.02)


def test_batch_1_decode_is_one_flop_a_byte():
    step = decode_step(LLAMA, 1, 1)

    assert step.flops / step.dram_bytes == pytest.approx(1.0, rel=0.001)


@given(st.integers(1, 40), st.integers(0, 40))
def test_causal_pairs_count_every_pair_once(new, past):
    brute_force = sum(1 for query in range(new) for key in range(past + new) if key <= past + query)

    assert causal_pairs(new, past) == brute_force


@given(st.integers(1, 50), st.integers(1, 8), st.integers(1, 100))
def test_growing_decode_is_the_sum_of_its_steps(steps, batch, context):
    each = [decode_step(SMALL, batch, context + step) for step in range(steps)]
    whole = growing_decode(SMALL, batch, context, steps)

    assert whole.flops == pytest.approx(sum(step.flops for step in each))
    assert whole.dram_bytes == pytest.approx(sum(step.dram_bytes for step in each))
    assert whole.tokens == steps * batch


@given(st.integers(1, 8), st.integers(1, 64))
def test_prefill_is_the_sum_of_decoding_each_position_without_the_head(batch, length):
    head = 2.0 * batch * SMALL.head_parameters
    one_by_one = sum(decode_step(SMALL, batch, 1 + i).flops - head for i in range(length))

    assert prefill(SMALL, batch, length).flops == pytest.approx(one_by_one)


def test_full_training_would_be_three_times_forward_and_lora_lies_between():
    forward = prefill(LLAMA, 1, 512).flops + 2.0 * 512 * LLAMA.head_parameters

    assert 2 * forward < lora_step(LLAMA, 1, 512).flops * 1.01 < 3 * forward


def test_attention_of_a_model_is_that_of_its_layers():
    one_layer = causal_attention(3, LLAMA.heads, 512, LLAMA.head_dim).flops

    assert LLAMA.attention_flops(3 * causal_pairs(512)) == LLAMA.layers * one_layer


@given(st.integers(1, 8), st.integers(1, 64))
def test_tiles_execute_whole_blocks_on_the_diagonal(tiles, tile_rows):
    length = tiles * tile_rows
    blocks = sum(1 for row in range(tiles) for column in range(tiles) if column <= row)
    executed = tiled_causal_attention_flops(1, 1, length, 1, tile_rows)

    assert executed == 4.0 * blocks * tile_rows**2
    assert executed >= causal_attention(1, 1, length, 1).flops


def test_tiles_cost_3_percent_more_at_4096():
    ratio = tiled_causal_attention_flops(4, 32, 4096, 128) / (
        causal_attention(4, 32, 4096, 128).flops
    )

    assert ratio == pytest.approx(1.031, abs=5e-4)


def test_gemm_counts_two_flops_a_multiply_add_and_every_matrix_once():
    assert gemm(2, 3, 5, "bf16") == Work(60.0, "bf16", (10 + 15 + 6) * 2)
    assert gemm(2, 3, 5, "fp8", "bf16").dram_bytes == (10 + 15) + 6 * 2


def test_plain_kernels():
    assert device_copy(10).dram_bytes == 20
    assert gemv(4, 3, matrices=2).dram_bytes == 2 * (12 + 4 + 3) * 2
    assert fused_multiply_adds(33, 1024, 128).flops == 33 * 1024 * 128 * 2


@given(st.integers(0, 1000))
def test_times_scales_what_is_known_and_leaves_the_rest_unknown(count):
    work = Work(flops=2.0, flops_dtype="bf16", tokens=3.0).times(count)

    assert work == Work(2.0 * count, "bf16", None, 3.0 * count)


def test_counts_agree_with_the_published_configuration_s():
    """Counts of Llama-3.1-8B derived independently from its published config.json."""
    head_of_one_token = 2 * 525_336_576

    assert LLAMA.matrix_parameters == 6_979_321_856
    assert LLAMA.head_parameters == 525_336_576
    assert prefill(LLAMA, 1, 2048).flops == 29_688_401_494_016 - head_of_one_token
    assert LLAMA.attention_flops(causal_pairs(2048)) == 1_100_048_498_688
