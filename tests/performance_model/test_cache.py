"""The KV cache against published sizes, and its rounding to blocks."""

import pytest

from gnomon.performance_model import cache
from tests.performance_model.models import WINDOWED, bf16


@pytest.mark.parametrize(
    ("model", "kv_bytes", "published"),
    [
        ("DeepSeek-V3", 2, 70_272),  # 70.272 KB: "Insights into DeepSeek-V3", arXiv 2505.09343
        ("Llama-3.1-70B", 1, 163_840),  # 160 kB int8: scaling-book, applied-inference
        ("Llama-3.1-70B", 2, 327_680),
        ("Llama-2-7B", 2, 524_288),
    ],
)
def test_a_token_adds_what_is_published(model, kv_bytes, published):
    assert cache.bytes_per_token(bf16(model), kv_bytes) == published


def test_a_long_sequence_takes_what_the_scaling_book_says():
    """Llama-2-13B at 8192 tokens: 6.7 GB (jax-ml/scaling-book, inference)."""
    read = cache.read_bytes(bf16("Llama-2-13B"), 8192)

    assert read == pytest.approx(6.7e9, abs=0.05e9)


def test_a_sequence_of_2048_tokens_takes_a_gibibyte_in_llama_2_7b():
    assert cache.read_bytes(bf16("Llama-2-7B"), 2048) == 2**30


def test_a_sequence_occupies_whole_blocks_and_windows_no_more_than_theirs():
    per_token = 2 * 8 * 16 * 2

    def occupied(context, tp=1, pp=1):
        return cache.occupied_bytes(WINDOWED, context, tp, pp, 2.0)

    assert occupied(1) == occupied(16) == 4 * 16 * per_token
    assert occupied(17) == 4 * 32 * per_token
    assert occupied(100) == (2 * 32 + 2 * 112) * per_token
    assert occupied(100, tp=4) == occupied(100) / 4
    assert occupied(100, pp=2) == occupied(100) / 2
