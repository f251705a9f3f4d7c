import sys

import pytest

from gnomon.recording.announcement import announce
from gnomon.recording.marks import phases
from gnomon.recording.reader import Recording
from gnomon.recording.writer import RecordingWriter


@pytest.fixture
def recording(tmp_path):
    """A new recording, of which nobody has been told."""
    directory = tmp_path / "run"
    RecordingWriter(directory, "host").close()
    return directory


@pytest.fixture
def running(recording, tmp_path):
    """The recording, announced as running on this host."""
    with announce(tmp_path / "run-directory", recording):
        yield recording


@pytest.fixture
def environment(environment, tmp_path):
    return environment | {"GNOMON_RUNTIME_DIRECTORY": str(tmp_path / "run-directory")}


def test_begin_and_end(gnomon, recording):
    options = ("--recording", recording)

    assert gnomon("mark", "gemm", *options).returncode == 0
    work = ("--flops", "1.1e15", "--dtype", "bf16", "--bytes", "4e9", "--tokens", "2048")
    assert gnomon("mark", "gemm", "--end", *work, *options).returncode == 0
    (phase,) = phases(Recording.open(recording))
    assert (phase.name, phase.model_flops, phase.flops_dtype) == ("gemm", 1.1e15, "bf16")
    assert (phase.model_bytes, phase.tokens) == (4e9, 2048)
    assert phase.from_ns < phase.to_ns


def test_the_running_recording_is_found(gnomon, running):
    assert gnomon("mark", "first").returncode == 0
    assert [phase.name for phase in phases(Recording.open(running))] == ["first"]


def test_the_recording_of_our_own_recorder_wins(gnomon, running, environment, tmp_path):
    """Inside `gnomon record -- CMD` the mark belongs there, whoever else records on this host."""
    ours = tmp_path / "ours"
    RecordingWriter(ours, "host").close()
    environment["GNOMON_RECORDING"] = str(ours)

    assert gnomon("mark", "here").returncode == 0
    assert [phase.name for phase in phases(Recording.open(ours))] == ["here"]
    assert phases(Recording.open(running)) == []


def test_around_a_program(gnomon, running):
    program = (sys.executable, "-c", "raise SystemExit(4)")
    done = gnomon("mark", "work", "--tokens", "5", "--", *program)

    (phase,) = phases(Recording.open(running))

    assert done.returncode == 4
    assert phase.name == "work"
    assert phase.tokens == 5
    assert phase.to_ns - phase.from_ns > 1_000_000  # a Python takes longer than a millisecond


def test_a_program_runs_even_where_nothing_records(gnomon):
    done = gnomon("mark", "work", "--", sys.executable, "-c", "raise SystemExit(4)")

    assert done.returncode == 4
    assert "running without a mark" in done.stderr


def test_nothing_records(gnomon):
    done = gnomon("mark", "lonely")

    assert done.returncode == 1
    assert "start `gnomon record -o DIR`" in done.stderr


def test_no_such_recording(gnomon, tmp_path):
    done = gnomon("mark", "x", "--recording", tmp_path / "nothing")

    assert done.returncode == 1
    assert f"{tmp_path / 'nothing'}: no such recording" in done.stderr


@pytest.mark.parametrize(
    "options",
    [
        ("--flops", "1e9"),
        ("--dtype", "bf16"),
        ("--flops", "1e9", "--dtype", "bf17"),
        ("--flops", "many", "--dtype", "bf16"),
        ("--end", "--", "true"),
    ],
)
def test_usage(gnomon, recording, options):
    assert gnomon("mark", "x", "--recording", recording, *options).returncode == 2
