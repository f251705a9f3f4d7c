"""Shards against the whole, rings and exchanges against brute force, and refusals by field."""

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnomon._errors import ModelError
from gnomon.performance_model.architecture import (
    Architecture,
    Experts,
    GroupedAttention,
    LayerGroup,
    Mlp,
)
from gnomon.performance_model.operators import Kind
from gnomon.performance_model.parallelism import (
    Layout,
    all_reduce_bytes,
    dispatch_copies,
    pipeline_stretch,
)
from gnomon.performance_model.phases import Decode, Lora, Prefill, Serve, Train
from tests.performance_model.models import DENSE, LATENT, SPARSE, WINDOWED, rows, step

PHASES = (Prefill(4, 33), Decode(7, 100), Serve(8, 40, 10), Train(4, 24))


@pytest.mark.parametrize("phase", PHASES, ids=lambda phase: phase.name)
@given(model=st.sampled_from((DENSE, WINDOWED)), tp=st.sampled_from((2, 4)))
def test_the_shards_of_tensor_parallelism_add_up_to_the_whole(phase, model, tp):
    whole, shard = step(model, phase), step(model, phase, tp=tp)

    assert shard.flops * tp == pytest.approx(whole.flops)
    for kind in ("weights", "kv_read", "kv_write", "gradients"):
        assert getattr(shard.bytes, kind) * tp == pytest.approx(getattr(whole.bytes, kind))


def test_more_ranks_than_kv_heads_hold_copies_and_no_other_work_is_repeated():
    whole, shard = rows(step(SPARSE, Decode(4, 100))), rows(step(SPARSE, Decode(4, 100), tp=4))

    assert shard["decode_attention"].flops * 4 == whole["decode_attention"].flops
    assert shard["decode_attention"].kv_read_bytes == whole["decode_attention"].kv_read_bytes
    copies = 4 * shard["qkv_projection"].flops - whole["qkv_projection"].flops
    assert copies == 3 * 2 * 4 * 4 * 64 * (2 * 16)
    assert shard["router"] == whole["router"]


def test_the_latent_cache_is_whole_on_every_rank():
    whole, shard = rows(step(LATENT, Decode(4, 100))), rows(step(LATENT, Decode(4, 100), tp=4))

    assert shard["decode_attention"].kv_read_bytes == whole["decode_attention"].kv_read_bytes
    assert shard["decode_attention"].flops * 4 == whole["decode_attention"].flops
    assert shard["latent_projection"].flops == whole["latent_projection"].flops
    assert shard["query_projection"].flops * 4 == whole["query_projection"].flops


@pytest.mark.parametrize("phase", PHASES, ids=lambda phase: phase.name)
def test_the_stages_of_a_pipeline_add_up_to_the_whole(phase):
    whole, stage = step(DENSE, phase), step(DENSE, phase, pp=4, microbatches=1)

    assert stage.flops * 4 == pytest.approx(whole.flops)
    assert stage.bytes.total * 4 == pytest.approx(whole.bytes.total)


def test_experts_spread_over_ranks_add_up_to_the_whole():
    whole, rank = rows(step(SPARSE, Decode(8, 100))), rows(step(SPARSE, Decode(8, 100), tp=4, ep=4))
    for name in ("experts_gate_up", "experts_down"):
        assert rank[name].flops * 4 == whole[name].flops
        assert rank[name].weight_bytes * 4 == pytest.approx(whole[name].weight_bytes)


def test_experts_shared_by_replicas_see_the_tokens_of_all():
    """Four replicas of 8 tokens with a quarter of the experts each: what one of 32 would do."""
    spread = rows(step(SPARSE, Decode(8, 100), dp=4, ep=4))
    together = rows(step(SPARSE, Decode(32, 100)))

    assert spread["experts_down"].flops * 4 == together["experts_down"].flops
    assert spread["experts_down"].weight_bytes * 4 == together["experts_down"].weight_bytes


def _ring_all_reduce(ranks, numbers):
    """Pass chunks around a ring and count what a rank sends, until all have every sum."""
    chunk = numbers / ranks
    return sum(chunk for _ in range(ranks - 1)) + sum(chunk for _ in range(ranks - 1))


@pytest.mark.parametrize("ranks", [2, 4, 8])
def test_an_all_reduce_sends_what_a_ring_does(ranks):
    assert all_reduce_bytes(840, ranks) == _ring_all_reduce(ranks, 840)


def test_tensor_parallelism_reduces_twice_a_layer_and_gathers_the_logits():
    found = rows(step(DENSE, Decode(16, 100), tp=4))
    payload = 16 * 64 * 2

    assert found["tensor_parallel_all_reduce"].count == 8
    assert found["tensor_parallel_all_reduce"].collective_bytes == 8 * 2 * 3 / 4 * payload
    assert found["embedding_all_reduce"].collective_bytes == 2 * 3 / 4 * payload
    assert found["logits_gather"].collective_bytes == 3 / 4 * 16 * 256 * 2


def test_training_reduces_in_both_directions_and_once_more_for_recompute():
    def reduces(recompute):
        names = rows(step(DENSE, Train(2, 8, recompute), tp=2))
        return sum(row.count for name, row in names.items() if "parallel_all_reduce" in name)

    assert reduces("none") == 4 * (2 + 2)
    assert reduces("full") == 4 * 6


def test_a_stage_sends_its_activations_on():
    found = rows(step(DENSE, Prefill(4, 10), tp=2, pp=2))["pipeline_send"]

    assert found.collective_bytes == 4 * 10 * 64 * 2 / 2 / 2  # half the stages, 1/tp of each


@pytest.mark.parametrize(("count", "active", "ranks"), [(8, 2, 4), (8, 3, 2), (6, 4, 3)])
def test_copies_of_a_dispatched_token_are_the_mean_over_every_routing(count, active, ranks):
    experts, size = Experts(count, active, Mlp(8)), count // ranks
    routings = list(combinations(range(count), active))
    plain = sum(sum(one // size != 0 for one in routing) for routing in routings)
    once = sum(len({one // size for one in routing} - {0}) for routing in routings)

    def copies(*, once):
        layout = Layout(dp=ranks, ep=ranks, is_dispatch_deduplicated=once)
        return dispatch_copies(experts, layout)

    assert copies(once=False) == pytest.approx(plain / len(routings))
    assert copies(once=True) == pytest.approx(once / len(routings))


def test_a_pipeline_waits_by_the_published_bubble():
    """(p - 1) / (m + p - 1) of the time, GPipe (arXiv 1811.06965)."""
    for stages, parts in ((2, 1), (4, 4), (8, 32)):
        stretch = pipeline_stretch(Layout(pp=stages), parts, is_steady=False)
        assert 1 - 1 / stretch == pytest.approx((stages - 1) / (parts + stages - 1))
    assert pipeline_stretch(Layout(pp=4), 4, is_steady=True) == 1
    assert pipeline_stretch(Layout(pp=4), 1, is_steady=True) == 4


def test_replicas_exchange_gradients_by_their_zero_stage():
    weights = sum(
        row.weight_bytes for row in rows(step(DENSE, Decode(1, 1))).values() if row.name != "norm"
    )
    held = weights + 2 * (255 * 64 + 9 * 64)  # all rows of the embedding, and the norms

    def exchanged(phase, zero):
        found = rows(step(DENSE, phase, dp=4, zero=zero)).values()
        return sum(row.collective_bytes for row in found if row.kind is Kind.COLLECTIVE)

    assert exchanged(Train(2, 8), 0) == pytest.approx(2 * 3 / 4 * held)
    assert exchanged(Train(2, 8), 2) == pytest.approx(2 * 3 / 4 * held)
    assert exchanged(Train(2, 8), 3) == pytest.approx(3 * 3 / 4 * held)
    assert exchanged(Train(2, 8, accumulation=8), 0) == pytest.approx(2 * 3 / 4 * held / 8)
    adapters = exchanged(Lora(2, 8), 0)
    assert exchanged(Lora(2, 8), 3) == pytest.approx(adapters + 2 * 3 / 4 * held)


def _with(attention, feed_forward):
    return Architecture("odd", 48, 64, (LayerGroup(2, attention, feed_forward),), is_tied=False)


@pytest.mark.parametrize(
    ("model", "layout", "named"),
    [
        (DENSE, {"tp": 3}, "--tp 3 does not divide num_attention_heads 8 of dense"),
        (_with(GroupedAttention(12, 8, 4), Mlp(12)), {"tp": 3}, "num_key_value_heads 8"),
        (_with(GroupedAttention(4, 4, 12), Mlp(6)), {"tp": 4}, "intermediate_size 6"),
        (DENSE, {"pp": 5}, "--pp 5 is more than the 4 layers"),
        (DENSE, {"ep": 2, "dp": 2}, "--ep 2: dense has no experts"),
        (SPARSE, {"ep": 32, "dp": 32}, "--ep 32 does not divide the 16 experts"),
    ],
)
def test_a_layout_that_cannot_be_is_refused_by_field(model, layout, named):
    with pytest.raises(ModelError, match=named):
        step(model, Decode(1, 10), **layout)


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"tp": 0}, "--tp is 0"),
        ({"dp": -1}, "--dp is -1"),
        ({"pp": 1.5}, "--pp is 1.5"),
        ({"ep": 3, "tp": 2, "dp": 2}, "--ep is 3"),
        ({"zero": 4}, "--zero is 4"),
        ({"microbatches": 0}, "--microbatches is 0"),
    ],
)
def test_a_layout_without_sense_is_refused_by_option(wrong, named):
    with pytest.raises(ModelError, match=named):
        Layout(**wrong)
