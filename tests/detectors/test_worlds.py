"""The simulator against itself: what it writes must be possible, and its truth must be true."""

import os
from random import Random

import numpy as np
import pytest

from gnomon.analysis.questions import Span
from gnomon.detectors.case import Case
from gnomon.detectors.registry import detectors, diagnose
from gnomon.enums import Severity
from tests.detectors.worlds import CAUSES, KINDS, World

# 1,000 for a thorough look: GNOMON_HEALTHY_WORLDS=1000 pytest tests/detectors/test_worlds.py
HEALTHY = int(os.environ.get("GNOMON_HEALTHY_WORLDS", "40"))
SHORT_S = 4.0
# Faults that make a thread lose time while its GPU has nothing to do.
STARVING = tuple(
    set(CAUSES)
    - {"collective_straggler", "memory_leak", "oom", "busy_without_throughput", "data_loss"}
)


def idle_share(world):
    edges = np.array([world.begin_ns, world.end_ns])
    return max(1 - job.gpu.busy_seconds(edges)[0] / world.seconds for job in world.jobs)


def findings(recording):
    with recording.session() as session:
        case = Case(recording, session, Span(*recording.bounds()))
        diagnosis = diagnose(case)
    assert not diagnosis.failed
    return diagnosis.findings


@pytest.mark.parametrize("kind", KINDS)
def test_a_healthy_gpu_is_busy_unless_its_server_has_nothing_to_do(kind):
    shares = []
    for seed in range(8):
        world = World(seed, kind, seconds=SHORT_S)
        world.run()
        shares.append(idle_share(world))

    assert min(shares) > 0.3 if kind == "idle_server" else max(shares) < 0.08


OVERLAP = """
SELECT sum(off_cpu_ns)::BIGINT AS inside, (
  SELECT sum(least(c.ts_ns, o.ts_ns)
    - greatest(c.ts_ns - c.duration_ns, o.ts_ns - o.duration_ns))::BIGINT
  FROM host_calls c JOIN off_cpu o ON c.tid = o.tid AND c.pid = o.pid
  WHERE o.ts_ns > c.ts_ns - c.duration_ns AND o.ts_ns - o.duration_ns < c.ts_ns
    AND layer <> 'block_io') AS overlap
FROM host_calls WHERE layer <> 'block_io'"""


@pytest.mark.parametrize("seed", range(4))
def test_what_is_off_the_cpu_inside_calls_is_what_the_stays_say(tmp_path, seed):
    world = World(seed, "training", SHORT_S, follow="all", nested=False, sample_every=1)
    (row,) = world.with_fault("cpu_contention").record(tmp_path).sql(OVERLAP).to_pylist()

    assert row["inside"] == row["overlap"] > 0


@pytest.mark.parametrize("table", ["host_calls", "off_cpu"])
def test_rows_of_a_thread_follow_each_other_and_classes_sum_up(tmp_path, table):
    recording = World(5, "training", SHORT_S, follow="all", classes=True).record(tmp_path)
    outermost = "WHERE depth = 0" if table == "host_calls" else ""
    (row,) = recording.sql(
        "SELECT min(ts_ns - duration_ns - earlier) AS gap_ns, bool_and(run_queue_ns + io_ns + "
        "voluntary_ns = off_ns) AS adds_up, bool_and(off_ns <= duration_ns) AS fits FROM (SELECT *,"
        " lag(ts_ns) OVER (PARTITION BY host, pid, tid ORDER BY ts_ns) AS earlier, "
        f"{'off_cpu_ns' if table == 'host_calls' else 'duration_ns'} AS off_ns "
        f"FROM {table} {outermost})"
    ).to_pylist()

    assert row["gap_ns"] >= 0
    assert row["adds_up"]
    assert row["fits"]


@pytest.mark.parametrize("cause", sorted(STARVING))
def test_a_fault_takes_the_share_that_was_asked_for_from_the_gpu(cause):
    world = World(11, "training", SHORT_S, step_ns=100_000_000, ranks=1, blocking=False)
    world = world.with_fault(cause, share=0.25)
    (truth,) = world.truth

    assert truth.lost_seconds == pytest.approx(0.25 * SHORT_S, rel=0.15)
    assert truth.gpu_idle_seconds == pytest.approx(truth.lost_seconds, rel=0.15)
    assert idle_share(world) == pytest.approx(0.25, abs=0.08)


def test_a_fault_strikes_in_its_window_alone():
    world = World(12, "decode_server", SHORT_S).with_fault("io_wait", from_s=1.0, to_s=2.0)
    (truth,) = world.truth

    assert world.begin_ns + 1e9 <= truth.from_ns < truth.to_ns <= world.begin_ns + 2.2e9
    assert truth.lost_seconds == pytest.approx(0.2, rel=0.2)


def test_a_straggler_makes_the_others_wait():
    world = World(13, "training", SHORT_S, step_ns=50_000_000).with_fault("collective_straggler")
    by_rank = {one.rank: one for one in world.truth}

    assert list(by_rank) == [3]
    assert by_rank[3].lost_seconds == pytest.approx(3 * 0.2 * SHORT_S, rel=0.2)


def test_lost_rows_are_counted(tmp_path):
    world = World(14, "training", SHORT_S)
    whole = world.record(tmp_path / "whole").sql("SELECT count(*) AS n FROM host_calls")
    lossy = world.with_fault("data_loss", share=0.3).record(tmp_path / "lossy")
    (row,) = lossy.sql(
        "SELECT count(*) AS kept, (SELECT sum(rows)::BIGINT FROM losses) AS lost FROM host_calls"
    ).to_pylist()

    assert 0 < row["lost"] == pytest.approx(0.3 * whole.to_pylist()[0]["n"], rel=0.2)


def test_an_unknown_fault_is_refused_by_name():
    with pytest.raises(ValueError, match="no fault 'gremlins'"):
        World(1).with_fault("gremlins")


@pytest.mark.parametrize("seed", range(HEALTHY))
def test_nobody_raises_an_alarm_over_a_healthy_workload(tmp_path, seed):
    world = World.varied(Random(seed).randrange(10**6))

    alarms = [one for one in findings(world.record(tmp_path)) if one.severity is not Severity.INFO]

    assert [(one.cause, one.operation, one.lost_seconds) for one in alarms] == []


def test_all_detectors_are_asked():
    assert "first_use_loading" in detectors()
