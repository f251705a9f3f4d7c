"""The comparison with the ceiling must pass on the truth and complain of anything else."""

import re
from dataclasses import replace

import pytest
from benchmarks.ceiling_points import (
    WORKLOADS,
    Ran,
    Workload,
    compare,
    complaints,
    counter_flops_per_s,
    expect,
)

from gnomon.hardware import profile, sku_facts
from gnomon.performance_model.constants import DEFAULT
from lab import known_work

H200 = profile(sku_facts("H200-SXM-141GB"))
SHAPE = known_work.LlamaShape()
PREFILL, DECODE, CHAIN = (Workload(kind, 8, 2048) for kind in ("prefill", "decode", "chain"))


def row(workload, *, share=0.9, flops=1.0, dram=1.0, executed=1.0):
    """A run at ``share`` of attainable whose counters read so many times the model's numbers.

    ``executed``: the bytes that ran over those of the model.
    """
    expected = expect(workload, H200, DEFAULT)
    steps_per_s = share * expected.tokens_per_s / workload.tokens
    summary = {
        "pipe": "tensor",
        "compute_sol_pct": 100 * flops * expected.flops * steps_per_s / 989.4e12,
        "dram_bytes_per_s": dram * expected.dram_bytes * steps_per_s,
    }
    ran = Ran(workload, 100, 100 / steps_per_s, "graph")
    return compare(ran, expected, expected, executed * expected.dram_bytes, summary, H200)


def test_there_are_enough_points_of_every_kind():
    models = [w for w in WORKLOADS if w.kind != "chain"]

    assert len(models) >= 12
    assert len({w.name for w in WORKLOADS}) == len(WORKLOADS)
    assert {w.kind for w in WORKLOADS} == {"prefill", "decode", "chain"}


def test_the_lab_counts_the_same_work():
    decode, chain = expect(DECODE, H200, DEFAULT), expect(CHAIN, H200, DEFAULT)
    known = known_work.decode_step(SHAPE, 8, 2048)

    assert decode.flops == chain.flops == pytest.approx(known.flops, rel=1e-3)
    assert decode.dram_bytes == pytest.approx(known.dram_bytes, rel=1e-3)
    assert chain.tokens_per_s > decode.tokens_per_s


@pytest.mark.parametrize("workload", [PREFILL, DECODE, CHAIN])
def test_what_runs_as_it_should_gets_no_complaint(workload):
    assert list(complaints(workload, row(workload))) == []


@pytest.mark.parametrize(
    ("workload", "change", "words"),
    [
        (DECODE, {"share": 1.04}, "104.0 % of the attainable by default"),
        (PREFILL, {"share": 0.79}, "only 79.0 %"),
        (CHAIN, {"share": 0.79}, "only 79.0 %"),
        (PREFILL, {"flops": 1.04}, r"FLOP/s by counters is \+4.0 % off"),
        (CHAIN, {"dram": 0.94}, "DRAM bytes/s by counters is -6.0 % off"),
        (DECODE, {"dram": 1.2, "executed": 1.1}, r"DRAM bytes/s by counters is \+9.1 % off"),
    ],
)
def test_what_is_outside_its_tolerance_is_named(workload, change, words):
    first = next(complaints(workload, row(workload, **change)))

    assert first.startswith(workload.name)
    assert re.search(words, first)


def test_small_prompts_and_decode_may_run_far_below():
    small = Workload("prefill", 1, 512)

    assert list(complaints(small, row(small, share=0.4))) == []
    assert list(complaints(DECODE, row(DECODE, share=0.4))) == []


def test_padding_is_what_counters_saw_and_the_model_does_not_know():
    padded = row(DECODE, flops=8.0)

    assert padded.padding_pct == pytest.approx(87.5)
    assert list(complaints(DECODE, padded)) == []


def test_flops_by_counters_are_the_share_of_peak_that_the_tensor_pipe_did():
    # prefill_1x2048 of docs/measurements/ceiling.md: pipe activity x clock / reference clock.
    share_pct = 79.967 * 1390.3 / 1829.9
    summary = {"pipe": "tensor", "compute_sol_pct": share_pct}

    assert counter_flops_per_s(summary, H200) == pytest.approx(601.1e12, rel=1e-3)
    assert counter_flops_per_s(summary | {"pipe": "fp32"}, H200) is None
    assert counter_flops_per_s({"pipe": "tensor", "compute_sol_pct": None}, H200) is None


def test_bytes_that_ran_are_no_complaint_though_the_model_has_fewer():
    assert list(complaints(DECODE, row(DECODE, dram=1.1, executed=1.1))) == []
    assert list(complaints(PREFILL, row(PREFILL, dram=2.0))) == []


def test_counters_that_were_not_read_are_said_to_be_missing():
    blind = replace(row(PREFILL), counter_flops_per_s=None)

    assert (blind.flops_error_pct, blind.padding_pct) == (None, None)
    assert "not known" in next(complaints(PREFILL, blind))
