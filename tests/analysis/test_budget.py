"""Achieved beside attainable, and what does not fit together."""

from dataclasses import replace

import pytest

from gnomon.analysis.budget import Target, with_budget, with_budgets
from gnomon.analysis.budget_types import budget_text
from gnomon.analysis.summary_types import GpuSummary
from gnomon.hardware import profile, sku_facts
from gnomon.performance_model import huggingface
from gnomon.performance_model.ceiling import ceiling
from gnomon.performance_model.parallelism import Layout
from gnomon.performance_model.phases import Decode, Prefill

H200 = profile(sku_facts("H200-SXM-141GB"))
LLAMA = huggingface.read("Llama-3.1-8B").architecture
BEST = ceiling(LLAMA, H200, Layout(), Prefill(8, 2048))
TARGET = Target("Llama-3.1-8B", "prefill, 8 prompts", BEST)


def measured(share, **more):
    """A GPU that reached a share of the ceiling, at a rate of tokens that agrees."""
    return GpuSummary(
        uuid="GPU-1",
        name="NVIDIA H200",
        from_ns=0,
        to_ns=1,
        samples=1,
        **{
            "compute_sol_pct": share * BEST.compute_sol_pct,
            "memory_sol_pct": share * BEST.memory_sol_pct,
            "tokens_per_s": share * BEST.tokens_per_s,
        }
        | more,
    )


def test_the_budget_is_what_lies_between_achieved_and_attainable():
    summary = with_budget(measured(0.6), TARGET)

    budget = summary.budget
    assert (budget.model, budget.phase, budget.constants) == ("Llama-3.1-8B", "prefill", "default")
    assert budget.compute.budget_pct == pytest.approx(0.4 * BEST.compute_sol_pct)
    assert budget.memory.budget_pct == pytest.approx(0.4 * BEST.memory_sol_pct)
    assert budget.compute.model_pct == pytest.approx(0.6 * BEST.compute_sol_pct)
    assert summary.warnings == ()
    assert budget_text(budget) == "compute SOL 44 %, attainable 74: budget 30"


def test_the_budget_is_told_of_the_side_that_binds():
    decode = Target("Llama-3.1-8B", "decode", ceiling(LLAMA, H200, Layout(), Decode(32, 1024)))

    summary = with_budget(measured(0.5, tokens_per_s=None, memory_sol_pct=50.0), decode)

    assert budget_text(summary.budget) == "memory SOL 50 %, attainable 81: budget 31"


def test_a_published_prefill_reaches_what_its_tokens_account_for():
    """An H200 recording: 8 x 2048 prompt tokens of an 8B-like model at 34,436 tokens/s."""
    budget = with_budget(measured(0.5, tokens_per_s=34_436.0), TARGET).budget

    # 2 x 6.98e9 matmul weights and 1.07e9 of causal attention a token, over 989.4 TFLOP/s.
    by_hand_pct = 34_436 * (2 * 6_979_321_856 + 2 * 32 * 32 * 128 * 2 * 1024.5) / 989.4e12 * 100
    assert budget.compute.model_pct == pytest.approx(by_hand_pct, rel=2e-3)


@pytest.mark.parametrize(
    ("summary", "words"),
    [
        (measured(1.2), "tokens/s were made"),
        (measured(0.5, tokens_per_s=BEST.tokens_per_s), "the tokens take"),
        (measured(0.5, tokens_per_s=0.2 * BEST.tokens_per_s), "the tokens account for"),
        (measured(0.5, compute_sol_pct=95.0, tokens_per_s=None), "compute SOL of 95 %"),
        (measured(0.1, memory_sol_pct=90.0, tokens_per_s=None), "memory SOL of 90 %"),
    ],
)
def test_what_does_not_fit_together_is_said(summary, words):
    found = with_budget(summary, TARGET).warnings

    assert any(words in warning for warning in found)


def test_an_upper_bound_accuses_nobody():
    high = measured(0.5, compute_sol_pct=95.0, at_most=True)

    assert with_budget(high, TARGET).warnings == ()


def test_little_work_is_not_judged():
    idle = measured(0.5, compute_sol_pct=0.4, memory_sol_pct=0.4, tokens_per_s=10.0)

    assert with_budget(idle, TARGET).warnings == ()


def test_missing_numbers_stay_missing():
    blind = replace(measured(0.5), compute_sol_pct=None, memory_sol_pct=None, tokens_per_s=None)

    budget = with_budget(blind, TARGET).budget

    assert budget.compute.budget_pct is budget.memory.budget_pct is None
    assert budget.compute.model_pct is None
    assert budget_text(budget) == "compute SOL not known, attainable 74 %"


def test_only_gpus_with_a_target_get_a_budget():
    one, other = measured(0.5), replace(measured(0.5), uuid="GPU-2")

    found = with_budgets([one, other], lambda gpu: TARGET if gpu.uuid == "GPU-1" else None)

    assert [gpu.budget is not None for gpu in found] == [True, False]
