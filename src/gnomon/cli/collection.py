"""Sources of this machine, running into memory and wherever else: behind ``record`` and ``top``."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from types import TracebackType
from typing import Self

from gnomon.analysis.summary_types import GpuSummary
from gnomon.cli import footprint
from gnomon.cli.source_loading import create_sources
from gnomon.configuration import Settings
from gnomon.recording.base import Measurements, Unavailable
from gnomon.recording.collector import DEFAULT_TICK_S, Collector, CollectorSettings, Sink
from gnomon.recording.memory import MemoryRecording

NS_PER_S = 1_000_000_000
# Processes are listed every five seconds; one not seen for this long is gone.
PROCESS_AGE_NS = 10 * NS_PER_S


class Collection:
    """A running collector and the memory it fills; a context manager."""

    def __init__(
        self,
        settings: Settings,
        sinks: Sequence[Sink] = (),
        *,
        tick_s: float = DEFAULT_TICK_S,
        memory_ns: int = 60 * NS_PER_S,
    ) -> None:
        """``memory_ns``: how much of the past stays in memory; ``sinks`` get everything too."""
        footprint.keep_pandas_out()
        self.memory = MemoryRecording(memory_ns)
        self._pids: set[int] = set()
        sources, broken = create_sources(replace(settings, watched_pids=self._watched_pids))
        self.collector = Collector(
            sources,
            [self.memory, *sinks],
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
        self._pids.add(pid)

    def _watched_pids(self) -> list[int]:
        """Return the processes on the GPUs, and those that somebody asked to watch."""
        since_ns = time.time_ns() - PROCESS_AGE_NS
        listed = self.memory.read("gpu_processes", from_ns=since_ns, columns=["pid"])
        return sorted({*self._pids, *filter(None, listed.column("pid").to_pylist())})


def latest(measurements: Measurements, window_ns: int) -> list[GpuSummary]:
    """Summarize each GPU over the newest ``window_ns`` of what has been measured."""
    from gnomon.analysis.summary import summarize  # noqa: PLC0415  numpy

    bounds = measurements.bounds()
    if bounds is None:
        return []
    start_ns, end_ns = bounds
    return summarize(measurements, from_ns=max(start_ns, end_ns - window_ns), to_ns=end_ns)
