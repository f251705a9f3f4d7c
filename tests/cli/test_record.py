"""`gnomon record` as a program of its own: signals, workloads, disks, and a stand-in for NVML."""

import json
import os
import pty
import re
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gnomon.recording.announcement import find_current
from gnomon.recording.reader import Recording
from tests.standins import DEFAULT_UUID, Scenario, library_environment

UUID = DEFAULT_UUID.format(index=0)
SLEEPING = (sys.executable, "-c", "import time; print('up', flush=True); time.sleep(60)")


@pytest.fixture
def h200(nvml_standin, tmp_path):
    """Return a Scenario and the variables that make a program find it instead of a driver."""
    scenario = Scenario(tmp_path / "scenario.txt")
    variables = library_environment(nvml_standin, scenario)
    names = ("LD_LIBRARY_PATH", "GNOMON_NVML_SCENARIO")
    return scenario, {name: variables[name] for name in names}


def column(directory, table, name):
    return Recording.open(directory).read(table, columns=[name]).column(name).to_pylist()


def wait_until(condition, timeout_s=30):
    deadline_s = time.monotonic() + timeout_s
    while time.monotonic() < deadline_s:
        if condition():
            return True
        time.sleep(0.05)
    return False


def has_rows(directory, table):
    return directory.is_dir() and any((directory / table).rglob("*.arrow"))


def test_a_gpu_and_its_host(gnomon_process, h200, tmp_path):
    done = gnomon_process(
        "record", "-o", tmp_path / "run", "--period", "100ms", "--duration", "1s", **h200[1]
    )

    assert done.returncode == 0, done.stderr
    assert f"recording into {tmp_path / 'run'}" in done.stderr
    assert "next: gnomon summary" in done.stderr
    assert set(column(tmp_path / "run", "gpu_counters", "gpu_uuid")) == {UUID}
    assert {"nvml", "gpm"} <= set(column(tmp_path / "run", "gpu_counters", "source"))
    assert column(tmp_path / "run", "host_samples", "cpu_pct")
    assert Recording.open(tmp_path / "run").meta().gpus[UUID]["name"] == "NVIDIA H200"
    assert not list((tmp_path / "run").rglob("*.arrow"))  # closed cleanly: all is Parquet


def test_without_a_gpu_the_host_is_recorded_and_the_rest_is_named(gnomon_process, tmp_path):
    done = gnomon_process(
        "record", "-o", tmp_path / "run", "--period", "100ms", "--duration", "600ms"
    )

    assert done.returncode == 0
    # With the helper built, the pm source stands in the same line.
    assert re.search("^not measured: nvml, gpm.*: no NVIDIA driver", done.stderr, re.MULTILINE)
    assert "gnomon demo" in done.stderr
    assert column(tmp_path / "run", "host_samples", "cpu_pct")
    reasons = {each.source for each in Recording.open(tmp_path / "run").meta().unavailable}
    assert {"nvml", "gpm"} <= reasons


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_closes_the_recording(start_gnomon, environment, tmp_path, number):
    directory = tmp_path / "run"
    runtime = Path(environment["GNOMON_RUNTIME_DIRECTORY"])
    recorder = start_gnomon("record", "-o", directory, "--period", "100ms")
    assert wait_until(lambda: has_rows(directory, "host_samples"))
    assert find_current(runtime) == directory

    recorder.send_signal(number)
    _, errors = recorder.communicate(timeout=30)

    assert recorder.returncode == 0, errors
    assert "Traceback" not in errors
    assert not list(directory.rglob("*.arrow"))
    assert column(directory, "events", "kind")[-1] == "recording_stopped"
    assert find_current(runtime) is None


def test_a_workload_and_its_status(gnomon_process, tmp_path):
    program = "import os; print(os.environ['GNOMON_RECORDING']); raise SystemExit(7)"
    done = gnomon_process("record", "-o", tmp_path / "run", "--", sys.executable, "-c", program)

    assert done.returncode == 7
    assert done.stdout == f"{tmp_path / 'run'}\n"


def test_options_of_the_workload_are_its_own(gnomon_process, tmp_path):
    done = gnomon_process("record", "-o", tmp_path / "run", "--", "echo", "--json", "-o", "x")

    assert done.returncode == 0
    assert done.stdout == "--json -o x\n"


def test_a_workload_that_is_not_there(gnomon_process, tmp_path):
    done = gnomon_process("record", "-o", tmp_path / "run", "--", "no-such-program")

    assert done.returncode == 127
    assert "no-such-program: no such command" in done.stderr
    assert "Traceback" not in done.stderr


def test_sigterm_ends_the_workload_too(start_gnomon, tmp_path):
    recorder = start_gnomon("record", "-o", tmp_path / "run", "--", *SLEEPING)
    assert recorder.stdout.readline() == "up\n"

    recorder.terminate()

    assert recorder.wait(30) == 143


def test_the_workload_is_watched(start_gnomon, tmp_path):
    directory = tmp_path / "run"
    recorder = start_gnomon("record", "-o", directory, "--period", "100ms", "--", *SLEEPING)
    assert recorder.stdout.readline() == "up\n"
    assert wait_until(lambda: has_rows(directory, "process_samples"))
    recorder.terminate()
    recorder.wait(30)

    assert any(name.startswith("python") for name in column(directory, "process_samples", "name"))


def test_duration_ends_the_recording_but_not_the_workload(gnomon_process, tmp_path):
    program = "import time; time.sleep(1); print('finished')"
    done = gnomon_process(
        "record", "-o", tmp_path / "run", "--duration", "300ms", "--", sys.executable, "-c", program
    )

    assert done.returncode == 0
    assert done.stdout == "finished\n"
    first, last = Recording.open(tmp_path / "run").bounds()
    assert last - first < 0.9e9


@pytest.fixture
def unwritable(tmp_path):
    """A directory that nobody can make: its parent is a file."""
    (tmp_path / "file").write_text("")
    return tmp_path / "file" / "run"


def test_a_directory_that_cannot_be_written(gnomon_process, unwritable):
    done = gnomon_process("record", "-o", unwritable, "--duration", "1s")

    assert done.returncode == 1
    assert f"cannot write the recording in {unwritable}" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_workload_runs_even_where_nothing_can_be_recorded(gnomon_process, unwritable):
    done = gnomon_process("record", "-o", unwritable, "--", "sh", "-c", "echo ran; exit 3")

    assert done.returncode == 3
    assert done.stdout == "ran\n"
    assert "going on without recording" in done.stderr


def test_a_terminal_goes_on_showing_live_values(environment, unwritable):
    """The disk is no reason to stop looking: under a pseudo terminal the status line is there."""
    ours, theirs = pty.openpty()
    command = [
        sys.executable,
        "-m",
        "gnomon",
        "record",
        "-o",
        str(unwritable),
        "--duration",
        "1200ms",
    ]
    process = subprocess.Popen(command, stderr=theirs, env=environment)
    os.close(theirs)
    shown = b""
    while True:
        try:
            piece = os.read(ours, 4096)
        except OSError:  # how Linux says that the other side of a terminal was closed
            break
        if not piece:
            break
        shown += piece
    os.close(ours)

    assert process.wait(30) == 1
    assert b"going on without recording" in shown
    assert b"NOT RECORDED" in shown


def test_a_source_that_blocks_holds_up_no_other(start_gnomon, h200, tmp_path):
    scenario, variables = h200
    directory = tmp_path / "run"
    recorder = start_gnomon("record", "-o", directory, "--period", "100ms", **variables)
    assert wait_until(lambda: has_rows(directory, "gpu_counters"))
    scenario.delay("nvmlDeviceGetUtilizationRates", 30_000)
    started_ns = time.time_ns()
    assert wait_until(lambda: "source_stalled" in column(directory, "events", "kind"), timeout_s=15)
    recorder.send_signal(signal.SIGINT)
    _, errors = recorder.communicate(timeout=20)  # under the 30 s of the call

    assert recorder.returncode == 0, errors
    assert "nvml has not answered" in errors
    assert [ts for ts in column(directory, "host_samples", "ts_ns") if ts > started_ns + 2e9]


def test_settings_are_checked(gnomon, tmp_path):
    done = gnomon("record", "-o", tmp_path / "run", "--period", "1ms")

    assert done.returncode == 1
    assert "command line: record_period_s must be" in done.stderr
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("option", [("--period", "fast"), ("--max-size", "big"), ()])
def test_usage(gnomon, tmp_path, option):
    output = ("-o", tmp_path / "run") if option else ()

    assert gnomon("record", *output, *option).returncode == 2


def test_two_recorders_share_a_host_and_the_first_is_announced(
    start_gnomon, gnomon_process, environment, tmp_path
):
    first = start_gnomon("record", "-o", tmp_path / "first", "--period", "100ms")
    runtime = Path(environment["GNOMON_RUNTIME_DIRECTORY"])
    assert wait_until(lambda: find_current(runtime) == tmp_path / "first")
    done = gnomon_process("record", "-o", tmp_path / "second", "--duration", "300ms")

    assert done.returncode == 0
    assert find_current(runtime) == tmp_path / "first"
    doctor = json.loads(gnomon_process("doctor", "--json").stdout)
    facts = {fact["name"]: fact["value"] for fact in doctor["environment"]}
    assert facts["running recorder"] == str(tmp_path / "first")
    first.terminate()
    first.wait(30)


def test_a_full_disk_is_told_and_measuring_goes_on(environment, tmp_path):
    """No file may grow beyond 32 KiB: the same error as of a full disk, at the same call."""
    limit = (resource.RLIMIT_FSIZE, (32768, 32768))
    command = [sys.executable, "-m", "gnomon", "record", "-o", str(tmp_path / "run")]
    done = subprocess.run(
        [*command, "--duration", "3500ms"],
        preexec_fn=lambda: resource.setrlimit(*limit),
        env=environment | {"GNOMON_HOST_PERIOD_S": "0.01"},  # without a GPU, its rows fill the file
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert done.returncode == 0
    assert "cannot write the recording" in done.stderr
    assert "make room" in done.stderr
    assert "Traceback" not in done.stderr
    assert column(tmp_path / "run", "host_samples", "ts_ns")
