"""Dimensions a rank holds become multiples of 16 bytes, and no other dimension changes."""

from dataclasses import replace

import pytest

from gnomon.performance_model.architecture import (
    Architecture,
    Experts,
    GroupedAttention,
    LayerGroup,
    Mlp,
)
from gnomon.performance_model.padding import padded
from gnomon.performance_model.parallelism import Layout
from gnomon.performance_model.weight_formats import with_weights
from tests.performance_model.models import DENSE, SMALL, bf16


def test_gpt2s_vocabulary_becomes_the_one_that_trainers_pad_it_to():
    """50257 rows on one GPU become 50264; in 64s (nanoGPT) it would be 50304."""
    attention = GroupedAttention(12, 12, 64)
    gpt2 = Architecture("gpt2", 768, 50257, (LayerGroup(12, attention, Mlp(3072)),), is_tied=True)

    changed, changes = padded(gpt2, Layout())

    assert changed == replace(gpt2, vocabulary=50264)
    assert changes == ("vocab_size 50,257 to 50,264 (a multiple of 8)",)
    assert padded(gpt2, Layout(tp=4))[0].vocabulary == 50272


def test_it_is_the_width_of_a_rank_that_counts():
    model = replace(DENSE, groups=(replace(DENSE.groups[0], feed_forward=Mlp(120)),))

    assert padded(model, Layout(tp=1))[1] == ()
    assert padded(model, Layout(tp=2))[0].groups[0].feed_forward.width == 128
    assert padded(with_weights(model, "fp8"), Layout())[0].groups[0].feed_forward.width == 128


def test_experts_are_padded_by_the_ranks_that_split_one():
    experts = Experts(16, 4, Mlp(36), shared=Mlp(36))
    model = replace(DENSE, groups=(replace(DENSE.groups[0], feed_forward=experts),))

    split = padded(model, Layout(tp=4))[0].groups[0].feed_forward
    apart = padded(model, Layout(tp=4, ep=4))[0].groups[0].feed_forward

    assert (split.expert.width, split.shared.width) == (64, 64)
    assert (apart.expert.width, apart.shared.width) == (40, 64)


@pytest.mark.parametrize("model", [*SMALL, bf16("Llama-3.1-8B")], ids=lambda model: model.name)
def test_a_well_made_model_is_left_alone(model):
    assert padded(model, Layout()) == (model, ())
