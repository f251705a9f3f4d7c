"""The SM clock, read on the SMs themselves: ground truth beside any workload.

    probe = ClockProbe.start()          # a background thread in the workload's own process
    ...
    samples = probe.stop()              # [ClockSample(from_ns, to_ns, mhz, sms), ...]

A tiny kernel notes ``clock64()`` (cycles of the SM it lands on) and ``%globaltimer`` (ns) some
times a second. ``clock64`` runs on between kernels, so the difference of two notes of one SM over
the time between them is that SM's clock, whatever ran in between. The kernel writes straight to
pinned host memory: no copy, no synchronization, no wait; it needs one warp's registers and runs
when a slot is free. ``python -m lab.clock64`` measures what it costs a workload.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

SHORTEST_INTERVAL_NS = 20_000_000  # globaltimer may tick as coarsely as 1 us: error under 1e-4
_LAUNCHES_IN_FLIGHT = 32

_SOURCE = """
extern "C" __global__ void note_clock(long long* notes) {
  unsigned long long timer;
  unsigned sm;
  asm volatile("mov.u32 %0, %%smid;" : "=r"(sm));
  const long long cycles = clock64();
  asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(timer));
  volatile long long* note = notes + 3 * blockIdx.x;
  note[0] = sm;
  note[1] = cycles;
  __threadfence_system();
  note[2] = timer;
}
"""


class Note(NamedTuple):
    """What one block saw: its SM, that SM's cycle counter, the GPU's clock in ns."""

    sm: int
    cycles: int
    timer_ns: int


@dataclass(frozen=True, slots=True)
class ClockSample:
    """The SM clock between two notes: median over the SMs that were seen at both ends.

    ``from_ns`` and ``to_ns`` are Unix nanoseconds, good to some tens of microseconds.
    """

    from_ns: int
    to_ns: int
    mhz: float
    sms: int


class ClockSeries:
    """Turns notes into samples; pure arithmetic, no GPU."""

    def __init__(self) -> None:
        self._last: dict[int, Note] = {}

    def add(self, notes: Iterable[Note], unix_minus_timer_ns: int) -> ClockSample | None:
        """Take the notes of one launch; None until an SM has been seen before.

        An SM's earlier note is kept until the interval is long enough.
        """
        megahertz: list[float] = []
        starts_ns: list[int] = []
        ends_ns: list[int] = []
        for note in notes:
            before = self._last.setdefault(note.sm, note)
            elapsed_ns = note.timer_ns - before.timer_ns
            if elapsed_ns < SHORTEST_INTERVAL_NS:
                continue
            self._last[note.sm] = note
            megahertz.append((note.cycles - before.cycles) / elapsed_ns * 1e3)
            starts_ns.append(before.timer_ns)
            ends_ns.append(note.timer_ns)
        if not megahertz:
            return None
        return ClockSample(
            round(statistics.median(starts_ns)) + unix_minus_timer_ns,
            round(statistics.median(ends_ns)) + unix_minus_timer_ns,
            statistics.median(megahertz),
            len(megahertz),
        )


def mean_mhz(samples: Sequence[ClockSample], from_ns: int, to_ns: int) -> float | None:
    """Return the time-weighted mean clock of the samples inside a window; None without any."""
    total_ns, weighted = 0, 0.0
    for sample in samples:
        overlap_ns = min(sample.to_ns, to_ns) - max(sample.from_ns, from_ns)
        if overlap_ns > 0:
            total_ns += overlap_ns
            weighted += overlap_ns * sample.mhz
    return weighted / total_ns if total_ns else None


class ClockProbe:
    """The background thread. Make one with ``start``; ``stop`` returns all samples."""

    def __init__(self, period_s: float) -> None:
        import cupy
        import cupyx

        self._period_s = period_s
        self._device = cupy.cuda.Device()
        # Two blocks an SM: on a chip with free slots every SM is seen, on a full one some are.
        self._blocks = 2 * self._device.attributes["MultiProcessorCount"]
        shape = (_LAUNCHES_IN_FLIGHT, self._blocks, 3)
        self._notes = cupyx.zeros_pinned(shape, dtype="i8")
        self._kernel = cupy.RawKernel(_SOURCE, "note_clock")
        self._stream = _high_priority_stream()
        self._stopping = threading.Event()
        self._series = ClockSeries()
        self._samples: list[ClockSample] = []
        self._error: BaseException | None = None
        self._offset_ns = 0
        self.paused = False
        self._thread = threading.Thread(target=self._run, name="clock64", daemon=True)

    @classmethod
    def start(cls, period_s: float = 0.05) -> ClockProbe:
        """Start to note the clocks every ``period_s`` seconds on the current device."""
        probe = cls(period_s)
        # The GPU must be idle once: only then is a note's host time known to some microseconds.
        probe._offset_ns = probe._unix_minus_timer_ns()
        probe._thread.start()
        return probe

    def stop(self) -> list[ClockSample]:
        """Stop and return the samples in the order of time; raises what broke the thread."""
        self._stopping.set()
        self._thread.join()
        if self._error is not None:
            raise RuntimeError("the clock probe failed") from self._error
        return self._samples

    def _run(self) -> None:
        try:
            with self._device:
                self._probe_until_stopped()
        except Exception as error:  # noqa: BLE001  reported by stop()
            self._error = error

    def _probe_until_stopped(self) -> None:
        launched = read = 0
        while not self._stopping.wait(self._period_s):
            if not self.paused and launched - read < _LAUNCHES_IN_FLIGHT:
                self._launch(launched % _LAUNCHES_IN_FLIGHT)
                launched += 1
            while read < launched - 1 and self._take(read % _LAUNCHES_IN_FLIGHT):
                read += 1
        self._stream.synchronize()
        while read < launched and self._take(read % _LAUNCHES_IN_FLIGHT):
            read += 1

    def _launch(self, slot: int) -> None:
        import numpy as np

        self._notes[slot] = 0
        pointer = np.uint64(self._notes[slot].ctypes.data)  # unified addressing: valid there
        with self._stream:
            self._kernel((self._blocks,), (1,), (pointer,))

    def _take(self, slot: int) -> bool:
        """Read a launch that has finished; False while some block has not written yet."""
        rows = self._notes[slot]
        if not rows[:, 2].all():
            return False
        notes = [Note(*map(int, row)) for row in rows]
        sample = self._series.add(notes, self._offset_ns)
        if sample is not None:
            self._samples.append(sample)
        return True

    def _unix_minus_timer_ns(self) -> int:
        """Offset between the two clocks: the tightest of a few launches."""
        self._device.synchronize()
        offsets: list[tuple[int, int]] = []
        for _ in range(10):
            before_ns = time.time_ns()
            self._launch(0)
            self._stream.synchronize()
            after_ns = time.time_ns()
            timer_ns = int(self._notes[0, 0, 2])
            offsets.append((after_ns - before_ns, (before_ns + after_ns) // 2 - timer_ns))
        return min(offsets)[1]


def _high_priority_stream() -> Any:
    import cupy
    import torch

    stream = torch.cuda.Stream(priority=-1)  # the workload's has 0; torch's pool keeps it alive
    return cupy.cuda.ExternalStream(stream.cuda_stream)


def write(samples: Sequence[ClockSample], path: Path) -> None:
    """Write samples as JSON lines."""
    rows = (
        {"from_ns": one.from_ns, "to_ns": one.to_ns, "mhz": one.mhz, "sms": one.sms}
        for one in samples
    )
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def read(path: Path) -> list[ClockSample]:
    """Read what ``write`` wrote."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return [ClockSample(**json.loads(line)) for line in lines if line]


def disturbance(pairs: int, seconds: float) -> dict[str, float]:
    """Throughput of one unbroken GEMM loop, with the probe running over with it paused.

    Windows of ``seconds`` alternate; the first 10 % of each is left out.
    """
    from benchmarks.paired_ratios import Progress, bootstrap_median, paired_ratios

    from lab.activity import repeat
    from lab.matrix import gemm

    activity = gemm(4096, 4096, 4096)
    repeat(activity, 2.0)
    probe = ClockProbe.start()
    ts_ns, done = [time.time_ns()], [0.0]
    step_of_work = activity.step

    def step() -> None:
        probe.paused = int((time.time_ns() - ts_ns[0]) / 1e9 / seconds) % 2 == 1
        step_of_work()
        ts_ns.append(time.time_ns())
        done.append(done[-1] + 1.0)

    activity.step = step
    repeat(activity, 2 * pairs * seconds + 0.1)
    probe.stop()
    length_ns, guard_ns = round(seconds * 1e9), round(seconds * 1e8)
    windows = [
        (ts_ns[0] + i * length_ns + guard_ns, ts_ns[0] + (i + 1) * length_ns)
        for i in range(2 * pairs)
    ]
    ratios = paired_ratios(
        Progress(ts_ns, done), list(zip(windows[::2], windows[1::2], strict=True))
    )
    median, low, high = bootstrap_median(ratios)
    return {"pairs": pairs, "ratio": median, "low": low, "high": high}


def main() -> int:
    parser = argparse.ArgumentParser(description="What the clock64 probe costs a GEMM loop.")
    parser.add_argument("--pairs", type=int, default=30)
    parser.add_argument("--seconds", type=float, default=1.0, help="length of each window")
    options = parser.parse_args()
    print(json.dumps(disturbance(options.pairs, options.seconds)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
