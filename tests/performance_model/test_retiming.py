"""The same step with other times: sums hold, and what is not touched stays."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnomon.performance_model.phases import Decode, Prefill, Serve, Train
from gnomon.performance_model.retiming import retimed
from tests.performance_model.models import DENSE, small_models, step

phases = st.sampled_from([Prefill(4, 64), Decode(8, 100), Serve(8, 64, 16), Train(2, 64)])


@given(small_models, phases, st.sampled_from([{}, {"pp": 2}, {"dp": 2}]))
def test_the_same_times_make_the_same_ceiling(model, phase, layout):
    before = step(model, phase, **layout)
    after = retimed(before, before.operators)

    assert after.time_s == pytest.approx(before.time_s)
    assert after.roofline_time_s == pytest.approx(before.roofline_time_s)
    assert after.bubble_s == pytest.approx(before.bubble_s)
    assert (after.ttft_s, after.tpot_s) == pytest.approx((before.ttft_s, before.tpot_s))


def test_half_the_time_is_half_the_latency_and_half_the_bubble():
    before = step(DENSE, Decode(2, 100), pp=4)
    halved = retimed(before, [one._replace(time_s=one.time_s / 2) for one in before.operators])

    assert halved.tpot_s == pytest.approx(before.tpot_s / 2)
    assert before.bubble_s > 0
    assert halved.bubble_s == pytest.approx(before.bubble_s / 2)
    assert halved.flops == before.flops
