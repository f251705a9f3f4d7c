"""What detectors share: whose waits matter, and which GPU a thread feeds."""

import pytest

from gnomon.detectors.case import said
from tests.analysis.recordings import BEGIN_NS, MS, SECOND, call
from tests.analysis.stays import stay
from tests.detectors.worlds import World


def launches(tid, host="host-1", operation="cudaLaunchKernel"):
    return [call(n * MS, MS // 2, operation, tid=tid, host=host) for n in range(20)]


def test_those_who_feed_a_gpu_matter_on_each_host_else_those_who_come_nearest(case_with):
    case = case_with(
        host_calls=[
            *launches(1),
            *launches(2, operation="cudaMalloc"),
            *launches(3, "host-2", "cudaMalloc"),
        ],
        off_cpu=[stay(0, MS, tid=4), stay(0, MS, tid=4, host="host-3")],
    )

    assert [(one.thread.host, one.thread.tid) for one in case.workers] == [
        ("host-1", 1),
        ("host-2", 3),
        ("host-3", 4),
    ]


def test_the_recorders_own_threads_are_nobodys_fault(case_with):
    case = case_with(
        off_cpu=[stay(0, MS)],
        threads=[
            {
                "ts_ns": BEGIN_NS,
                "duration_ns": 0,
                "host": "host-1",
                "pid": 1,
                "tid": 1,
                "role": "observer",
            }
        ],
    )

    assert case.workers == []


def test_a_number_that_was_an_observers_before_is_not_hidden(case_with):
    rows = [
        {"ts_ns": BEGIN_NS + at, "duration_ns": 0, "host": "host-1", "pid": 1, "tid": 1} | more
        for at, more in ((0, {"role": "observer"}), (MS, {"role": None}))
    ]
    case = case_with(host_calls=launches(1), off_cpu=[stay(0, MS)], threads=rows)

    assert [one.thread.tid for one in case.workers] == [1]


def test_a_thread_feeds_the_gpu_of_its_calls(tmp_path, case_of):
    world = World(3, "training", 4, ranks=2, hosts=1, counters=True)
    case = case_of(world.record(tmp_path))

    for job in world.jobs:
        (thread,) = [one.thread for one in case.workers if one.thread.pid == job.pid]
        assert case.gpu_of(thread) == job.gpu.uuid


@pytest.mark.parametrize(
    ("used", "expected"),
    [(["GPU-1"], "GPU-1"), (["GPU-0", "GPU-1"], None), ([], None)],
)
def test_where_calls_do_not_tell_their_gpu_the_only_one_of_the_process_is_it(
    case_with, used, expected
):
    stamped = {"ts_ns": BEGIN_NS + SECOND, "duration_ns": SECOND}
    counters = [
        stamped | {"gpu_uuid": uuid, "source": "gpm", "engine_active_pct": 50.0}
        for uuid in ("GPU-0", "GPU-1")
    ]
    processes = [stamped | {"gpu_uuid": uuid, "process_id": "p1", "pid": 1} for uuid in used]
    calls = [row | {"gpu_uuid": None, "process_id": "p1"} for row in launches(5)]
    case = case_with(
        host_calls=calls, off_cpu=[stay(0, MS)], gpu_counters=counters, gpu_processes=processes
    )

    assert case.gpu_of(case.workers[0].thread) == expected


def test_without_counters_no_gpu_is_known(tmp_path, case_of):
    case = case_of(World(3, "training", 4, counters=False).record(tmp_path))

    assert case.gpu_of(case.workers[0].thread) is None


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (None, "ns", "not known"),
        ("backup.sh", "", "backup.sh"),
        (12, "ns", "12 ns"),
        (1_952_398_573, "ns", "1.952 s"),
        (6_443_008, "bytes", "6.443 MB"),
        (12_345, "count", "12,345"),
        (0.1234, "%", "0.123 %"),
    ],
)
def test_values_are_said_in_few_digits_and_a_readable_unit(value, unit, text):
    assert said(value, unit) == text
