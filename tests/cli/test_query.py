import csv
import io
import json

import pytest

COUNT = "SELECT count(*) AS n, max(busy_pct) AS most FROM gpu_counters"


def test_table(gnomon, h200_recording):
    done = gnomon("query", h200_recording, COUNT)

    assert done.returncode == 0
    assert done.stdout.splitlines() == ["   n  most", "----  ----", "1073   100"]


def test_json(gnomon, h200_recording):
    done = gnomon("query", h200_recording, COUNT, "--json")

    assert json.loads(done.stdout) == [{"n": 1073, "most": 100.0}]


def test_json_without_rows(gnomon, h200_recording):
    done = gnomon("query", h200_recording, "SELECT * FROM phases WHERE name = 'x'", "--json")

    assert json.loads(done.stdout) == []


def test_json_has_no_nan(gnomon, h200_recording):
    done = gnomon("query", h200_recording, "SELECT 'nan'::DOUBLE AS x, [1] AS y", "--json")

    assert json.loads(done.stdout) == [{"x": None, "y": [1]}]


def test_csv_with_a_limit(gnomon, h200_recording):
    query = "SELECT ts_ns, busy_pct FROM gpu_counters ORDER BY ts_ns"
    done = gnomon("query", h200_recording, query, "--csv", "--limit", "2")

    rows = list(csv.reader(io.StringIO(done.stdout)))

    assert rows[0] == ["ts_ns", "busy_pct"]
    assert len(rows) == 3
    assert rows[1][0] == "1795202060504392000"
    assert "1,071 more rows" in done.stderr


def test_no_limit(gnomon, h200_recording):
    done = gnomon("query", h200_recording, "SELECT ts_ns FROM gpu_counters", "--csv", "--limit", 0)

    assert len(done.stdout.splitlines()) == 1074
    assert done.stderr == ""


def test_what_can_be_asked(gnomon, h200_recording):
    done = gnomon("query", h200_recording, "SHOW TABLES")

    assert "gpu_counters" in done.stdout


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("SELEC 1", "syntax error"),
        ("SELECT nothing FROM gpu_counters", "nothing"),
        ("DROP TABLE gpu_counters", "exactly one SELECT"),
        ("SELECT 1; SELECT 2", "exactly one SELECT"),
    ],
)
def test_errors(gnomon, h200_recording, sql, message):
    done = gnomon("query", h200_recording, sql)

    assert done.returncode == 1
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_files_of_the_host_cannot_be_read(gnomon, h200_recording):
    done = gnomon("query", h200_recording, "SELECT * FROM read_csv('/etc/passwd')")

    assert done.returncode == 1
    assert "root:" not in done.stdout


def test_json_and_csv_exclude_each_other(gnomon, h200_recording):
    assert gnomon("query", h200_recording, "SELECT 1", "--json", "--csv").returncode == 2
