"""NCCL calls of two processes, against the stand-ins' book and what rank.c does."""

from collections import Counter

import pytest

from gnomon.enums import CallLayer
from gnomon.tracing import operations
from gnomon.tracing.elf import Elf
from gnomon.tracing.layouts import RecordKind
from gnomon.tracing.nccl import Book
from tests.standins import nccl
from tests.tracing.programs.tracer import ALWAYS, NEEDS_PROGRAMS, NEVER_NS, Tracer, of_thread

pytestmark = NEEDS_PROGRAMS

RANKS = 2
# Of rank.c: the function, its data type, and the bytes that a rank brings in.
COLLECTIVES = [
    *[("ncclAllReduce", "float32", lambda rank: 4000)] * 23,
    ("ncclReduceScatter", "float8_e4m3", lambda rank: 400 * RANKS),
    ("ncclAllGather", "bfloat16", lambda rank: 1000),
    ("ncclAlltoAll", "int32", lambda rank: 240 * RANKS),
    ("ncclBroadcast", "float64", lambda rank: 2400 * (rank == 1)),
    ("ncclBcast", "int8", lambda rank: 200 * (rank == 0)),
    ("ncclGather", "float16", lambda rank: 140),
    ("ncclScatter", "float16", lambda rank: 160 * RANKS * (rank == 1)),
    ("ncclReduce", "float64", lambda rank: 720),
]


@pytest.fixture(scope="session")
def libraries(standins, tmp_path_factory):
    return nccl.build(tmp_path_factory.mktemp("nccl"), standins)


@pytest.fixture
def job(start, standins, libraries, tmp_path):
    """A function that runs both ranks under a tracer each: [(tracer, truth)]."""
    tracers = []

    def run(prepare=lambda tracer: None, functions=None):
        library, program = libraries
        loads = [start("env", f"RANK={rank}", f"WORLD_SIZE={RANKS}") for rank in range(RANKS)]
        for load in loads:
            tracers.append(Tracer(load.pid).__enter__())
            tracers[-1].attach(standins.runtime, standins.driver)
            tracers[-1].attach(library, functions=functions)
            prepare(tracers[-1])
            load.run(f"typed {program}")
        for load in loads:
            load.wait()
        return [(tracer, load.quit(tmp_path)) for tracer, load in zip(tracers, loads, strict=True)]

    yield run
    for tracer in tracers:
        tracer.__exit__()


def counted_of(truth):
    """Calls by operation: those inside of others of their library are part of these."""
    numbers, counted, around = operations.numbers(), Counter(), []
    for function, layer, depth, *_ in truth.thread()["entries"]:
        del around[depth:]
        is_nccl = layer == 3
        if not any((one == 3) == is_nccl for one in around):
            counted[operations.OPERATIONS[numbers[function]].name] += 1
        around.append(layer)
    return counted


def read(job_of):
    """The rows of both ranks by one book: [[(record, communicator, rank, ...)]]."""
    book = Book()
    for tracer, _ in job_of:
        book.enter(tracer.records(RecordKind.COMMUNICATOR))
    rows = []
    for tracer, _ in job_of:
        records = tracer.records(RecordKind.NCCL_CALL)
        told = book.tell(records)
        names = [operations.OPERATIONS[number].name for number in records["operation"]]
        rows.append(
            [
                {**dict(zip(told._fields, row, strict=True)), "name": name, "record": record}
                for name, record, *row in zip(names, records, *told, strict=True)
            ]
        )
    return rows


def test_every_traced_function_of_nccl_is_in_the_stand_in(libraries):
    with libraries[0].open("rb") as file:
        names = {one.name for one in Elf(file, "libnccl.so.2").functions()}
    traced = {one.name for one in operations.OPERATIONS if one.layer is CallLayer.NCCL}

    assert traced == {name for name in names if name.startswith("nccl")}


def test_nccl_calls_and_the_cuda_calls_inside_of_them_are_each_counted_once(job):
    for tracer, truth in job():
        tid = truth.thread()["tid"]
        _, cells = of_thread(tracer.slots.read(), tid)
        kept = [*tracer.records(RecordKind.CALL), *tracer.records(RecordKind.NCCL_CALL)]
        inside = tracer.records(RecordKind.CALL)
        parents = {operations.OPERATIONS[number].layer for number in inside["parent"]}

        expected = counted_of(truth)
        assert {name: cell["calls"] for name, cell in cells.items()} == expected
        assert len(kept) == expected.total()
        assert expected["cudaLaunchKernelExC"] > 40
        assert set(inside["depth"]) == {1}
        assert parents == {CallLayer.NCCL}
        assert tracer.losses() == {}


def test_ranks_of_one_communicator_share_its_id_and_its_order(job):
    rows = read(job())
    worlds = [[row for row in rank if row["sequence"] is not None] for rank in rows]
    ids = [{row["communicator"] for row in rank} for rank in worlds]

    for rank, made in enumerate(rows):
        first = next(row for row in made if row["name"] == "ncclCommInitRank")
        world = [row for row in made if row["communicator"] == first["communicator"]]
        collectives = [row for row in world if row["sequence"] is not None]
        assert {(row["rank"], row["world_size"]) for row in world} == {(rank, RANKS)}
        assert [row["sequence"] for row in collectives] == list(range(len(collectives)))
        assert [
            (row["name"], row["datatype"], row["bytes"]) for row in collectives[: len(COLLECTIVES)]
        ] == [(name, datatype, bytes_of(rank)) for name, datatype, bytes_of in COLLECTIVES]
        assert {row["record"]["stream"] for row in collectives} == {0x57}
    # The world, its reversed child, the one not blocking, the scalable one and the shrunken one.
    assert len(ids[0] & ids[1]) == 5


def test_a_failed_collective_has_no_place_in_the_order(job):
    for rows in read(job()):
        (failed,) = [row for row in rows if row["record"]["return_code"] == 4]

        assert (failed["sequence"], failed["bytes"], failed["datatype"]) == (None, None, None)


def test_children_of_a_split_have_ranks_by_key_and_left_out_ranks_have_none(job):
    rows = read(job())
    for rank, made in enumerate(rows):
        reversed_child = [row for row in made if row["record"]["count"] in (21, 22)]
        last = [row for row in made if row["record"]["count"] == 23]

        assert [row["sequence"] for row in reversed_child] == [0, 1]
        assert {(row["rank"], row["world_size"]) for row in reversed_child} == {
            (RANKS - 1 - rank, RANKS)
        }
        assert [(row["rank"], row["world_size"]) for row in last] == [(0, 1)] * (rank == RANKS - 1)


def test_a_child_of_ranks_that_were_not_all_seen_has_an_id_and_no_rank(job):
    (rows,) = read(job()[:1])
    child = [row for row in rows if row["record"]["count"] in (21, 22)]

    assert [row["sequence"] for row in child] == [0, 1]
    assert {(row["rank"], row["world_size"]) for row in child} == {(None, None)}
    assert None not in {row["communicator"] for row in child}


def test_all_ranks_of_one_process_share_an_id(job):
    for rows in read(job()):
        made = [row for row in rows if row["record"]["count"] == 33]

        assert [row["rank"] for row in made] == [0, 1, 2]
        assert {(row["world_size"], row["sequence"]) for row in made} == {(3, 0)}
        assert len({row["communicator"] for row in made}) == 1


def test_a_communicator_made_before_tracing_has_no_id_and_no_order(job):
    for rows in read(job(functions={"ncclAllReduce", "ncclCommSplit"})):
        assert len(rows) > 23
        for name in ("communicator", "rank", "world_size"):
            assert {row[name] for row in rows} == {None}
        assert {row["sequence"] for row in rows if row["record"]["count"] == 1000} == {None}


def test_calls_in_a_group_say_in_which_and_its_last_end_launches_them(job):
    for rows in read(job()):
        grouped = [row for row in rows if row["group"] is not None]
        of_group = {
            number: [
                (row["name"].removeprefix("nccl"), int(row["record"]["group_depth"]))
                for row in grouped
                if row["group"] == number
            ]
            for number in (1, 2, 3, 4)
        }

        assert of_group == {
            1: [("GroupStart", 0), ("Send", 1), ("Recv", 1), ("GroupEnd", 0)],
            2: [
                ("GroupStart", 0),
                ("GroupStart", 1),
                ("AllReduce", 2),
                ("GroupEnd", 1),
                ("AllReduce", 1),
                ("GroupEnd", 0),
            ],
            3: [("GroupStart", 0), ("AllReduce", 1), ("GroupSimulateEnd", 0)],
            4: [("GroupStart", 0), *[("AllReduce", 1)] * 3, ("GroupEnd", 0)],
        }
        assert len(grouped) == sum(map(len, of_group.values()))


def test_order_and_groups_are_right_however_few_records_are_kept(job):
    def keep_few(tracer):
        tracer.keep_calls(NEVER_NS, sample=ALWAYS // 3)

    for rows in read(job(keep_few)):
        sums = [row for row in rows if row["record"]["count"] in (1000, 11, 12, 13, 14)]
        places = {(row["record"]["count"].item(), row["group"]) for row in sums}

        assert all(row["communicator"] is not None for row in sums)
        assert all(row["sequence"] < 23 for row in sums if row["record"]["count"] == 1000)
        assert places <= {(1000, None), (11, 2), (12, 2), (13, 3), (14, None)}
