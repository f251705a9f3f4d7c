"""The ring buffer under a flood, and rings made by hand."""

import os
import threading
import time

import numpy as np
import pytest

from gnomon._errors import TracingError
from gnomon.tracing.loader import load
from gnomon.tracing.ring import BUSY, DISCARDED, RingReader
from tests.tracing.kernel import needs_kernel, open_descriptors

EVENT = np.dtype([("number", "<u8"), ("thread", "<u8"), ("check", "<u8")])
RING_BYTES = 1 << 16
PAGE = os.sysconf("SC_PAGESIZE")
BURST = 512
BURSTS = 400


@pytest.fixture
def flooded(events, kernel_types):
    """A loaded object, a reader of its ring, and its progress: (numbered, lost) by thread."""
    with load(events, programs=["flood"], kernel=kernel_types) as loaded:
        reader = RingReader(loaded.maps["ring"].fd, RING_BYTES, EVENT)
        yield loaded, reader, loaded.maps["progress"].view(np.dtype("2u8"))
        reader.close()


def request(thread, *, withdraw=False):
    return np.array([thread, withdraw], np.uint64).tobytes()


def take(reader):
    events = reader.read().copy()
    reader.release()
    return events


@needs_kernel
@pytest.mark.parametrize("is_ordered", [True, False])
def test_under_a_flood_from_two_threads_no_record_is_bad_and_losses_are_counted_exactly(
    is_ordered, flooded
):
    loaded, _, progress = flooded
    reader = RingReader(loaded.maps["ring"].fd, RING_BYTES, EVENT, is_ordered=is_ordered)

    def flood(thread):
        for _ in range(BURSTS):
            loaded.run("flood", request(thread))

    writers = [threading.Thread(target=flood, args=(thread,)) for thread in range(2)]
    for writer in writers:
        writer.start()
    # So much is more than the ring holds: some is lost however fast the reader is from here on.
    while progress[:, 0].sum() < 8 * BURST:
        time.sleep(0.001)
    batches = []
    while any(writer.is_alive() for writer in writers):
        batches.append(take(reader))
        time.sleep(0.0002)
    # Without order a batch comes one call late, so that the last two calls bring what is left.
    batches += [take(reader) for _ in range(3)]
    events = np.concatenate(batches)

    assert np.array_equal(events["check"], ~events["number"] ^ events["thread"])
    for thread in range(2):
        numbers = events["number"][events["thread"] == thread]
        numbered, lost = progress[thread].tolist()
        assert numbered == BURST * BURSTS
        assert len(numbers) + lost == numbered
        assert np.all(np.diff(numbers.astype(np.int64)) > 0)
    assert progress[:, 1].sum() > 0
    reader.close()


@needs_kernel
def test_a_full_ring_loses_what_comes_after_and_says_how_much(flooded):
    loaded, reader, progress = flooded
    for _ in range(8):
        loaded.run("flood", request(0))
    first = take(reader)
    loaded.run("flood", request(0))
    second = take(reader)

    # Each record has a header of 8 bytes, and a ring holds one byte less than its size.
    room = (RING_BYTES - 1) // (EVENT.itemsize + 8)
    assert first["number"].tolist() == list(range(room))
    assert second["number"].tolist() == list(range(8 * BURST, 9 * BURST))
    assert progress[0].tolist() == [9 * BURST, 8 * BURST - room]


@needs_kernel
def test_events_that_were_withdrawn_are_not_given_out(flooded):
    loaded, reader, _ = flooded
    loaded.run("flood", request(1, withdraw=True))

    expected = [number for number in range(BURST) if number % 3]
    assert take(reader)["number"].tolist() == expected
    assert reader.waiting_bytes() == 0


@needs_kernel
def test_a_layout_of_another_version_is_refused(flooded):
    loaded, _, _ = flooded
    loaded.run("flood", request(0))
    reader = RingReader(loaded.maps["ring"].fd, RING_BYTES, np.dtype("4u8"))

    with pytest.raises(TracingError, match="events have 24 bytes, not 32"):
        reader.read()


@needs_kernel
def test_events_outlive_the_reader_and_its_descriptors_do_not(events, kernel_types):
    before = open_descriptors()
    with load(events, programs=["flood"], kernel=kernel_types) as loaded:
        reader = RingReader(loaded.maps["ring"].fd, RING_BYTES, EVENT)
        loaded.run("flood", request(0))
        seen = reader.read()
        reader.close()
    assert seen["number"].tolist() == list(range(BURST))
    del seen

    assert open_descriptors() == before


class HandMade:
    """A ring in a file: two pages of positions, and the data twice, kept equal by hand."""

    SIZE_BYTES = PAGE

    def __init__(self, folder):
        self._file = (folder / "ring").open("w+b")
        self._file.truncate(2 * PAGE + 2 * self.SIZE_BYTES)

    def fileno(self):
        return self._file.fileno()

    def put(self, at, length, number):
        record = np.array([length, number], np.uint64).tobytes()
        for copy in range(2):
            os.pwrite(self.fileno(), record, 2 * PAGE + copy * self.SIZE_BYTES + at % PAGE)

    def written(self, position):
        os.pwrite(self.fileno(), np.uint64(position).tobytes(), PAGE)

    def released(self):
        return int.from_bytes(os.pread(self.fileno(), 8, 0), "little")

    def close(self):
        self._file.close()


@pytest.fixture
def ring(tmp_path):
    made = HandMade(tmp_path)
    yield made
    made.close()


def test_a_record_that_is_being_written_holds_back_those_after_it(ring):
    reader = RingReader(ring.fileno(), ring.SIZE_BYTES, np.dtype("u8"))
    for index, flag in enumerate((0, int(DISCARDED), 0, int(BUSY), 0)):
        ring.put(16 * index, 8 | flag, index)
    ring.written(80)
    seen = [take(reader).tolist(), take(reader).tolist()]
    ring.put(48, 8, 3)

    assert [*seen, take(reader).tolist()] == [[0, 2], [], [3, 4]]
    assert ring.released() == 80


def test_records_that_wrap_round_the_end_are_one_batch(ring):
    reader = RingReader(ring.fileno(), ring.SIZE_BYTES, np.dtype("u8"))
    position = 0
    for batch in (200, 100, 250):
        for index in range(batch):
            ring.put(position + 16 * index, 8, index)
        position += 16 * batch
        ring.written(position)

        assert take(reader).tolist() == list(range(batch))


def test_without_order_events_and_room_come_one_call_later(ring):
    reader = RingReader(ring.fileno(), ring.SIZE_BYTES, np.dtype("u8"), is_ordered=False)
    seen, released = [], []
    for index in range(3):
        ring.put(16 * index, 8, index)
        ring.written(16 * (index + 1))
        seen.append(take(reader).tolist())
        released.append(ring.released())

    assert seen == [[], [0], [1]]
    assert released == [0, 0, 16]


def test_events_that_do_not_fill_words_are_refused(ring):
    with pytest.raises(TracingError, match="12 bytes, no multiple of 8"):
        RingReader(ring.fileno(), ring.SIZE_BYTES, np.dtype("3u4"))
