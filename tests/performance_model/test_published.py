"""Figures that others published, and sentences that are often quoted, against our count."""

import pytest

from gnomon.performance_model.architecture import Architecture, GroupedAttention, LayerGroup, Mlp
from gnomon.performance_model.cost import cost, gpus_needed
from gnomon.performance_model.operators import Execution
from gnomon.performance_model.phases import Decode, Prefill, Serve, Train
from tests.performance_model.models import FULL, H100, bf16, step

LLAMA_7B, LLAMA_8B, LLAMA_70B = (
    bf16(name) for name in ("Llama-2-7B", "Llama-3.1-8B", "Llama-3.1-70B")
)
H100_BF16_FLOPS = 989.4e12


def _trained_flops_per_token(model, sequence, convention):
    execution = Execution(attention=convention)
    return step(model, Train(1, sequence), execution=execution).flops / sequence


def test_calflops_counts_llama_2_7b():
    """MrYxJ/calculate-flops.pytorch, README: (1, 128) is 1700.06 GFLOP, with backward 5100.19."""
    forward = step(LLAMA_7B, Prefill(1, 128, has_all_logits=True), execution=FULL)

    assert forward.flops == pytest.approx(1700.06e9, rel=1e-4)
    assert _trained_flops_per_token(LLAMA_7B, 128, "full") * 128 == pytest.approx(
        5100.19e9, rel=1e-4
    )


def test_palm_reports_its_mfu():
    """arXiv 2204.02311: 238.3K tokens/s, 6144 chips of 275 TFLOP/s; 46.2 %, without core 45.7."""
    layers = LayerGroup(118, GroupedAttention(48, 1, 256), Mlp(73728), norms=1)
    palm = Architecture("PaLM-540B", 18432, 256_000, (layers,), is_tied=True)
    per_token = _trained_flops_per_token(palm, 2048, "full")
    core = 12 * 118 * 48 * 256 * 2048

    assert per_token * 238.3e3 / (6144 * 275e12) == pytest.approx(0.462, abs=0.0005)
    assert (per_token - core) * 238.3e3 / (6144 * 275e12) == pytest.approx(0.457, abs=0.0005)


# mosaicml/llm-foundry, scripts/train/benchmarking/README.md: MPT-7B on 8 H100, peak 989.5. Its N
# has learned positions and biases in it, which no product multiplies; the first is added here.
@pytest.mark.parametrize(
    ("sequence", "tokens_per_s", "convention", "mfu"),
    [
        (2048, 10_643, "full", 0.4644),
        (65_536, 1_956, "full", 0.2859),
        (65_536, 1_956, "causal", 0.184),
    ],
)
def test_mosaic_reports_mpt_7b(sequence, tokens_per_s, convention, mfu):
    layers = LayerGroup(32, GroupedAttention(32, 32, 128), Mlp(16384, is_gated=False))
    mpt = Architecture("MPT-7B", 4096, 50_368, (layers,), is_tied=True)
    per_token = _trained_flops_per_token(mpt, sequence, convention) + 6 * 4096 * sequence

    assert per_token * tokens_per_s / 989.5e12 == pytest.approx(mfu, abs=0.0005)


@pytest.mark.parametrize(
    ("tokens_per_s", "convention", "mfu"),
    [(5_762, "full", 0.337), (6_667, "full", 0.390), (6_667, "causal", 0.347)],
)
def test_torchtitan_reports_llama_8b(tokens_per_s, convention, mfu):
    """pytorch/torchtitan benchmarks/llama3_h100_202412: sequence 8192, "33 % to 39 %"."""
    per_token = _trained_flops_per_token(LLAMA_8B, 8192, convention)

    assert per_token * tokens_per_s / H100_BF16_FLOPS == pytest.approx(mfu, abs=0.0005)


def test_gpt_fast_reads_the_weights_once_a_token():
    """pytorch-labs/gpt-fast README: Llama-2-7B, 104.9 tokens/s at 1397 GB/s."""
    moved = step(LLAMA_7B, Decode(1, 1)).bytes.weights

    assert moved == pytest.approx(1397e9 / 104.9, rel=0.01)


# "2 FLOP per parameter and token": right for linear layers, without what attention adds and with
# an embedding that is not multiplied.
@pytest.mark.parametrize(("context", "more"), [(4096, 0.14), (8192, 0.29), (32_768, 1.14)])
def test_attention_comes_on_top_of_two_flops_a_parameter(context, more):
    linear = 2 * (6_979_321_856 + 525_336_576)

    assert step(LLAMA_8B, Decode(1, context)).flops / linear - 1 == pytest.approx(more, abs=0.005)
    assert linear / (2 * 8_030_261_248) - 1 == pytest.approx(-0.065, abs=0.0005)


def test_one_h100_gives_a_70b_model_no_more_than_24_tokens_per_s():
    answer = step(LLAMA_70B, Decode(1, 2048), gpu=H100)

    assert H100.dram_bytes_per_s / 140e9 == pytest.approx(23.93, abs=0.005)
    assert H100.dram_bytes_per_s / answer.bytes.weights == pytest.approx(24.10, abs=0.005)
    assert answer.roofline_tokens_per_s == pytest.approx(23.98, abs=0.01)
    assert answer.tokens_per_s == pytest.approx(21.4, abs=0.05)


def test_fifty_tokens_per_s_of_a_70b_model_are_0_7_percent_of_an_h100():
    flops = step(LLAMA_70B, Decode(1, 1), gpu=H100).flops

    assert flops * 50 / H100_BF16_FLOPS == pytest.approx(0.00707, rel=0.01)


def test_a_prompt_of_2048_tokens_is_bound_by_compute():
    """An intensity of 75 is often quoted: the core's FLOPs alone over the bytes of the weights."""
    answer = step(LLAMA_7B, Prefill(1, 2048, has_all_logits=True), gpu=H100)
    weights = step(LLAMA_7B, Decode(1, 1)).bytes.weights
    served = step(LLAMA_7B, Prefill(1, 2048), gpu=H100)

    assert answer.flops == pytest.approx(2.816e13, rel=1e-3)
    assert answer.flops / weights == pytest.approx(2131, abs=1)
    assert served.bytes.total == pytest.approx(35.8e9, rel=0.005)
    assert served.arithmetic_intensity_flop_per_byte == pytest.approx(771, rel=0.005)
    assert served.bound_by == "compute"


def test_a_decoded_token_has_an_intensity_of_one():
    moved = step(LLAMA_7B, Decode(1, 2048))

    assert moved.flops / (moved.bytes.weights + moved.bytes.kv_read) == pytest.approx(1, abs=0.002)


def test_the_causal_core_of_a_layer_is_twice_length_squared_times_width():
    """2 L^2 D a layer: the half of the rectangle's 4 L^2 D, and one token's diagonal."""
    tokens, width = 4096, 4096
    core = step(LLAMA_7B, Prefill(1, tokens)).flops - tokens * 2 * 6_476_005_376 - 2 * 131_072_000

    assert core / 32 == pytest.approx(2 * tokens**2 * width, rel=1 / tokens)


@pytest.mark.parametrize(("intensity", "mfu_pct"), [(0.8, 0.27), (12, 4.1)])
def test_memory_caps_mfu_at_intensity_over_ridge(intensity, mfu_pct):
    """A case study that reports 5 % at an intensity of 0.8, and 18 % at 12, cannot be."""
    ridge = step(LLAMA_8B, Decode(1, 1), gpu=H100).ridge_flop_per_byte

    assert 100 * intensity / ridge == pytest.approx(mfu_pct, abs=0.05)


def test_a_thousand_short_conversations_reach_a_compute_sol_of_46():
    """About 46 % is quoted for an 8B model in bf16 at a concurrency of 1024."""
    answer = step(LLAMA_8B, Serve(1024, prompt=512, output=512))

    assert answer.compute_sol_pct == pytest.approx(46, abs=2)


@pytest.mark.parametrize(("tflops", "printed_pct"), [(430, 43), (400, 41), (380, 38)])
def test_llama_3_reports_the_mfu_of_its_405b_run(tflops, printed_pct):
    """arXiv 2407.21783, table 4: 430, 400 and 380 TFLOP/s of an H100 are 43, 41 and 38 %."""
    assert 100 * tflops * 1e12 / H100.peak_flops["bf16"] == pytest.approx(printed_pct, abs=0.6)


def test_databricks_reports_the_mbu_of_a_7b_model():
    """Databricks' blog: 7B in 16 bits, TPOT 14 ms, 2 TB/s: 50 %, of 14 GB; weights are 13.2."""
    moved = step(LLAMA_7B, Decode(1, 1)).bytes.weights

    assert moved / 14e-3 / 2e12 == pytest.approx(0.50, abs=0.03)


def test_gpus_needed_are_those_of_the_peak_over_the_mfu():
    """A quoted sum: 333 GPUs at 3 dollars an hour for a year are 8.75 million dollars."""
    needed = gpus_needed(100 * H100_BF16_FLOPS, H100_BF16_FLOPS, 30)
    a_year = cost(1, 333, gpu_hour_cost=3.0)

    assert needed == pytest.approx(333.3, abs=0.05)
    assert a_year.money_per_million_tokens * 8760 * 3600 / 1e6 == pytest.approx(8.75e6, rel=1e-3)
