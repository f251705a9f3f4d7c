"""Another process's memory, and pieces of it."""

import ctypes
import os
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnomon.tracing.process_memory import (
    MERGED_BYTES,
    MOST_PIECES,
    Copy,
    MissedError,
    ProcessMemory,
    Reading,
    TornError,
    merged,
)


@pytest.fixture
def memory():
    return ProcessMemory(os.getpid())


@pytest.fixture
def words():
    return (ctypes.c_uint64 * 4000)(*range(4000))


def test_pieces_come_one_after_another_whatever_their_number(memory, words):
    begin = ctypes.addressof(words)
    wanted = [(begin + 8 * one, 8) for one in range(0, 4000, 2)]
    data = memory.gather(wanted)

    assert len(wanted) > MOST_PIECES
    assert data == b"".join(one.to_bytes(8, "little") for one in range(0, 4000, 2))


def test_a_page_that_is_not_mapped_is_told(memory, words):
    for address in (0, 1 << 46, 1 << 63, 1 << 70):
        with pytest.raises(TornError):
            memory.gather([(ctypes.addressof(words), 8), (address, 8)])


def test_pages_are_read_as_they_are_asked_for(memory, words):
    reading = Reading(memory)
    found = [reading.word(ctypes.addressof(words) + 8 * one) for one in range(4000)]

    assert found == list(range(4000))


def test_a_copy_knows_what_it_holds_and_names_the_page_that_it_lacks():
    copy = Copy([(0x1000, 8), (0x3000, 16)], bytes(range(24)))

    assert copy.word(0x3008) == int.from_bytes(range(16, 24), "little")
    with pytest.raises(MissedError) as caught:
        copy.word(0x2FFC)
    assert caught.value.span == (0x2000, 0x2000)


spans = st.lists(st.tuples(st.integers(0, 1 << 14), st.integers(1, 600)), max_size=30)


@given(spans)
def test_merging_keeps_every_byte_and_adds_few(wanted):
    made = merged(wanted)
    kept = [set(range(begin, begin + size)) for begin, size in made]
    asked = set().union(*(range(begin, begin + size) for begin, size in wanted))

    assert asked <= set().union(*kept)
    for before, after in pairwise(made):
        assert after[0] - sum(before) > MERGED_BYTES
    assert len(set().union(*kept) - asked) <= MERGED_BYTES * max(0, len(wanted) - len(made))
