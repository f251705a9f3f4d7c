"""What waits for the backward pass: the published bytes of a layer, and lists of its tensors."""

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnomon.performance_model._kept_activations import kept_numbers
from gnomon.performance_model.architecture import (
    Architecture,
    Experts,
    GroupedAttention,
    LatentAttention,
    LayerGroup,
    Mlp,
)
from gnomon.performance_model.capacity import capacity
from gnomon.performance_model.parallelism import Layout
from gnomon.performance_model.phases import Train
from tests.performance_model.models import H200, bf16, small_models


def one_layer(attention, feed_forward, hidden=64):
    group = LayerGroup(1, attention, feed_forward)
    return Architecture("one", hidden, 256, (group,), is_tied=False)


@pytest.mark.parametrize("tp", [1, 2, 4])
def test_a_layer_of_gpt_keeps_what_was_published_less_the_masks_of_dropout(tp):
    """10 s b h + 24 s b h / t bytes (arXiv 2205.05198, table 2), of them 2 s b h of masks."""
    gpt = one_layer(GroupedAttention(8, 8, 8), Mlp(4 * 64, is_gated=False))

    assert 2 * kept_numbers(gpt, Layout(tp=tp), "none") == (10 - 2 + 24 / tp) * 64


# Elements a token of every tensor that the backward pass needs, one by one.
GROUPED = {"norm inputs": 128, "q k v input": 64, "mlp input": 64,
           "q": 128, "k": 32, "v": 32, "core output": 128}  # fmt: skip
LATENT = {"norm inputs": 128, "q k v input": 64, "mlp input": 64,
          "query latent": 24, "normed": 24, "latent": 32, "normed too": 32, "rope": 8,
          "q": 8 * 24, "k": 8 * 24, "v": 8 * 16, "core output": 8 * 16}  # fmt: skip
GATED = {"gate": 100, "up": 100, "down input": 100}
ROUTED = {"scores": 16, "copies": 4 * 64, "gate": 4 * 32, "up": 4 * 32, "down input": 4 * 32,
          "outputs": 4 * 64, "shared": 3 * 40}  # fmt: skip
GQA = GroupedAttention(8, 2, 16)


@pytest.mark.parametrize(
    ("attention", "feed_forward", "tensors"),
    [
        (GQA, Mlp(100), (GROUPED, GATED)),
        (replace(GQA, has_query_key_norm=True), Mlp(100), (GROUPED, GATED, {"q, k": 128 + 32})),
        (LatentAttention(8, 24, 32, 16, 8, 16), Mlp(100), (LATENT, GATED)),
        (GQA, Experts(16, 4, Mlp(32), shared=Mlp(40)), (GROUPED, ROUTED)),
    ],
)
def test_a_layer_keeps_the_tensors_that_its_backward_pass_needs(attention, feed_forward, tensors):
    expected = math.fsum(sum(part.values()) for part in tensors)

    assert kept_numbers(one_layer(attention, feed_forward), Layout(), "none") == expected


@given(small_models, st.sampled_from(["none", "selective", "full"]))
def test_ranks_split_attention_and_mlp_and_never_what_norms_read(model, recompute):
    alone, ranks = (kept_numbers(model, Layout(tp=tp), recompute) for tp in (1, 4))
    norms = model.layers * model.hidden * (1 if recompute == "full" else 4)

    assert alone / 4 < ranks < alone
    assert ranks >= norms


def test_full_recompute_keeps_the_inputs_of_all_layers_and_one_layer_whole():
    model = bf16("Llama-3.1-8B")
    layer = kept_numbers(model, Layout(), "none") / 32

    assert kept_numbers(model, Layout(), "full") == 32 * 4096 + layer
    assert kept_numbers(model, Layout(pp=4), "none") == 8 * layer
    assert kept_numbers(model, Layout(pp=4), "full") == 8 * 4096 + layer


def test_experts_keep_a_copy_for_each_that_a_token_meets():
    """Qwen3-30B-A3B: 8 copies of 2 x 2048 and 3 x 768, far above 34 h of a plain layer."""
    model = bf16("Qwen3-30B-A3B")
    kept = kept_numbers(model, Layout(), "none") / 48

    assert kept > 8 * (2 * 2048 + 3 * 768)
    room = capacity(model, H200, Layout(), Train(2, 1024))
    logits = 2048 * model.vocabulary * (2 + 4)
    assert room.activation_bytes == 2048 * 48 * kept * 2 + logits
