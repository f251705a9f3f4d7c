"""Where ``gnomon top`` looks: a directory, a recording that runs on this host, or the host itself.

PM sampling is exclusive per GPU and every reader costs something, so a running recorder is
attached to before sources of our own are started.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from gnomon import configuration
from gnomon.analysis.summary_types import GpuSummary
from gnomon.cli import opening
from gnomon.cli.collection import Collection, latest
from gnomon.cli.notices import unavailable_sources
from gnomon.configuration import Settings
from gnomon.enums import SourceState
from gnomon.recording.announcement import find_current
from gnomon.recording.base import NOT_YET, Measurements
from gnomon.recording.collector import Collector
from gnomon.recording.memory import MemoryRecording

NS_PER_S = 1_000_000_000
# The first number shall be on screen within 1.5 s, imports included. NVML keeps its second:
# below that its busy reading only repeats itself.
SCREEN_PERIODS = {"gpm_period_s": 0.5, "host_period_s": 0.5}
ONCE_PERIODS = {"record_period_s": 0.25, "gpm_period_s": 0.25, "host_period_s": 0.25}
TICK_S = 0.1
MEMORY_NS = 1800 * NS_PER_S
# A driver without persistence mode takes seconds to wake up.
LONGEST_WAIT_S = 10.0
POLL_S = 0.05


@dataclass(frozen=True, slots=True)
class Feed:
    """Measurements that may still be coming, and what the screen calls them."""

    measurements: Measurements
    title: str
    collector: Collector | None = None

    def latest(self, window_ns: int, *, only: bool = False, after_ns: int = 0) -> list[GpuSummary]:
        """Summarize the newest ``window_ns``; waits for it where measuring has just begun.

        ``only``: there will be no further reading, so that what was read at the start, and is
        read but seldom (limits, memory), belongs to this one. ``after_ns``: where the reading
        before this one ended; sources of our own are waited for until there is a newer one.
        """
        if self.collector is None:
            return latest(self.measurements, window_ns)
        self._wait_for(window_ns, after_ns)
        return latest(self.measurements, MEMORY_NS if only else window_ns)

    def missing(self) -> list[str]:
        """Return a line for each source that cannot measure here."""
        return list(unavailable_sources(self.measurements.meta().unavailable))

    def _wait_for(self, window_ns: int, after_ns: int) -> None:
        deadline_s = time.monotonic() + LONGEST_WAIT_S + window_ns / NS_PER_S
        while time.monotonic() < deadline_s and not self._has(window_ns, after_ns):
            if self._no_gpu_source():
                return
            time.sleep(POLL_S)

    def _has(self, window_ns: int, after_ns: int) -> bool:
        bounds = self.measurements.bounds()
        if bounds is None or bounds[1] <= after_ns:
            return False
        ends = self.measurements.read("gpu_counters", columns=["ts_ns"]).column("ts_ns")
        # The oldest row may be that of one source: a whole window lets the others in.
        return len(ends) > 0 and time.time_ns() - ends[0].as_py() >= window_ns

    def _no_gpu_source(self) -> bool:
        """Whether every source that measures GPUs has said that it cannot."""
        assert self.collector is not None
        return all(
            each.state in {SourceState.UNAVAILABLE, SourceState.FAILED} and each.reason != NOT_YET
            for each in self.collector.health()
            if each.name != "host"
        )


@contextlib.contextmanager
def feed(
    directory: Path | None, *, once: bool = False, counters: str | None = None
) -> Iterator[Feed]:
    """Yield what to look at; sources that were started for it end with the context.

    ``once``: a single reading is wanted soon, not a cheap stream of them. ``counters``: where they
    are read (a word of enums.Counters), where sources are started; a running recorder has its own.
    """
    if directory is not None:
        yield Feed(opening.open_recording(directory), str(directory))
        return
    settings = configuration.load({"counters": counters})
    current = find_current(settings.runtime_directory)
    if current is not None:
        yield Feed(opening.open_recording(current), f"attached to {current}")
        return
    fast = _at_most(settings, ONCE_PERIODS if once else SCREEN_PERIODS)
    memory = MemoryRecording(MEMORY_NS)
    with Collection(fast, [memory], tick_s=TICK_S) as running:
        yield Feed(memory, "this machine", running.collector)


def _at_most(settings: Settings, periods_s: Mapping[str, float]) -> Settings:
    """Return the settings with periods that are no longer than these."""
    shorter = {name: min(getattr(settings, name), most) for name, most in periods_s.items()}
    return replace(settings, **shorter)
