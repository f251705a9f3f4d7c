"""What a session keeps at hand, and how its numbers come."""

import json

import pyarrow as pa
import pytest

from gnomon._errors import RecordingError
from gnomon.recording import _sql
from gnomon.recording._sql import SqlLimits, SqlSession

NUMBERS = "SELECT n, n % 3 AS rest FROM numbers WHERE n > 5"


@pytest.fixture
def session():
    with SqlSession({"numbers": pa.table({"n": list(range(20))})}, SqlLimits()) as opened:
        yield opened


def test_what_is_kept_answers_as_before(session):
    asked = [
        f"SELECT sum(n) AS n FROM ({NUMBERS})",
        f"SELECT count(*) AS n FROM ({NUMBERS}) JOIN ({NUMBERS}) USING (rest)",
        "SELECT count(*) AS n FROM (SELECT * FROM numbers WHERE n % 3 = 1 AND n > 5)",
    ]
    before = [session.rows(query) for query in asked]
    part = "SELECT * FROM numbers WHERE n % 3 = 1 AND n > 5"
    session.keep(NUMBERS, {part: "SELECT n FROM {kept} WHERE rest = 1"})
    session.keep(f"SELECT max(n) AS n FROM ({NUMBERS})")

    assert [session.rows(query) for query in asked] == before
    assert session.rows(f"SELECT * FROM (SELECT max(n) AS n FROM ({NUMBERS}))") == [{"n": 19}]


def test_what_cannot_be_computed_is_not_kept_and_says_so_when_it_is_asked(session):
    session.keep("SELECT nobody FROM numbers")

    with pytest.raises(RecordingError, match="nobody"):
        session.rows("SELECT * FROM (SELECT nobody FROM numbers)")


def test_nothing_but_a_select_is_kept(session):
    with pytest.raises(RecordingError, match="exactly one SELECT"):
        session.keep("CREATE TABLE mine AS SELECT 1")


def test_wide_sums_and_decimals_are_plain_numbers(session):
    (row,) = session.rows(
        "SELECT sum(n) AS n, 1.5::DECIMAL(4, 1) AS half, NULL::HUGEINT AS none FROM numbers"
    )

    assert json.dumps(row) == '{"n": 190, "half": 1.5, "none": null}'
    assert isinstance(row["n"], int)


def test_columns_come_as_arrays_however_many_rows_there_are(monkeypatch):
    monkeypatch.setattr(_sql, "ARRAY_ROWS", 2_048)
    many = pa.table({"n": range(10_000)})
    with SqlSession({"numbers": many}, SqlLimits(rows=10)) as session:
        found = session.arrays("SELECT n, n % 7 * 1.5::DOUBLE AS x FROM numbers WHERE n >= 5")

    assert found.columns["n"].tolist() == list(range(5, 10_000))
    assert found.columns["x"].tolist() == [n % 7 * 1.5 for n in range(5, 10_000)]


def test_a_column_is_numbered_in_the_order_in_which_its_values_come(monkeypatch):
    monkeypatch.setattr(_sql, "ARRAY_ROWS", 2_048)
    words = [f"word {n * n % 11}" for n in range(5_000)]
    with SqlSession({"words": pa.table({"word": words})}, SqlLimits()) as session:
        found = session.arrays("SELECT word FROM words", numbered=["word"])

    assert found.values["word"] == list(dict.fromkeys(words))
    assert [found.values["word"][number] for number in found.columns["word"]] == words


def test_arrays_without_rows_are_empty(session):
    found = session.arrays("SELECT n, n AS m FROM numbers WHERE n > 99", numbered=["m"])

    assert (len(found.columns["n"]), len(found.columns["m"]), found.values["m"]) == (0, 0, [])


def test_what_is_wrong_with_a_query_for_arrays_is_told(session):
    with pytest.raises(RecordingError, match="exactly one SELECT"):
        session.arrays("DROP TABLE numbers")
    with pytest.raises(RecordingError, match="Could not convert"):
        session.arrays("SELECT CAST(n || 'x' AS INTEGER) AS n FROM numbers")
