"""Large copies whose bytes take the time."""

import pytest

from gnomon import tables
from gnomon.detectors.causes.transfer_size import detect
from gnomon.enums import Severity
from gnomon.recording.base import Meta
from gnomon.recording.reader import Recording
from gnomon.recording.writer import RecordingWriter
from tests.analysis.recordings import BEGIN_NS, MS, US, call
from tests.detectors.causes.proving import proved

SIZES = [50_000_000, 100_000_000, 200_000_000] * 40
LAUNCHES = 20


def recorded(path, duration_of, gpu=None):
    """A loop: launches, then a copy from the host that takes ``duration_of`` its bytes, ns."""
    at_ns, rows = 0, []
    for size in SIZES:
        for _ in range(LAUNCHES):
            rows.append(call(at_ns, 5 * US, "cudaLaunchKernel", address=1))
            at_ns += 10 * US
        copy = {"bytes": size, "direction": "h2d"}
        rows.append(call(at_ns, duration_of(size), "cudaMemcpyAsync", **copy))
        at_ns += duration_of(size) + 10 * US
    with RecordingWriter(path, "host-1") as writer:
        writer.update_meta(Meta(tables.SCHEMA_VERSION, gpus={"GPU-1": gpu} if gpu else {}))
        writer.append("host_calls", tables.batch("host_calls", rows))
    return Recording.open(path), at_ns


def at_8_gb_per_s(size):
    return size // 8


def test_time_that_follows_bytes_is_theirs(tmp_path, case_of):
    recording, length_ns = recorded(tmp_path, at_8_gb_per_s)
    case = case_of(recording)

    (finding,) = proved(case, detect(case))

    assert finding.cause == "transfer_size"
    assert finding.severity is Severity.CRITICAL
    assert finding.thread_seconds == pytest.approx(sum(SIZES) / 8e9)
    assert finding.thread_seconds < length_ns / 1e9
    assert (finding.from_ns, finding.operation) == (BEGIN_NS + 200 * US, "cudaMemcpyAsync")
    assert any("moved 14 GB" in one.text for one in finding.evidence)


def test_beyond_what_the_link_needs_it_is_the_rates_loss(tmp_path, case_of):
    h200 = {"name": "NVIDIA H200", "pcie_generation_max": 5, "pcie_lanes_max": 16}
    case = case_of(recorded(tmp_path, at_8_gb_per_s, h200)[0])

    (finding,) = proved(case, detect(case))

    assert finding.thread_seconds == pytest.approx(sum(SIZES) / (0.8 * 63.015e9), rel=1e-3)


def test_time_that_does_not_follow_bytes_may_be_a_wait_for_the_gpu(tmp_path, case_of):
    case = case_of(recorded(tmp_path, lambda _: 60 * MS)[0])

    (finding,) = proved(case, detect(case))

    assert finding.severity is Severity.INFO
    assert "earlier work" in finding.confidence_reason


def test_copies_that_nobody_waits_for_cost_nothing(tmp_path, case_of):
    case = case_of(recorded(tmp_path, lambda _: 10 * US)[0])

    assert list(detect(case)) == []
