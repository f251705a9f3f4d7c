"""A small recording, and programs run as a user runs them."""

import contextlib
import io
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from gnomon.cli import main
from gnomon.hardware import sku_facts
from gnomon.recording.importers.importing import import_gpm_csv

MEASURED = Path(__file__).parent.parent / "data" / "h200_llm"


@pytest.fixture(scope="session", autouse=True)
def interruptible():
    """Ctrl-C is ignored below a shell's background job; the programs tested here must get it."""
    former = signal.getsignal(signal.SIGINT)
    if former == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, former)


@pytest.fixture(scope="session")
def h200_recording(tmp_path_factory):
    """The measured language model on an H200, imported; nobody writes to it."""
    directory = tmp_path_factory.mktemp("recordings") / "h200"
    import_gpm_csv(
        MEASURED / "gpm.csv",
        directory,
        sku_facts("H200-SXM-141GB"),
        phases_file=MEASURED / "phases.jsonl",
    )
    return directory


@pytest.fixture
def environment(tmp_path):
    """A user's environment in which nothing of this machine's user is seen, and no driver."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("GNOMON_")}
    return kept | {
        "HOME": str(tmp_path / "home"),
        "XDG_STATE_HOME": str(tmp_path / "state"),
        "XDG_CONFIG_HOME": str(tmp_path / "config"),
        "GNOMON_RUNTIME_DIRECTORY": str(tmp_path / "run"),
        "GNOMON_STATE_DIRECTORY": str(tmp_path / "state"),
        "LD_LIBRARY_PATH": "/nowhere",
    }


@dataclass(frozen=True)
class Done:
    """What a finished program left; the fields are those of subprocess.CompletedProcess."""

    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def gnomon(environment, monkeypatch):
    """Return a function that runs a command line in this process, which is much faster."""

    def run(*arguments):
        out, err = io.StringIO(), io.StringIO()
        with (
            monkeypatch.context() as patch,
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
        ):
            for name, value in environment.items():
                patch.setenv(name, value)
            status = main.run([str(each) for each in arguments])
        return Done(status, out.getvalue(), err.getvalue())

    return run


@pytest.fixture
def gnomon_process(environment):
    """Return a function that runs the real program, and finds no driver."""

    def run(*arguments, **more):
        return subprocess.run(
            [sys.executable, "-m", "gnomon", *map(str, arguments)],
            capture_output=True,
            text=True,
            env=environment | more,
            check=False,
            timeout=60,
        )

    return run


@pytest.fixture
def start_gnomon(environment):
    """Return a function that starts the program and leaves it running; killed after the test."""
    started = []

    def start(*arguments, **more):
        process = subprocess.Popen(
            [sys.executable, "-m", "gnomon", *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment | more,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()
