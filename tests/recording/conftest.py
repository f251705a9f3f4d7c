"""Rows and writers for the tests of recordings."""

import pytest

from gnomon import tables
from gnomon.recording.writer import RecordingWriter

BEGIN_NS = 1_795_202_080_000_000_000
SECOND_NS = 1_000_000_000


def counter_rows(count, first=0, gpu="GPU-1"):
    """Rows a second apart whose busy_pct is their number."""
    return [
        {
            "ts_ns": BEGIN_NS + (index + 1) * SECOND_NS,
            "duration_ns": SECOND_NS,
            "gpu_uuid": gpu,
            "source": "nvml",
            "busy_pct": float(index),
        }
        for index in range(first, first + count)
    ]


def counter_batch(count, first=0, gpu="GPU-1"):
    return tables.batch("gpu_counters", counter_rows(count, first, gpu))


@pytest.fixture
def writer(tmp_path):
    with RecordingWriter(tmp_path / "recording", "host-1") as one:
        yield one
