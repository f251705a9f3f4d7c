"""Whatever state the files are in, all that is whole is read and the rest is named."""

import json
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gnomon import tables
from gnomon._errors import RecordingError
from gnomon.recording import layout, reader
from gnomon.recording._closed import ClosedSegment
from gnomon.recording._sql import SqlLimits
from gnomon.recording.reader import Recording
from gnomon.recording.writer import RecordingWriter

from .conftest import BEGIN_NS, SECOND_NS, counter_batch


@pytest.fixture
def finished(tmp_path):
    with RecordingWriter(tmp_path / "r", "h") as one:
        one.append("gpu_counters", counter_batch(10))
    return tmp_path / "r"


class Stream(tuple):
    """Name and bytes of a segment, short in reports."""

    __slots__ = ()

    def __new__(cls, name, content):
        return super().__new__(cls, (name, content))

    def __repr__(self):
        return f"Stream({len(self[1])} bytes)"


@pytest.fixture(scope="module")
def stream(tmp_path_factory):
    """The bytes of an open segment with five messages of ten rows."""
    root = tmp_path_factory.mktemp("stream")
    one = RecordingWriter(root, "h")
    for index in range(5):
        one.append("gpu_counters", counter_batch(10, first=10 * index))
        one.flush()
    [path] = root.glob("gpu_counters/*/*/*.arrow")
    return Stream(path.relative_to(root), path.read_bytes())


def busy(recording, **range_):
    return recording.read("gpu_counters", **range_).column("busy_pct").to_pylist()


def test_ranges_are_half_open_and_columns_as_asked(finished):
    recording = Recording.open(finished)

    found = recording.read(
        "gpu_counters",
        from_ns=BEGIN_NS + 2 * SECOND_NS,
        to_ns=BEGIN_NS + 4 * SECOND_NS,
        columns=["busy_pct", "ts_ns"],
    )

    assert found.column_names == ["busy_pct", "ts_ns"]
    assert found.column("busy_pct").to_pylist() == [2.0, 3.0]
    assert recording.bounds() == (BEGIN_NS, BEGIN_NS + 10 * SECOND_NS)


def test_a_table_nobody_wrote_is_empty_not_missing(finished):
    found = Recording.open(finished).read("host_samples", columns=["cpu_pct"])

    assert (found.num_rows, found.column_names) == (0, ["cpu_pct"])


@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    rows=st.lists(
        st.tuples(
            st.integers(1, 90), st.sampled_from(["gpm", "nvml", "pm"]), st.none() | st.floats(0, 9)
        ),
        max_size=40,
    ),
    closed=st.integers(0, 40),
    span=st.tuples(st.none() | st.integers(0, 90), st.none() | st.integers(0, 90)),
)
def test_pieces_hold_the_rows_of_a_reading_each_in_order(tmp_path_factory, rows, closed, span):
    """Of two writers at once, whose files overlap: one has closed its file, the other has not."""
    root = tmp_path_factory.mktemp("pieces")
    writers = RecordingWriter(root, "a"), RecordingWriter(root, "b")
    for writer, some in zip(writers, (rows[:closed], rows[closed:]), strict=True):
        for at, source, power in some:
            row = {"ts_ns": at, "duration_ns": 1, "source": source, "power_watts": power}
            writer.append("gpu_counters", tables.batch("gpu_counters", [row]))
        writer.flush()
    writers[0].close()
    columns = ["source", "power_watts", "mig_uuid", "ts_ns"]
    asked = {"from_ns": span[0], "to_ns": span[1], "columns": columns}

    pieces = Recording.open(root).pieces("gpu_counters", **asked)
    whole = Recording.open(root).read("gpu_counters", **asked, encoded=True)
    writers[1].close()

    assert all(piece.schema == whole.schema for piece in pieces)
    for piece in pieces:
        times = piece.column("ts_ns").to_pylist()
        assert times == sorted(times)
    found = [tuple(row.values()) for piece in pieces for row in piece.to_pylist()]
    expected = [tuple(row.values()) for row in whole.to_pylist()]
    assert sorted(found, key=repr) == sorted(expected, key=repr)
    assert len(found) == sum(
        (span[0] is None or at > span[0]) and (span[1] is None or at <= span[1]) for at, *_ in rows
    )


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(share=st.floats(0, 1))
def test_any_prefix_of_a_segment_yields_a_prefix_of_its_rows(stream, tmp_path_factory, share):
    name, content = stream
    length = round(share * len(content))
    root = tmp_path_factory.mktemp("prefix")
    (root / name).parent.mkdir(parents=True)
    (root / name).write_bytes(content[:length])

    rows = busy(Recording.open(root))

    assert rows == [float(n) for n in range(len(rows))]
    assert len(rows) % 10 == 0
    if length == len(content):
        assert len(rows) == 50


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(share=st.floats(0, 1, exclude_max=True), flip=st.integers(1, 255))
def test_flipped_bytes_never_crash_and_never_lose_what_lies_before(
    stream, tmp_path_factory, share, flip
):
    name, content = stream
    at = int(share * len(content))
    bad = bytearray(content)
    bad[at] ^= flip
    root = tmp_path_factory.mktemp("flipped")
    (root / name).parent.mkdir(parents=True)
    (root / name).write_bytes(bad)

    recording = Recording.open(root)
    rows = recording.read("gpu_counters").num_rows

    message = (len(content) // 5) + 1
    assert rows >= 10 * max(0, at // message - 1)


def test_a_damaged_parquet_segment_is_named_and_the_rest_read(finished):
    with RecordingWriter(finished, "other") as one:
        one.append("gpu_counters", counter_batch(5, first=10))
    victim = next(finished.glob("gpu_counters/*/host=h/*.parquet"))
    victim.write_bytes(victim.read_bytes()[:-20])

    recording = Recording.open(finished)

    assert busy(recording) == [10.0, 11.0, 12.0, 13.0, 14.0]
    [skipped] = recording.skipped()
    assert skipped.path.endswith(victim.name)
    assert skipped.reason.startswith("damaged: ")


def test_flipped_bits_in_a_page_are_found_and_never_read_as_numbers(finished):
    with RecordingWriter(finished, "other") as one:
        one.append("gpu_counters", counter_batch(5, first=10))
    victim = next(finished.glob("gpu_counters/*/host=h/*.parquet"))
    content = bytearray(victim.read_bytes())
    for at in range(60, 100):
        content[at] ^= 0x55
    victim.write_bytes(content)

    recording = Recording.open(finished)

    assert recording.read("gpu_counters").column("busy_pct").to_pylist() == [
        10.0, 11.0, 12.0, 13.0, 14.0,
    ]  # fmt: skip
    assert [one.path.endswith(victim.name) for one in recording.skipped()] == [True]
    result = Recording.open(finished).sql(
        "SELECT count(busy_pct) AS n, sum(ts_ns) FROM gpu_counters"
    )
    assert result.to_pylist()[0]["n"] == 5


def test_a_segment_that_retention_removes_while_it_is_read_is_done_without(finished, monkeypatch):
    with RecordingWriter(finished, "other") as one:
        one.append("gpu_counters", counter_batch(5, first=10))
    recording = Recording.open(finished)
    victim = next(finished.glob("gpu_counters/*/host=h/*.parquet"))

    def removing_first(genuine):
        def remove_then_open(*arguments):
            victim.unlink(missing_ok=True)
            return genuine(*arguments)

        return remove_then_open

    monkeypatch.setattr(reader, "dataset", removing_first(reader.dataset))
    monkeypatch.setattr(ClosedSegment, "known", removing_first(ClosedSegment.known))

    assert busy(recording) == [10.0, 11.0, 12.0, 13.0, 14.0]
    assert recording.sql("SELECT count(*) AS n FROM gpu_counters").to_pylist() == [{"n": 5}]
    assert recording.skipped() == []


def test_rows_of_many_days_in_one_batch_are_found_by_range(tmp_path):
    days = 5
    with RecordingWriter(tmp_path, "h") as one:
        for day in range(days):
            one.append("gpu_counters", counter_batch(2, first=86_400 * (days - 1 - day)))

    recording = Recording.open(tmp_path)

    assert len(list(tmp_path.glob("gpu_counters/date=*"))) == days
    begin_ns = BEGIN_NS + 3 * 86_400 * SECOND_NS
    assert busy(recording, from_ns=begin_ns) == [259200.0, 259201.0, 345600.0, 345601.0]
    assert recording.bounds() == (BEGIN_NS, BEGIN_NS + (4 * 86_400 + 2) * SECOND_NS)


def test_half_a_message_of_a_living_writer_is_no_damage(tmp_path):
    one = RecordingWriter(tmp_path, "h")
    one.append("gpu_counters", counter_batch(5))
    one.flush()
    [path] = tmp_path.glob("gpu_counters/*/*/*.arrow")
    with path.open("ab") as file:
        file.write(counter_batch(3).serialize().to_pybytes()[:-100])

    recording = Recording.open(tmp_path)
    assert len(busy(recording)) == 5
    assert recording.skipped() == []

    one._open["gpu_counters", "nvml"].release()
    assert len(busy(recording)) == 5
    [torn] = recording.skipped()
    assert "read up to byte" in torn.reason


def test_what_has_been_closed_or_removed_is_forgotten(tmp_path):
    with RecordingWriter(tmp_path, "h") as one:
        one.append("gpu_counters", counter_batch(5))
        one.flush()
        recording = Recording.open(tmp_path)
        assert (len(busy(recording)), len(recording._tails)) == (5, 1)
    assert (len(busy(recording)), len(recording._tails), len(recording._closed)) == (5, 0, 1)

    next(tmp_path.glob("gpu_counters/*/*/*.parquet")).unlink()
    assert (len(busy(recording)), len(recording._closed)) == (0, 0)


def test_a_segment_that_closes_between_listing_and_opening_is_read_closed(tmp_path, monkeypatch):
    with RecordingWriter(tmp_path, "h") as one:
        one.append("gpu_counters", counter_batch(5))
        one.flush()
        listed = layout.segments(tmp_path, "gpu_counters")
    listings, look = [listed], layout.segments
    monkeypatch.setattr(layout, "segments", lambda *at: listings.pop() if listings else look(*at))

    assert len(busy(Recording.open(tmp_path))) == 5
    assert listings == []


def test_several_threads_may_read_at_once(finished):
    recording = Recording.open(finished)

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: busy(recording), range(16)))

    assert answers == [[float(number) for number in range(10)]] * 16


def test_parquet_is_preferred_where_its_writer_died_before_removing_the_stream(finished, stream):
    closed = next(finished.glob("gpu_counters/*/*/*.parquet"))
    closed.with_suffix(".arrow").write_bytes(stream[1])

    assert len(busy(Recording.open(finished))) == 10


def test_missing_columns_are_null_and_unknown_ones_ignored(finished):
    old = pa.table({"ts_ns": [BEGIN_NS + SECOND_NS], "duration_ns": [1], "from_the_future": ["x"]})
    directory = next(finished.glob("gpu_counters/*/host=h"))
    pq.write_table(old, directory / "old_writer-000000.parquet")

    found = Recording.open(finished).read("gpu_counters")

    assert found.column_names == list(tables.GPU_COUNTERS.column_names)
    assert found.num_rows == 11
    assert found.column("busy_pct").null_count == 1


def test_a_newer_schema_is_refused_by_name(finished):
    document = {"schema_version": 99}
    (finished / "meta" / "z.json").write_text(json.dumps(document))

    with pytest.raises(RecordingError, match=r"schema 99; this gnomon reads up to 1"):
        Recording.open(finished)


def test_a_damaged_meta_file_costs_only_itself(finished):
    (finished / "meta" / "z.json").write_text("{")

    recording = Recording.open(finished)

    assert recording.meta().schema_version == tables.SCHEMA_VERSION
    assert [one.path for one in recording.skipped()] == ["meta/z.json"]


@pytest.mark.parametrize("name", ["nothing-here", "empty", "file"])
def test_what_is_no_recording_is_told(tmp_path, name):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("x")

    with pytest.raises(RecordingError, match="no recording"):
        Recording.open(tmp_path / name)


def test_sql_sees_every_table_open_and_closed_segments_alike(finished):
    with RecordingWriter(finished, "live") as one:
        one.append("gpu_counters", counter_batch(5, first=10))
        one.flush()

        result = Recording.open(finished).sql(
            "SELECT count(*) AS n, max(busy_pct) AS top, (SELECT count(*) FROM phases) AS p "
            "FROM gpu_counters"
        )

    assert result.to_pylist() == [{"n": 15, "top": 14.0, "p": 0}]


@pytest.mark.parametrize(
    "query",
    [
        "DROP TABLE gpu_counters",
        "SELECT 1; SELECT 2",
        "COPY gpu_counters TO '/tmp/x.csv'",
        "SELECT * FROM read_csv('/etc/passwd')",
        "SELECT * FROM '/etc/passwd'",
        "ATTACH '/tmp/x.db'",
        "INSTALL httpfs",
        "SET memory_limit = '100GB'",
        "PRAGMA database_list",
        "CREATE TABLE x AS SELECT 1",
        "SELECT * FROM no_such_table",
        "SELEC 1",
        "",
    ],
)
def test_sql_refuses_all_but_one_select_inside_the_recording(finished, query):
    with pytest.raises(RecordingError):
        Recording.open(finished).sql(query)


def test_sql_is_bounded_in_rows_and_time(finished):
    recording = Recording.open(finished)

    with pytest.raises(RecordingError, match="more than 5 rows"):
        recording.sql("SELECT * FROM gpu_counters", SqlLimits(rows=5))
    with pytest.raises(RecordingError, match=r"longer than 0\.2 s"):
        recording.sql(
            "SELECT sum(a.range * b.range) FROM range(1000000) a, range(1000000) b",
            SqlLimits(timeout_s=0.2),
        )
