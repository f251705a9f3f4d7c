"""A program run under ours: started, waited for, its exit status passed on as a shell would."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import FrameType

from gnomon._errors import CommandError
from gnomon.cli.footprint import users_environment
from gnomon.proc.ambient import without_ambient_capabilities

# A shell's words for a command that is not there, or is no program, or was ended by a signal.
EXIT_NOT_FOUND = 127
EXIT_NOT_EXECUTABLE = 126
EXIT_SIGNAL_BASE = 128
GRACE_S = 10.0
# Waits for the end of the pipe that is its first argument, then becomes the command. Python has
# SIGPIPE ignored, which a program that is executed would inherit.
HOLD = """\
import os, signal, sys
if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)
os.read(int(sys.argv[1]), 1)
os.close(int(sys.argv[1]))
signal.signal(signal.SIGPIPE, signal.SIG_DFL)
try:
    os.execvp(sys.argv[2], sys.argv[2:])
except FileNotFoundError:
    sys.stderr.write(f"gnomon: {sys.argv[2]}: no such command\\n")
    os._exit(127)
except OSError as error:
    sys.stderr.write(f"gnomon: {sys.argv[2]}: {error.strerror}\\n")
    os._exit(126)
"""


class Workload:
    """A child process. It shares our terminal and our process group: Ctrl-C reaches it too."""

    def __init__(
        self,
        arguments: Sequence[str],
        environment: Mapping[str, str] | None = None,
        on_end: Callable[[], None] | None = None,
        *,
        is_held: bool = False,
    ) -> None:
        """Start it; ``on_end`` is called, on another thread, when it has ended.

        ``is_held``: as a process that waits for `release` before it becomes the command.
        Raises CommandError (status 126 or 127) where it cannot be started.
        """
        self._release_fd: int | None = None
        try:
            variables = users_environment() | dict(environment or {})
            # What we may do is ours, and not the program's.
            with without_ambient_capabilities():
                if is_held:
                    self._process = self._hold(arguments, variables)
                else:
                    self._process = subprocess.Popen(arguments, env=variables)
        except FileNotFoundError:
            raise CommandError(f"{arguments[0]}: no such command", EXIT_NOT_FOUND) from None
        except OSError as error:
            raise CommandError(f"{arguments[0]}: {error.strerror}", EXIT_NOT_EXECUTABLE) from None

        if on_end is not None:
            threading.Thread(target=self._tell_end, args=(on_end,), daemon=True).start()

    def _hold(
        self, arguments: Sequence[str], variables: Mapping[str, str]
    ) -> subprocess.Popen[bytes]:
        waiting, self._release_fd = os.pipe()
        try:
            command = [sys.executable, "-ISc", HOLD, str(waiting), *arguments]
            return subprocess.Popen(command, env=variables, pass_fds=[waiting])
        finally:
            os.close(waiting)

    def release(self) -> None:
        """Let a held process begin; a second time does nothing."""
        if self._release_fd is not None:
            os.close(self._release_fd)
            self._release_fd = None

    def _tell_end(self, on_end: Callable[[], None]) -> None:
        self._process.wait()
        on_end()

    @property
    def pid(self) -> int:
        return self._process.pid

    def exit_status(self) -> int | None:
        """Return the status as a shell gives it, None while the process runs."""
        return _shell_status(self._process.poll())

    def wait(self, timeout_s: float | None = None) -> int | None:
        """Wait for its end, or a while; the status as of ``exit_status``."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout_s)
        return self.exit_status()

    def terminate(self) -> None:
        """Ask it to end (SIGTERM); nothing happens where it already has."""
        self._process.terminate()

    def kill(self) -> None:
        """End it (SIGKILL)."""
        self._process.kill()


def _shell_status(returncode: int | None) -> int | None:
    if returncode is None or returncode >= 0:
        return returncode
    return EXIT_SIGNAL_BASE - returncode


class StopRequest:
    """Whether SIGINT or SIGTERM has come, and which; ``wait`` ends early when one does.

    ``wake`` ends the wait for another reason.
    """

    def __init__(self) -> None:
        self._event = threading.Event()
        self.signal: int | None = None

    def wait(self, timeout_s: float | None) -> bool:
        return self._event.wait(timeout_s)

    def wake(self) -> None:
        self._event.set()

    def handle(self, number: int, _frame: FrameType | None) -> None:
        self.signal = number
        self._event.set()


@contextlib.contextmanager
def stop_on_signals() -> Iterator[StopRequest]:
    """Turn SIGINT and SIGTERM into a request; a second one of a kind ends the program at once.

    The former handlers are back in place afterwards.
    """
    request = StopRequest()
    former = {}

    def once(number: int, frame: FrameType | None) -> None:
        signal.signal(number, signal.SIG_DFL)
        request.handle(number, frame)

    for number in (signal.SIGINT, signal.SIGTERM):
        former[number] = signal.signal(number, once)
    try:
        yield request
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


def finish(workload: Workload, stop: StopRequest) -> int:
    """Return a workload's status, letting it end first as the signal that came asks it to.

    Ctrl-C has reached it already; SIGTERM was sent to us alone and is passed on. One that does
    not end within ``GRACE_S`` is killed.
    """
    if stop.signal == signal.SIGTERM:
        workload.terminate()
    status = workload.wait(GRACE_S)
    if status is None:
        workload.kill()
        status = workload.wait()
    return status or 0
