"""Remedies: what each may change, and predictions that can be had by hand."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnomon.hardware import profile, sku_facts
from gnomon.performance_model.constants import DEFAULT
from gnomon.performance_model.what_if import _REMEDIES, DRAFTED, EXPECTED_ACCEPTED, what_if
from gnomon.performance_model.workload import Request, workload
from tests.performance_model.models import DENSE, H200, bf16, small_models

LLAMA = bf16("Llama-3.1-8B")
A100, V100 = (profile(sku_facts(sku)) for sku in ("A100-SXM4-80GB", "V100-SXM2-32GB"))


def asked(model=LLAMA, gpu=H200, constants=DEFAULT, **options):
    return workload(Request(**options), model, gpu, constants)


def remedies(found):
    return {one.name: one for one in (*found.remedies, *found.assumed)}


# Rejected drafts, copies of KV heads on more ranks than heads, and padding are work of their own.
MORE_FLOPS = {"speculative decoding", "tensor parallelism x2", "padded dimensions"}


@given(
    small_models,
    st.sampled_from(["prefill", "decode", "serve", "train", "lora"]),
    st.integers(1, 64),
    st.booleans(),
    st.sampled_from([H200, A100, V100]),
)
def test_a_remedy_changes_the_flops_of_a_token_only_where_it_has_to(
    model, phase, batch, as_plain_pytorch, gpu
):
    plain = {"is_eager": as_plain_pytorch, "is_attention_fused": not as_plain_pytorch}
    found = what_if(asked(model, gpu, phase=phase, batch=batch, **plain))

    for name, one in remedies(found).items():
        if name in MORE_FLOPS:
            assert one.flops_per_token_ratio >= 1 - 1e-9
        else:
            assert one.flops_per_token_ratio == pytest.approx(1), name


@given(small_models, st.sampled_from(["prefill", "decode", "serve"]), st.integers(1, 64))
def test_remedies_are_ranked_and_never_pass_for_what_does_not_apply(model, phase, batch):
    found = what_if(asked(model, phase=phase, batch=batch))
    gains = [one.gain_pct for one in found.remedies if one.fits and one.gain_pct is not None]

    assert gains == sorted(gains, reverse=True)
    assert not {one.name for one in found.remedies} & found.not_applicable.keys()
    assert all(one.is_assumed and one.gain_pct >= -1e-9 for one in found.assumed)


def test_a_remedy_predicts_what_asking_for_it_gives():
    before = asked(phase="decode", batch=64)
    after = before.changed(dtype="fp8").ceiling()
    fp8 = remedies(what_if(before))["fp8 weights"]

    assert fp8.tokens_per_s == after.tokens_per_s
    assert fp8.gain_pct == pytest.approx(
        100 * (after.tokens_per_s / before.ceiling().tokens_per_s - 1)
    )
    assert fp8.latency_pct == pytest.approx(100 * (after.tpot_s / before.ceiling().tpot_s - 1))


def test_weights_alone_do_not_speed_up_arithmetic_and_fp8_does():
    found = remedies(what_if(asked(phase="prefill", prompt=8192)))

    assert found["int4 weights only"].gain_pct == pytest.approx(0, abs=0.5)
    assert found["fp8 weights"].gain_pct > 20


def test_narrow_weights_bring_most_where_weights_are_what_moves():
    """Batch 1 at a short context: 15.0 GB of bf16 weights become 4.6 GB and a head of 1.05."""
    found = remedies(what_if(asked(phase="decode", batch=1, context=16)))

    assert 100 < found["int4 weights only"].gain_pct < 100 * (15.0 / 4.65 - 1)


def test_accepted_drafts_are_the_mean_of_all_runs():
    """Every run of 0 to 4 accepted drafts with its probability, 0.7 a draft."""
    runs = [0.7**n * (0.3 if n < DRAFTED else 1) * n for n in range(DRAFTED + 1)]

    assert pytest.approx(sum(runs)) == EXPECTED_ACCEPTED
    speculation = remedies(what_if(asked(phase="decode", batch=1)))["speculative decoding"]
    assert 0 < speculation.gain_pct < 100 * EXPECTED_ACCEPTED


def test_the_larger_batch_is_the_largest_that_fits():
    found = remedies(what_if(asked(phase="decode", batch=8)))
    most = asked(phase="decode", batch=8).capacity().max_batch
    full = what_if(asked(phase="decode", batch=most))

    assert f"{most:,} sequences" in found["larger batch"].remark
    assert found["larger batch"].fits
    assert "larger batch" in full.not_applicable


def test_sparse_weights_are_at_most_twice_as_fast():
    dense = remedies(what_if(asked(phase="prefill", prompt=8192)))["2:4 sparsity"]

    assert 30 < dense.gain_pct < 100
    assert "sparse" in what_if(asked(gpu=V100)).not_applicable["2:4 sparsity"]
    assert "int4" in what_if(asked(dtype="int4")).not_applicable["2:4 sparsity"]


PRUNED = {"qkv_projection", "output_projection", "mlp_gate_up", "mlp_down"}


@pytest.mark.parametrize("is_eager", [False, True])
def test_sparse_products_move_nine_sixteenths_of_their_weights(is_eager):
    """Half the bf16 weights and 2 bits of index for each that is kept: 16 + 2 of 32 bits."""
    before = asked(phase="decode", batch=1, is_eager=is_eager)
    saved_s = waited_s = 0.0
    for one in before.ceiling().operators:
        if one.operator.name in PRUNED:
            after_s = one.time_s - one.operator.weight_bytes * 7 / 16 / (0.92 * 4.8e12)
            saved_s += one.time_s - after_s
            waited_s += max(0.0, one.operator.count * 7e-6 - after_s) if is_eager else 0.0
    faster_s = before.ceiling().time_s - saved_s + waited_s

    found = remedies(what_if(before))["2:4 sparsity"]
    assert found.tokens_per_s == pytest.approx(1 / faster_s)


def test_sparse_products_of_a_long_prompt_take_half_the_time_and_stay_below_the_roofline():
    before = asked(phase="prefill", prompt=8192)
    saved_s = sum(
        one.compute_s / 2 for one in before.ceiling().operators if one.operator.name in PRUNED
    )
    answer = _REMEDIES["2:4 sparsity"](before, before.ceiling()).ceiling

    assert answer.time_s == pytest.approx(before.ceiling().time_s - saved_s)
    assert answer.time_s > answer.roofline_time_s
    assert answer.roofline_time_s == pytest.approx(
        before.ceiling().roofline_time_s - saved_s * 0.80
    )


def test_fusion_leaves_out_what_only_moves_activations_and_keeps_sampling():
    before = asked(phase="decode", batch=256)
    fused = ("norm", "final_norm", "mlp_activation")
    gone_s = sum(one.time_s for one in before.ceiling().operators if one.operator.name in fused)

    found = remedies(what_if(before))["kernel fusion"]
    assert found.tokens_per_s == pytest.approx(256 / (before.ceiling().time_s - gone_s))


def test_more_ranks_than_a_node_has_are_warned_of_in_the_remedy():
    found = remedies(what_if(asked(phase="decode", tp=8)))["tensor parallelism x2"]

    assert "NVLink domain" in found.remark


def test_more_power_is_worth_the_burst_that_a_calibration_measured():
    held = replace(DEFAULT, compute={**DEFAULT.compute, "bf16": 0.66}, burst={"bf16": 0.80})
    found = what_if(asked(phase="prefill", prompt=2048, constants=held))

    assert "calibrate" in what_if(asked()).not_applicable["more power"]
    # Products are 90 % of the time, and 0.80 / 0.66 as fast.
    assert 15 < remedies(found)["more power"].gain_pct < 100 * (0.80 / 0.66 - 1)


def test_what_the_ceiling_takes_for_granted_is_offered_where_it_is_missing():
    plain = what_if(asked(phase="decode", is_eager=True, is_attention_fused=False))
    found = {one.name: one for one in plain.remedies}

    assert not plain.assumed
    assert found["CUDA graphs"].gain_pct > 0
    assert found["fused attention"].gain_pct > 0


def test_padding_names_its_dimensions_and_predicts_no_gain_that_was_not_measured():
    odd = remedies(what_if(asked(replace(DENSE, vocabulary=257))))["padded dimensions"]

    assert "257 to 264" in odd.remark
    assert odd.gain_pct is None
    assert odd.flops_per_token_ratio > 1


def test_training_keeps_its_weights_and_its_recipe():
    refused = what_if(asked(phase="train")).not_applicable

    assert {"fp8 weights", "int4 weights only", "fp8 KV cache", "larger batch", "2:4 sparsity"} <= (
        refused.keys()
    )


def test_twice_the_ranks_are_refused_where_heads_do_not_divide():
    assert "num_attention_heads" in what_if(asked(tp=32)).not_applicable["tensor parallelism x2"]
