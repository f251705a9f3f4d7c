"""Sources of this machine, running into sinks: behind ``record`` and ``top``."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from types import TracebackType
from typing import Any, Self

from gnomon.analysis.summary_types import GpuSummary
from gnomon.cli import footprint
from gnomon.cli.source_loading import create_sources
from gnomon.configuration import Settings
from gnomon.enums import Counters
from gnomon.recording.base import Measurements, Meta, Unavailable
from gnomon.recording.collector import DEFAULT_TICK_S, Collector, CollectorSettings, Sink

NS_PER_S = 1_000_000_000
# Processes are listed every five seconds; one not seen for this long is gone.
PROCESS_AGE_NS = 10 * NS_PER_S
TRACE_SOURCE = "trace"
KERNELS_SOURCE = "kernels"
# Sources of counters that are left alone where another one was asked for.
UNASKED = {Counters.AUTO: (), Counters.GPM: ("pm",), Counters.CUPTI: ("gpm",)}


class WatchedProcesses:
    """A sink that remembers which processes use a GPU; ``pids`` may be asked on any thread."""

    def __init__(self) -> None:
        self._asked: set[int] = set()
        self._seen_ns: dict[int, int] = {}

    def add(self, pid: int) -> None:
        """Watch a process, whether it uses a GPU or not."""
        self._asked.add(pid)

    def pids(self) -> list[int]:
        """Return the processes on the GPUs, and those that somebody asked to watch."""
        return sorted(self._asked | self._young().keys())

    def append(self, table: str, batch: Any) -> None:
        if table != "gpu_processes":
            return
        columns = (batch.column("pid").to_pylist(), batch.column("ts_ns").to_pylist())
        seen = {pid: ts_ns for pid, ts_ns in zip(*columns, strict=True) if pid}
        self._seen_ns = self._young() | seen

    def _young(self) -> dict[int, int]:
        since_ns = time.time_ns() - PROCESS_AGE_NS
        return {pid: ts_ns for pid, ts_ns in self._seen_ns.items() if ts_ns > since_ns}

    def flush(self) -> None:
        """Nothing to do: nothing is kept back."""

    def update_meta(self, meta: Meta) -> None:
        """Nothing to do: processes are not in it."""


class Collection:
    """A running collector; a context manager."""

    def __init__(
        self, settings: Settings, sinks: Sequence[Sink], *, tick_s: float = DEFAULT_TICK_S
    ) -> None:
        footprint.keep_pandas_out()
        self._watched = WatchedProcesses()
        sources, broken = create_sources(replace(settings, watched_pids=self._watched.pids))
        # Nobody asked for them: what they cannot do here is nobody's concern.
        asked = {TRACE_SOURCE: settings.trace, KERNELS_SOURCE: settings.kernels}
        sources = [one for one in sources if asked.get(one.name, True) is not None]
        sources = [one for one in sources if one.name not in UNASKED[settings.counters]]
        self.collector = Collector(
            sources,
            [self._watched, *sinks],
            CollectorSettings(tick_s=tick_s),
            [
                Unavailable(name, capability.reason, capability.remedy, name)
                for name, capability in broken.items()
            ],
        )

    def __enter__(self) -> Self:
        self.collector.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        self.collector.close()

    def watch(self, pid: int) -> None:
        """Measure the threads of a process, whether it uses a GPU or not."""
        self._watched.add(pid)


def latest(measurements: Measurements, window_ns: int) -> list[GpuSummary]:
    """Summarize each GPU over the newest ``window_ns`` of what has been measured."""
    from gnomon.analysis.summary import summarize  # noqa: PLC0415  numpy

    bounds = measurements.bounds()
    if bounds is None:
        return []
    start_ns, end_ns = bounds
    return summarize(measurements, from_ns=max(start_ns, end_ns - window_ns), to_ns=end_ns)
