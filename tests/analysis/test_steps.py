"""Steps: the period of a sequence, and when steps begin."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gnomon.analysis.questions import Span
from gnomon.analysis.steps import period, steps
from gnomon.detectors.case import Case
from tests.detectors.worlds import World

LAYERS = [0, *(list(range(2, 14)) * 32), 14, 15, 1]


def test_a_layer_is_no_step():
    assert period(np.array(LAYERS * 20)) == len(LAYERS)


def test_what_comes_in_between_now_and_then_is_no_part_of_a_step():
    parts = [LAYERS + [20] * 30 * (number % 20 == 0) for number in range(100)]

    assert period(np.concatenate(parts)) == len(LAYERS)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32), st.integers(2, 200))
def test_any_sequence_that_repeats_has_its_length(seed, length):
    kinds = np.random.default_rng(seed).integers(0, 50, length)
    kinds[0] = 50  # once in a period: no part of it is a period

    assert period(np.tile(kinds, 12)) == length


def test_noise_and_monotony_have_no_period():
    assert period(np.random.default_rng(0).integers(0, 6, 5000)) is None
    assert period(np.zeros(100, dtype=np.int64)) is None
    assert period(np.array([], dtype=np.int64)) is None


@pytest.mark.parametrize("kind", ["training", "decode_server", "eager_small"])
def test_steps_are_those_of_the_world(tmp_path, kind):
    world = World(8, kind, seconds=8, sample_every=1, ranks=1)
    recording = world.record(tmp_path)
    begin, end = recording.bounds()
    with recording.session() as session:
        case = Case(recording, session, Span(begin - 1, end))
        (one,) = case.dispatch_threads
        found = steps(session, case.scope, one.thread, one.calls, one.span)

    begun = np.array(world.jobs[0].steps)
    assert len(found) == pytest.approx(len(begun), abs=3)
    assert found.p50_ns == pytest.approx(np.median(np.diff(begun)), rel=0.02)
    assert found.p50_ns <= found.p95_ns <= found.p99_ns
