"""Source ``host``: CPU, pressure, memory, disk and network, and the watched processes' threads.

Everything comes from /proc and /sys, unprivileged. CPU and bus always stand beside the GPU: an
idle GPU is most often a host that does not feed it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from gnomon._errors import SourceError
from gnomon.proc.identity import host_identity
from gnomon.sources._host_machine import MachineReader, MachineReading, machine_row
from gnomon.sources._host_processes import ProcessReader
from gnomon.sources.base import Batch, Capability, Description

DEFAULT_PERIOD_S = 1.0


class HostSource:
    """Reads ``host_samples`` and ``process_samples``.

    ``watched_pids`` is asked at every reading; our own process is never among them. ``proc`` and
    ``sys`` are where those file systems are mounted, which tests use.
    """

    name = "host"

    def __init__(
        self,
        period_s: float = DEFAULT_PERIOD_S,
        watched_pids: Callable[[], Iterable[int]] = tuple,
        *,
        proc: Path = Path("/proc"),
        sys: Path = Path("/sys"),
    ) -> None:
        self.period_ns = round(period_s * 1e9)
        self.watched_pids = watched_pids
        self._proc = proc
        self._sys = sys
        self._machine = MachineReader(proc, sys)
        self._processes: ProcessReader | None = None
        self._last: tuple[int, MachineReading] | None = None
        self._identity: dict[str, Any] | None = None

    def check(self) -> Capability:
        """Tell what this kernel shows: one reading, thrown away."""
        reader = MachineReader(self._proc, self._sys)
        if reader.read().stat is None:
            return Capability(
                ready=False,
                reason=reader.missing["cpu_pct"].reason,
                remedy="mount /proc (gnomon runs on Linux)",
            )
        missing = reader.missing | ProcessReader(self._proc).missing
        return Capability(ready=True, missing=tuple(missing.values()))

    def open(self) -> None:
        """Take the reading that the first interval begins with."""
        self._processes = ProcessReader(self._proc)
        self._processes.rows(self.watched_pids(), 0)
        self._last = (_now_ns(), self._machine.read())

    def warnings(self) -> tuple[str, ...]:
        """Return nothing: the kernel's counters have no window of their own."""
        return ()

    def describe(self) -> Description:
        """Return the host's facts, and what the last readings did not get."""
        missing = dict(self._machine.missing)
        if self._processes is not None:
            missing |= self._processes.missing
        if self._identity is None:
            self._identity = host_identity(self._proc)
        return Description(host=self._identity, missing=tuple(missing.values()))

    def read(self) -> Sequence[Batch]:
        """Return one row of the host, and one of each watched process that is there."""
        if self._last is None or self._processes is None:
            raise SourceError("host: read before open")
        cost_ns = time.thread_time_ns()
        before_ns, before = self._last
        now_ns, after = _now_ns(), self._machine.read()
        if after.stat is None and after.memory is None:
            raise SourceError(self._machine.missing["cpu_pct"].reason, "mount /proc")
        self._last = (now_ns, after)
        ts_ns = time.time_ns()
        processes = self._processes.rows(self.watched_pids(), ts_ns)
        row: dict[str, Any] = machine_row(before, after, now_ns - before_ns)
        row |= {"ts_ns": ts_ns, "duration_ns": now_ns - before_ns}
        row["reading_cost_ns"] = time.thread_time_ns() - cost_ns
        batches = [Batch("host_samples", [row])]
        if processes:
            batches.append(Batch("process_samples", processes))
        return batches

    def close(self) -> None:
        """Forget earlier readings; there is nothing else to let go of."""
        self._processes = None
        self._last = None


def create(settings: Any) -> HostSource:
    """Make the source from ``configuration.Settings``."""
    return HostSource(
        getattr(settings, "host_period_s", DEFAULT_PERIOD_S),
        getattr(settings, "watched_pids", tuple),
    )


def _now_ns() -> int:
    return time.clock_gettime_ns(time.CLOCK_MONOTONIC_RAW)
