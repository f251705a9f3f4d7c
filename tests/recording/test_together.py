"""Several recordings as one."""

import pytest

from gnomon import tables
from gnomon._errors import RecordingError
from gnomon.recording.base import Meta
from gnomon.recording.reader import Recording
from gnomon.recording.together import Together
from gnomon.recording.writer import RecordingWriter

BEGIN_NS = 1_795_202_080_000_000_000


def recording(path, host, *, calls=(), gpus=(), host_id=None):
    """A recording of calls, given as (ns after the begin, tid, host of the row or None)."""
    facts = {"name": host, "id": host_id}
    with RecordingWriter(path, host or "nobody") as writer:
        writer.update_meta(
            Meta(
                tables.SCHEMA_VERSION,
                host={name: fact for name, fact in facts.items() if fact},
                gpus={uuid: {"name": "NVIDIA H200"} for uuid in gpus},
            )
        )
        rows = [
            {"ts_ns": BEGIN_NS + at, "duration_ns": 10, "tid": tid, "host": row_host}
            for at, tid, row_host in calls
        ]
        writer.append("host_calls", tables.batch("host_calls", rows))
    return Recording.open(path)


@pytest.fixture
def pair(tmp_path):
    """Two hosts, whose threads have the same numbers."""
    return Together(
        [
            recording(tmp_path / "a", "it's a", calls=[(30, 1, None), (10, 1, None)], gpus=["G1"]),
            recording(tmp_path / "b", "b", calls=[(20, 1, None), (40, 1, "other")], gpus=["G2"]),
        ]
    )


def test_rows_come_in_the_order_of_time_and_name_their_host(pair):
    rows = pair.read("host_calls").to_pylist()

    assert [(row["ts_ns"] - BEGIN_NS, row["host"]) for row in rows] == [
        (10, "it's a"),
        (20, "b"),
        (30, "it's a"),
        (40, "other"),
    ]


def test_sql_sees_the_same_rows_as_read(pair):
    with pair.session() as session:
        rows = session.rows("SELECT * FROM host_calls ORDER BY ts_ns")

    assert rows == pair.read("host_calls").to_pylist()
    assert pair.sql("SELECT * FROM host_calls ORDER BY ts_ns").to_pylist() == rows


@pytest.mark.parametrize("encoded", [False, True])
def test_a_part_of_the_columns_and_of_the_time_can_be_read(pair, encoded):
    rows = pair.read(
        "host_calls",
        from_ns=BEGIN_NS + 10,
        to_ns=BEGIN_NS + 30,
        columns=["host"],
        encoded=encoded,
    )

    assert rows.to_pylist() == [{"host": "b"}, {"host": "it's a"}]
    assert rows.schema == tables.pick(tables.arrow_schema("host_calls", encoded=encoded), ["host"])


def test_bounds_gpus_and_hosts_are_those_of_all(pair):
    assert pair.bounds() == (BEGIN_NS, BEGIN_NS + 40)
    assert list(pair.meta().gpus) == ["G1", "G2"]
    assert pair.meta().host["hosts"] == ["it's a", "b"]
    assert list(pair.cuts("host_calls", BEGIN_NS, BEGIN_NS + 100)) == [BEGIN_NS + 30, BEGIN_NS + 40]


def test_recordings_of_one_host_leave_its_rows_as_they_are(tmp_path):
    both = Together(
        [recording(tmp_path / name, "one", calls=[(1, 7, None)]) for name in ("rank0", "rank1")]
    )

    assert [row["host"] for row in both.read("host_calls").to_pylist()] == [None, None]


def test_a_recording_without_a_name_of_its_host_is_called_by_its_directory(tmp_path):
    both = Together(
        [
            recording(tmp_path / "x", None, calls=[(1, 7, None)]),
            recording(tmp_path / "y", "named", calls=[(2, 7, None)]),
        ]
    )

    assert [row["host"] for row in both.read("host_calls").to_pylist()] == ["x", "named"]


def test_recordings_that_do_not_name_their_host_are_not_taken_for_one(tmp_path):
    both = Together(
        [recording(tmp_path / name, None, calls=[(1, 7, None)]) for name in ("a/run", "b/run")]
    )

    assert {row["host"] for row in both.read("host_calls").to_pylist()} == {
        f"run ({tmp_path / 'a/run'})",
        f"run ({tmp_path / 'b/run'})",
    }


def test_hosts_of_one_name_are_told_apart_by_their_ids(tmp_path):
    ranks = [
        recording(tmp_path / str(rank), "vm", calls=[(rank, 7, None)], host_id=host_id)
        for rank, host_id in enumerate(("id-1", "id-2", "id-2"))
    ]

    hosts = [row["host"] for row in Together(ranks).read("host_calls").to_pylist()]
    assert hosts == ["vm (id-1)", "vm (id-2)", "vm (id-2)"]
    assert {row["host"] for row in Together(ranks[1:]).read("host_calls").to_pylist()} == {None}


def test_an_empty_recording_beside_others_changes_nothing(tmp_path):
    filled = recording(tmp_path / "filled", "a", calls=[(5, 1, None)])
    empty = recording(tmp_path / "empty", "b")

    assert Together([filled, empty]).bounds() == filled.bounds()
    assert Together([empty]).bounds() is None


def test_a_damaged_file_is_named_with_its_recording(tmp_path, pair):
    (file,) = (tmp_path / "b" / "host_calls").rglob("*.parquet")
    file.write_bytes(b"PAR1 nothing of this is true PAR1")

    rows = Together([Recording.open(tmp_path / name) for name in "ab"])

    assert rows.read("host_calls").num_rows == 2
    assert [one.path for one in rows.skipped()] == [str(file)]


def test_the_same_recording_twice_is_refused(tmp_path):
    one = recording(tmp_path / "one", "a", calls=[(1, 1, None)])

    with pytest.raises(RecordingError, match="given twice"):
        Together([one, Recording.open(tmp_path / "one")])
    with pytest.raises(RecordingError, match="no recording"):
        Together([])


def test_sql_is_one_select_over_several_recordings_too(pair):
    with pytest.raises(RecordingError, match="exactly one SELECT"):
        pair.sql("DROP VIEW host_calls")
