import contextlib
import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnomon.cli import quantities as q

BOUNDS = (1_000_000_000_000, 2_000_000_000_000)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1ns", 1),
        ("5us", 5_000),
        ("100ms", 100_000_000),
        ("1s", 10**9),
        ("1.5s", 1_500_000_000),
        ("0.1s", 100_000_000),
        ("2m", 120 * 10**9),
        ("2min", 120 * 10**9),
        ("1h", 3600 * 10**9),
        ("7d", 7 * 86400 * 10**9),
        (" 10 s ", 10 * 10**9),
    ],
)
def test_duration(text, expected):
    assert q.parse_duration_ns(text) == expected


@pytest.mark.parametrize(
    "text", ["", "s", "10", "-1s", "0s", "1 year", "1e3s", "1s2", "\u0661s", "nan"]
)
def test_no_duration(text):
    with pytest.raises(ValueError, match=r"is (not a duration|no time at all)"):
        q.parse_duration_ns(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("500", 500), ("500MB", 500_000_000), ("2GiB", 2 << 30), ("1.5KiB", 1536), ("1TB", 10**12)],
)
def test_size(text, expected):
    assert q.parse_size_bytes(text) == expected


@pytest.mark.parametrize("text", ["", "GB", "-1", "1 parsec", "2Gb"])
def test_no_size(text):
    with pytest.raises(ValueError, match="is not a size"):
        q.parse_size_bytes(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1795202060504392000", 1795202060504392000),
        ("10", 10),
        ("10s", BOUNDS[0] + 10 * 10**9),
        ("0s", BOUNDS[0]),
        ("-30s", BOUNDS[1] - 30 * 10**9),
        ("-0s", BOUNDS[1]),
        ("1970-01-01T00:20:00Z", 1200 * 10**9),
        ("1970-01-01T00:20:00", 1200 * 10**9),
        ("1970-01-01T01:20:00+01:00", 1200 * 10**9),
        ("1970-01-01 00:20", 1200 * 10**9),
    ],
)
def test_moment(text, expected):
    assert q.parse_moment(text).resolve(BOUNDS) == expected


@pytest.mark.parametrize("text", ["", "yesterday", "--3s", "1.5", "2026-13-01"])
def test_no_moment(text):
    with pytest.raises(ValueError, match=r"is not a (time|duration)"):
        q.parse_moment(text)


@given(st.integers(0, 7_000_000_000_000_000))
def test_iso_time_is_exact_to_the_microsecond(unix_us):
    epoch = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
    text = (epoch + dt.timedelta(microseconds=unix_us)).isoformat()

    assert q.parse_moment(text).resolve(BOUNDS) == unix_us * 1000


@given(st.text(max_size=12))
def test_any_text_is_a_quantity_or_a_value_error(text):
    """OverflowError and its like must not get out."""
    for parse in (q.parse_duration_ns, q.parse_size_bytes, q.parse_moment):
        with contextlib.suppress(ValueError):
            assert parse(text) is not None
