"""``gnomon record``, killed at any moment: at most the last second is missing, all else reads."""

import json
import random
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import pytest

from gnomon.recording.reader import Recording
from tests.standins import DEFAULT_UUID, Scenario, library_environment

KILLS = 20
AT_ONCE = 4  # most of the time is waiting
# One second, and what a busy test machine adds to it.
MOST_MISSING_NS = 1_500_000_000
STARTED_S = 30.0


@pytest.fixture
def h200(nvml_standin, tmp_path):
    """Return the variables that make a program find one H200 instead of a driver."""
    variables = library_environment(nvml_standin, Scenario(tmp_path / "scenario.txt"))
    return {name: variables[name] for name in ("LD_LIBRARY_PATH", "GNOMON_NVML_SCENARIO")}


def wait_for_rows(directory):
    """Wait until the first counters are on disk."""
    deadline_s = time.monotonic() + STARTED_S
    while not list(directory.glob("gpu_counters/*/*/*.arrow")):
        assert time.monotonic() < deadline_s, f"nothing was recorded within {STARTED_S:.0f} s"
        time.sleep(0.02)


def kill_one(start_gnomon, directory, variables, delay_s):
    """Record, kill after a delay from the first rows on; return when that was, in Unix ns."""
    recorder = start_gnomon("record", "-o", directory, "--period", "100ms", **variables)
    wait_for_rows(directory)
    time.sleep(delay_s)
    assert recorder.poll() is None
    killed_ns = time.time_ns()
    recorder.send_signal(signal.SIGKILL)
    recorder.wait(30)
    return killed_ns


def test_at_most_the_last_second_is_missing(start_gnomon, gnomon, h200, tmp_path):
    directories = [tmp_path / f"run{number}" for number in range(KILLS)]
    delays_s = [random.uniform(0.0, 2.0) for _ in directories]

    def kill(directory, delay_s):
        return kill_one(start_gnomon, directory, h200, delay_s)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        killed_ns = list(pool.map(kill, directories, delays_s))

    for directory, at_ns in zip(directories, killed_ns, strict=True):
        recording = Recording.open(directory)
        rows = recording.read("gpu_counters", columns=["ts_ns", "gpu_uuid", "source"])
        assert set(rows.column("gpu_uuid").to_pylist()) == {DEFAULT_UUID.format(index=0)}
        assert recording.skipped() == []
        times_ns = [row["ts_ns"] for row in rows.to_pylist() if row["source"] == "nvml"]
        gaps_ns = [after - before for before, after in pairwise([*times_ns, at_ns])]
        assert max(gaps_ns) < MOST_MISSING_NS, directory
    summary = gnomon("summary", directories[delays_s.index(max(delays_s))], "--json")
    assert json.loads(summary.stdout)["gpus"][0]["name"] == "NVIDIA H200", summary.stderr
