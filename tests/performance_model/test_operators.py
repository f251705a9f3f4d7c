"""The rows of a step: FLOPs and bytes against published vectors and against closed forms."""

import json
from dataclasses import replace
from itertools import product
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnomon._errors import ModelError
from gnomon.performance_model import huggingface
from gnomon.performance_model.architecture import Formats, GroupedAttention, WeightFormat
from gnomon.performance_model.operators import Execution, Kind, expected_distinct
from gnomon.performance_model.phases import Decode, Prefill, Serve, Train, Verify
from tests.performance_model.models import (
    DENSE,
    FULL,
    LATENT,
    SPARSE,
    WINDOWED,
    bf16,
    rows,
    small_models,
    step,
)

DATA = Path(__file__).parents[1] / "data" / "models"
# Counted by an independent program.
VECTORS = json.loads((DATA / "step_vectors.json").read_text())
# Counted by torch's FlopCounterMode on models that transformers built: make_small_flops.py.
COUNTED_BY_TORCH = json.loads((DATA / "small_flops.json").read_text())

FLOPS = {
    "fwd_flops_prefill2048_causal_lastlogit": (Prefill(1, 2048), None),
    "fwd_flops_prefill2048_causal_alllogits": (Prefill(1, 2048, has_all_logits=True), None),
    "fwd_flops_prefill2048_full_alllogits": (Prefill(1, 2048, has_all_logits=True), FULL),
    "chunk_flops_S2048_P6144_lastlogit": (Prefill(1, 2048, cached_prefix=6144), None),
    "decode_flops_ctx2049": (Decode(1, 2049), None),
    "decode_flops_ctx8192": (Decode(1, 8192), None),
}


def _core_flops(answer):
    cores = (Kind.PREFILL_ATTENTION, Kind.DECODE_ATTENTION)
    return sum(row.flops for row in rows(answer).values() if row.kind in cores)


@pytest.mark.parametrize("name", VECTORS["models"])
def test_flops_and_bytes_are_those_of_an_independent_count(name):
    expected, model = VECTORS["models"][name], bf16(name)
    found = {
        key: step(model, phase, execution=execution).flops
        for key, (phase, execution) in FLOPS.items()
    }
    for tokens in (2048, 8192):
        core = _core_flops(step(model, Prefill(1, tokens)))
        found[f"attn_core_flops_prefill{tokens}_causal"] = core
    for convention in ("causal", "full"):
        trained = step(model, Train(1, 4096), execution=Execution(attention=convention))
        found[f"train_flops_per_token_S4096_{convention}"] = trained.flops / 4096
    for context in (8192, 131072):
        read = step(model, Decode(1, context)).bytes.kv_read
        found[f"kv_read_bytes_ctx{context}_bf16"] = read
    found["kv_bytes_per_token_bf16"] = step(model, Decode(1, 8192)).bytes.kv_write

    for batch in (1, 32):
        weights = expected[f"weight_read_bytes_B{batch}_bf16"]
        # A sum of powers: the last bits depend on the order of adding.
        assert step(model, Decode(batch, 1)).bytes.weights == pytest.approx(weights, rel=1e-14)
        found[f"weight_read_bytes_B{batch}_bf16"] = weights
    assert found == expected


def _without_windows(model):
    groups = tuple(
        replace(group, attention=replace(group.attention, window=None))
        if isinstance(group.attention, GroupedAttention)
        else group
        for group in model.groups
    )
    return replace(model, groups=groups)


def _family(entry):
    return entry["config"]["model_type"]


@pytest.mark.parametrize("entry", COUNTED_BY_TORCH, ids=_family)
def test_flops_are_those_that_torch_counts_in_its_own_convention(entry):
    """Its convention: the whole rectangle, windows ignored, all logits, latent attention naive."""
    model = _without_windows(huggingface.from_config(entry["config"], "small").architecture)
    batch, tokens = entry["batch"], entry["tokens"]
    forward = step(model, Prefill(batch, tokens, has_all_logits=True), execution=FULL)
    trained = step(model, Train(batch, tokens), execution=FULL)

    assert (forward.flops, trained.flops) == (
        entry["forward_flops"],
        entry["forward_backward_flops"],
    )


# Uniform routing of mixtures whose (experts, active) their configurations give.
MIXTURES = {
    "Mixtral-8x7B": (8, 2),
    "gpt-oss-20b": (32, 4),
    "gpt-oss-120b": (128, 4),
    "Qwen3-30B-A3B": (128, 8),
    "DeepSeek-V3": (256, 8),
}


@pytest.mark.parametrize("name", MIXTURES)
def test_expected_distinct_experts_are_the_published_ones(name):
    found = {
        tokens: round(expected_distinct(*MIXTURES[name], int(tokens)), 3)
        for tokens in VECTORS["experts_hit"][name]
    }

    assert found == VECTORS["experts_hit"][name]


def test_expected_distinct_experts_are_the_mean_over_every_routing():
    choices = [{0, 1}, {0, 2}, {0, 3}, {1, 2}, {1, 3}, {2, 3}]
    hits = [len(set().union(*routing)) for routing in product(choices, repeat=3)]

    assert expected_distinct(4, 2, 3) == pytest.approx(sum(hits) / len(hits))


@given(small_models, st.integers(1, 64), st.integers(1, 4096), st.integers(0, 4096))
def test_a_cached_prefix_costs_its_keys_and_no_linear_layer(model, batch, prompt, prefix):
    """The whole prompt is its first part, then the rest after it as a cached prefix."""
    first = step(model, Prefill(batch, prefix)).flops if prefix else 0
    rest = step(model, Prefill(batch, prompt, cached_prefix=prefix)).flops
    head = 2 * batch * model.hidden * model.vocabulary if prefix else 0

    assert first + rest - head == step(model, Prefill(batch, prefix + prompt)).flops


@given(small_models, st.integers(1, 600), st.integers(1, 300))
def test_chunks_do_the_same_work_and_read_the_weights_again(model, prompt, chunk):
    whole, parts = step(model, Prefill(2, prompt)), step(model, Prefill(2, prompt, chunk=chunk))
    chunks = -(-prompt // chunk)

    assert parts.flops == whole.flops
    assert parts.bytes.kv_write == whole.bytes.kv_write
    assert rows(parts)["norm"].count == chunks * rows(whole)["norm"].count
    if model is DENSE:
        head = rows(whole)["lm_head"].weight_bytes + rows(whole)["embedding"].weight_bytes
        layers = whole.bytes.weights - head
        assert parts.bytes.weights == pytest.approx(chunks * layers + head)


def test_a_drafted_token_adds_flops_and_no_weights():
    plain, drafted = step(DENSE, Decode(8, 100)), step(DENSE, Verify(8, 100, 3, accepted=2))
    linear = {name: row.flops for name, row in rows(plain).items() if row.kind is Kind.PRODUCT}

    assert {name: rows(drafted)[name].flops for name in linear} == {
        name: 4 * flops for name, flops in linear.items()
    }
    assert rows(drafted)["mlp_down"].weight_bytes == rows(plain)["mlp_down"].weight_bytes
    assert drafted.mfu_pct == pytest.approx(drafted.hfu_pct * 3 / 4)


def test_a_served_step_is_the_sum_of_its_prompts_and_its_decoded_tokens():
    served = step(DENSE, Serve(64, prompt=512, output=64))
    prompts, decoded = step(DENSE, Prefill(1, 512)), step(DENSE, Decode(64, 512 + 32))

    assert served.flops == prompts.flops + decoded.flops
    assert served.bytes.kv_read == prompts.bytes.kv_read + decoded.bytes.kv_read
    assert served.bytes.kv_write == prompts.bytes.kv_write + decoded.bytes.kv_write


def test_absorbed_latent_attention_costs_more_flops_a_pair_and_reads_the_latents_alone():
    decoded = rows(step(bf16("DeepSeek-V3"), Decode(1, 8192)))["decode_attention"]
    naive = rows(step(bf16("DeepSeek-V3"), Prefill(1, 8192)))["prefill_attention"]

    assert decoded.flops / (61 * 128 * 8192) == 2176  # DeepSeek-V3: 3.4 times the naive 640
    assert naive.flops / (61 * 128 * 8192 * 8193 / 2) == 640
    assert decoded.kv_read_bytes == 61 * 8192 * 576 * 2


def test_naive_latent_attention_expands_its_cached_prefix_again_and_counts_it_nowhere():
    expansion = rows(step(LATENT, Prefill(2, 10, cached_prefix=90)))["kv_expansion"]
    fresh = rows(step(LATENT, Prefill(2, 10)))["kv_expansion"]

    assert expansion.flops == fresh.flops
    assert expansion.executed_flops - fresh.flops == 4 * 2 * 2 * 90 * 32 * 8 * (16 + 16)


def test_activations_of_a_layer_are_those_of_well_fused_kernels():
    """Norms 8h, GEMMs in and out, rope twice, core, activation 3I: 165,888 numbers for 8B."""
    answer = step(bf16("Llama-3.1-8B"), Prefill(1, 2048))
    outside = ("embedding", "final_norm", "lm_head", "sampling")
    layers = [row for name, row in rows(answer).items() if name not in outside]
    moved = sum(row.total_bytes - row.weight_bytes - row.kv_read_bytes for row in layers)

    assert moved == 2048 * 32 * 165_888 * 2


def test_an_unfused_core_moves_the_rectangle_five_times_more():
    unfused = Execution(is_attention_fused=False)
    core = rows(step(DENSE, Prefill(2, 100, cached_prefix=50), execution=unfused))
    fused = rows(step(DENSE, Prefill(2, 100, cached_prefix=50)))
    more = core["prefill_attention"].total_bytes - fused["prefill_attention"].total_bytes

    assert more == 4 * 5 * 8 * 2 * 100 * 150 * 2
    assert core["prefill_attention"].flops == fused["prefill_attention"].flops


def test_layers_that_differ_by_window_share_their_products():
    found = rows(step(WINDOWED, Decode(1, 100)))

    assert found["qkv_projection"].count == 4
    assert found["decode_attention"].kv_read_bytes == 2 * 100 * 2 * 8 * 16 * 2
    assert found["decode_attention_window_32"].kv_read_bytes == 2 * 32 * 2 * 8 * 16 * 2


def test_quantised_products_read_narrow_weights_and_pay_for_narrowing_their_inputs():
    fp8 = WeightFormat("fp8", 1.0, "fp8", quantizes_activations=True)
    formats = Formats(attention=fp8, feed_forward=fp8)
    wide = rows(step(DENSE, Decode(8, 100)))
    narrow = rows(step(replace(DENSE, formats=formats), Decode(8, 100)))

    assert narrow["mlp_down"].weight_bytes == wide["mlp_down"].weight_bytes / 2
    assert narrow["mlp_down"].dtype == "fp8"
    assert narrow["lm_head"] == wide["lm_head"]
    assert narrow["decode_attention"].dtype == "bf16"
    quantised = narrow["mlp_quantisation"]
    assert (quantised.count, quantised.bytes_read, quantised.bytes_written) == (
        8,
        4 * 8 * (64 + 128) * 2,
        4 * 8 * (64 + 128),
    )


def test_skewed_routing_reads_fewer_experts_and_computes_the_same():
    even = step(SPARSE, Decode(8, 10))
    skewed = step(SPARSE, Decode(8, 10), execution=Execution(routing_skew=0.8))

    assert skewed.flops == even.flops
    assert rows(skewed)["experts_down"].weight_bytes == pytest.approx(
        0.8 * rows(even)["experts_down"].weight_bytes
    )


@given(small_models, st.integers(1, 256), st.integers(1, 2048))
def test_flops_and_bytes_grow_with_batch_and_context(model, batch, context):
    here = step(model, Decode(batch, context))
    for more in (step(model, Decode(batch + 1, context)), step(model, Decode(batch, context + 1))):
        assert more.flops >= here.flops
        assert more.bytes.total >= here.bytes.total
    assert step(model, Decode(batch + 1, context)).flops > here.flops


@pytest.mark.parametrize(
    ("wrong", "named"),
    [({"kv_dtype": "fp6"}, "--kv-dtype"), ({"attention": "triangle"}, "--attention")],
)
def test_an_unknown_way_of_running_is_refused_by_option(wrong, named):
    with pytest.raises(ModelError, match=named):
        Execution(**wrong)
