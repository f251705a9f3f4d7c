"""SOL is pipe active x clock / reference clock: by hand, for an H200."""

import numpy as np
import pytest

from gnomon.analysis.sol import LINK_ATTAINABLE, sol_rows
from gnomon.analysis.tracks import load_tracks
from gnomon.enums import Pipe
from gnomon.hardware import profile

from . import scenes as s

H200 = profile(s.H200)


def rows_of(**changes):
    """The SOL of a GEMM with some counters changed."""
    (track,) = load_tracks(s.memory(s.rows("gpm", s.GEMM | changes, count=3)), None, None)
    return sol_rows(track, H200)


def test_sol_is_the_active_share_at_the_clock_of_the_printed_peak():
    found = rows_of()

    assert found.usable.all()
    assert found.products[Pipe.TENSOR] == pytest.approx(93.0 * 1489.0 / 1830.0, rel=1e-4)
    assert found.products[Pipe.FP32] == pytest.approx(0.1 * 1489.0 / 1980.0, rel=1e-4)


def test_fp64_tensor_work_is_taken_out_of_tensor():
    """ANY_TENSOR counts it; of DFMA and DMMA, which count alike, the larger one is meant."""
    found = rows_of(tensor_dfma_active_pct=20.0, tensor_dmma_active_pct=30.0)

    assert found.pipes[Pipe.FP64_TENSOR] == pytest.approx(30.0)
    assert found.pipes[Pipe.TENSOR] == pytest.approx(63.0)


@pytest.mark.parametrize("missing", ["engine_active_pct", "tensor_active_pct", "sm_clock_mhz"])
def test_an_interval_that_lacks_a_term_does_not_count(missing):
    counters = s.rows("gpm", s.GEMM, count=3)
    del counters[1][missing]
    (track,) = load_tracks(s.memory(counters), None, None)

    assert sol_rows(track, H200).usable.tolist() == [True, False, True]


@pytest.mark.parametrize(
    ("engine_pct", "share_of_line", "copying_pct"),
    [
        (40.0, 0.30, 30.0 / LINK_ATTAINABLE),  # the least time that the transfers can have taken
        (40.0, 0.009, 0.0),  # launches and polling
        (90.0, 0.30, 10.0),  # no more than the engine was idle
    ],
)
def test_copying_is_what_a_link_must_have_taken_of_the_idle_time(
    engine_pct, share_of_line, copying_pct
):
    rate = share_of_line * H200.pcie_bytes_per_s
    found = rows_of(engine_active_pct=engine_pct, pcie_rx_bytes_per_s=rate)

    assert found.copying == pytest.approx(copying_pct)


def test_a_stretch_that_was_seen_counts_where_it_is_the_longer():
    assert rows_of(engine_active_pct=40.0, link_only_pct=25.0).copying == pytest.approx(25.0)


def test_without_sm_counters_there_is_no_sol():
    (track,) = load_tracks(s.memory(s.rows("nvml", {"busy_pct": 1.0})), None, None)

    assert sol_rows(track, H200) is None
    assert np.isnan(rows_of(sm_clock_mhz=None).products[Pipe.TENSOR]).all()
