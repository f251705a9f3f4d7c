"""Charts draw time-weighted means in equal bins, and gaps as gaps."""

import pytest

from gnomon.analysis.series import series

from . import scenes as s


def test_bins_are_means_and_gaps_are_none():
    measurements = s.memory(s.rows("gpm", s.GEMM) + s.rows("gpm", s.IDLE, first=20))

    found = series(
        measurements,
        s.GPU,
        from_ns=s.BEGIN_NS,
        to_ns=s.BEGIN_NS + 3 * s.SECOND_NS,
        bins=3,
    )

    assert found["memory_sol_pct"] == [pytest.approx(17.0), None, pytest.approx(0.0)]
    assert found["compute_sol_pct"][0] == pytest.approx(93.0 * 1489 / 1829.94, rel=1e-4)
    assert found["idle_pct"][2] == pytest.approx(100.0)
    assert found["busy_pct"] == [None, None, None]


def test_a_gpu_that_was_not_recorded_has_no_values():
    found = series(
        s.memory(s.rows("gpm", s.GEMM)), "GPU-9", from_ns=s.BEGIN_NS, to_ns=s.BEGIN_NS + 10, bins=2
    )

    assert set(found["compute_sol_pct"]) == {None}
