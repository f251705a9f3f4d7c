"""Kernels recorded by ``gnomon kernels -o`` and ``gnomon record --kernels``."""

import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

from gnomon.cli import kernel_recorder
from gnomon.cli.commands import kernels, record
from gnomon.configuration import Settings
from gnomon.recording.reader import Recording
from tests.standins import activity

SCRIPT = "init\nsleep 1200\nlaunch gemm 23\nexit 6\n"


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    return activity.build(tmp_path_factory.mktemp("inject"))


@pytest.fixture
def record_player(built, environment):
    """Return a function that runs gnomon with the program that plays the script behind it."""
    variables = environment | {
        "LD_LIBRARY_PATH": str(built.folder),
        "GNOMON_INJECT_LIBRARY": str(built.library),
        "GNOMON_LIBCUPTI": str(built.cupti),
        "GNOMON_PM_ENABLED": "false",
    }

    def run(*arguments, **more):
        command = [sys.executable, "-m", "gnomon", *map(str, arguments), "--"]
        return subprocess.run(
            [*command, built.player],
            input=SCRIPT,
            env=variables | more,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return run


@pytest.mark.parametrize(
    "arguments", [("record", "--kernel-window", "always"), ("kernels", "--window", "always")]
)
def test_a_workload_is_recorded_and_its_exit_status_passed_on(record_player, tmp_path, arguments):
    done = record_player(arguments[0], "-o", tmp_path / "run", *arguments[1:])

    assert done.returncode == 6, done.stderr
    recording = Recording.open(tmp_path / "run")
    rows = recording.read("kernels", columns=["duration_ns"])
    assert rows.column("duration_ns").to_pylist() == [1000] * 23
    assert recording.read("kernel_windows", columns=["records"]).to_pylist() == [{"records": 23}]
    if arguments[0] == "kernels":
        assert "gemm" in done.stdout


def test_what_keeps_kernels_from_being_recorded_is_told_and_the_workload_runs(
    record_player, tmp_path
):
    done = record_player(
        "record", "--kernels", "-o", tmp_path, CUDA_INJECTION64_PATH="/opt/nsys.so"
    )

    assert done.returncode == 6
    assert "kernels are not recorded: CUDA_INJECTION64_PATH is set to /opt/nsys.so" in done.stderr


def test_a_workload_that_ends_before_a_window_is_told_how_to_be_seen(record_player, tmp_path):
    done = record_player("record", "--kernel-window", "100ms/1h", "-o", tmp_path)

    assert done.returncode == 6
    assert "no kernels were recorded" in done.stderr
    assert "--window always" in done.stderr


def test_what_keeps_a_process_from_being_recorded_is_told(record_player, tmp_path):
    variables = {"STANDIN_CUPTI_VERSION": "130300"}
    arguments = ("record", "--kernel-window", "always", "-o", tmp_path)
    done = record_player(*arguments, **variables)

    assert done.returncode == 6
    assert "are not recorded: its libcupti (130300) is newer than the driver's" in done.stderr


@pytest.mark.parametrize(
    ("text", "window"),
    [("always", (1.0, 1.0)), ("1s/20s", (1.0, 20.0)), ("500ms/1m", (0.5, 60.0))],
)
def test_a_window_is_how_long_of_how_often(text, window):
    found = kernel_recorder.parse_window(text)

    assert (found.on_s, found.every_s) == window
    assert found.is_always == (text == "always")


@pytest.mark.parametrize("text", ["", "1s", "20s/1s", "1ms/1s", "1/2", "a/b", "1s/2s/3s"])
def test_what_is_no_window_is_refused(text):
    with pytest.raises(ValueError, match=r"window|duration"):
        kernel_recorder.parse_window(text)


@pytest.mark.parametrize(
    ("command", "arguments", "words"),
    [
        (record.command, ["--kernels", "-o", "x"], "give it behind --"),
        (kernels.command, ["-o", "x"], "give it behind --"),
        (kernels.command, ["x", "--ranges"], "give -o, too"),
        (kernels.command, ["x", "y"], "give one recording"),
        (kernels.command, ["-o", "x", "--window", "5"], "is no window"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_runs(command, arguments, words):
    result = CliRunner().invoke(command, arguments)

    assert result.exit_code == 2
    assert words in click.unstyle(result.output)


def test_ranges_are_recorded_only_where_they_are_asked_for(built, monkeypatch):
    monkeypatch.setenv("GNOMON_INJECT_LIBRARY", str(built.library))
    monkeypatch.delenv("CUDA_INJECTION64_PATH", raising=False)
    asked = kernel_recorder.Kernels()
    with kernel_recorder.prepared(Settings(), asked) as (settings, variables):
        assert settings.kernels.directory.stat().st_mode & 0o777 == 0o700
        assert "NVTX_INJECTION64_PATH" not in variables
        directory = settings.kernels.directory
    assert not directory.exists()
