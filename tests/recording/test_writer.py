"""What is flushed is readable at once, from anywhere, and survives being killed."""

import contextlib
import os
import random
import signal
import subprocess
import sys
import threading
import time
from itertools import count

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gnomon import tables
from gnomon._errors import RecordingError
from gnomon.recording.reader import Recording
from gnomon.recording.writer import RecordingWriter, SegmentLimits

from .conftest import BEGIN_NS, SECOND_NS, counter_batch, counter_rows


def busy(recording, **range_):
    table = recording.read("gpu_counters", columns=["busy_pct"], **range_)
    return table.column("busy_pct").to_pylist()


def test_flushed_rows_are_readable_while_writing_goes_on(writer):
    writer.append("gpu_counters", counter_batch(3))
    writer.flush()
    recording = Recording.open(writer.path)

    assert busy(recording) == [0.0, 1.0, 2.0]

    writer.append("gpu_counters", counter_batch(2, first=3))
    assert busy(recording) == [0.0, 1.0, 2.0]
    writer.flush()
    assert busy(recording) == [0.0, 1.0, 2.0, 3.0, 4.0]


def test_a_flush_of_many_batches_is_one_message(writer):
    for index in range(20):
        writer.append("gpu_counters", counter_batch(1, first=index))
    writer.flush()

    [path] = writer.path.glob("gpu_counters/*/*/*.arrow")
    with pa.OSFile(str(path)) as file:
        reader = pa.ipc.open_stream(file)
        assert [batch.num_rows for batch in reader] == [20]


def test_closing_turns_segments_into_parquet_with_the_same_rows(tmp_path):
    with RecordingWriter(tmp_path, "h") as one:
        one.append("gpu_counters", counter_batch(5))

    assert not list(tmp_path.glob("**/*.arrow"))
    [path] = tmp_path.glob("gpu_counters/date=*/host=h/*.parquet")
    assert path.parent.parent.name == "date=2026-11-20"
    assert busy(Recording.open(tmp_path)) == [0.0, 1.0, 2.0, 3.0, 4.0]


def test_segments_roll_by_size_and_the_reader_sees_no_seam(tmp_path):
    with RecordingWriter(tmp_path, "h", SegmentLimits(size_bytes=20_000)) as one:
        recording = None
        for index in range(40):
            one.append("gpu_counters", counter_batch(10, first=10 * index))
            one.flush()
            recording = recording or Recording.open(tmp_path)
            assert busy(recording)[-1] == 10 * index + 9

        one._closer.finish()
        assert len(list(tmp_path.glob("gpu_counters/**/*.parquet"))) > 3
        assert busy(recording) == [float(n) for n in range(400)]


def test_segments_roll_at_the_change_of_the_utc_day(tmp_path):
    seconds_to_midnight = 86_400 - (BEGIN_NS // SECOND_NS) % 86_400
    with RecordingWriter(tmp_path, "h") as one:
        for first in (0, seconds_to_midnight + 1):
            one.append("gpu_counters", counter_batch(2, first=first))
            one.flush()

    days = sorted(path.name for path in tmp_path.glob("gpu_counters/*"))
    assert days == ["date=2026-11-20", "date=2026-11-21"]
    assert len(busy(Recording.open(tmp_path))) == 4


def test_columns_of_another_table_are_refused(writer):
    with pytest.raises(RecordingError, match="not the columns of table 'gpu_counters'"):
        writer.append("gpu_counters", tables.batch("losses", [{"ts_ns": 1, "duration_ns": 0}]))


def test_a_segment_somebody_removed_is_begun_anew(writer):
    writer.append("gpu_counters", counter_batch(2))
    writer.flush()
    [path] = writer.path.glob("gpu_counters/*/*/*.arrow")
    path.unlink()
    writer.append("gpu_counters", counter_batch(2, first=2))
    writer.flush()

    assert busy(Recording.open(writer.path)) == [2.0, 3.0]


def test_rows_of_several_sources_are_put_in_the_order_of_time(writer):
    for first in (4, 0, 2):
        writer.append("gpu_counters", counter_batch(2, first=first))
    writer.flush()

    [path] = writer.path.glob("gpu_counters/*/*/*.arrow")
    with pa.OSFile(str(path)) as file:
        assert pa.ipc.open_stream(file).read_all()["busy_pct"].to_pylist() == [*range(6)]


def two_sources(count, first=0):
    """A batch in which a row of gpm and one of nvml take turns."""
    rows = counter_rows(count, first)
    for index, row in enumerate(rows):
        row["source"] = ("gpm", "nvml")[index % 2]
    return tables.batch("gpu_counters", rows)


def test_each_source_has_segments_of_its_own(tmp_path):
    with RecordingWriter(tmp_path, "h") as one:
        one.append("gpu_counters", two_sources(6))
        one.append("gpu_counters", counter_batch(2, first=6))

    found = [pq.read_table(path) for path in sorted(tmp_path.glob("gpu_counters/*/*/*.parquet"))]
    assert [set(rows["source"].to_pylist()) for rows in found] == [{"gpm"}, {"nvml"}]
    assert [rows["busy_pct"].to_pylist() for rows in found] == [[0, 2, 4], [1, 3, 5, 6, 7]]
    assert busy(Recording.open(tmp_path)) == [*range(8)]


def test_segments_of_all_sources_that_opened_together_close_together(tmp_path, monkeypatch):
    """Otherwise one moment after the other would do, and files overlap for good."""
    clock = count(step=1_000)
    monkeypatch.setattr(time, "monotonic_ns", lambda: next(clock))
    with RecordingWriter(tmp_path, "h", SegmentLimits(age_ns=30_500)) as one:
        for first in range(0, 400, 4):
            one.append("gpu_counters", two_sources(4, first))
            one.flush()

    segments = sorted(tmp_path.glob("gpu_counters/*/*/*.parquet"))
    ends = [pq.read_table(path)["busy_pct"].to_pylist()[-1] for path in segments]
    assert len(segments) > 4
    assert [gpm + 1 for gpm in ends[::2]] == ends[1::2]


def test_a_reader_beside_a_rolling_writer_always_sees_a_prefix(tmp_path):
    """Segments become Parquet, and vanish as streams, under the reader's eyes."""
    messages = 150
    one = RecordingWriter(tmp_path, "h", SegmentLimits(size_bytes=15_000))
    recording = Recording.open(tmp_path)
    flushed = [0]

    def write():
        for index in range(messages):
            one.append("gpu_counters", counter_batch(10, first=10 * index))
            one.flush()
            flushed[0] = 10 * index + 10
        one.close()

    thread = threading.Thread(target=write)
    thread.start()
    reads = 0
    while thread.is_alive():
        at_least = flushed[0]
        rows = busy(recording)
        assert rows == [float(n) for n in range(len(rows))]
        assert len(rows) >= at_least
        reads += 1
    thread.join()

    assert reads > 1
    assert len(busy(recording)) == 10 * messages
    assert recording.skipped() == []


def test_two_writers_share_a_directory(tmp_path):
    with RecordingWriter(tmp_path, "a") as one, RecordingWriter(tmp_path, "b") as other:
        one.append("gpu_counters", counter_batch(2))
        other.append("gpu_counters", counter_batch(2, first=2))
        one.flush()
        other.flush()

        assert busy(Recording.open(tmp_path)) == [0.0, 1.0, 2.0, 3.0]


def test_a_directory_that_cannot_be_written_is_a_clear_error(tmp_path):
    (tmp_path / "file").write_text("not a directory")

    with pytest.raises(RecordingError, match=r"cannot write the recording in .*file/x"):
        RecordingWriter(tmp_path / "file" / "x", "h")


@pytest.fixture
def small_disk(tmp_path):
    mount = tmp_path / "small"
    mount.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "none", str(mount)],
        capture_output=True,
        check=False,
    )
    if made.returncode:
        pytest.skip(f"cannot mount a small file system here: {made.stderr.decode().strip()}")
    yield mount
    subprocess.run(["umount", "-l", str(mount)], check=True)


def test_a_full_disk_loses_counted_rows_and_nothing_else(small_disk):
    ballast = small_disk / "ballast"
    one = RecordingWriter(small_disk / "r", "h")
    one.append("gpu_counters", counter_batch(10))
    one.flush()
    with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
        while True:
            file.write(b"0" * 512)

    with pytest.raises(RecordingError, match=r"No space left .* rows could not be kept"):
        _flush_until_refused(one)
    kept = busy(Recording.open(small_disk / "r"))
    assert kept == [float(n) for n in range(len(kept))]

    ballast.unlink()
    one.append("gpu_counters", counter_batch(1, first=1000))
    one.flush()
    one.close()
    recording = Recording.open(small_disk / "r")
    assert busy(recording) == [*kept, 1000.0]
    losses = recording.read("losses").to_pylist()
    assert [(row["table"], row["rows"], row["reason"]) for row in losses] == [
        ("gpu_counters", 10, "disk_full")
    ]


def _flush_until_refused(one):
    for index in range(1, 50):
        one.append("gpu_counters", counter_batch(10, first=10 * index))
        one.flush()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs a read-only mount")
def test_a_read_only_directory_is_a_clear_error(small_disk):
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)

    with pytest.raises(RecordingError, match=r"Read-only file system.*-o"):
        RecordingWriter(small_disk / "r", "h")


RECORDER = """
import sys, time
from pathlib import Path
sys.path.insert(0, {tests!r})
from recording.conftest import counter_batch
from gnomon.recording.writer import RecordingWriter, SegmentLimits
one = RecordingWriter(Path({path!r}), "h", SegmentLimits(size_bytes=30_000))
for index in range(100_000):
    one.append("gpu_counters", counter_batch(10, first=10 * index))
    one.flush()
    print(10 * index + 10, flush=True)
    time.sleep(0.002)
"""


def test_a_killed_writer_loses_nothing_that_was_flushed(tmp_path):
    from pathlib import Path

    tests = str(Path(__file__).parent.parent)
    for attempt in range(20):
        path = tmp_path / str(attempt)
        program = RECORDER.format(tests=tests, path=str(path))
        with subprocess.Popen(
            [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True
        ) as process:
            process.stdout.readline()
            time.sleep(random.uniform(0, 0.25))
            process.send_signal(signal.SIGKILL)
            flushed = [int(line) for line in process.stdout if line.strip().isdigit()]
        recording = Recording.open(path)
        rows = busy(recording)

        assert rows == [float(n) for n in range(len(rows))]
        assert len(rows) >= (flushed[-1] if flushed else 10)
