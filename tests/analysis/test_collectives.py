"""Waits at collectives, by hand and by brute force."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gnomon import tables
from gnomon.analysis.clock_error import ClockError
from gnomon.analysis.collectives import (
    Bucket,
    Straggler,
    empty_ns,
    stragglers,
    waited_sql,
)
from gnomon.analysis.concentration import BIN_NS
from gnomon.analysis.questions import Scope, Span, ThreadKey
from gnomon.recording.reader import Recording
from gnomon.recording.writer import RecordingWriter

BEGIN_NS = 1_795_202_080_000_000_000
SCOPE = Scope(Span(BEGIN_NS - 1, BEGIN_NS + 10**12))
ONE_CLOCK = {"h0": ClockError("h0", 0, 0, 1)}


def recording(path, entries, host_of=lambda _rank: "h0", **more):
    """A recording of collectives: entries[sequence][rank] is when it entered, ns."""
    rows = [
        {
            "ts_ns": BEGIN_NS + at + 7,
            "duration_ns": 7,
            "host": host_of(rank),
            "pid": 100 + rank,
            "tid": 100 + rank,
            "rank": rank,
            "communicator": "world",
            "sequence": sequence,
            **more,
        }
        for sequence, of_ranks in enumerate(entries)
        for rank, at in enumerate(of_ranks)
    ]
    with RecordingWriter(path, "host") as writer:
        writer.append("nccl_calls", tables.batch("nccl_calls", rows))
    return Recording.open(path)


def waits(recorded, errors=ONE_CLOCK):
    with recorded.session() as session:
        return {one.rank: one for one in stragglers(session, SCOPE, errors)}


def test_who_came_last_made_the_others_wait(tmp_path):
    found = waits(recording(tmp_path, [[0, 10, 100], [500, 450, 400]]))

    assert {rank: (one.waited_ns, one.late_ns) for rank, one in found.items()} == {
        2: (100 + 90, 100),
        0: (50 + 100, 100),
    }
    assert (found[2].ranks, found[2].collectives) == (3, 1)


def test_what_is_enqueued_ahead_waits_once(tmp_path):
    # Rank 0 enqueues four at once; rank 1 comes 1,000 ns later and enqueues its four.
    found = waits(recording(tmp_path, [[0, 1000], [1, 1001], [2, 1002], [3, 1003]]))

    assert found[1].waited_ns == 1003


@given(
    st.lists(
        st.lists(st.integers(0, 10**6), min_size=3, max_size=3, unique=True),
        min_size=1,
        max_size=12,
    )
)
@settings(max_examples=25, deadline=None)
def test_waits_never_exceed_the_time_that_some_wait_covers(tmp_path_factory, entries):
    found = waits(recording(tmp_path_factory.mktemp("c") / "r", entries))
    covered = 0
    for rank in range(3):
        edge = -1
        for begin, end in sorted((one[rank], max(one)) for one in entries):
            covered += max(0, end - max(begin, edge))
            edge = max(edge, end)

    assert sum(one.waited_ns for one in found.values()) <= covered


def test_a_send_or_a_lone_rank_is_no_collective(tmp_path):
    assert waits(recording(tmp_path / "sends", [[0, 50]], peer_rank=1)) == {}
    assert waits(recording(tmp_path / "lone", [[0], [10]])) == {}


@pytest.mark.parametrize(
    ("errors", "expected_ns"),
    [
        ({}, None),
        ({"h0": ClockError("h0", 0, 0, 9), "h1": ClockError("h1", 30, 0, 9)}, 70),
        ({"h0": ClockError("h0", 0, 0, 9), "h1": ClockError("h1", 30, 20, 9)}, 50),
        ({"h0": ClockError("h0", 0, 0, 9), "h1": ClockError("h1", 30, 90, 9)}, 0),
    ],
)
def test_across_hosts_a_wait_counts_beyond_the_doubt_of_the_clocks(tmp_path, errors, expected_ns):
    found = waits(recording(tmp_path, [[0, 100]], host_of=lambda rank: f"h{rank}"), errors)

    assert (
        found[1].waited_ns if expected_ns is not None else found[1].waited_ns or None
    ) == expected_ns


def test_the_evidence_gives_the_same_sum(tmp_path):
    recorded = recording(tmp_path, [[0, 10, 100], [500, 450, 400], [600, 700, 650]])
    for one in waits(recorded).values():
        (row,) = recorded.sql(waited_sql(SCOPE, ONE_CLOCK, one)).to_pylist()
        assert row["ns"] == one.waited_ns


def test_a_queue_is_empty_from_the_end_of_a_wait_to_the_next_launch(tmp_path):
    calls = [
        ("cudaLaunchKernel", 0, 10),
        ("cudaStreamSynchronize", 20, 500),
        ("cudaMalloc", 510, 590),
        ("cudaMemcpyAsync", 600, 620),
        ("cudaLaunchKernel", 630, 640),
        ("cudaEventSynchronize", 700, 900),
        ("cudaLaunchKernel", 950, 960),
        ("cudaDeviceSynchronize", 1000, 1500),
    ]
    rows = [
        {
            "ts_ns": BEGIN_NS + end,
            "duration_ns": end - begin,
            "layer": "cuda_runtime",
            "operation": name,
            "pid": 1,
            "tid": 1,
        }
        for name, begin, end in calls
    ]
    with RecordingWriter(tmp_path, "host") as writer:
        writer.append("host_calls", tables.batch("host_calls", rows))
    with Recording.open(tmp_path).session() as session:
        found = empty_ns(session, SCOPE, ThreadKey(None, 1, 1))

    assert found == {BEGIN_NS // BIN_NS: 120.0}


def test_waits_are_bounded_second_by_second():
    one = Straggler(
        ThreadKey(None, 1, 1),
        0,
        3,
        9,
        0,
        1,
        [Bucket(5, 200, 100, 0, 9), Bucket(6, 60, 30, 9, 9), Bucket(7, 0, 0, 9, 9)],
        None,
    )

    assert one.bounded_ns({5: 50.0, 6: 1000.0}) == 100 + 60
    assert one.bounded_ns({}) == 0


@pytest.mark.parametrize("column", ["host", "pid", "tid", "rank", "communicator", "sequence"])
def test_rows_without_a_name_for_something_break_nothing(tmp_path, column):
    recorded = recording(tmp_path, [[0, 100], [300, 200]], **{column: None})

    assert sum(
        one.waited_ns for one in waits(recorded, {None: ClockError(None, 0, 0, 0)}).values()
    ) in {
        0,
        200,
    }
