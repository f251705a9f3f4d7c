"""Why threads were off the CPU: by hand, and calls around stays by brute force."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gnomon.analysis.overlap import Reason, Waits, circumstances
from gnomon.analysis.questions import Span, ThreadKey
from tests.analysis.recordings import BEGIN_NS, MS, SECOND, THREAD, asked, call
from tests.analysis.stays import queued, read, stack, stay, waited

SPAN = Span(BEGIN_NS - 1, BEGIN_NS + 10 * SECOND)
LAUNCH, SYNC = "cudaLaunchKernel", "cudaStreamSynchronize"


def met(path, by_calls=False, **rows_of):
    with asked(path, **rows_of) as told:
        return circumstances(told.session, {THREAD: SPAN}, by_calls=by_calls)[THREAD]


@settings(max_examples=15)
@given(
    st.lists(
        st.tuples(st.integers(0, 50), st.integers(1, 50), st.booleans(), st.booleans()),
        min_size=1,
        max_size=40,
    )
)
def test_a_stay_is_inside_the_call_around_it(tmp_path_factory, steps):
    """Each step: time outside, a stay, whether a call is around it, and whether one follows."""
    at_ns, calls, stays, inside_ns = 0, [], [], 0
    for outside_ns, stay_ns, is_inside, is_followed in steps:
        at_ns += outside_ns + 2
        stays.append(waited(at_ns, stay_ns))
        if is_inside:
            calls.append(call(at_ns - 1, stay_ns + 2, SYNC, off_cpu_ns=stay_ns))
            inside_ns += stay_ns
        at_ns += stay_ns + 1
        if is_followed:
            calls.append(call(at_ns, 1, LAUNCH, off_cpu_ns=0))
            at_ns += 1
    path = tmp_path_factory.mktemp("r") / "r"
    found = met(path, host_calls=calls, off_cpu=stays)

    assert sum(one.waiting_ns for one in found if one.reason is Reason.CUDA) == inside_ns
    assert sum(one.waiting_ns for one in found) == sum(one["duration_ns"] for one in stays)


def test_every_thread_has_its_own_calls(tmp_path):
    other = {"pid": 7, "tid": 7, "host": None}
    stays = [waited(10, 5), waited(10, 5, **other)]
    spans = {THREAD: SPAN, ThreadKey(None, 7, 7): SPAN}
    with asked(tmp_path, host_calls=[call(0, 90, SYNC, off_cpu_ns=5)], off_cpu=stays) as told:
        found = circumstances(told.session, spans)

    assert [[one.reason for one in group] for group in found.values()] == [
        [Reason.CUDA],
        [Reason.UNKNOWN],
    ]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"stack_hash": 1}, Reason.LOADER),
        ({"stack_hash": 2}, Reason.LOCK),
        ({"stack_hash": 3}, Reason.SLEEP),
        ({"stack_hash": 4}, Reason.REQUEST),
        ({"stack_hash": 5}, Reason.UNKNOWN),
        ({"stack_hash": 99}, Reason.UNKNOWN),
        # Whoever is called so, and whatever a directory is called, need not be a loader.
        ({"stack_hash": 6}, Reason.UNKNOWN),
        ({"stack_hash": 7}, Reason.SLEEP),
        ({"waker_name": "pt_data_worker", "waker_pid": 6, "waker_tid": 6}, Reason.UNKNOWN),
        ({}, Reason.UNKNOWN),
    ],
)
def test_what_was_waited_for_is_told_by_stacks(tmp_path, row, reason):
    stacks = [
        *stack(1, "poll", "_try_get_data", file="torch/utils/data/dataloader.py"),
        *stack(2, "futex_wait_queue", "take_gil"),
        *stack(3, "hrtimer_nanosleep", "time_sleep"),
        *stack(4, "ep_poll", "do_epoll_wait"),
        *stack(5, "futex_wait_queue", "PyThread_acquire_lock_timed"),
        *stack(6, "__getitem__", "my_next_data", file="/srv/dataloader/train.py"),
        *stack(7, "hrtimer_nanosleep", "wait", "_next_data", file="/srv/dataloader/train.py"),
    ]
    threads = [{"ts_ns": BEGIN_NS, "duration_ns": 0, "pid": 6, "tid": 6, "name": "dali_0"}]
    (found,) = met(tmp_path, off_cpu=[waited(0, MS, **row)], stacks=stacks, threads=threads)

    assert found.reason is reason


def test_a_spinning_wait_for_the_gpu_that_is_preempted_loses_nothing(tmp_path):
    late = stay(300, 100, run_queue_ns=40, io_ns=0, voluntary_ns=60)
    calls = [call(0, 200, SYNC, off_cpu_ns=50), call(290, 120, SYNC, off_cpu_ns=100)]
    found = met(tmp_path, host_calls=calls, off_cpu=[queued(100, 50), late])

    assert sum(one.queued_ns for one in found) == 40


def test_pages_from_swap_are_not_waits_for_a_disk(tmp_path):
    stays = [read(0, 70), read(100, 30, stack_hash=1)]
    found = met(tmp_path, off_cpu=stays, stacks=stack(1, "do_swap_page"))

    assert sum(one.disk_ns or 0 for one in found) == 70


def test_a_stay_without_classes_waited_for_whatever_is_not_known_to_be_else(tmp_path):
    (found,) = met(tmp_path, off_cpu=[stay(0, 100, io_ns=30)])

    assert not found.is_classed
    assert (found.queued_ns, found.disk_ns, found.waiting_ns) == (None, 30, 70)


def test_calls_alone_tell_how_long_a_thread_was_off_the_cpu(tmp_path):
    rows = [
        call(0, 100, LAUNCH, off_cpu_ns=60, run_queue_ns=50, io_ns=10, voluntary_ns=0),
        call(200, 100, SYNC, off_cpu_ns=60, run_queue_ns=60, io_ns=0, voluntary_ns=0),
    ]
    (found,) = met(tmp_path, by_calls=True, host_calls=rows)

    assert (found.reason, found.queued_ns, found.disk_ns) == (Reason.CUDA, 50, 10)


def test_short_stays_are_told_by_bins_and_long_ones_alone(tmp_path):
    stays = [waited(n * 10 * MS, MS) for n in range(20)] + [waited(SECOND, 500 * MS)]
    with asked(tmp_path, off_cpu=stays) as told:
        found = Waits(THREAD, SPAN).stretches(told.session, "waiting_ns")

    assert [one.lost_ns for one in found] == [10 * MS, 10 * MS, 500 * MS]


def test_the_frame_is_the_innermost_python_one_of_the_dearest_stack(tmp_path):
    stays = [waited(0, 10, stack_hash=1), waited(20, 50, stack_hash=2), waited(90, 99)]
    stacks = [
        *stack(1, "cheap", kind="python"),
        *stack(2, "poll", "recv"),
        *[row | {"depth": row["depth"] + 2} for row in stack(2, "wait", "main", kind="python")],
    ]
    with asked(tmp_path, off_cpu=stays, stacks=stacks) as told:
        (found,) = told.session.rows(Waits(THREAD, SPAN).frame_sql("waiting_ns"))

    assert found == {"frame": "wait", "ns": 50}
