"""Training and its adapters: 3 x forward, published FLOPs of LoRA, and what recompute adds."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnomon._errors import ModelError
from gnomon.performance_model._lora import adapter_parameters
from gnomon.performance_model.architecture import Formats, WeightFormat
from gnomon.performance_model.operators import Kind
from gnomon.performance_model.parallelism import Layout
from gnomon.performance_model.phases import Lora, Prefill, Train
from tests.performance_model.models import DENSE, SPARSE, bf16, rows, small_models, step


@given(small_models, st.integers(1, 8), st.integers(1, 512))
def test_training_is_three_times_a_forward_with_all_logits(model, batch, sequence):
    forward = step(model, Prefill(batch, sequence, has_all_logits=True))

    assert step(model, Train(batch, sequence)).flops == 3 * forward.flops


# Llama-3.1-8B, sequences of 2048, LoRA of rank 16 on all linear layers, in GFLOP a token: from
# 6 N_mm + 6 h V + 3 a, 8 N_mm + 6 h V + 4 a, 4 (N_mm + h V) + 6 P + 3 a, and + 2 (N_mm + P) + a.
@pytest.mark.parametrize(
    ("phase", "gigaflops"),
    [
        (Train(1, 2048), 46.6),
        (Train(1, 2048, "full"), 61.1),
        (Lora(1, 2048), 31.9),
        (Lora(1, 2048, recompute="full"), 46.5),
        (Lora(1, 2048, is_quantised=True), 31.9),
    ],
)
def test_a_trained_token_costs_what_the_closed_forms_say(phase, gigaflops):
    assert step(bf16("Llama-3.1-8B"), phase).flops / 2048e9 == pytest.approx(gigaflops, abs=0.05)


@pytest.mark.parametrize(
    ("rank", "targets", "printed"),
    [(16, ("all",), 41_943_040), (8, ("q_proj", "v_proj"), 3_407_872), (8, ("q", "v"), 3_407_872)],
)
def test_adapters_have_the_parameters_that_peft_prints(rank, targets, printed):
    phase = Lora(1, 2048, rank, targets)

    assert adapter_parameters(bf16("Llama-3.1-8B"), phase, Layout()) == printed


def test_adapters_of_experts_are_held_for_all_and_met_for_the_active():
    phase = Lora(1, 8, rank=2, targets=("down",))
    dense, shared, one = 2 * (128 + 64), 2 * (32 + 64), 2 * (32 + 64)

    assert adapter_parameters(SPARSE, phase, Layout()) == dense + 3 * (shared + 16 * one)
    met = adapter_parameters(SPARSE, phase, Layout(), is_held=False)
    assert met == dense + 3 * (shared + 4 * one)


def test_recompute_is_in_hfu_and_not_in_mfu():
    plain, full = step(DENSE, Train(2, 64)), step(DENSE, Train(2, 64, "full"))
    selective = step(DENSE, Train(2, 64, "selective"))
    core = rows(plain)["prefill_attention"].flops
    head = rows(plain)["lm_head"].flops

    assert full.useful_flops == selective.useful_flops == plain.flops
    assert full.flops - plain.flops == plain.flops / 3 - head
    assert selective.flops - plain.flops == core
    assert full.hfu_pct / full.mfu_pct == pytest.approx(full.flops / plain.flops)


def test_the_fused_backward_core_makes_the_scores_again():
    found = rows(step(DENSE, Train(2, 64)))
    forward, backward = found["prefill_attention"], found["prefill_attention_backward"]

    assert backward.flops == 2 * forward.flops
    assert backward.executed_flops == 2.5 * forward.flops


def test_the_backward_core_reads_what_the_forward_had_and_writes_three_gradients():
    """q, k, v, the output and its gradient in; gradients of q, k and v out (128 tokens, bf16)."""
    backward = rows(step(DENSE, Train(2, 64)))["prefill_attention_backward"]
    query, key = 8 * 16, 4 * 16

    assert backward.bytes_read == 4 * 128 * 2 * (query + 2 * key + 2 * query)
    assert backward.bytes_written == 4 * 128 * 2 * (query + 2 * key)


def test_frozen_weights_get_no_gradient_and_the_adapters_do():
    found = rows(step(DENSE, Lora(2, 64)))

    assert "mlp_down_input_gradient" in found
    assert [name for name, row in found.items() if row.gradient_bytes] == [
        "lora_adapters_weight_gradient"
    ]


def test_qlora_unpacks_its_weights_at_every_use():
    found = rows(step(DENSE, Lora(2, 64, recompute="full", is_quantised=True)))
    unpackings = [row for name, row in found.items() if name.startswith("dequantisation")]
    wide = (
        sum(
            row.weight_bytes
            for name, row in found.items()
            if row.kind is Kind.PRODUCT and name in {"mlp_gate_up", "mlp_down", "qkv_projection"}
        )
        + found["output_projection"].weight_bytes
    )

    assert len(unpackings) == 3
    for row in unpackings:
        assert row.bytes_written == wide
        assert row.bytes_read == pytest.approx(wide * (4 + 0.127) / 16)


def test_qlora_is_the_same_however_its_model_was_stored():
    narrow = WeightFormat("int4", 0.516, "bf16")
    stored = replace(DENSE, formats=Formats(attention=narrow, feed_forward=narrow))
    phase = Lora(2, 64, is_quantised=True)

    assert step(stored, phase).bytes == step(DENSE, phase).bytes


def test_training_keeps_no_cache():
    moved = step(DENSE, Train(2, 64)).bytes

    assert (moved.kv_read, moved.kv_write) == (0, 0)


@pytest.mark.parametrize("targets", [("q_proj", "conv"), ()])
def test_a_target_that_the_model_does_not_have_is_refused_with_those_it_has(targets):
    with pytest.raises(ModelError, match=r"--lora-targets .* q_proj"):
        step(DENSE, Lora(1, 8, targets=targets))
