"""Bands of published figures: recomputed where the source has throughput, sorted by size."""

import pytest

from gnomon.performance_model.typical import PUBLISHED, bands, size_of, typical

# pytorch-labs/gpt-fast README, GB/s at batch 1 on A100-80GB (2,039 GB/s).
GPT_FAST_GB_PER_S = {"Llama-2-7B, batch 1, A100-80GB": (1397.31, 1397.31),
                     "Llama-2-70B, batch 1, 2 to 8 A100": (1135.29, 1481.87),
                     "Llama-2-70B int8, batch 1, 1 A100-80GB": (1322.58, 1322.58)}  # fmt: skip


def test_bandwidths_of_gpt_fast_are_shares_of_an_a100():
    figures = {one.workload: one for one in PUBLISHED if one.metric == "mbu"}

    assert figures.keys() == GPT_FAST_GB_PER_S.keys()
    for workload, (low, high) in GPT_FAST_GB_PER_S.items():
        assert figures[workload].low_pct == pytest.approx(low / 20.39, abs=0.06)
        assert figures[workload].high_pct == pytest.approx(high / 20.39, abs=0.06)


@pytest.mark.parametrize(
    ("params", "size"), [(8e9, "up to 15B"), (15e9, "up to 15B"), (70e9, "to 100B"),
                         (671e9, "above 100B")]
)  # fmt: skip
def test_models_are_classed_by_their_parameters(params, size):
    assert size_of(params) == size


def test_a_band_holds_all_of_its_figures_and_bands_hold_all_of_a_phase():
    found = bands("train")

    assert [one.size for one in found] == ["up to 15B", "to 100B", "above 100B"]
    assert sum(len(one.figures) for one in found) == sum(one.phase == "train" for one in PUBLISHED)
    for band in found:
        assert band.low_pct == min(one.low_pct for one in band.figures)
        assert band.high_pct == max(one.high_pct for one in band.figures)


def test_what_is_said_of_typical_engines_has_the_share_that_is_used():
    for phase in ("prefill", "decode", "verify", "serve"):
        for tp in (1, 2, 4, 8):
            found = typical(phase, tp)
            assert f"{found.share:.2f} of attainable" in found.source
    assert "one phase" in typical("prefill", 1).source
    assert typical("serve", 3) == typical("serve", 2)


def test_every_figure_is_a_share_with_a_source():
    assert all(0 < one.low_pct <= one.high_pct <= 100 and one.source for one in PUBLISHED)


def test_a_phase_that_nobody_published_has_no_band():
    assert bands("lora") == ()
