"""Programs that watch a GPU: how to start them, hold them, and weigh what they cost.

``Held`` ones can be switched off and on within a moment, for alternating measurements.
"""

from __future__ import annotations

import contextlib
import os
import pty
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol

import psutil


class ObserverError(Exception):
    """An observer could not be started or died; the message says which and why."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What a process tree used: CPU in % of one core, memory in bytes (shared pages counted
    in each process).
    """

    cpu_pct: float
    rss_bytes: int
    processes: int


class Held(Protocol):
    """An observer that can be switched; ``on`` returns once it observes."""

    def on(self) -> None: ...

    def off(self) -> None: ...


class StoppedProcess:
    """Holds a process tree by SIGSTOP: right for what only reads when it runs."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    def on(self) -> None:
        self._signal(signal.SIGCONT)

    def off(self) -> None:
        self._signal(signal.SIGSTOP)

    def _signal(self, number: signal.Signals) -> None:
        if self._process.poll() is not None:
            raise ObserverError(f"the observer ended with status {self._process.returncode}")
        tree = psutil.Process(self._process.pid)
        for process in [tree, *tree.children(recursive=True)]:
            process.send_signal(number)


class PmSwitch:
    """Holds PM sampling by pausing and resuming gnomon-pm (benchmarks/pm_switch.py)."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    def on(self) -> None:
        self._tell("on")

    def off(self) -> None:
        self._tell("off")

    def _tell(self, word: str) -> None:
        requests, answers = self._process.stdin, self._process.stdout
        if requests is None or answers is None:
            raise ObserverError("the PM switch was started without pipes")
        with contextlib.suppress(BrokenPipeError):
            requests.write(f"{word}\n".encode())
            requests.flush()
        answer = answers.readline().decode().strip()
        if answer != word:
            raise ObserverError(f"PM sampling: {answer or 'the helper ended'}")


@contextlib.contextmanager
def running(command: Sequence[str], log: IO[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program while the body runs; ask it to end, then insist."""
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, start_new_session=True
    )
    try:
        yield process
    finally:
        _end(process)


@contextlib.contextmanager
def running_quietly(command: Sequence[str], log: IO[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    """As ``running``, with what it prints going to the log."""
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
    )
    try:
        yield process
    finally:
        _end(process)


@contextlib.contextmanager
def running_in_terminal(command: Sequence[str]) -> Iterator[subprocess.Popen[bytes]]:
    """Run a full-screen program in a terminal of 80 x 24 that nobody looks at."""
    import fcntl
    import struct
    import termios

    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    environment = {**os.environ, "TERM": "xterm-256color"}
    process = subprocess.Popen(
        command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment, start_new_session=True
    )
    os.close(theirs)
    reader = threading.Thread(target=_discard, args=(ours,), daemon=True)
    reader.start()
    try:
        yield process
    finally:
        _end(process)
        reader.join(timeout=5)
        os.close(ours)


def measure(process: subprocess.Popen[bytes], settle_s: float, seconds: float) -> Usage:
    """Return what a running tree uses over some seconds, after it has settled."""
    time.sleep(settle_s)
    if process.poll() is not None:
        raise ObserverError(f"{process.args!r} ended at once with status {process.returncode}")
    root = psutil.Process(process.pid)
    before_s, started = _cpu_seconds(root), time.monotonic()
    time.sleep(seconds)
    if process.poll() is not None:
        raise ObserverError(f"{process.args!r} ended with status {process.returncode}")
    used_s, elapsed_s = _cpu_seconds(root) - before_s, time.monotonic() - started
    tree = [root, *root.children(recursive=True)]
    return Usage(100 * used_s / elapsed_s, sum(p.memory_info().rss for p in tree), len(tree))


def peers() -> list[tuple[str, list[str], bool]]:
    """Return the other tools found here: name, command, whether it needs a terminal."""
    import importlib.util

    found: list[tuple[str, list[str], bool]] = []
    if importlib.util.find_spec("nvitop"):
        found.append(("nvitop, 1 s", [sys.executable, "-m", "nvitop", "--interval", "1"], True))
    smi = shutil.which("nvidia-smi")
    if smi:
        found.append(("nvidia-smi dmon, 1 s", [smi, "dmon", "-d", "1"], False))
    return found


def wait_for_rows(
    directory: Path,
    process: subprocess.Popen[bytes],
    timeout_s: float,
    table: str = "gpu_counters",
) -> None:
    """Wait until a recording holds rows of a table. Raises ObserverError."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise ObserverError(f"gnomon ended with status {process.returncode}")
        if any(file.stat().st_size for file in directory.glob(f"{table}/**/*.[ap]*")):
            return
        time.sleep(0.1)
    raise ObserverError(f"no rows of {table} in {directory} after {timeout_s:.0f} s")


def _cpu_seconds(root: psutil.Process) -> float:
    total = 0.0
    for process in [root, *root.children(recursive=True)]:
        with contextlib.suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            total += times.user + times.system
    return total


def _discard(descriptor: int) -> None:
    with contextlib.suppress(OSError):  # the other end is gone: that is the end
        while os.read(descriptor, 65536):
            pass


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the process group that we started, gently first; a held one must run to end."""
    for number in (signal.SIGCONT, signal.SIGTERM):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
    try:
        process.wait(timeout=15)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            stream.close()
