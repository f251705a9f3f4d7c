"""What threads did while they were active, against sums made by hand."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gnomon.analysis.activity import IDLE_STAY_NS, activities
from tests.analysis.recordings import MS, SECOND, asked, call
from tests.analysis.stays import queued, read, stay, waited

LAUNCH, SYNC = "cudaLaunchKernel", "cudaStreamSynchronize"


def seen(path, **rows_of):
    with asked(path, **rows_of) as told:
        return activities(told.session, told.scope, told.operations)


def launches(count, **more):
    """Launches of 1 ms, 10 ms apart."""
    return [call(number * 10 * MS, MS, LAUNCH, **more) for number in range(count)]


def test_time_is_split_into_own_code_calls_and_stays(tmp_path):
    rows = [*launches(100), call(995 * MS, 5 * MS, SYNC, off_cpu_ns=4 * MS)]
    stays = [queued(2 * MS, 3 * MS), read(22 * MS, 2 * MS), waited(996 * MS, 4 * MS)]

    (one,) = seen(tmp_path, host_calls=rows, off_cpu=stays)

    assert one.feeds_gpu
    assert (one.active_ns, one.off_cpu_ns, one.idle_ns) == (1000 * MS, 9 * MS, 0)
    assert (one.run_queue_ns, one.io_ns, one.voluntary_ns) == (3 * MS, 2 * MS, 4 * MS)
    assert (one.in_calls_ns, one.waiting_ns, one.waits) == (105 * MS, 5 * MS, 1)
    assert one.on_cpu_in_calls_ns == 101 * MS
    assert one.on_cpu_outside_ns == (1000 - 9 - 101) * MS


def test_a_long_stay_is_idle_but_for_waits_for_cpu_and_disk(tmp_path):
    long = stay(2 * MS, 400 * MS, run_queue_ns=30 * MS, io_ns=70 * MS, voluntary_ns=300 * MS)
    (one,) = seen(tmp_path, host_calls=launches(100), off_cpu=[long])

    assert one.idle_ns == 300 * MS
    assert one.off_cpu_ns == 100 * MS
    assert one.active_ns == 991 * MS - 300 * MS


def test_a_long_wait_inside_a_call_is_not_idle(tmp_path):
    wait = call(991 * MS, 500 * MS, SYNC, off_cpu_ns=490 * MS)
    (one,) = seen(tmp_path, host_calls=[*launches(100), wait], off_cpu=[waited(995 * MS, 490 * MS)])

    assert one.idle_ns == 0
    assert one.active_ns == 1491 * MS


def test_what_lies_before_the_first_call_and_after_the_last_is_not_active(tmp_path):
    stays = [waited(0, 5 * MS), waited(12 * MS, 5 * MS), waited(900 * MS, 5 * MS)]
    rows = [row | {"ts_ns": row["ts_ns"] + 10 * MS} for row in launches(20)]

    (one,) = seen(tmp_path, host_calls=rows, off_cpu=stays)

    assert (one.active_ns, one.off_cpu_ns, one.stays) == (191 * MS, 5 * MS, 1)


def test_sampled_calls_count_for_those_they_stand_for(tmp_path):
    (one,) = seen(
        tmp_path, host_calls=launches(20, weight=4.0, selection="uniform", off_cpu_ns=MS // 4)
    )

    assert (one.calls, one.launches, one.in_calls_ns) == (20, 80, 80 * MS)
    assert one.off_cpu_in_calls_ns == 20 * MS


@pytest.mark.parametrize(
    ("others", "feeds"),
    [
        ({"tid": 2, "count": 9}, [1]),
        ({"tid": 2, "count": 10}, [1, 2]),
        ({"tid": 2, "count": 500}, [2]),
        ({"tid": 2, "count": 500, "pid": 7}, [2, 1]),
    ],
)
def test_a_thread_feeds_a_gpu_by_its_share_of_its_process(tmp_path, others, feeds):
    count = others.pop("count")
    rows = launches(20) + launches(count, **others)
    found = seen(tmp_path, host_calls=rows)

    assert [one.thread.tid for one in found if one.feeds_gpu] == feeds


def test_a_thread_without_calls_is_active_from_stay_to_stay(tmp_path):
    (one,) = seen(tmp_path, off_cpu=[read(5 * MS, MS), read(95 * MS, MS)])

    assert not one.feeds_gpu
    assert (one.active_ns, one.io_ns, one.run_queue_ns) == (91 * MS, 2 * MS, 0)


def test_nothing_known_of_scheduling_is_none_and_not_0(tmp_path):
    (one,) = seen(tmp_path, host_calls=launches(20))

    assert not one.is_followed
    assert (one.run_queue_ns, one.io_ns, one.voluntary_ns) == (None, None, None)


def test_nothing_recorded_is_nobody(tmp_path):
    assert seen(tmp_path, off_cpu=[]) == []


@settings(max_examples=20)
@given(
    st.lists(
        st.tuples(st.integers(1, 5 * MS), st.integers(1, 2 * IDLE_STAY_NS), st.booleans()),
        min_size=1,
        max_size=12,
    )
)
def test_time_on_and_off_the_cpu_adds_up(tmp_path_factory, gaps):
    """``gaps``: on the CPU for so long, then off it, by its own will or for want of a CPU."""
    at_ns, stays = 10 * MS, []
    for on_ns, off_ns, is_queued in gaps:
        stays.append((queued if is_queued else waited)(at_ns + on_ns, off_ns))
        at_ns += on_ns + off_ns
    rows = [*launches(1), *(call(at_ns + MS + n, 1, LAUNCH) for n in range(10))]
    (one,) = seen(tmp_path_factory.mktemp("r") / "r", host_calls=rows, off_cpu=stays)

    off_ns = sum(off for _, off, _ in gaps)
    idle_ns = sum(off for _, off, is_queued in gaps if off >= IDLE_STAY_NS and not is_queued)
    assert one.off_cpu_ns + one.idle_ns == off_ns
    assert one.idle_ns == idle_ns
    assert one.on_cpu_ns == one.span.to_ns - one.span.from_ns - off_ns
    assert one.active_ns <= 100 * SECOND
