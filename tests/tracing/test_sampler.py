"""Looks at threads: which, how often, and what they tell."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest

from gnomon._errors import TracingError
from gnomon.tracing import layouts, operations, sampler
from gnomon.tracing.layouts import SlotState
from gnomon.tracing.python_finder import NoPythonError
from gnomon.tracing.python_stacks import PythonFrame
from gnomon.tracing.sampler import LONGEST_PERIOD_NS, SHORTEST_PERIOD_NS, Sampler
from tests.tracing.python_stack_checks import target

SECOND_NS = 1_000_000_000
PID, TID = 100, 101
STACK = (PythonFrame("launch", "train.py", 7), PythonFrame("<module>", "train.py", 20))
LAUNCH = next(number for number, one in enumerate(operations.OPERATIONS) if one.is_launch)
COPY = next(number for number, one in enumerate(operations.OPERATIONS) if not one.is_launch)


class World:
    """Threads with slots, a clock, and stacks that cost CPU time to read."""

    def __init__(self, monkeypatch):
        self.slots = SimpleNamespace(
            threads=np.zeros(32, layouts.THREAD), cells=np.zeros(64, layouts.CELL)
        )
        self.now_ns, self.cpu_ns, self.cost_ns = 10 * SECOND_NS, 0, 1000
        self.looked, self.stacks, self.readers = [], {}, 0
        self.during = lambda tid: None
        monkeypatch.setattr(sampler, "PythonReader", self._reader)

    def _reader(self, pid):
        self.readers += 1
        self.cpu_ns += 5_000_000
        return SimpleNamespace(stack=self._stack)

    def _stack(self, tid):
        self.cpu_ns += self.cost_ns
        self.looked.append(tid)
        self.during(tid)
        return self.stacks.get(tid, STACK)

    def thread(self, slot, tid=None, *, open_ns=0, operation=COPY, pid=PID):
        row = self.slots.threads[slot]
        row["state"], row["pid"], row["tid"] = SlotState.LIVE, pid, tid or TID + slot
        row["namespace_tid"] = row["tid"]
        self.open(slot, open_ns, operation)
        return int(row["tid"])

    def open(self, slot, since_ns, operation=COPY):
        self.slots.threads[slot]["open_since_ns"] = since_ns
        self.slots.threads[slot]["open_operation"] = operation

    def calls(self, slot, calls):
        self.slots.cells[slot]["thread"], self.slots.cells[slot]["calls"] = slot, calls

    def sampler(self, **options):
        return Sampler(
            self.slots, clock=lambda: self.now_ns, cpu_clock=lambda: self.cpu_ns, **options
        )

    def look(self, looking):
        self.now_ns = max(self.now_ns, looking.due_ns())
        self.looked.clear()
        return looking.sample(self.now_ns)


@pytest.fixture
def world(monkeypatch):
    return World(monkeypatch)


def test_a_sample_tells_the_call_that_was_open_and_the_stack(world):
    tid = world.thread(1, open_ns=5 * SECOND_NS)
    looking = world.sampler()
    (sample,) = world.look(looking)

    assert sample[:5] == (world.now_ns, PID, tid, COPY, 5 * SECOND_NS)
    assert looking.stack(sample.stack_hash) == STACK
    assert -(2**63) <= sample.stack_hash < 2**63


@pytest.mark.parametrize("after_ns", [0, 6 * SECOND_NS])
def test_a_call_that_ended_meanwhile_is_not_told(world, after_ns):
    world.thread(1, open_ns=5 * SECOND_NS)
    world.during = lambda tid: world.open(1, after_ns)
    (sample,) = world.look(world.sampler())

    assert (sample.operation, sample.call_start_ns) == (None, None)


def test_a_thread_between_calls_has_a_stack_and_no_call(world):
    world.thread(1)
    world.calls(1, 7)
    (sample,) = world.look(world.sampler())

    assert (sample.operation, sample.call_start_ns) == (None, None)


def test_a_slot_that_went_to_another_thread_gives_nothing(world):
    world.thread(1, open_ns=1)
    world.during = lambda tid: world.thread(1, 999)

    assert world.look(world.sampler()) == []


def test_only_threads_that_made_calls_in_the_last_second_are_looked_at(world):
    idle, busy = world.thread(1), world.thread(2)
    ended = world.thread(3, open_ns=1)
    world.slots.threads[3]["state"] = SlotState.EXITED
    observer = world.thread(4, open_ns=1, pid=7)
    world.calls(2, 1)
    looking = world.sampler(exclude=[7])
    looked = set()
    for calls in range(2, 300):
        world.calls(2, calls)
        world.look(looking)
        looked |= set(world.looked)

    assert looked == {busy}
    assert {idle, ended, observer} & looked == set()
    world.calls(1, 1)
    world.now_ns += SECOND_NS
    world.look(looking)
    assert world.looked == [idle, busy]
    world.now_ns += SECOND_NS
    world.look(looking)
    assert world.looked == []


def test_where_time_is_short_the_longest_open_call_comes_first_and_the_others_in_turn(world):
    world.cost_ns = 2_000_000
    first, second = world.thread(1, open_ns=9), world.thread(2, open_ns=4)
    looking = world.sampler()
    world.look(looking)
    assert world.looked == [second]
    for slot in (1, 2):
        world.open(slot, 0)
        world.calls(slot, 1)
    turns = []
    for _ in range(4):
        world.look(looking)
        turns += world.looked

    assert turns == [first, second, first, second]


@pytest.mark.parametrize(
    ("cost_ns", "period_ns"),
    [
        (1000, SHORTEST_PERIOD_NS),
        (500_000, 50_000_000),
        (1_900_000, 190_000_000),
        (50_000_000, LONGEST_PERIOD_NS),
    ],
)
def test_looks_come_as_often_as_one_percent_of_a_core_allows(world, cost_ns, period_ns):
    world.cost_ns = cost_ns
    world.thread(1, open_ns=1)
    looking = world.sampler()
    world.look(looking)

    assert looking.due_ns() - world.now_ns == period_ns


def test_interpreters_are_looked_for_one_a_look_and_anew_after_long_silence(world):
    for slot in (1, 2):
        world.thread(slot, open_ns=1, pid=PID + slot)
    looking = world.sampler()
    world.look(looking)
    assert (len(world.looked), world.readers) == (1, 1)
    world.look(looking)
    assert (len(world.looked), world.readers) == (2, 2)
    world.stacks = {TID + 1: None, TID + 2: None}
    world.now_ns += sampler.RETRY_NS
    world.look(looking)
    world.look(looking)

    assert world.readers == 4


def test_launches_that_a_window_closed_are_not_taken_for_open(world):
    world.thread(1, open_ns=5, operation=LAUNCH)
    world.thread(2, open_ns=5, operation=COPY)
    settings = np.zeros(1, layouts.SETTINGS)
    settings["launches_closed_ns"] = 6
    samples = world.look(world.sampler(settings=settings))

    assert {one.operation for one in samples} == {None, COPY}


def test_processes_that_cannot_be_read_are_told_but_not_those_without_python(world, monkeypatch):
    errors = {PID: TracingError("a version of tomorrow"), PID + 1: NoPythonError("none")}

    def refuse(pid):
        raise errors[pid]

    monkeypatch.setattr(sampler, "PythonReader", refuse)
    looking = world.sampler()
    for slot, pid in enumerate(errors, start=1):
        world.thread(slot, open_ns=1, pid=pid)

    assert [world.look(looking) for _ in range(2)] == [[], []]
    assert looking.unreadable() == {PID: errors[PID]}


def test_stacks_of_the_same_frames_have_one_hash_in_every_run(world):
    world.thread(1, open_ns=1)
    world.thread(2, open_ns=1)
    world.stacks = {TID + 2: (*STACK[:1], STACK[1]._replace(line=None))}
    one, other = sorted(world.look(world.sampler()), key=lambda sample: sample.tid)
    again = world.look(world.sampler())[0]

    # As `b2sum -l 64` says of the frames' text, 8 bytes, the least significant first.
    assert one.stack_hash == again.stack_hash == 803488484466934158
    assert other.stack_hash != one.stack_hash


def test_a_running_python_is_sampled_at_the_lines_that_it_tells():
    slots = SimpleNamespace(threads=np.zeros(32, layouts.THREAD), cells=np.zeros(8, layouts.CELL))
    with target([sys.executable], "wait") as (started, truth):
        for slot, tid in enumerate(truth, start=1):
            row = slots.threads[slot]
            row["state"], row["pid"], row["open_since_ns"] = SlotState.LIVE, started.pid, slot
            row["tid"] = row["namespace_tid"] = int(tid)
        looking = Sampler(slots, share=1)
        samples = looking.sample(0)
        lines = {
            str(one.tid): [frame.line for frame in looking.stack(one.stack_hash)] for one in samples
        }

    assert lines == {tid: [line for _, _, line in stack[:512]] for tid, stack in truth.items()}
