"""Drops of throughput in worlds whose faults strike at known times."""

import json

import pytest

from gnomon import tables
from gnomon.analysis.drops import drops
from gnomon.analysis.questions import Span
from gnomon.analysis.steps import steps
from gnomon.detectors.case import Case
from gnomon.recording.reader import Recording
from gnomon.recording.writer import RecordingWriter
from tests.analysis.recordings import MS, SECOND, call
from tests.detectors.worlds import World

PART_OF = {
    "cpu_contention": "run_queue",
    "io_wait": "io",
    "voluntary_wait": "voluntary",
    "input_pipeline_stall": "voluntary",
    "lock_contention": "voluntary",
    "host_bound": "own_code",
}
KNOWN = {"follow": "all", "classes": True}


def found(recording):
    with recording.session() as session:
        case = Case(recording, session, Span(*recording.bounds()))
        threads = case.dispatch_threads
        first = threads[0] if threads else None
        of_first = first and steps(session, case.scope, first.thread, first.calls, first.span)
        return drops(recording, session, threads, of_first)


@pytest.mark.parametrize("cause", sorted(PART_OF))
@pytest.mark.parametrize("kind", ["training", "decode_server"])
def test_a_drop_has_its_time_its_depth_and_what_was_done_instead(tmp_path, cause, kind):
    world = World(5, kind, 24, step_ns=40_000_000, ranks=1, counters=True, **KNOWN)
    world = world.with_fault(cause, share=0.4, from_s=9, to_s=16)
    (drop,) = found(world.record(tmp_path))

    assert (drop.from_ns - world.begin_ns) / 1e9 == pytest.approx(9, abs=1.1)
    assert (drop.to_ns - world.begin_ns) / 1e9 == pytest.approx(16, abs=1.1)
    assert drop.depth_pct == pytest.approx(40, abs=4)
    assert drop.is_over
    assert drop.causes[0].part == PART_OF[cause]
    assert drop.causes[0].more_ns_per_s == pytest.approx(0.4e9, rel=0.12)
    (gpu,) = drop.gpus
    assert gpu.during["idle_pct"] - gpu.before["idle_pct"] == pytest.approx(40, abs=6)
    assert json.loads(json.dumps(drop.to_json()))["metric"] == "steps"


def test_tokens_are_the_measure_where_phases_tell_them(tmp_path):
    world = World(5, "decode_server", 20, step_ns=40_000_000, **KNOWN)
    world = world.with_fault("io_wait", share=0.5, from_s=8, to_s=14)
    recording = world.record(tmp_path)
    with RecordingWriter(tmp_path, "marks") as writer:
        rows = []
        for second in range(20):
            at = world.begin_ns + second * 1_000_000_000
            tokens = 500.0 if 8 <= second < 14 else 1000.0
            for edge, ts_ns in (("begin", at), ("end", at + 1_000_000_000)):
                rows.append(
                    {"ts_ns": ts_ns, "duration_ns": 0, "name": f"b{second}", "edge": edge, "pid": 1}
                    | ({"tokens": tokens} if edge == "end" else {})
                )
        writer.append("phases", tables.batch("phases", rows))
    (drop,) = found(recording)

    assert drop.metric == "tokens"
    assert drop.before_per_s == pytest.approx(1000, rel=0.01)
    assert drop.during_per_s == pytest.approx(500, rel=0.01)


@pytest.mark.parametrize("seed", range(12))
def test_healthy_work_has_no_drops(tmp_path, seed):
    assert found(World(seed).record(tmp_path)) == ()


def test_launches_that_each_do_more_are_no_drop(tmp_path):
    # Many small kernels from 2 s to 8 s: fewer launches afterwards, and a busier GPU.
    world = World(5, "decode_server", 20, counters=True, **KNOWN)
    recording = world.with_fault("synchronization", 0.35, from_s=2, to_s=8).record(tmp_path)

    assert found(recording) == []


def test_rows_kept_for_being_slow_do_not_count_work(tmp_path):
    world = World(5, "eager_small", 20, **KNOWN)
    world.run()
    # Everything for 6 s, then the slow ones only.
    cut = world.begin_ns + 6_000_000_000
    world.rows.calls[:] = [
        (*row[:18], "all" if row[0] < cut else "biased", 1.0 if row[0] < cut else None)
        for row in world.rows.calls
        if row[0] < cut or row[1] > 1_000_000
    ]

    assert not found(world.record(tmp_path))


@pytest.mark.parametrize("step_s", [4, 7, 10, 12])
def test_long_steps_are_no_drops(tmp_path, step_s):
    """A step launches for 3 s, then waits; the recording ends in the middle of one."""
    rows = []
    for step in range(12):
        at_ns = step * step_s * SECOND
        rows += [call(at_ns + 10 * n * MS, 10_000, "cudaLaunchKernel") for n in range(300)]
        wait_ns = (step_s - 3) * SECOND - 100 * MS
        rows.append(call(at_ns + 3 * SECOND + 10 * MS, wait_ns, "cudaStreamSynchronize"))
    with RecordingWriter(tmp_path, "host-1") as writer:
        writer.append("host_calls", tables.batch("host_calls", rows))

    assert not found(Recording.open(tmp_path))
