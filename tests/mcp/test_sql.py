"""``run_sql`` answers one SELECT, and can neither reach nor harm anything else."""

import subprocess

import duckdb
import pytest

from gnomon._errors import RecordingError
from gnomon.mcp import sql_child, sql_process
from gnomon.mcp.sql_process import Bounds

from .conftest import tree

SECRET = "the canary's own words"
# {file}: a file outside, {new}: one that is not there yet, {inside}: one in the recording.
REFUSED = """
INSERT INTO phases VALUES (1)
UPDATE phases SET name = 'x'
DELETE FROM phases
WITH gone AS (DELETE FROM phases RETURNING *) SELECT * FROM gone
WITH more AS (INSERT INTO phases (name) VALUES ('x') RETURNING *) SELECT * FROM more
DROP VIEW phases
CREATE TABLE mine AS SELECT 1
CREATE VIEW mine AS SELECT 1
CREATE MACRO mine(a) AS a
CREATE SECRET mine (TYPE s3)
ALTER VIEW phases RENAME TO x
TRUNCATE phases
MERGE INTO phases USING phases AS other ON TRUE WHEN MATCHED THEN DELETE
VACUUM
CHECKPOINT
BEGIN TRANSACTION
ATTACH '{new}' AS mine
ATTACH '{inside}' AS mine
ATTACH ':memory:' AS mine
DETACH memory
USE memory
COPY phases TO '{new}'
COPY phases TO '{inside}'
COPY (SELECT 1) TO '{new}' (FORMAT parquet)
COPY phases FROM '{file}'
COPY FROM DATABASE memory TO mine
EXPORT DATABASE '{new}'
EXPORT DATABASE '{inside}'
IMPORT DATABASE '{new}'
SELECT * FROM '{file}'
SELECT * FROM '{inside}'
SELECT * FROM read_csv('{file}', header = false, columns = {{'a': 'VARCHAR'}})
SELECT * FROM read_text('{file}')
SELECT * FROM read_blob('{file}')
SELECT * FROM read_text(['{file}'])
SELECT * FROM read_parquet('{inside}')
SELECT * FROM read_json('{file}')
SELECT * FROM read_ndjson_objects('{file}')
SELECT * FROM sniff_csv('{file}')
SELECT * FROM parquet_metadata('{inside}')
SELECT * FROM glob('/*')
SELECT * FROM query('SELECT * FROM read_text(''{file}'')')
SELECT * FROM query('COPY phases TO ''{new}''')
SELECT * FROM query_table('{file}')
SELECT * FROM json_execute_serialized_sql(json_serialize_sql('FROM read_text(''{file}'')'))
DESCRIBE SELECT * FROM read_text('{file}')
SUMMARIZE SELECT * FROM read_text('{file}')
SELECT * FROM read_csv('https://example.com/x.csv')
SELECT * FROM 's3://bucket/x.parquet'
SELECT * FROM read_parquet('hf://datasets/x/y.parquet')
SELECT * FROM postgres_scan('host=127.0.0.1', 'public', 'x')
SELECT * FROM sqlite_scan('{file}', 'x')
PRAGMA database_list
PRAGMA enable_profiling
PRAGMA threads = 99
SET enable_external_access = true
SET lock_configuration = false
SET memory_limit = '100GB'
RESET memory_limit
SET VARIABLE x = 1
INSTALL httpfs
LOAD httpfs
FORCE INSTALL httpfs FROM 'http://127.0.0.1'
UPDATE EXTENSIONS
CALL pragma_version()
EXPLAIN ANALYZE SELECT 1
PREPARE p AS SELECT 1
EXECUTE p
SELECT 1; SELECT 2
SELECT 1; COPY phases TO '{new}'
SELECT * FROM enable_logging(storage = 'file', storage_path = '{new}')
SELECT * FROM enable_profiling(save_location = '{new}')
SELECT * FROM force_checkpoint()
SELECT * FROM create_external_resource('x', MAP {{'a': 'b'}})
SELECT * FROM register_external_resource_type('x', 'y', 'read_text', 'z', 'z', 'z', 'z')
SELECT * FROM destroy_external_resource('read_text', '{file}')
SELECT * FROM duckdb_secrets()
SELECT * FROM duckdb_extensions()
SELECT getenv('PATH')
SELECT * FROM python_map_function((SELECT 1))
SELECT * FROM arrow_scan(1::POINTER, 1::POINTER, 1::POINTER)
PIVOT phases ON name USING count(*)
SELECT * FROM (PIVOT phases ON name USING count(*))
WITH p AS (PIVOT phases ON name USING count(*)) SELECT * FROM p
SELEC 1
-- nothing
""".strip().splitlines()


@pytest.fixture(scope="module")
def places(hostile, tmp_path_factory):
    """What statements aim at: a file with a secret, a name that is free, one of the recording."""
    outside = tmp_path_factory.mktemp("outside")
    (outside / "canary.csv").write_text(f"{SECRET}\n")
    return {
        "file": outside / "canary.csv",
        "new": outside / "new",
        "inside": next(hostile.glob("phases/*/*/*.parquet")),
    }


def answered(directory, query):
    """Run a query as its process does, without the process."""
    task = {
        "directory": str(directory),
        "query": query,
        "rows": 100,
        "most_bytes": 10_000,
        "most_rows": 1000,
        "most_timeout_s": 20.0,
        "most_memory_bytes": 1 << 28,
    }
    return sql_child._run(task)


@pytest.mark.parametrize("statement", REFUSED)
def test_what_is_no_question_to_the_tables_is_refused_and_leaves_no_trace(
    hostile, places, statement
):
    before = tree(hostile), tree(places["file"].parent)

    with pytest.raises(RecordingError) as refusal:
        answered(hostile, statement.format(**places))

    assert SECRET not in str(refusal.value)
    assert (tree(hostile), tree(places["file"].parent)) == before


def test_every_function_of_the_database_that_takes_a_path_is_refused(hostile, places):
    takes_a_path = duckdb.sql(
        "SELECT DISTINCT function_name FROM duckdb_functions() WHERE function_type = 'table' "
        "AND list_has_any(parameters, ['path', 'paths', 'file', 'pattern', 'file_name'])"
    ).fetchall()

    assert len(takes_a_path) > 10
    for (name,) in takes_a_path:
        with pytest.raises(RecordingError):
            answered(hostile, f"SELECT * FROM {name}('{places['file']}')")


@pytest.mark.parametrize(
    ("query", "rows"),
    [
        ("SELECT count(*) FROM gpu_counters", [[7]]),
        ("FROM gpu_counters SELECT max(busy_pct)", [[50.0]]),
        ("WITH x AS (SELECT 1 AS a) SELECT a + 1 FROM x;", [[2]]),
        ("SELECT 'nan'::DOUBLE, 'inf'::DOUBLE, NULL, TRUE", [[None, None, None, True]]),
        ("SELECT DATE '2026-11-21', 1.5::DECIMAL(4, 2)", [["2026-11-21", "1.50"]]),
        ("SELECT [1, 2], 'x'", [[{"from_process": "[1, 2]"}, {"from_process": "x"}]]),
        ("SELECT 1 -- ; DROP VIEW phases", [[1]]),
        ("SELECT 1 WHERE FALSE", []),
    ],
)
def test_select_is_answered(hostile, query, rows):
    assert answered(hostile, query)["rows"] == rows


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("SELECT count(*) FROM range(1000000000000) a, range(99) b WHERE a.range % 7 = b.range", 2),
        ("WITH RECURSIVE x AS (SELECT 1 AS n UNION ALL SELECT n FROM x) SELECT max(n) FROM x", 2),
        ("SELECT repeat('x', 3000000000)", "Out of Memory"),
        ("SELECT list(range) FROM range(300000000)", "Out of Memory|longer than 2 s"),
        ("SELECT repeat(range::VARCHAR, 3000000) FROM range(100000)", "memory"),
        ("SELECT * FROM range(1000000)", "more than 100000 rows"),
        (f"SELECT {','.join(map(str, range(1000)))}", "at most 200"),
        (f"SELECT {'(' * 5000}1{')' * 5000}", "expression depth"),
        (f"SELECT {' + '.join(['1'] * 9000)}", "expression depth"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_query_that_wants_too_much_ends_with_its_process(hostile, query, message):
    bounds = Bounds(timeout_s=2.0, memory_bytes=256 << 20)

    with pytest.raises(RecordingError, match=str(message)):
        sql_process.run(hostile, query, 10, bounds)

    assert sql_process.run(hostile, "SELECT 1", 10, bounds)["rows"] == [[1]]


def test_a_process_that_died_is_told_with_its_signal():
    done = subprocess.CompletedProcess([], -9, stdout=b"")

    with pytest.raises(RecordingError, match=r"SIGKILL.*1024 MiB"):
        sql_process._result(done, Bounds())


def test_the_process_of_a_query_sees_no_secret_of_ours(monkeypatch):
    monkeypatch.setenv("GNOMON_MCP_TOKEN", "secret")

    assert "secret" not in sql_process._environment().values()


def test_the_process_of_a_query_can_write_no_byte(tmp_path):
    script = (
        "from gnomon.mcp import sql_child; import sys, pathlib\n"
        "sql_child.confine({'most_cpus': 1, 'most_timeout_s': 5, 'start_s': 5, "
        "'mapped_bytes': 1 << 31})\n"
        "pathlib.Path(sys.argv[1]).write_text('x')"
    )
    path = tmp_path / "file"
    done = subprocess.run(
        [sql_process.sys.executable, "-c", script, path],
        capture_output=True,
        text=True,
        check=False,
    )

    assert "File too large" in done.stderr
    assert not path.exists() or path.read_bytes() == b""
