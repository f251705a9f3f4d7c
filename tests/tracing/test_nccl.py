"""The book of communicators, on records as the programs write them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as some

from gnomon.tracing import layouts, operations
from gnomon.tracing.layouts import CommunicatorEvent
from gnomon.tracing.nccl import Book
from gnomon.tracing.nccl_functions import DATA_TYPES, FUNCTIONS

NUMBERS = operations.numbers()
POINTER, PARENT, CHILD = 0x1000, 0x2000, 0x3000


def records(dtype, *rows):
    made = np.zeros(len(rows), dtype)
    for row, values in zip(made, rows, strict=True):
        for name, value in values.items():
            row[name] = value
    return made


def made(pid, rank, ranks, *, pointer=POINTER, at=1, identity=0xABC):
    return {
        "pid": pid,
        "tid": pid,
        "start_ns": at,
        "communicator": pointer,
        "rank": rank,
        "ranks": ranks,
        "identity": identity,
        "event": CommunicatorEvent.MADE,
        "call": at,
    }


def split(pid, color, key, *, at=2, number=0):
    return {
        "pid": pid,
        "tid": pid,
        "start_ns": at,
        "parent": PARENT,
        "rank": -1,
        "ranks": -1,
        "communicator": CHILD if color >= 0 else 0,
        "color": color,
        "key": key,
        "splits": number,
        "event": CommunicatorEvent.SPLIT,
    }


def call(name="ncclAllReduce", *, pid=1, pointer=POINTER, at=10, **values):
    return {
        "pid": pid,
        "tid": pid,
        "start_ns": at,
        "communicator": pointer,
        "count": 100,
        "operation": NUMBERS[name],
        "datatype": 7,
        "peer": -1,
        **values,
    }


def book_of(*rows):
    book = Book()
    book.enter(records(layouts.COMMUNICATOR_RECORD, *rows))
    return book


def told(book, *rows):
    return book.tell(records(layouts.NCCL_RECORD, *rows))


def test_ranks_in_several_processes_share_the_id_of_their_communicator():
    book = book_of(made(1, 0, 2), made(2, 1, 2))
    rows = told(book, call(pid=1), call(pid=2, sequence=5))

    assert rows.communicator == ["0000000000000abc"] * 2
    assert (rows.rank, rows.world_size, rows.sequence) == ([0, 1], [2, 2], [0, 5])


def test_a_pointer_that_is_used_again_is_another_communicator_from_then_on():
    ended = {"pid": 1, "communicator": POINTER, "start_ns": 20, "event": CommunicatorEvent.ENDED}
    book = book_of(made(1, 0, 2), ended, made(1, 3, 4, at=30, identity=0xDEF))
    rows = told(book, call(at=10), call(at=25), call(at=40))

    assert rows.rank == [0, None, 3]
    assert rows.communicator == ["0000000000000abc", None, "0000000000000def"]


def test_what_a_pointer_stood_for_long_ago_is_dropped():
    book = Book()
    minute_ns = 60_000_000_000
    for number in range(1, 100):
        at = number * minute_ns
        ended = {"pid": 1, "communicator": POINTER, "start_ns": at + 1}
        ended["event"] = CommunicatorEvent.ENDED
        book.enter(records(layouts.COMMUNICATOR_RECORD, made(1, 0, 2, at=at), ended))

    rows = told(book, call(at=minute_ns), call(at=99 * minute_ns))
    assert rows.rank == [None, 0]


def test_the_call_that_makes_a_communicator_tells_which():
    rows = told(book_of(made(1, 1, 2)), call("ncclCommInitRank", at=1, pointer=0, datatype=-1))

    assert (rows.communicator, rows.rank) == (["0000000000000abc"], [1])
    assert (rows.bytes, rows.datatype, rows.peer_rank) == ([None], [None], [None])


def test_what_was_made_before_tracing_or_is_forgotten_is_not_known():
    book = book_of(made(1, 0, 2), made(2, 1, 2))
    book.forget(2)
    rows = told(book, call(pid=1), call(pid=2), call(pid=1, pointer=0x9999))

    assert rows.rank == [0, None, None]
    assert rows.sequence == [0, None, None]


@given(some.lists(some.tuples(some.integers(-1, 2), some.integers(-3, 3)), min_size=1, max_size=8))
def test_children_of_a_split_are_ranked_by_key_and_then_by_rank(wanted):
    ranks = len(wanted)
    worlds = [made(pid, pid, ranks, pointer=PARENT) for pid in range(ranks)]
    children = [split(pid, color, key) for pid, (color, key) in enumerate(wanted)]
    rows = told(
        book_of(*worlds, *children), *(call(pid=pid, pointer=CHILD) for pid in range(ranks))
    )

    for pid, (color, key) in enumerate(wanted):
        same = [(wanted[one][1], one) for one in range(ranks) if wanted[one][0] == color]
        expected = (sorted(same).index((key, pid)), len(same)) if color >= 0 else (None, None)
        assert (rows.rank[pid], rows.world_size[pid]) == expected
        assert rows.communicator[pid] == (f"0000000000000abc.0.{color}" if color >= 0 else None)


# What nccl.h says that each of 4 ranks sends, for count elements of a call with root 2.
@pytest.mark.parametrize(
    ("name", "elements_of_ranks"),
    [
        ("ncclAllReduce", (100, 100, 100, 100)),
        ("ncclReduce", (100, 100, 100, 100)),
        ("ncclAllGather", (100, 100, 100, 100)),
        ("ncclGather", (100, 100, 100, 100)),
        ("ncclReduceScatter", (400, 400, 400, 400)),
        ("ncclAlltoAll", (400, 400, 400, 400)),
        ("ncclBroadcast", (0, 0, 100, 0)),
        ("ncclBcast", (0, 0, 100, 0)),
        ("ncclScatter", (0, 0, 400, 0)),
        ("ncclSend", (100, 100, 100, 100)),
        ("ncclRecv", (0, 0, 0, 0)),
    ],
)
def test_bytes_are_those_that_the_rank_brings_in(name, elements_of_ranks):
    book = book_of(*(made(pid, pid, 4) for pid in range(4)))
    rows = told(book, *(call(name, pid=pid, peer=2) for pid in range(4)))

    assert rows.bytes == [4 * elements for elements in elements_of_ranks]


def test_bytes_that_depend_on_unknown_ranks_are_not_guessed():
    names = ("ncclReduceScatter", "ncclBroadcast", "ncclAllReduce")

    assert told(Book(), *map(call, names)).bytes == [None, None, 400]


def test_sizes_of_data_types_are_those_of_their_names():
    for name, size_bytes in DATA_TYPES:
        bits = int("".join(filter(str.isdigit, name.partition("_")[0])))

        assert size_bytes * 8 == bits


def test_arguments_are_words_that_the_programs_read():
    known = set(layouts.NCCL_OPERATION.names)
    for function in FUNCTIONS:
        assert function.words.keys() <= known
        assert all(1 <= word <= 9 for word in function.words.values())
    assert len(operations.nccl_description()) == (
        layouts.OPERATIONS * layouts.NCCL_OPERATION.itemsize
    )


def test_no_records_tell_nothing():
    assert told(Book()) == ([], [], [], [], [], [], [], [])
