"""What fits: published sizes, brute force over batches, and models that are too large."""

import pytest

from gnomon._errors import ModelError
from gnomon.hardware import profile
from gnomon.performance_model import parameters
from gnomon.performance_model.capacity import capacity
from gnomon.performance_model.held_weights import held_weights
from gnomon.performance_model.parallelism import Layout
from gnomon.performance_model.phases import Decode, Lora, Prefill, Serve, Train
from tests.performance_model.models import H100, H200, SMALL, bf16

MODELS = ("Llama-3.1-8B", "Llama-3.1-70B", "gpt-oss-120b", "DeepSeek-V3", "Mixtral-8x7B")


@pytest.mark.parametrize("name", MODELS)
def test_one_gpu_holds_every_weight_and_shards_hold_their_part(name):
    model = bf16(name)
    whole = parameters.weight_bytes(model)

    def held(**layout):
        return sum(part.total_bytes for part in held_weights(model, Layout(**layout)))

    assert held() == pytest.approx(whole, rel=1e-3)
    assert held(tp=8) * 8 == pytest.approx(whole, rel=0.05)
    assert whole / 4 <= held(pp=4) * 1.001 <= whole / 4 * 1.2


def test_a_70b_model_in_bf16_needs_two_h200():
    model = bf16("Llama-3.1-70B")
    alone = capacity(model, H200, Layout(), Decode(1, 2048))
    pair = capacity(model, H200, Layout(tp=2), Decode(1, 2048))

    assert (alone.fits, alone.max_batch, alone.max_context) == (False, 0, 0)
    assert "Llama-3.1-70B does not fit" in alone.warning
    assert (pair.fits, pair.warning) == (True, None)
    assert pair.weight_bytes == pytest.approx(70.55e9, rel=1e-3)


@pytest.mark.parametrize("make", [lambda n: Decode(n, 8000), lambda n: Serve(n, 7000, 1000)])
def test_the_largest_batch_fits_and_one_more_does_not(make):
    model = bf16("Llama-3.1-8B")

    def room(batch):
        return capacity(model, H100, Layout(), make(batch))

    most = room(1).max_batch
    assert room(most).fits
    assert not room(most + 1).fits
    assert room(most).max_batch == most


def test_the_largest_context_fits_and_a_block_more_does_not():
    model = bf16("Llama-2-7B")

    def room(context):
        return capacity(model, H100, Layout(), Decode(64, context))

    most = room(1).max_context
    assert room(most).fits
    assert not room(most + 16).fits
    assert most % 16 == 0


def test_a_window_lets_more_sequences_in():
    windowed, full = (
        capacity(bf16(name), H200, Layout(tp=2), Decode(1, 100_000))
        for name in ("gpt-oss-120b", "Qwen3-30B-A3B")
    )
    cached = 18 * (128 + 100_000) * 2 * 8 * 64 * 2 / 2

    assert windowed.kv_bytes == cached
    assert full.kv_bytes == 48 * 100_000 * 2 * 4 * 128 * 2 / 2


def test_training_needs_sixteen_bytes_a_weight_and_zero_shares_them():
    """2 weights, 2 gradients, 12 Adam: ZeRO (arXiv 1910.02054), section 3.1."""
    model = bf16("Llama-3.1-8B")

    def needed(zero):
        room = capacity(model, H200, Layout(dp=4, zero=zero), Train(1, 128))
        return (room.weight_bytes + room.state_bytes) / parameters.count(model).total

    expected = {0: 16, 1: 4 + 12 / 4, 2: 2 + 14 / 4, 3: 16 / 4}
    assert {zero: needed(zero) for zero in expected} == pytest.approx(expected, rel=1e-3)


def test_adapters_need_little_and_four_bit_weights_a_quarter():
    model = bf16("Llama-3.1-8B")
    lora = capacity(model, H200, Layout(), Lora(1, 128))
    qlora = capacity(model, H200, Layout(), Lora(1, 128, is_quantised=True))

    assert lora.state_bytes == 41_943_040 * 16
    linear = 6_979_321_856
    assert qlora.weight_bytes - lora.weight_bytes == pytest.approx(-linear * (2 - 4.127 / 8))


def test_recompute_keeps_less():
    def kept(recompute):
        return capacity(SMALL[0], H200, Layout(), Train(4, 512, recompute)).activation_bytes

    assert kept("full") < kept("selective") == kept("none")


def test_memory_that_is_not_known_is_not_guessed():
    facts = {"name": "odd", "compute_capability": "9.0", "sm_count": 100, "max_sm_clock_mhz": 1500}
    room = capacity(SMALL[0], profile(facts), Layout(), Prefill(1, 10))

    assert (room.fits, room.vram_bytes, room.max_batch) == (None, None, None)
    assert "not known" in room.warning


def test_a_share_of_memory_beyond_all_is_refused_by_option():
    with pytest.raises(ModelError, match="--usable-memory is 101"):
        capacity(SMALL[0], H200, Layout(), Decode(1, 1), usable_pct=101)
