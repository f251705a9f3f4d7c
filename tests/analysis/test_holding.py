"""Who ran while a thread waited for it, against brute force."""

from itertools import accumulate

from hypothesis import given, settings
from hypothesis import strategies as st

from gnomon.analysis.activity import activities
from gnomon.analysis.holding import holders, woken_by
from gnomon.analysis.overlap import Waits, circumstances
from gnomon.analysis.questions import ThreadKey
from tests.analysis.recordings import MS, THREAD, asked, call
from tests.analysis.stays import waited

OTHER = ThreadKey(THREAD.host, THREAD.pid, 2)
WOKEN = {"waker_pid": OTHER.pid, "waker_tid": OTHER.tid}

alternating = st.lists(st.integers(1, 30), min_size=2, max_size=20)


def off_cpu_of(lengths):
    """Stretches (from, to) off the CPU, which follow stretches on it."""
    edges = list(accumulate(lengths))
    return list(zip(edges[::2], edges[1::2], strict=False))


@settings(max_examples=20)
@given(alternating, alternating)
def test_the_overlap_is_measured(tmp_path_factory, waiting, away):
    waits, stays = off_cpu_of(waiting), off_cpu_of(away)
    rows = [waited(begin, end - begin, **WOKEN) for begin, end in waits]
    rows += [waited(begin, end - begin, tid=OTHER.tid) for begin, end in stays]
    with asked(tmp_path_factory.mktemp("r") / "r", off_cpu=rows) as told:
        query = Waits(THREAD, told.span).holding_sql(OTHER, woken_by(OTHER))
        (found,) = told.session.rows(query)

    moments = {at for begin, end in waits for at in range(begin, end)}
    moments -= {at for begin, end in stays for at in range(begin, end)}
    assert found["ns"] == len(moments)


def held_by(path, rows, **rows_of):
    launches = [call(n * 10 * MS, MS, "cudaLaunchKernel") for n in range(100)]
    launches += rows_of.pop("host_calls", [])
    with asked(path, off_cpu=rows, host_calls=launches, **rows_of) as told:
        known = {one.thread: one for one in activities(told.session, told.scope, told.operations)}
        worker = known[THREAD]
        waits = Waits(THREAD, worker.span)
        why = circumstances(told.session, {THREAD: worker.span})[THREAD]
        return holders(told.session, waits, worker, why, known)


WAITS = [waited((10 * n + 2) * MS, 5 * MS, **WOKEN) for n in range(10)]


def test_a_thread_that_ran_while_it_was_waited_for_held_something(tmp_path):
    naps = [waited((10 * n + 8) * MS, MS, tid=OTHER.tid) for n in range(10)]

    assert held_by(tmp_path, WAITS + naps) == [OTHER]


def test_a_thread_that_slept_too_held_nothing(tmp_path):
    naps = [waited((10 * n + 1) * MS, 5 * MS, tid=OTHER.tid) for n in range(10)]

    assert held_by(tmp_path, WAITS + naps) == []


def test_of_a_thread_that_was_not_followed_nothing_is_known(tmp_path):
    assert held_by(tmp_path, WAITS) == []


def test_threads_that_feed_the_gpu_take_turns(tmp_path):
    naps = [waited((10 * n + 8) * MS, MS, tid=OTHER.tid) for n in range(10)]
    calls = [call((10 * n + 3) * MS, MS, "cudaLaunchKernel", tid=OTHER.tid) for n in range(100)]

    assert held_by(tmp_path, WAITS + naps, host_calls=calls) == []


def test_another_process_holds_no_lock_of_this_one(tmp_path):
    waits = [row | {"waker_pid": 9} for row in WAITS]
    naps = [waited((10 * n + 8) * MS, MS, tid=OTHER.tid, pid=9) for n in range(10)]

    assert held_by(tmp_path, waits + naps) == []
