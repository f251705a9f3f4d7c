"""The ceiling: the published model's own table, and what must hold whatever the model."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnomon.enums import BoundBy
from gnomon.hardware import load, profile, sku_facts
from gnomon.performance_model.architecture import Formats, WeightFormat
from gnomon.performance_model.ceiling import ceiling
from gnomon.performance_model.constants import DEFAULT
from gnomon.performance_model.parallelism import Layout
from gnomon.performance_model.phases import Decode, Lora, Prefill, Serve, Train, Verify
from tests.performance_model.models import (
    DENSE,
    FULL,
    H100,
    H200,
    SPARSE,
    bf16,
    rows,
    small_models,
    step,
)

LLAMA = bf16("Llama-3.1-8B")
FP8 = WeightFormat("fp8", 1.0, "fp8", quantizes_activations=True)

# Attainable and roofline tokens/s of the model whose constants are DEFAULT's, Llama-3.1-8B bf16 on
# an H200 with 1024 tokens of context; it leaves out gather, last norm and sampling.
DECODE = {
    1: (249, 317),
    8: (1885, 2375),
    32: (6337, 7816),
    128: (15479, 18296),
    256: (18626, 22515),
}
# Its prefill: compute SOL, memory SOL, tokens/s.
PREFILL = {
    512: (0.69, 0.40, 48.3e3),
    2048: (0.73, 0.19, 49.7e3),
    8192: (0.73, 0.12, 45.0e3),
    32768: (0.72, 0.07, 31.5e3),
}


def _as_the_source(answer):
    """Return attainable and ideal seconds without the operators that the source leaves out."""
    left_out = ("embedding", "final_norm", "sampling")
    kept = [one for one in answer.operators if one.operator.name not in left_out]
    return sum(one.time_s for one in kept), sum(one.ideal_s for one in kept)


@pytest.mark.parametrize("batch", DECODE)
def test_decode_is_what_the_source_of_the_constants_computes(batch):
    attainable, roofline = DECODE[batch]
    answer = step(LLAMA, Decode(batch, 1024))
    time_s, ideal_s = _as_the_source(answer)

    assert batch / time_s == pytest.approx(attainable, abs=0.6)
    assert batch / ideal_s == pytest.approx(roofline, abs=0.6)
    assert answer.tokens_per_s == pytest.approx(attainable, rel=0.0025)


@pytest.mark.parametrize("prompt", PREFILL)
def test_prefill_is_what_the_source_of_the_constants_computes(prompt):
    compute, memory, tokens_per_s = PREFILL[prompt]
    answer = step(LLAMA, Prefill(1, prompt))
    time_s, _ = _as_the_source(answer)

    assert round(answer.compute_sol_pct / 100, 2) == compute
    assert round(answer.memory_sol_pct / 100, 2) == memory
    assert round(prompt / time_s, -2) == tokens_per_s
    assert answer.tokens_per_s == pytest.approx(tokens_per_s, rel=0.0025)
    assert answer.bound_by is BoundBy.COMPUTE


@pytest.mark.parametrize(
    ("batch", "compute", "memory"),
    [(1, 0.004, 0.79), (32, 0.10, 0.81), (128, 0.24, 0.85), (256, 0.29, 0.79)],
)
def test_decode_has_the_sol_of_the_source(batch, compute, memory):
    answer = step(LLAMA, Decode(batch, 1024))

    assert answer.compute_sol_pct / 100 == pytest.approx(compute, abs=0.005)
    assert round(answer.memory_sol_pct / 100, 2) == memory


# Tokens/s of an H200 in eager PyTorch (Llama-3.1-8B, driver 580): below the ceiling, all of them.
@pytest.mark.parametrize(
    ("phase", "measured"),
    [
        (Prefill(1, 2048), 32_621),
        (Prefill(8, 2048), 34_229),
        (Decode(32, 512), 444),
        (Decode(512, 1024), 2_779),
        (Lora(8, 1024, targets=("q", "k", "v", "o")), 12_291),
    ],
)
def test_what_was_measured_lies_below_the_ceiling(phase, measured):
    assert measured < step(LLAMA, phase).tokens_per_s


def test_mfu_of_a_measured_run_is_the_one_counted_by_hand():
    """LoRA 8 x 1024 at 12,291 tokens/s: 38.39 % of 989.4 TFLOP/s."""
    flops = step(LLAMA, Lora(8, 1024, targets=("q", "k", "v", "o"))).flops

    assert flops / 8192 * 12_291 / 989.4e12 == pytest.approx(0.3839, abs=0.0001)


phases = st.one_of(
    st.builds(Prefill, st.integers(1, 64), st.integers(1, 4096), st.integers(0, 4096)),
    st.builds(Decode, st.integers(1, 512), st.integers(1, 10**6)),
    st.builds(Serve, st.integers(1, 512), st.integers(1, 4096), st.integers(1, 4096)),
    st.builds(Verify, st.integers(1, 64), st.integers(1, 4096), st.just(4), st.floats(0, 4)),
    st.builds(Train, st.integers(1, 8), st.integers(1, 4096), st.sampled_from(["none", "full"])),
    st.builds(Lora, st.integers(1, 8), st.integers(1, 4096), is_quantised=st.booleans()),
)
layouts = st.sampled_from(
    [Layout(), Layout(tp=4), Layout(pp=3), Layout(dp=4, zero=3), Layout(tp=2, pp=2, ep=4, dp=2)]
)
gpus = st.sampled_from([profile(sku_facts(sku)) for sku in load()])
parts = st.sampled_from([Formats(), Formats(attention=FP8, feed_forward=FP8, experts=FP8)])


@given(small_models, phases, layouts, gpus, parts)
def test_attainable_stays_below_the_roofline_and_sol_below_100(model, phase, layout, gpu, formats):
    layout = layout if model is SPARSE else replace(layout, ep=1)
    answer = ceiling(replace(model, formats=formats), gpu, layout, phase)

    assert answer.tokens_per_s <= answer.roofline_tokens_per_s
    for percent in (answer.compute_sol_pct, answer.memory_sol_pct, answer.hfu_pct):
        assert 0 <= percent <= 100
    assert answer.mfu_pct <= answer.hfu_pct + 1e-9
    assert answer.mbu_pct <= answer.memory_sol_pct
    assert sum(answer.flops_by_dtype.values()) == pytest.approx(answer.flops)
    assert sum(one.operator.flops for one in answer.operators) == pytest.approx(answer.flops)


@given(small_models, st.integers(1, 255), st.integers(1, 4095))
def test_more_sequences_or_context_never_make_a_step_faster(model, batch, context):
    here = step(model, Decode(batch, context))

    assert step(model, Decode(batch + 1, context)).time_s >= here.time_s
    assert step(model, Decode(batch, context + 1)).time_s >= here.time_s


def test_a_gpu_without_a_dtype_runs_narrow_weights_in_sixteen_bits_and_says_so():
    narrow = replace(DENSE, formats=Formats(feed_forward=FP8))
    a100, t4 = (profile(sku_facts(sku)) for sku in ("A100-SXM4-80GB", "T4"))
    answer = step(narrow, Decode(8, 100), gpu=a100)

    assert answer.flops_by_dtype.keys() == {"bf16"}
    assert "fp8" in answer.warnings[0]
    assert "mlp_quantisation" not in rows(answer)
    assert rows(answer)["mlp_down"].weight_bytes == 4 * 128 * 64
    assert step(DENSE, Decode(8, 100), gpu=t4).flops_by_dtype.keys() == {"fp16"}


def test_mixed_dtypes_are_each_measured_against_their_own_peak():
    model = replace(LLAMA, formats=Formats(attention=FP8, feed_forward=FP8))
    answer = step(model, Prefill(1, 2048))
    at_peak_s = sum(f / H200.peak_flops[dtype] for dtype, f in answer.flops_by_dtype.items())

    assert answer.flops == step(LLAMA, Prefill(1, 2048)).flops
    assert answer.compute_sol_pct == pytest.approx(100 * at_peak_s / answer.time_s)


def test_the_full_rectangle_changes_the_count_and_not_the_time():
    causal, full = (step(LLAMA, Train(1, 8192), execution=e) for e in (None, FULL))

    assert full.time_s == causal.time_s
    assert full.flops > causal.flops
    assert full.compute_sol_pct == causal.compute_sol_pct


def test_bounds_of_the_first_and_of_the_next_token_belong_to_their_phases():
    prefill, decode = step(LLAMA, Prefill(1, 1000)), step(LLAMA, Decode(8, 1000))
    served = step(LLAMA, Serve(8, 1000, 100))
    verified = step(LLAMA, Verify(8, 1000, 3, accepted=2))

    assert (prefill.ttft_s, prefill.tpot_s) == (prefill.time_s, None)
    assert (decode.ttft_s, decode.tpot_s) == (None, decode.time_s)
    assert (served.ttft_s, served.tpot_s) == (prefill.time_s, served.time_s)
    assert verified.tpot_s == verified.time_s / 3


def test_typical_is_a_published_share_and_absent_where_none_is():
    served, trained = step(LLAMA, Serve(8, 1000, 100)), step(LLAMA, Train(1, 128))

    assert served.typical_tokens_per_s == 0.70 * served.tokens_per_s
    assert step(LLAMA, Decode(8, 9)).typical_tokens_per_s == pytest.approx(
        0.83 * step(LLAMA, Decode(8, 9)).tokens_per_s
    )
    assert trained.typical_tokens_per_s is None
    assert trained.typical is None


@pytest.mark.parametrize(("tp", "share"), [(1, 0.70), (2, 0.61), (4, 0.55), (8, 0.50), (16, 0.50)])
def test_engines_were_measured_farther_below_attainable_with_more_ranks(tp, share):
    for phase in (Serve(8, 1000, 100), Verify(8, 1000, 3, accepted=2)):
        answer = step(LLAMA, phase, tp=tp)
        assert answer.typical.share == share
        assert answer.typical_tokens_per_s == pytest.approx(share * answer.tokens_per_s)
    assert step(LLAMA, Prefill(1, 100), tp=tp).typical.share == 0.83


def test_replicas_multiply_tokens_and_pipelines_wait():
    alone, replicas = step(LLAMA, Decode(8, 1000)), step(LLAMA, Decode(8, 1000), dp=4)
    piped = step(LLAMA, Prefill(4, 512), pp=4)

    assert replicas.tokens_per_s == 4 * alone.tokens_per_s
    assert replicas.tokens_per_s_per_gpu == alone.tokens_per_s
    assert piped.bubble_pct == pytest.approx(100 * 3 / 7)
    assert step(LLAMA, Decode(8, 1000), pp=4).bubble_pct == 0


def test_gradients_of_replicas_hide_behind_the_backward_pass():
    alone, replicas = step(LLAMA, Train(4, 4096)), step(LLAMA, Train(4, 4096), dp=2)

    assert replicas.time_s == alone.time_s
    assert replicas.collective_bytes > 0


def _seconds(answer, *, is_backward):
    """Return the time of what runs one after the other in a pass, told apart by names."""
    return sum(
        one.time_s
        for one in answer.operators
        if any(word in one.operator.name for word in ("gradient", "backward", "recompute"))
        is is_backward
    )


def test_gradients_that_outlast_the_backward_pass_are_waited_for_after_the_forward_one():
    """2 (D - 1) / D of 16 GB at 0.75 of 450 GB/s: 48 ms beside a backward pass of two thirds."""
    alone, replicas = step(LLAMA, Train(1, 512)), step(LLAMA, Train(1, 512), dp=2)
    wire_s = 5e-6 + 8_030_261_248 * 2 / (0.75 * 450e9)

    assert _seconds(alone, is_backward=True) < wire_s
    assert replicas.time_s == pytest.approx(_seconds(alone, is_backward=False) + wire_s, rel=1e-3)
    assert replicas.time_s == pytest.approx(0.058, abs=0.001)
    ideal_s = sum(one.ideal_s for one in alone.operators if not one.operator.is_backward)
    assert replicas.roofline_time_s == pytest.approx(ideal_s + 8_030_261_248 * 2 / 450e9, rel=1e-3)
    waited_s = replicas.seconds_by_bound[BoundBy.COMMUNICATION]
    assert waited_s == pytest.approx(replicas.time_s - alone.time_s)
    assert sum(replicas.seconds_by_bound.values()) == pytest.approx(replicas.time_s)


def test_weights_that_zero_gathers_hide_behind_both_passes():
    """Stage 3 sends half as much for each pass, and as much again for the gradients."""
    phase = Train(1, 900, "full")
    alone, sharded = step(LLAMA, phase), step(LLAMA, phase, dp=2, zero=3)
    wire_s = 8_030_261_248 * 2 / (0.75 * 450e9) / 2
    passes_s = [_seconds(alone, is_backward=backward) for backward in (False, True)]
    assert passes_s[0] < wire_s < 2 * wire_s < passes_s[1]
    expected_s = max(passes_s[0], wire_s) + max(passes_s[1], 2 * wire_s)

    assert sharded.time_s == pytest.approx(expected_s, rel=1e-3)


@given(small_models, phases, st.sampled_from([Layout(), Layout(pp=3)]))
def test_one_gpu_waits_for_no_wire(model, phase, layout):
    answer = ceiling(model, H200, layout, phase)

    if layout.gpus == 1:
        assert BoundBy.COMMUNICATION not in answer.seconds_by_bound
    assert sum(answer.seconds_by_bound.values()) == pytest.approx(answer.time_s)


def test_the_longest_stage_sets_the_pace_of_a_pipeline():
    """4 layers on 3 stages: one has 2, half more than the mean of 4/3."""
    uneven = step(DENSE, Decode(6, 100), pp=3)
    serial_s = sum(one.time_s for one in uneven.operators)

    assert uneven.time_s == pytest.approx(serial_s * 2 / (4 / 3))


def test_a_context_beyond_the_models_own_is_computed_with_a_warning():
    assert "max_position_embeddings" in step(LLAMA, Decode(1, 200_000)).warnings[0]
    assert step(LLAMA, Decode(1, 100_000)).warnings == ()


def test_constants_of_a_slower_device_give_a_lower_ceiling_that_says_so():
    slower = replace(DEFAULT, compute={"bf16": 0.66}, source="calibrated")
    answer = ceiling(LLAMA, H200, Layout(), Prefill(1, 2048), slower)

    assert answer.tokens_per_s < step(LLAMA, Prefill(1, 2048)).tokens_per_s
    assert answer.constants.source == "calibrated"
    assert answer.roofline_time_s == step(LLAMA, Prefill(1, 2048)).roofline_time_s


def test_experts_that_travel_are_on_the_wire():
    local = step(SPARSE, Decode(8, 100), gpu=H100, dp=4)
    spread = step(SPARSE, Decode(8, 100), gpu=H100, dp=4, ep=4)

    assert local.collective_bytes == 0
    assert {"expert_dispatch", "expert_combine"} <= rows(spread).keys()
