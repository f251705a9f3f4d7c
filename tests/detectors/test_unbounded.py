"""Without counters nobody knows whether the GPU had work meanwhile."""

import pytest

from gnomon import tables
from gnomon.analysis.questions import Span
from gnomon.detectors.case import Case
from gnomon.detectors.registry import diagnose
from gnomon.detectors.unbounded import (
    BOUNDED,
    EMPTIES_STREAMS,
    HIDDEN_BEHIND_WORK,
    MOST_CONFIDENCE,
    NOT_BOUNDED,
)
from gnomon.enums import Severity
from gnomon.recording.reader import Recording
from gnomon.recording.writer import RecordingWriter
from tests.analysis.recordings import BEGIN_NS, MS, THREAD, US, call
from tests.detectors.worlds import World

STEPS = 100
STEP_NS = 100 * MS


def recorded(path, *, waited_ns, read_ns, counters=()):
    """A loop of steps: launches, a wait for a disk, and a wait for the GPU at the end."""
    calls, stays = [], []
    for step in range(STEPS):
        at_ns = step * STEP_NS
        calls += [call(at_ns + i * 10 * US, 5 * US, "cudaLaunchKernel") for i in range(10)]
        calls.append(call(at_ns + MS + read_ns, waited_ns, "cudaStreamSynchronize"))
        stays.append(
            {
                "ts_ns": BEGIN_NS + at_ns + MS + read_ns,
                "duration_ns": read_ns,
                "host": THREAD.host,
                "pid": THREAD.pid,
                "tid": THREAD.tid,
                "state": "uninterruptible",
                "run_queue_ns": 0,
                "io_ns": read_ns,
                "voluntary_ns": 0,
                "selection": "all",
                "weight": 1.0,
            }
        )
    with RecordingWriter(path, "host-1") as writer:
        writer.append("host_calls", tables.batch("host_calls", calls))
        writer.append("off_cpu", tables.batch("off_cpu", stays))
        for rows in counters:
            writer.append("gpu_counters", tables.batch("gpu_counters", rows))
    return Recording.open(path)


def io_wait_of(recording):
    return findings_of(recording, "io_wait")


def findings_of(recording, cause):
    begin_ns, end_ns = recording.bounds()
    with recording.session() as session:
        found = diagnose(Case(recording, session, Span(begin_ns - 1, end_ns))).findings
    return [one for one in found if one.cause == cause]


def nvml(busy_pct):
    return [
        {
            "ts_ns": BEGIN_NS + second * 10**9,
            "duration_ns": 10**9,
            "gpu_uuid": "GPU-1",
            "source": "nvml",
            "busy_pct": busy_pct,
        }
        for second in range(1, 11)
    ]


def test_a_thread_that_waits_for_the_gpu_as_long_may_have_lost_nothing(tmp_path):
    (finding,) = io_wait_of(recorded(tmp_path, waited_ns=50 * MS, read_ns=40 * MS))

    assert finding.severity is Severity.INFO
    assert "also waited 4.95 s for it" in finding.confidence_reason
    assert finding.confidence <= MOST_CONFIDENCE


def test_one_that_hardly_waits_is_warned_of_and_no_more(tmp_path):
    (finding,) = io_wait_of(recorded(tmp_path, waited_ns=5 * MS, read_ns=80 * MS))

    assert finding.severity is Severity.WARNING
    assert "was not recorded" in finding.confidence_reason
    assert finding.lost_seconds is None
    assert finding.thread_seconds == pytest.approx(8.0, rel=0.02)


def test_what_nvml_calls_busy_was_not_lost(tmp_path):
    busy = recorded(tmp_path / "a", waited_ns=5 * MS, read_ns=80 * MS, counters=[nvml(100.0)])
    idle = recorded(tmp_path / "b", waited_ns=5 * MS, read_ns=80 * MS, counters=[nvml(40.0)])

    assert io_wait_of(busy) == []
    (finding,) = io_wait_of(idle)
    assert finding.severity is Severity.CRITICAL
    assert finding.lost_seconds == pytest.approx(6.0, rel=0.05)
    assert finding.thread_seconds == pytest.approx(8.0, rel=0.02)


FAULTS = sorted(HIDDEN_BEHIND_WORK | EMPTIES_STREAMS)


@pytest.mark.parametrize("counters", [True, False])
@pytest.mark.parametrize("cause", FAULTS)
def test_one_place_says_how_sure_a_loss_is(tmp_path, cause, counters):
    knobs = {"follow": "all", "classes": True, "sample_every": 1, "ranks": 1, "stacks": True}
    world = World(2, "training", 6, counters=counters, **knobs).with_fault(cause, 0.25)
    (finding,) = findings_of(world.record(tmp_path), cause)
    (truth,) = world.truth

    is_said = NOT_BOUNDED not in finding.confidence_reason, BOUNDED in finding.confidence_reason
    assert is_said == (counters, counters)
    assert counters or finding.confidence <= MOST_CONFIDENCE
    assert counters or finding.severity is not Severity.CRITICAL
    assert finding.thread_seconds == pytest.approx(truth.lost_seconds, rel=0.2)
    if counters:
        assert finding.lost_seconds == pytest.approx(truth.gpu_idle_seconds, rel=0.3)
    else:
        assert finding.lost_seconds is None
