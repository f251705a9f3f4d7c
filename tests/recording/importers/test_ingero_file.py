"""Files that are damaged, of another kind, or made to do harm."""

import random
import sqlite3

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gnomon import tables
from gnomon._errors import RecordingError
from gnomon.recording.importers import foreign_values, ingero, ingero_file, sqlite_file
from gnomon.recording.importers.ingero import import_ingero
from gnomon.recording.importers.sink import Sink

from .ingero_files import PID, T0, event, launch, read, stay, write

SEEDED_MUTATIONS = 9_000
DRAWN_MUTATIONS = 1_000
PAGE = 512


class Nowhere:
    """In the place of a writer: holds that rows fit their table, and keeps none."""

    def append(self, table, batch):
        assert batch.schema.equals(tables.arrow_schema(table))

    def flush(self):
        pass


class ManyFiles(Sink):
    """Takes the rows of one file after the other, and makes batches of them seldom."""

    def finish(self):
        self.outcome.warnings.clear()


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    """A small file with something in every table."""
    events = [
        launch(0, 900, arg0=7, stack_hash=5, cgroup_id=1),
        read(50, 90),
        event(95, 3, 2, arg1=PID),
        stay(40, 100, arg1=3),
        event(1000, 3, 7, arg1=101),
        event(1100, 7, 1, 50, arg1=9),
    ]
    return write(
        tmp_path_factory.mktemp("fuzz") / "sample.db",
        events,
        page_bytes=PAGE,
        process_names=[{"pid": PID, "name": "train"}],
        stack_traces=[{"hash": 5, "ips": "", "frames": '[{"s":"f","i":"0x1"}]'}],
        system_snapshots=[{"timestamp": T0, "cpu_pct": 5.0, "mem_avail": 10}],
        causal_chains=[{"id": "a", "detected_at": T0, "severity": "HIGH", "summary": "s"}],
        cgroup_metadata=[{"cgroup_id": 1, "cgroup_path": "/x"}],
        annotations=[{"timestamp": T0, "labels": '{"a":"b"}', "pid": PID}],
        event_aggregates=[
            {"bucket": T0 - T0 % 60_000_000_000, "source": 1, "op": 3, "pid": PID, "count": 2,
             "stored": 1, "sum_dur": 9, "min_dur": 1, "max_dur": 8, "sum_arg0": 0}
        ],
    ).read_bytes()  # fmt: skip


@pytest.fixture(scope="module")
def attempt(tmp_path_factory):
    """Return a function that imports bytes and returns the complaint, None where it worked."""
    path = tmp_path_factory.mktemp("mutated") / "mutated.db"
    sink = ManyFiles(Nowhere(), ingero.IngeroOutcome("ingero"))

    def run(content):
        path.unlink(missing_ok=True)  # to write over a file makes some file systems flush it
        path.write_bytes(content)
        try:
            with ingero_file.opened(path) as file:
                found = ingero.survey(file)
                ingero._import(file, found, sink, lambda *_: None)
        except RecordingError as error:
            return str(error)
        finally:
            assert path.read_bytes() == content
            assert [each.name for each in path.parent.iterdir()] == [path.name]
        return None

    yield run
    super(ManyFiles, sink).finish()


def mutated(content, seed):
    """Return a copy with bytes flipped, overwritten, moved, repeated or cut off."""
    chance = random.Random(seed)
    data = bytearray(content)
    kind = seed % 5
    at = chance.randrange(len(data))
    if kind == 0:
        for _ in range(chance.randint(1, 8)):
            data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    elif kind == 1:
        length = chance.randint(1, 64)
        data[at : at + length] = chance.randbytes(length)
    elif kind == 2:
        page, other = (PAGE * chance.randrange(len(data) // PAGE) for _ in range(2))
        data[page : page + PAGE] = data[other : other + PAGE]
    elif kind == 3:
        del data[at:]
    else:  # inside the cells, where structure survives and values do not
        while not data[at]:
            at = chance.randrange(100, len(data))
        data[at] = chance.choice([0, 1, 6, 7, 127, 128, 255])
    return bytes(data)


def test_the_sample_itself_is_read(attempt, sample):
    assert attempt(sample) is None


def test_any_mutation_is_read_or_refused_by_name(attempt, sample):
    complaints = [attempt(mutated(sample, seed)) for seed in range(SEEDED_MUTATIONS)]

    told = [one for one in complaints if one is not None]
    assert all("mutated.db: " in one for one in told)
    # Neither refused as a whole nor believed as a whole.
    assert 0.1 < len(told) / SEEDED_MUTATIONS < 0.95


@settings(max_examples=DRAWN_MUTATIONS)
@given(st.data())
def test_any_bytes_anywhere_are_read_or_refused_by_name(attempt, sample, data):
    at = data.draw(st.integers(0, len(sample)))
    piece = data.draw(st.binary(max_size=40))
    cut = data.draw(st.integers(0, 40))

    complaint = attempt(sample[:at] + piece + sample[at + cut :])

    assert complaint is None or "mutated.db: " in complaint


@pytest.mark.parametrize(
    ("statements", "complaint"),
    [
        (["CREATE TABLE other (a)"], "not an Ingero recording: table events is not there"),
        (["CREATE TABLE events (a, timestamp)"], "table events lacks pid, tid, source, op"),
        (["CREATE VIEW events AS SELECT 1 timestamp, 1 pid, 1 tid, 1 source, 1 op, 1 duration"],
         "table events is not there"),
        (["CREATE TABLE events (pid, tid, source, op, duration, timestamp AS (zeroblob(1e9)))"],
         "table events lacks timestamp"),
        (["CREATE VIRTUAL TABLE events USING fts5(timestamp, pid, tid, source, op, duration)"],
         "table events is not there"),
        (["CREATE TABLE events (timestamp, pid, tid, source, op, duration)"], "holds no events"),
        (["CREATE TABLE events (timestamp, pid, tid, source, op, duration)",
          "INSERT INTO events VALUES ('now', 1, 1, 1, 1, 1)"], "none of its 1 events makes sense"),
        (["CREATE TABLE events (timestamp, pid, tid, source, op, duration)",
          f"INSERT INTO events VALUES ({T0}, 1, 1, 1, 3, 1), (946684800000000001, 1, 1, 1, 3, 1)"],
         "days apart"),
    ],
)  # fmt: skip
def test_another_kind_of_file_is_told(tmp_path, statements, complaint):
    path = tmp_path / "other.db"
    with sqlite3.connect(path) as db:
        for statement in statements:
            db.execute(statement)
    db.close()

    with pytest.raises(RecordingError, match=complaint) as caught:
        import_ingero(path, tmp_path / "run")
    assert str(path) in str(caught.value)
    assert [each.name for each in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("content", [b"", b"SQLite", b"t_unix,dt_s\n1,2\n", bytes(5000)])
def test_what_is_not_sqlite_is_told(tmp_path, content):
    path = tmp_path / "other.db"
    path.write_bytes(content)

    with pytest.raises(RecordingError, match="not an SQLite file"):
        import_ingero(path, tmp_path / "run")


def test_a_page_that_holds_itself_does_not_go_on_for_ever(tmp_path, attempt):
    path = write(tmp_path / "large.db", [launch(n, 1) for n in range(2000)])
    data = bytearray(path.read_bytes())
    interior = [at for at in range(4096, len(data), 4096) if data[at] == 5]
    assert interior
    for page in interior:
        data[page + 8 : page + 12] = (page // 4096 + 1).to_bytes(4, "big")

    assert "damaged" in attempt(bytes(data))


def test_work_is_bounded_by_the_size_of_the_file(attempt, sample, monkeypatch):
    monkeypatch.setattr(sqlite_file, "STEPS_AT_LEAST", 0)
    monkeypatch.setattr(sqlite_file, "STEPS_PER_BYTE", 0)
    monkeypatch.setattr(sqlite_file, "STEPS_BETWEEN_LOOKS", 100)

    assert "more work than a recording of its size can hold" in attempt(sample)


def test_rows_not_yet_in_the_main_file_are_read_from_the_log_beside_it(tmp_path):
    path = write(tmp_path / "live.db", [launch(0, 1)])
    writer = sqlite3.connect(path)
    writer.execute("PRAGMA journal_mode = WAL")
    writer.execute(
        "INSERT INTO events (id, timestamp, pid, tid, source, op, duration) "
        f"VALUES (':2', {T0 + 5}, {PID}, {PID}, 1, 3, 1)"
    )
    writer.commit()
    before = path.read_bytes()

    result = import_ingero(path, tmp_path / "run")

    assert result.rows["host_calls"] == 2
    assert path.read_bytes() == before
    writer.close()


def test_names_that_would_drive_a_terminal_are_made_harmless():
    assert foreign_values.clean("a\x1b[31mb\n") == "a [31mb "
    assert foreign_values.clean("x" * 20, 10) == "x" * 9 + "…"
    assert foreign_values.clean(b"bytes") is None
