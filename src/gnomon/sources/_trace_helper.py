"""The ``gnomon-bpf`` process: started, read from, ended."""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import subprocess
import sys
import tempfile
import time
from typing import IO, Any

from gnomon._errors import SourceError
from gnomon.tracing.plan import Plan
from gnomon.tracing.stream import StreamReader

NAME = "gnomon-bpf"
# Not from the directory that it is started in: it may be somebody else's.
COMMAND = (sys.executable, "-P", "-m", "gnomon.tracing")
CLOSE_TIMEOUT_S = 1.0
# A pipe of the usual 64 KiB, emptied every 250 ms, would let no more than 0.26 MB/s through.
PIPE_BYTES = 1 << 20
# The helper fills a pipe that has just been emptied again within this, if it has more to say.
FULL_PIPE_BYTES = 1 << 15
REFILL_S = 0.005
LONGEST_READ_S = 0.1
LONGEST_WORDS = 500

Messages = list[tuple[str, Any]]


class TraceHelper:
    """A running helper. ``pid`` is its process id, ``heard_s`` when it last said something."""

    def __init__(self, plan: Plan) -> None:
        """Start it. Raises SourceError where the kernel refuses."""
        self._reader = StreamReader()
        self._stderr: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  lives as long as we do
        self._fd, write_fd = os.pipe()
        os.set_blocking(self._fd, False)
        # Beyond what its user may have in pipes, the kernel says no.
        with contextlib.suppress(OSError):
            fcntl.fcntl(self._fd, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        self.heard_s = time.monotonic()
        try:
            self._process = subprocess.Popen(
                [*COMMAND, "--fd", str(write_fd)],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=self._stderr,
                pass_fds=[write_fd],
            )
        except OSError as error:
            self._release()
            raise SourceError(f"cannot start {NAME}: {error}") from error
        finally:
            os.close(write_fd)
        self.pid = self._process.pid
        self._send(plan)

    def read(self) -> tuple[Messages, bool]:
        """Return what has come since the last call, and whether more may come.

        Waits for the helper to go on where it had filled the pipe, for ``LONGEST_READ_S`` at most.
        """
        messages: Messages = []
        deadline_s = time.monotonic() + LONGEST_READ_S
        while True:
            try:
                data = os.read(self._fd, PIPE_BYTES)
            except BlockingIOError:
                return messages, True
            if not data:
                return messages, False
            self.heard_s = time.monotonic()
            messages.extend(self._reader.feed(data))
            if self.heard_s > deadline_s:
                return messages, True
            if len(data) >= FULL_PIPE_BYTES:
                self.wait(REFILL_S)

    def wait(self, timeout_s: float) -> None:
        """Return when something has come, or after a while."""
        select.select([self._fd], [], [], timeout_s)

    def finish(self, timeout_s: float) -> tuple[Messages, bool]:
        """Tell it to end; return what it still had to tell, and whether that is all of it.

        One that does not answer in time is killed: its probes must not outlive us.
        """
        self._hang_up()
        messages: Messages = []
        deadline_s = time.monotonic() + timeout_s
        more = True
        while more and time.monotonic() < deadline_s:
            self.wait(max(0.0, deadline_s - time.monotonic()))
            some, more = self.read()
            messages += some
        if more:
            self._process.kill()
        return messages, not more

    def ended(self) -> tuple[int, str]:
        """Wait for the helper, which has closed its pipe; return its status and last words."""
        status = self._wait()
        self._stderr.seek(0)
        lines = self._stderr.read().decode(errors="replace").splitlines()
        # Of a traceback the last line says what went wrong.
        return status, (lines or [""])[-1].strip()[-LONGEST_WORDS:]

    def close(self) -> None:
        """End the helper, so that its probes go; kill it where it does not listen."""
        self._hang_up()
        self._wait()
        self._release()

    def _wait(self) -> int:
        try:
            return self._process.wait(CLOSE_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()

    def _send(self, plan: Plan) -> None:
        assert self._process.stdin is not None
        # One that died at once is found out about by reading.
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(plan.to_json().encode() + b"\n")
            self._process.stdin.flush()

    def _hang_up(self) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()

    def _release(self) -> None:
        os.close(self._fd)
        self._stderr.close()
