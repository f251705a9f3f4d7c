"""Sums over pieces: the closed forms of constant work, and no matter where a window is cut."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnomon.analysis.sol import sol_rows
from gnomon.analysis.tally import Piece, Tally
from gnomon.analysis.tracks import load_tracks
from gnomon.enums import Pipe
from gnomon.hardware import profile

from . import scenes as s

H200 = profile(s.H200)
SECONDS = 8


def tally(counters, *cuts_s):
    """The sums of [0, 8 s], in pieces."""
    (track,) = load_tracks(s.memory(counters), None, None)
    edges_ns = [s.BEGIN_NS + round(cut * s.SECOND_NS) for cut in (0, *cuts_s, SECONDS)]
    found = Tally()
    for begin_ns, end_ns in pairwise(edges_ns):
        is_last = end_ns == edges_ns[-1]
        found.add(Piece(track, sol_rows(track, H200), begin_ns, end_ns, is_last=is_last))
    return found


def second_by_second(**columns):
    """A second each for the values of some columns, beside a GEMM."""
    return [
        row | dict(zip(columns, values, strict=True))
        for number, values in enumerate(zip(*columns.values(), strict=True))
        for row in s.rows("gpm", s.GEMM, first=number, count=1, length_ns=s.SECOND_NS)
    ]


def test_means_are_of_the_time_in_which_a_value_is_known():
    power = [100.0, None, 400.0, None, None, 100.0, 200.0, 200.0]
    found = tally(second_by_second(sm_occupancy_pct=power))

    assert found.mean("sm_occupancy_pct") == pytest.approx(200.0)
    assert found.mean("busy_pct") is None
    assert found.samples == SECONDS


def test_half_an_interval_has_half_its_weight():
    found = tally(second_by_second(sm_occupancy_pct=[0.0] * 7 + [100.0])[1:], 7.5)

    assert found.mean("sm_occupancy_pct") == pytest.approx(100.0 / 7)


def test_the_compute_side_of_steady_work():
    compute = tally(s.rows("gpm", s.GEMM, count=SECONDS, length_ns=s.SECOND_NS)).compute
    means = compute.means()

    assert (means.pipe, compute.weight) == (Pipe.TENSOR, pytest.approx(SECONDS))
    assert means.pipe_active_pct == pytest.approx(93.0)
    assert means.product_pct == pytest.approx(93.0 * 1489.0 / 1830.0, rel=1e-4)
    assert means.sm_empty_pct == pytest.approx(99.8 - 96.0)
    assert compute.working_clock_mhz(H200.reference_clock_mhz(Pipe.TENSOR)) == pytest.approx(1489.0)
    assert (compute.true_share, compute.sampled_share, compute.known_share) == (0.0, 0.0, 0.0)


def test_a_share_at_the_true_clock_is_of_time_and_of_work():
    """The true clock in the first half, in which the pipe does three quarters of the work."""
    counters = second_by_second(
        sm_clock_mhz=[1500.0] * SECONDS, tensor_active_pct=[9.0] * 4 + [3.0] * 4
    )
    true = {"sm_clock_mhz": 1500.0, "sm_clock_source": "cupti"}
    counters += s.rows("pm", true, count=4, length_ns=s.SECOND_NS)
    compute = tally(sorted(counters, key=lambda row: row["ts_ns"])).compute

    assert compute.true_share == pytest.approx(0.5)
    assert compute.sampled_share == pytest.approx(0.75)


def test_idle_time_in_gaps_is_that_of_intervals_in_which_the_engine_worked():
    compute = tally(
        second_by_second(engine_active_pct=[0.0] * 2 + [50.0] * 4 + [100.0] * 2)
    ).compute

    assert compute.idle_in_gaps == pytest.approx(200 / 400)


@given(
    active=st.lists(st.none() | st.floats(0, 100), min_size=SECONDS, max_size=SECONDS),
    cuts=st.lists(st.floats(0.01, SECONDS - 0.01), max_size=4, unique=True).map(sorted),
)
def test_cutting_a_window_changes_nothing(active, cuts):
    counters = second_by_second(sm_active_pct=active, sm_occupancy_pct=active)
    if all(value is None for value in active):
        counters[0]["sm_active_pct"] = 1.0
    whole, cut = tally(counters), tally(counters, *cuts)

    assert cut.samples == whole.samples
    assert cut.mean("sm_occupancy_pct") == pytest.approx(whole.mean("sm_occupancy_pct"))
    assert cut.compute.weight == pytest.approx(whole.compute.weight)
    for name in ("copying_pct", "engine_active_pct", "sm_empty_pct", "product_pct"):
        one, other = (getattr(each.compute.means(), name) for each in (cut, whole))
        assert one == pytest.approx(other)
