"""Sleeps between work: told by stacks, or by a timer's regularity, and never of those who poll."""

import pytest

from gnomon.analysis.overlap import Waits, circumstances
from gnomon.analysis.sleeping import FEWEST_SLEEPS, sleep_loop
from tests.analysis.recordings import MS, THREAD, US, asked, call
from tests.analysis.stays import stack, stay, waited

PERIOD_NS = 50 * MS
COUNT = 3 * FEWEST_SLEEPS


def sleeps(length_of=lambda n: 20 * MS + n % 7 * 10 * US, count=COUNT, row=stay, **more):
    """Sleeps of 20 ms every 50 ms."""
    return [row(n * PERIOD_NS, length_of(n), **more) for n in range(count)]


def calls(count=COUNT, **more):
    """A launch after each sleep."""
    return [call((n + 1) * PERIOD_NS - MS, MS // 2, "cudaMalloc", **more) for n in range(count)]


def loop(path, off_cpu, host_calls=None, **rows_of):
    made = calls() if host_calls is None else host_calls
    with asked(path, off_cpu=off_cpu, host_calls=made, **rows_of) as told:
        waits = Waits(THREAD, told.span)
        among = circumstances(told.session, {THREAD: told.span})[THREAD]
        return sleep_loop(told.session, waits, "reason <> 'cuda'", among)


def test_equal_stays_between_calls_are_sleeps(tmp_path):
    found = loop(tmp_path, sleeps())

    assert not found.by_stack
    assert found.sleeps == COUNT
    assert found.slept_ns == sum(row["duration_ns"] for row in sleeps())


def test_what_is_not_regular_is_left_out(tmp_path):
    others = [stay(n * PERIOD_NS + 30 * MS, 4 * MS) for n in range(COUNT)]

    assert loop(tmp_path, sleeps() + others).sleeps == COUNT


@pytest.mark.parametrize(
    "off_cpu",
    [
        pytest.param(sleeps(lambda n: (10 + 3 * (n * 7 % 11)) * MS), id="not regular"),
        pytest.param(sleeps(count=FEWEST_SLEEPS - 1), id="too few"),
        pytest.param(sleeps(lambda _: 40 * US), id="too short for a timer"),
        pytest.param(sleeps(row=waited, waker_pid=9, waker_tid=9), id="one thread ends them"),
        pytest.param([], id="none"),
    ],
)
def test_other_stays_are_no_sleeps(tmp_path, off_cpu):
    assert loop(tmp_path, off_cpu) is None


def test_a_timer_is_ended_by_whoever_had_the_cpu(tmp_path):
    rows = sleeps(row=waited)
    wakers = [row | {"waker_pid": n, "waker_tid": n % 5} for n, row in enumerate(rows)]

    assert loop(tmp_path, wakers).sleeps == COUNT


def test_who_does_nothing_between_sleeps_only_polls(tmp_path):
    assert loop(tmp_path, sleeps(), calls()[:5]) is None


def test_a_thread_that_waits_while_another_one_works_does_not_sleep(tmp_path):
    others = [call(n * PERIOD_NS + 5 * MS, MS, "cudaMalloc", tid=2) for n in range(COUNT)]

    assert loop(tmp_path, sleeps(), calls() + others) is None


def test_a_stack_that_sleeps_needs_no_regularity(tmp_path):
    rows = sleeps(lambda n: (10 + 3 * (n * 7 % 11)) * MS, stack_hash=1)
    found = loop(tmp_path, rows, stacks=stack(1, "hrtimer_nanosleep"))

    assert found.by_stack
    assert found.sleeps == COUNT
