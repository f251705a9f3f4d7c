"""The ledger sums to 100, whatever the counters say."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnomon.analysis.ledger import ComputeMeans, compute_ledger, has_noise, memory_ledger
from gnomon.enums import Pipe

percent = st.floats(0, 100)


@given(percent, percent, percent, percent, percent, st.one_of(st.none(), percent))
def test_compute_terms_sum_to_100(copying, engine, empty, pipe, product, useful):
    ledger = compute_ledger(
        ComputeMeans(copying, engine, empty, Pipe.TENSOR, pipe, product), useful
    )

    terms = [
        ledger.copying_pct,
        ledger.idle_pct,
        ledger.sm_empty_pct,
        ledger.stalled_pct,
        ledger.clock_pct,
        ledger.padding_pct or 0.0,
        ledger.achieved_pct,
    ]
    assert sum(terms) == pytest.approx(100.0, abs=1e-9)


@given(st.one_of(st.none(), percent), percent, st.one_of(st.none(), st.floats(0, 1.1)))
def test_memory_terms_sum_to_100(engine, dram, share):
    ledger = memory_ledger(engine, dram, share)

    if engine is None:
        assert ledger.idle_pct is None
        assert (ledger.clock_pct or 0) + ledger.achieved_pct == pytest.approx(dram)
    else:
        known = (ledger.idle_pct, ledger.not_requested_pct, ledger.clock_pct, ledger.achieved_pct)
        assert sum(term or 0.0 for term in known) == pytest.approx(100.0, abs=1e-9)


def test_a_throttled_gemm_as_measured_on_an_h200():
    # bf16 4096^3: engine 99.6, SM 96, tensor pipe 89.3 % of cycles at a true 1346 of 1830 MHz;
    # the program reached 65.8 % of the datasheet's peak.
    active, clock = 89.3, 1346 / 1830
    ledger = compute_ledger(ComputeMeans(0.0, 99.6, 3.6, Pipe.TENSOR, active, active * clock))

    assert ledger.achieved_pct == pytest.approx(65.8, abs=0.3)
    assert ledger.clock_pct == pytest.approx(23.6, abs=0.3)
    assert ledger.idle_pct == pytest.approx(0.4)
    assert ledger.padding_pct is None


def test_running_above_the_reference_clock_is_a_negative_loss():
    ledger = compute_ledger(ComputeMeans(0.0, 100.0, 0.0, Pipe.TENSOR, 30.0, 30.0 * 1980 / 1830))

    assert ledger.clock_pct == pytest.approx(-2.459, abs=0.001)


def test_known_useful_work_splits_off_padding():
    ledger = compute_ledger(ComputeMeans(0.0, 10.0, 6.0, Pipe.TENSOR, 0.14, 0.15), useful_pct=0.02)

    assert ledger.padding_pct == pytest.approx(0.13)
    assert ledger.achieved_pct == 0.02


def test_noise_is_told_only_beyond_its_size():
    quiet = compute_ledger(ComputeMeans(0.0, 99.0, 0.0, Pipe.TENSOR, 99.5, 99.5))
    loud = compute_ledger(ComputeMeans(0.0, 60.0, 0.0, Pipe.TENSOR, 99.5, 99.5))

    assert not has_noise(quiet)
    assert has_noise(loud)
