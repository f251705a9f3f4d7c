"""Copies by size class and direction."""

import pytest

from gnomon.analysis.copies import copies, link_bytes_per_s
from gnomon.recording.base import Meta
from tests.analysis.recordings import MS, US, asked, call


def test_classes_have_their_counts_bytes_and_rates(tmp_path):
    rows = [
        call(0, 10 * US, "cudaMemcpyAsync", bytes=100, direction="h2d"),
        call(1 * MS, 20 * US, "cudaMemcpyAsync", bytes=200, direction="h2d"),
        call(2 * MS, 2 * MS, "cudaMemcpy", bytes=8_000_000, direction="d2h"),
        call(5 * MS, 3 * MS, "cuMemcpyDtoH_v2", bytes=12_000_000),
        call(9 * MS, 5 * US, "cudaMemcpyAsync", bytes=1 << 30, direction="h2d"),
        call(10 * MS, 5 * US, "cudaMemcpyAsync", depth=1, bytes=1 << 30, direction="h2d"),
        call(11 * MS, 5 * US, "cudaMemcpyAsync"),
    ]
    with asked(tmp_path, host_calls=rows) as told:
        found = {
            (one.operation, one.direction, one.size): one
            for one in copies(told.session, told.scope, told.operations)
        }

    assert len(found) == 5
    small = found["cudaMemcpyAsync", "h2d", "small"]
    assert (small.calls, small.bytes, small.total_ns) == (2, 300, 30 * US)
    for name, rate in (("cudaMemcpy", 4e9), ("cuMemcpyDtoH_v2", 4e9)):
        one = found[name, "d2h", "large"]
        assert one.rate_bytes_per_s == pytest.approx(rate)
        assert one.waited == 1
    # 1 GiB in 5 us: the call did not wait for its bytes.
    assert found["cudaMemcpyAsync", "h2d", "large"].waited == 0
    assert found["cudaMemcpyAsync", None, None].calls == 1


def test_the_link_is_the_slowest_gpus():
    facts = {"pcie_generation_max": 5, "pcie_lanes_max": 16}

    assert link_bytes_per_s(Meta(1)) is None
    # 32 GT/s on 16 lanes, of 130 bits 128 are payload.
    assert link_bytes_per_s(Meta(1, gpus={"a": facts})) == pytest.approx(63.0e9, rel=0.001)
    both = {"a": facts, "b": facts | {"pcie_lanes_max": 8}}
    assert link_bytes_per_s(Meta(1, gpus=both)) == pytest.approx(31.5e9, rel=0.001)
