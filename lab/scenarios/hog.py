"""Processes that burn a CPU under a name of their own, as a backup or a package update does.

Run as a program by ``Hog``: ``python -m lab.scenarios.hog NAME CPU NICE BURN_MS SLEEP_MS``.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time

from lab.scenarios.clocks import process_cpu_ns

PR_SET_PDEATHSIG, PR_SET_NAME = 1, 15  # linux/prctl.h


class Hog:
    """A running hog. ``cpu_ns`` is how much CPU time it has taken since the last ``reset``."""

    def __init__(self, name: str, cpu: int, nice: int, burn_ms: float, sleep_ms: float) -> None:
        self.name, self.cpu, self.nice = name, cpu, nice
        arguments = [name, str(cpu), str(nice), str(burn_ms), str(sleep_ms)]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "lab.scenarios.hog", *arguments], stdout=subprocess.PIPE
        )
        assert self.process.stdout is not None
        if not self.process.stdout.readline():
            raise RuntimeError(f"the hog {name} did not start")
        self.reset()

    @property
    def pid(self) -> int:
        return self.process.pid

    def reset(self) -> None:
        self._before_ns = process_cpu_ns(self.pid)

    @property
    def cpu_ns(self) -> int:
        return process_cpu_ns(self.pid) - self._before_ns

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()


def main(name: str, cpu: str, nice: str, burn_ms: str, sleep_ms: str) -> None:
    """Burn until killed, or until who started it is gone."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    libc.prctl(PR_SET_NAME, name.encode()[:15])
    os.sched_setaffinity(0, {int(cpu)})
    os.nice(int(nice))
    print("ready", flush=True)
    burn_ns, sleep_s = int(float(burn_ms) * 1e6), float(sleep_ms) / 1e3
    while True:
        end_ns = time.process_time_ns() + burn_ns
        while time.process_time_ns() < end_ns:
            pass
        if sleep_s:
            time.sleep(sleep_s)


if __name__ == "__main__":
    main(*sys.argv[1:])
