"""Live windows and replays answer the same questions as a recording."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnomon import tables
from gnomon.recording.memory import MemoryRecording
from gnomon.recording.replay import Replay

from .conftest import BEGIN_NS, SECOND_NS, counter_batch, counter_rows


def filled(count=10, **settings):
    memory = MemoryRecording(**settings)
    for index in range(count):
        memory.append("gpu_counters", counter_batch(1, first=index))
    return memory


def busy(measurements, **range_):
    return measurements.read("gpu_counters", **range_).column("busy_pct").to_pylist()


def test_memory_keeps_what_is_young_enough():
    memory = filled(10, max_age_ns=3 * SECOND_NS)

    assert busy(memory) == [6.0, 7.0, 8.0, 9.0]
    assert memory.bounds() == (BEGIN_NS + 6 * SECOND_NS, BEGIN_NS + 10 * SECOND_NS)


def test_memory_keeps_within_its_bytes_and_drops_the_oldest():
    memory = MemoryRecording(max_bytes=200_000)
    for index in range(400):
        memory.append("gpu_counters", counter_batch(10, first=10 * index))
        memory.append("losses", tables.batch("losses", [{"ts_ns": BEGIN_NS + index}]))

    rows = busy(memory)
    assert rows == [float(n) for n in range(4000 - len(rows), 4000)]
    assert 0 < len(rows) < 2000
    assert memory.read("gpu_counters").get_total_buffer_size() < 250_000
    assert memory.read("losses").num_rows == 400


@given(st.lists(st.lists(st.integers(0, 50), min_size=1, max_size=3), max_size=200))
def test_memory_holds_every_row_in_the_order_of_time(batches):
    memory = MemoryRecording()
    for seconds in batches:
        rows = [row for second in seconds for row in counter_rows(1, first=second)]
        memory.append("gpu_counters", tables.batch("gpu_counters", rows))

    every = sorted(float(second) for seconds in batches for second in seconds)
    assert busy(memory) == every
    middle_ns = BEGIN_NS + 26 * SECOND_NS
    assert busy(memory, to_ns=middle_ns) == [second for second in every if second <= 25]
    assert busy(memory, from_ns=middle_ns) == [second for second in every if second > 25]


def test_memory_reads_ranges_and_empty_tables():
    memory = filled()

    assert busy(memory, from_ns=BEGIN_NS + 8 * SECOND_NS) == [8.0, 9.0]
    assert memory.read("events", columns=["kind"]).num_rows == 0
    assert MemoryRecording().bounds() is None


class Clock:
    def __init__(self):
        self.ns = 0

    def __call__(self):
        return self.ns


def test_replay_shows_what_has_come_by_now():
    clock = Clock()
    replay = Replay(filled(), speed=2.0, clock=clock)

    assert busy(replay) == []
    clock.ns = 2 * SECOND_NS
    assert busy(replay) == [0.0, 1.0, 2.0, 3.0]
    assert replay.bounds() == (BEGIN_NS, BEGIN_NS + 4 * SECOND_NS)


def test_replay_pauses_seeks_and_stops_at_the_end():
    clock = Clock()
    replay = Replay(filled(), clock=clock)
    clock.ns = 3 * SECOND_NS
    replay.pause()
    clock.ns = 8 * SECOND_NS

    assert replay.now_ns() == BEGIN_NS + 3 * SECOND_NS
    replay.seek(BEGIN_NS + 9 * SECOND_NS)
    replay.resume()
    clock.ns += 60 * SECOND_NS
    assert replay.now_ns() == BEGIN_NS + 10 * SECOND_NS


def test_a_loop_begins_again():
    clock = Clock()
    replay = Replay(filled(), loop=True, clock=clock)
    clock.ns = 12 * SECOND_NS

    assert replay.now_ns() == BEGIN_NS + 2 * SECOND_NS


def test_nothing_cannot_be_replayed():
    with pytest.raises(ValueError, match="nothing is recorded"):
        Replay(MemoryRecording())
