"""Clocks of hosts that are known to be wrong, found again from what their ranks did together."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gnomon.analysis.clock_error import clock_errors, estimate
from gnomon.analysis.questions import Scope, Span
from gnomon.recording.together import Together
from tests.detectors.worlds import World

MS = 1_000_000


def errors(recording):
    with recording.session() as session:
        return clock_errors(session, Scope(Span(*recording.bounds())))


@pytest.mark.parametrize("fault", [None, "collective_straggler"])
@pytest.mark.parametrize("seed", range(4))
def test_the_clocks_of_hosts_are_found_within_what_is_stated(tmp_path, seed, fault):
    world = World(seed, "training", 6, ranks=4, hosts=4, ahead=0, step_ns=40 * MS)
    if fault:
        # It strikes the rank of one host at every step: that must not pass for its clock.
        world = world.with_fault(fault, 0.4)
    found = errors(Together(world.record_each(tmp_path)))

    assert set(found) == set(world.hosts)
    for host, one in found.items():
        true_ns = world.clock_error(host) - world.clock_error("node-0")
        assert abs(one.ahead_ns - true_ns) <= one.uncertainty_ns
        assert one.uncertainty_ns < MS


def test_one_host_has_one_clock(tmp_path):
    (one,) = errors(World(1, "training", 3, ranks=2, hosts=1).record(tmp_path)).values()

    assert (one.ahead_ns, one.uncertainty_ns) == (0, 0)


def test_hosts_that_share_nothing_are_not_tied(tmp_path):
    world = World(1, "training", 3, ranks=2, hosts=2)
    world.run()
    for row in world.rows.others["nccl_calls"]:
        row["communicator"] = row["host"]

    assert len(errors(Together(world.record_each(tmp_path)))) == 1


def test_without_collectives_nothing_is_known(tmp_path):
    assert errors(World(1, "decode_server", 2).record(tmp_path)) == {}


@given(
    seed=st.integers(0, 1000),
    offset_ns=st.integers(-(10**10), 10**10),
    stray_ns=st.integers(1, 10**6),
)
@settings(max_examples=100)
def test_an_estimate_strays_no_further_than_single_ends_do(seed, offset_ns, stray_ns):
    draw = np.random.default_rng(seed)
    left = np.cumsum(draw.integers(10**7, 10**8, 40))
    entered, entered_there = (left - draw.integers(10**6, 10**7, 40) for _ in range(2))
    left_there = left + draw.integers(-stray_ns, stray_ns + 1, 40)
    shared = np.stack([entered, left, entered_there + offset_ns, left_there + offset_ns], axis=1)
    found = estimate("other", shared)

    assert abs(found.ahead_ns - offset_ns) <= stray_ns
    assert found.uncertainty_ns <= 2 * stray_ns


def test_ends_that_contradict_entries_are_no_estimate():
    # They leave, by these ends, 50 ms before we enter: one of the two is not of this collective.
    ours = np.arange(10) * 100 * MS
    shared = np.stack([ours, ours + MS, ours + 60 * MS, ours - 50 * MS], axis=1)

    assert estimate("other", shared) is None
