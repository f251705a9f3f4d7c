"""The same step with other times: sums hold, and what is not touched stays."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnomon.performance_model.phases import Decode, Prefill, Serve, Train
from gnomon.performance_model.retiming import launched_eagerly, retimed
from tests.performance_model.models import DENSE, bf16, small_models, step

phases = st.sampled_from([Prefill(4, 64), Decode(8, 100), Serve(8, 64, 16), Train(2, 64)])


@given(small_models, phases, st.sampled_from([{}, {"pp": 2}, {"dp": 2}]))
def test_the_same_times_make_the_same_ceiling(model, phase, layout):
    before = step(model, phase, **layout)
    after = retimed(before, before.operators)

    assert after.time_s == pytest.approx(before.time_s)
    assert after.roofline_time_s == pytest.approx(before.roofline_time_s)
    assert after.bubble_s == pytest.approx(before.bubble_s)
    assert (after.ttft_s, after.tpot_s) == pytest.approx((before.ttft_s, before.tpot_s))


def test_a_kernel_that_is_shorter_than_its_launch_waits_7_us_and_a_longer_one_does_not():
    timed = step(DENSE, Decode(2, 100), tp=2).operators
    short = [launched_eagerly(one) for one in timed]
    long = timed[0]._replace(time_s=timed[0].operator.count * 7.1e-6)

    assert [one.time_s for one in short] == pytest.approx(
        [7e-6 * one.operator.count for one in timed]
    )
    for one in short:
        busy_s = one.wire_s or one.launch_s + max(one.compute_s, one.memory_s)
        assert one.time_s == pytest.approx(busy_s)
    assert launched_eagerly(long) == long


def test_gradients_that_were_waited_for_still_are():
    before = step(bf16("Llama-3.1-8B"), Train(1, 512), dp=2)
    after = retimed(before, before.operators)

    assert before.exposed_s > 0
    assert (after.time_s, after.exposed_s) == pytest.approx((before.time_s, before.exposed_s))
    assert after.roofline_time_s == pytest.approx(before.roofline_time_s)


def test_half_the_time_is_half_the_latency_and_half_the_bubble():
    before = step(DENSE, Decode(2, 100), pp=4)
    halved = retimed(before, [one._replace(time_s=one.time_s / 2) for one in before.operators])

    assert halved.tpot_s == pytest.approx(before.tpot_s / 2)
    assert before.bubble_s > 0
    assert halved.bubble_s == pytest.approx(before.bubble_s / 2)
    assert halved.flops == before.flops
