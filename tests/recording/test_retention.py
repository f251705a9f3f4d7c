"""Bounds are kept by deleting the oldest closed segments, never what is being written."""

import os

import pytest

from gnomon.recording import retention
from gnomon.recording._open_segment import adopt
from gnomon.recording.reader import Recording
from gnomon.recording.retention import Retention
from gnomon.recording.writer import RecordingWriter, SegmentLimits

from .conftest import counter_batch

HOUR_NS = 3_600_000_000_000


@pytest.fixture
def rolled(tmp_path):
    """A recording of several closed segments and an open one, with its writer."""
    with RecordingWriter(tmp_path / "r", "h", SegmentLimits(size_bytes=15_000)) as one:
        for index in range(30):
            one.append("gpu_counters", counter_batch(10, first=10 * index))
            one.flush()
        one._closer.finish()
        for age, path in enumerate(sorted((tmp_path / "r").glob("**/*.parquet"), reverse=True)):
            modified = 10_000 - age
            os.utime(path, (modified, modified))
        yield one


def test_the_oldest_go_first_and_the_open_one_stays(rolled):
    before = sorted(rolled.path.glob("**/*.parquet"))

    kept = retention.apply(rolled.path, Retention(max_bytes=0), now_ns=0)

    assert [path.name for path in kept.removed] == [path.name for path in before]
    assert kept.closed_bytes == 0
    assert len(list(rolled.path.glob("**/*.arrow"))) == 1
    assert Recording.open(rolled.path).read("gpu_counters").num_rows > 0


def test_age_removes_only_what_is_older(rolled):
    before = sorted(rolled.path.glob("**/*.parquet"))

    kept = retention.apply(
        rolled.path, Retention(max_age_ns=HOUR_NS), now_ns=9_999 * 1_000_000_000 + HOUR_NS + 1
    )

    assert [path.name for path in kept.removed] == [path.name for path in before[:-1]]


def test_no_bounds_remove_nothing(rolled):
    assert retention.apply(rolled.path, Retention(), now_ns=2**62).removed == ()


def test_what_a_dead_writer_left_open_is_taken_in(rolled):
    [path] = rolled.path.glob("gpu_counters/**/*.arrow")
    content = path.read_bytes()
    rows = Recording.open(rolled.path).read("gpu_counters").num_rows
    left = path.with_name("dead_writer-000000.arrow")
    left.write_bytes(content[:-7])
    os.utime(left, (1, 1))

    recovered = retention.recover(rolled.path)

    assert recovered == [left.with_suffix(".parquet")]
    assert not left.exists()
    assert path.exists()
    assert Recording.open(rolled.path).read("gpu_counters").num_rows > rows


def test_a_segment_is_adopted_by_one_recorder_only(rolled):
    [path] = rolled.path.glob("gpu_counters/**/*.arrow")
    with adopt(path, quiet_s=0) as while_it_is_written:
        assert not while_it_is_written
    for segment in rolled._open.values():
        segment.release()
    rolled._open.clear()

    with adopt(path) as while_it_is_fresh:
        assert not while_it_is_fresh
    with adopt(path, quiet_s=0) as first, adopt(path, quiet_s=0) as second:
        assert (first, second) == (True, False)
    with adopt(path, quiet_s=0) as again:
        assert again


def test_an_interrupted_conversion_is_made_again(rolled):
    [path] = rolled.path.glob("gpu_counters/**/*.arrow")
    rows = Recording.open(rolled.path).read("gpu_counters").num_rows
    for segment in rolled._open.values():
        segment.release()
    rolled._open.clear()
    os.utime(path, (1, 1))
    path.with_suffix(".parquet").write_bytes(b"PAR1 half a file")

    assert retention.recover(rolled.path) == [path.with_suffix(".parquet")]
    recording = Recording.open(rolled.path)
    assert recording.read("gpu_counters").num_rows == rows
    assert not path.exists()
    assert recording.skipped() == []
