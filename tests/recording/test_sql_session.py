"""What a session keeps at hand, and how its numbers come."""

import json

import pyarrow as pa
import pytest

from gnomon._errors import RecordingError
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
