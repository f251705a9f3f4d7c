"""Maps of the running kernel, key by key and as arrays."""

import os

import numpy as np
import pytest

from gnomon._errors import RefusedError, TracingError
from gnomon.tracing import maps
from gnomon.tracing.bpf_syscall import pidfd_open
from gnomon.tracing.maps import Map, MapSpec, create_map, possible_processors
from tests.tracing.kernel import needs_kernel, open_descriptors

pytestmark = needs_kernel
NO_PREALLOCATION = 1


@pytest.fixture
def make():
    """A function that makes a map, closed again after the test."""
    made = []

    def create(*arguments):
        made.append(create_map(MapSpec("test", *arguments)))
        return made[-1]

    yield create
    for one in made:
        os.close(one.fd)


def test_a_hash_gives_back_what_was_stored_until_it_is_deleted(make):
    table = make(maps.HASH, 4, 8, 64)
    expected = {bytes([number, 0, 0, 1]): bytes([number] * 8) for number in range(20)}
    for key, value in expected.items():
        table.update(key, value)

    assert {key: table.lookup(key) for key in list(table.keys())} == expected
    assert [table.delete(bytes([3, 0, 0, 1])) for _ in range(2)] == [True, False]
    assert table.lookup(bytes([3, 0, 0, 1])) is None


def test_what_is_there_stays_where_only_new_values_are_inserted(make):
    table = make(maps.HASH, 4, 8, 64)

    assert [table.insert(bytes(4), bytes([number] * 8)) for number in (1, 2)] == [True, False]
    assert table.lookup(bytes(4)) == bytes([1] * 8)


def test_a_queue_gives_out_in_order_and_refuses_when_full(make):
    queue = make(maps.QUEUE, 0, 4, 2)
    queue.push(b"one.")
    queue.push(b"two.")
    with pytest.raises(RefusedError, match="cannot write to the map test"):
        queue.push(b"more")

    assert [queue.pop() for _ in range(3)] == [b"one.", b"two.", None]


@pytest.mark.parametrize("value_bytes", [4, 8, 20])
def test_a_view_of_an_array_shows_and_makes_changes(value_bytes, make):
    array = make(maps.ARRAY, 4, value_bytes, 500, maps.MEMORY_MAPPABLE)
    view = array.view(np.dtype((np.uint8, value_bytes)))
    view[499] = 7
    array.update((3).to_bytes(4, "little"), b"\x09" * value_bytes)

    assert array.lookup((499).to_bytes(4, "little")) == b"\x07" * value_bytes
    assert view[3].tolist() == [9] * value_bytes
    assert view[:, 0].sum() == 16


def test_a_view_outlives_its_map():
    before = open_descriptors()
    array = create_map(MapSpec("test", maps.ARRAY, 4, 8, 4, maps.MEMORY_MAPPABLE))
    view = array.view(np.uint64)
    os.close(array.fd)
    view[:] = 5
    assert view.tolist() == [5] * 4
    del view

    assert open_descriptors() == before


def test_a_value_per_processor_comes_as_an_array(make):
    table = make(maps.PERCPU_ARRAY, 4, 4, 2)
    stored = np.arange(possible_processors(), dtype=np.uint64)
    table.update(bytes(4), stored.tobytes())

    assert table.per_processor(bytes(4), np.uint32).tolist() == stored.tolist()
    assert table.per_processor(b"\xff" * 4, np.uint32) is None


def test_storage_of_a_task_is_reached_by_its_process(make):
    storage = make(maps.TASK_STORAGE, 4, 24, 0, NO_PREALLOCATION)
    process = pidfd_open(os.getpid())
    key = process.to_bytes(4, "little")
    before = storage.lookup(key)
    storage.update(key, bytes(range(24)))
    after = storage.lookup(key)
    os.close(process)

    assert (before, after) == (None, bytes(range(24)))


@pytest.mark.parametrize(
    ("action", "said"),
    [
        (lambda table: table.lookup(b"1"), "keys of map test have 4 bytes, not 1"),
        (lambda table: table.update(bytes(4), b"1"), "values of map test have 8 bytes, not 1"),
        (lambda table: table.view(np.uint64), "map test is no array"),
        (lambda table: table.per_processor(bytes(4), "u8"), "map test does not hold a value per"),
    ],
)
def test_what_does_not_fit_a_map_is_refused_by_name(action, said, make):
    with pytest.raises(TracingError, match=said):
        action(make(maps.HASH, 4, 8, 4))


def test_a_layout_that_does_not_fit_is_refused(make):
    with pytest.raises(TracingError, match="have 12 bytes, not 8"):
        make(maps.ARRAY, 4, 12, 4, maps.MEMORY_MAPPABLE).view(np.uint64)


def test_a_closed_map_says_so():
    with pytest.raises(RefusedError, match=r"cannot read the map gone: Bad file descriptor"):
        Map(MapSpec("gone", maps.HASH, 4, 4, 1), 1 << 20).lookup(bytes(4))
