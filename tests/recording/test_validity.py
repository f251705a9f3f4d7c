"""What cannot be a measurement is set aside and told; everything beside it is read."""

import math
from itertools import pairwise

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gnomon import tables
from gnomon.recording._validity import LATEST_NS, LONGEST_NS, MOST_WEIGHT
from gnomon.recording.reader import Recording
from gnomon.recording.together import Together
from gnomon.recording.writer import RecordingWriter

from .conftest import BEGIN_NS, SECOND_NS, counter_rows

ABSURD = [
    {"ts_ns": 0},
    {"ts_ns": (1 << 63) - 1},
    {"duration_ns": -1},
    {"duration_ns": 1 << 62},
    {"duration_ns": None},
    {"weight": math.nan},
    {"weight": math.inf},
    {"weight": 1e300},
    {"weight": -5.0},
    {"weight": 0.0},
    {"duration_ns": LONGEST_NS // 2, "weight": 3.0},
    {"io_ns": 1 << 62},
    {"io_ns": -7},
    {"run_queue_ns": 10 * SECOND_NS},
]
SUMS = (
    "SELECT count(*) AS n, sum(duration_ns * weight)::BIGINT AS ns, sum(2 * ts_ns) > 0 AS is_late, "
    "round(sum(weight))::BIGINT AS weight FROM off_cpu"
)
SOUND = [{"n": 5, "ns": 5_000_000, "is_late": True, "weight": 5}]


def stays(*changes):
    """Five stays of 1 ms, and one more for each change of one."""
    row = {"duration_ns": 1_000_000, "pid": 1, "tid": 1, "weight": 1.0, "io_ns": 0}
    usual = [row | {"ts_ns": BEGIN_NS + number * SECOND_NS} for number in range(1, 6)]
    return usual + [row | {"ts_ns": BEGIN_NS + 3 * SECOND_NS} | change for change in changes]


def written(path, *changes):
    writer = RecordingWriter(path, "h")
    writer.append("off_cpu", tables.batch("off_cpu", stays(*changes)))
    writer.flush()
    return writer


def asked(recording):
    """The answer of each way to ask."""
    with recording.session() as session:
        return [session.rows(SUMS), recording.sql(SUMS).to_pylist()]


def told(recording):
    return sorted(one.reason.partition(":")[0] for one in recording.skipped())


@pytest.mark.parametrize("is_closed", [True, False])
@pytest.mark.parametrize("change", ABSURD, ids=str)
def test_a_row_that_cannot_be_is_set_aside_with_its_reason(tmp_path, change, is_closed):
    writer = written(tmp_path, change)
    if is_closed:
        writer.close()
    recording = Recording.open(tmp_path)

    assert asked(recording) == [SOUND, SOUND]
    assert recording.read("off_cpu").num_rows == 5
    assert recording.bounds() == (BEGIN_NS + SECOND_NS - 1_000_000, BEGIN_NS + 5 * SECOND_NS)
    assert any(
        one.reason.startswith("1 row set aside: ") or "none of its rows can be" in one.reason
        for one in recording.skipped()
    )


@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    column=st.sampled_from(
        [one for one in tables.OFF_CPU.columns if one.type in {"int64", "float64"}]
    ),
    number=st.integers(-(1 << 63), (1 << 63) - 1),
    real=st.floats(),
)
def test_sums_over_rows_with_any_number_in_any_column_can_be_asked(
    tmp_path_factory, column, number, real
):
    path = tmp_path_factory.mktemp("any")
    change = {column.name: real if column.type == "float64" else number}
    written(path, change, change).close()

    one, other = asked(Recording.open(path))

    assert one == other
    assert 5 <= one[0]["n"] <= 7


def test_the_longest_and_the_latest_are_still_measurements(tmp_path):
    limits = [{"ts_ns": LATEST_NS}, {"duration_ns": LONGEST_NS}, {"weight": MOST_WEIGHT}]
    written(tmp_path, *limits, {"io_ns": 1_000_001}).close()
    recording = Recording.open(tmp_path)

    assert recording.read("off_cpu").num_rows == 9
    assert recording.skipped() == []


def replaced(name, values):
    """Return a change of a file: one column of it holds something else."""

    def change(path):
        table = pq.read_table(path)
        place = table.schema.get_field_index(name)
        pq.write_table(table.set_column(place, name, values(table.column(name))), path)

    return change


def without_statistics(path):
    pq.write_table(pq.read_table(path), path, write_statistics=False)


FOREIGN = {
    "no bytes": lambda path: path.write_bytes(b""),
    "half of it": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "a text": lambda path: path.write_text("ts_ns,duration_ns\n1,2\n"),
    "another table": lambda path: pq.write_table(pa.table({"id": ["a"]}), path),
    "no statistics": without_statistics,
    "text for a number": replaced("duration_ns", lambda one: one.cast(pa.string())),
    "a calendar's time": replaced("ts_ns", lambda one: one.cast(pa.timestamp("ns"))),
    "bytes for a text": replaced("state", lambda one: one.cast(pa.binary())),
    "half a nanosecond": replaced("io_ns", lambda one: pa.array([0.5] * len(one))),
    "lists": replaced("pid", lambda one: pa.array([[1]] * len(one))),
}


@pytest.mark.parametrize("foreign", FOREIGN)
def test_a_file_that_no_recorder_wrote_is_named_and_the_rest_read(tmp_path, foreign):
    written(tmp_path).close()
    (victim,) = tmp_path.rglob("*.parquet")
    written(tmp_path).close()
    FOREIGN[foreign](victim)
    recording = Recording.open(tmp_path)

    assert asked(recording) == [SOUND, SOUND]
    assert recording.bounds() is not None
    assert recording.read("off_cpu").num_rows == 5
    assert told(recording) == ["damaged"]
    assert recording.skipped()[0].path.endswith(victim.name)


@pytest.mark.parametrize("wider", [pa.float64(), pa.int32(), pa.null()])
def test_numbers_of_another_width_are_read_as_ours(tmp_path, wider):
    written(tmp_path).close()
    (file,) = tmp_path.rglob("*.parquet")
    values = [None if pa.types.is_null(wider) else 0] * 5
    replaced("io_ns", lambda _: pa.array(values, wider))(file)
    recording = Recording.open(tmp_path)

    with recording.session() as session:
        rows = session.rows("SELECT io_ns FROM off_cpu")
    assert [row["io_ns"] for row in rows] == values
    assert recording.skipped() == []


def test_an_open_segment_of_another_program_is_named(tmp_path):
    written(tmp_path).close()
    directory = next(tmp_path.glob("off_cpu/*/*"))
    rows = pa.table({"ts_ns": [BEGIN_NS], "duration_ns": ["long"]})
    with pa.ipc.new_stream(directory / "other_writer-000000.arrow", rows.schema) as stream:
        stream.write_table(rows)
    recording = Recording.open(tmp_path)

    assert asked(recording) == [SOUND, SOUND]
    assert told(recording) == ["damaged"]


NAMES = ("run*", "run[1]", "run?", "run", "run1", "run11", "it's {a,b} run", "**")


def test_a_directory_is_its_own_whatever_it_is_called(tmp_path):
    for number, name in enumerate(NAMES, start=1):
        written(tmp_path / name, *[{}] * number).close()

    for number, name in enumerate(NAMES, start=1):
        with Recording.open(tmp_path / name).session() as session:
            assert session.rows("SELECT count(*) AS n FROM off_cpu") == [{"n": 5 + number}]
    every = [Recording.open(tmp_path / name) for name in NAMES]
    for pair in pairwise(every):
        rows = Together(pair).sql("SELECT count(*) AS n FROM off_cpu").to_pylist()
        assert rows == [{"n": sum(one.read("off_cpu").num_rows for one in pair)}]


def broken(path, begin, end):
    """Flip bits of a file's pages; its footer stays whole."""
    content = bytearray(path.read_bytes())
    for at in range(begin, end):
        content[at] ^= 0x55
    path.write_bytes(content)


@pytest.fixture
def half_broken(tmp_path):
    """Two recordings of one host, of which the first has a file with a broken page."""
    written(tmp_path / "a").close()
    (victim,) = (tmp_path / "a").rglob("*.parquet")
    written(tmp_path / "a").close()
    written(tmp_path / "b").close()
    broken(victim, 4, 60)
    return [Recording.open(tmp_path / name) for name in "ab"]


def test_a_page_that_the_database_cannot_read_takes_its_file_away_and_no_more(half_broken):
    query = "SELECT count(ts_ns) AS n, sum(duration_ns)::BIGINT AS ns FROM off_cpu"
    for measurements, files in ((half_broken[0], 1), (Together(half_broken), 2)):
        with measurements.session() as session:
            assert session.rows(query) == [{"n": 5 * files, "ns": 5_000_000 * files}]
        assert told(measurements) == ["damaged"]


def test_sql_over_several_recordings_verifies_pages_too(half_broken):
    rows = Together(half_broken).sql("SELECT count(ts_ns) AS n FROM off_cpu").to_pylist()

    assert rows == [{"n": 10}]


def test_a_reading_that_is_infinite_is_set_aside_in_open_and_closed_segments(tmp_path):
    rows = counter_rows(4)
    rows[1]["power_watts"] = math.inf
    rows[2]["dram_active_pct"] = math.nan
    writer = RecordingWriter(tmp_path, "h")
    writer.append("gpu_counters", tables.batch("gpu_counters", rows))
    writer.flush()
    recording = Recording.open(tmp_path)

    for _ in range(2):
        assert recording.read("gpu_counters").column("busy_pct").to_pylist() == [0.0, 2.0, 3.0]
        assert told(recording) == ["1 row set aside"]
        writer.close()
