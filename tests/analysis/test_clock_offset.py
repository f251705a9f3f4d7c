"""The offset between two clocks, put in and found again."""

import numpy as np
import pytest

from gnomon.analysis.clock_offset import ASSUMED_UNCERTAINTY_NS, clock_offset
from gnomon.analysis.intervals import Intervals
from gnomon.analysis.kernel_overlap import busy
from tests.analysis.kernel_worlds import US, moved, sampled, sequence

TRUTH = {"sm_active_pct": [90.0, 60.0], "dram_active_pct": [10.0, 70.0]}


@pytest.fixture(scope="module")
def world():
    rng = np.random.default_rng(1)
    spans, group = sequence(rng.integers(0, 2, 3000), [90 * US, 40 * US], 80 * US, rng)
    given = sampled(spans, group, TRUTH, 50 * US, rng)
    return given.intervals, {name: given.columns[name] for name in TRUTH}, busy(spans)


@pytest.mark.parametrize("offset_us", [-700, -12, 0, 9, 340])
def test_an_offset_is_found_within_its_uncertainty(world, offset_us):
    samples, counters, kernels = world

    found = clock_offset(samples, counters, moved(kernels, -offset_us * US))

    assert found.reason is None
    assert abs(found.offset_ns - offset_us * US) < 3 * found.uncertainty_ns
    assert found.uncertainty_ns < 3 * US
    assert found.correlation > 0.9


def test_moving_the_kernels_moves_the_offset_as_far(world):
    samples, counters, kernels = world

    first = clock_offset(samples, counters, kernels)
    second = clock_offset(samples, counters, moved(kernels, 25 * US))

    assert first.offset_ns - second.offset_ns == pytest.approx(25 * US, abs=200)


def test_counters_that_follow_something_else_tell_no_offset(world):
    samples, _, kernels = world
    unrelated = {"sm_active_pct": np.random.default_rng(2).uniform(0, 100, len(samples))}

    found = clock_offset(samples, unrelated, kernels)

    assert "do not follow" in found.reason
    assert (found.offset_ns, found.uncertainty_ns) == (0, ASSUMED_UNCERTAINTY_NS)


def test_a_gpu_that_never_rests_has_no_edge_to_align(world):
    samples, counters, _ = world
    always = Intervals(samples.start_ns[:1] - 10**9, samples.end_ns[-1:] + 10**9)

    found = clock_offset(samples, counters, always)

    assert "no edge" in found.reason


def test_work_that_repeats_itself_fits_elsewhere_too_and_the_nearest_is_taken():
    begin_ns = 10**9 + np.arange(2000) * 500 * US
    spans = Intervals(begin_ns, begin_ns + 200 * US)
    rng = np.random.default_rng(3)
    given = sampled(spans, np.zeros(2000, dtype=int), {"sm_active_pct": [80.0]}, 50 * US, rng)
    counters = {"sm_active_pct": given.columns["sm_active_pct"]}

    found = clock_offset(given.intervals, counters, moved(spans, -20 * US))

    assert found.offset_ns == pytest.approx(20 * US, abs=3 * US)
    assert abs(found.also_fits_ns) == pytest.approx(500 * US, abs=60 * US)
