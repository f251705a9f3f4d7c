"""The ``gnomon-pm`` process: found, started, read from, ended."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO

from gnomon._errors import SourceError
from gnomon.sources._native_files import find_native
from gnomon.sources._pm_records import Record, RecordReader

NAME = "gnomon-pm"
VARIABLE = "GNOMON_PM_HELPER"
NOTHING_TO_SAMPLE = 3  # exit status; native/gnomon_pm/main.cpp
CLOSE_TIMEOUT_S = 2.0
READ_BYTES = 1 << 16
PIPE_BYTES = 1 << 20


def find(environment: Mapping[str, str]) -> Path:
    """Return the helper's path; GNOMON_PM_HELPER comes first.

    Raises SourceError where it was not built.
    """
    return find_native(NAME, VARIABLE, environment, os.X_OK)


class Helper:
    """A running gnomon-pm. ``pid`` is its process id."""

    def __init__(self, command: list[str], plan: str, environment: Mapping[str, str]) -> None:
        """Start it. Raises SourceError where the kernel refuses."""
        self._reader = RecordReader()
        self._stderr: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  lives as long as we do
        self._fd, write_fd = os.pipe()
        os.set_blocking(self._fd, False)
        # Half a second of samples of 50 us. Some kernels and containers allow less: then what does
        # not fit is counted as lost.
        with contextlib.suppress(OSError):
            fcntl.fcntl(write_fd, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        try:
            self._process = subprocess.Popen(
                [*command, "--fd", str(write_fd)],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=self._stderr,
                pass_fds=[write_fd],
                env=dict(environment),
            )
        except OSError as error:
            self._release()
            raise SourceError(f"cannot start {command[0]}: {error}") from error
        finally:
            os.close(write_fd)
        self.pid = self._process.pid
        self._send(plan)

    def read(self) -> tuple[list[Record], bool]:
        """Return what has come since the last call, and whether more may come. Never blocks."""
        records: list[Record] = []
        while True:
            try:
                data = os.read(self._fd, READ_BYTES)
            except BlockingIOError:
                return records, True
            if not data:
                return records, False
            records.extend(self._reader.feed(data))

    def fileno(self) -> int:
        return self._fd

    def ended(self) -> tuple[int, str]:
        """Wait for the helper, which has closed its pipe; return its status and last words."""
        try:
            status = self._process.wait(CLOSE_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            status = self._process.wait()
        self._stderr.seek(0)
        return status, self._stderr.read().decode(errors="replace").strip()[-500:]

    def pause(self) -> None:
        self._process.send_signal(signal.SIGUSR1)

    def resume(self) -> None:
        self._process.send_signal(signal.SIGUSR2)

    def close(self) -> None:
        """End the helper so that it lets go of the GPUs; kill it where it does not listen."""
        self._process.terminate()
        try:
            self._process.wait(CLOSE_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._release()

    def _send(self, plan: str) -> None:
        assert self._process.stdin is not None
        try:
            # The plan is smaller than a pipe's buffer: this cannot block.
            with self._process.stdin as pipe:
                pipe.write(plan.encode())
        except BrokenPipeError:
            pass  # it died at once; reading will tell

    def _release(self) -> None:
        os.close(self._fd)
        self._stderr.close()
