"""How many PM samples a second a core turns into rows, without a GPU.

    python -m benchmarks.pm_samples [--rounds 15] [--seconds 5] [--json FILE]

First the way from the helper's records to Arrow alone, by CPU time. Then the real gnomon-pm over
the stand-in of libcupti, which takes a sample each 20 and 50 us, 1 and 10 ms: the CPU of either
end, and what was lost. What the real libcupti takes to decode and evaluate is not in it: 25 us a
sample and 1.7 us a metric (docs/measurements/pm_sampling.md). Needs g++ and CUDA's headers; exits
2 where it could not measure.
"""

from __future__ import annotations

import argparse
import json
import os
import struct
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.paired_ratios import Quartiles, quartiles
from gnomon._errors import GnomonError
from gnomon.enums import CounterSet
from gnomon.sources import _pm_helper
from gnomon.sources._pm_asked import Asked
from gnomon.sources._pm_library import Library
from gnomon.sources._pm_machine import Machine
from gnomon.sources._pm_metrics import WISHES, Metric, plan_text
from gnomon.sources._pm_records import MAGIC, VERSION, Loss, RecordReader, Row, Samples
from gnomon.sources._pm_samples import sample_batch

SETS = (CounterSet.THROUGHPUT,)
# The stand-in grants every wish by its first alternative; an H200 eleven metrics of them.
METRICS: tuple[Metric, ...] = tuple(
    metric for wish in WISHES[SETS[0]] for metric in wish.alternatives[0]
)
RECORD_BYTES = 4096
RECORDS = 3_000  # some 160,000 samples: 8 s of 50 us
AT_ONCE = 32  # 0.1 s of 50 us
INTERVALS_US = (20, 50, 1_000, 10_000)
READ_EVERY_S = 0.1
SETTLE_S = 1.0


@dataclass(frozen=True, slots=True)
class Parsed:
    """CPU time from a record's bytes to rows of `pm_samples`, ns a sample, over the rounds."""

    metrics: int
    samples: int
    ns: Quartiles

    @property
    def a_second(self) -> float:
        return 1e9 / self.ns.median


@dataclass(frozen=True, slots=True)
class Streamed:
    """A run of gnomon-pm over the stand-in. CPU in percent of a core."""

    interval_us: int
    samples_a_second: float
    helper_pct: float
    reader_pct: float
    lost: int


def parsed(rounds: int) -> Parsed:
    """Measure the way from bytes to Arrow."""
    stream = _records()
    costs: list[float] = []
    samples = 0
    for _ in range(rounds + 1):
        begun_ns = time.process_time_ns()
        found = [one for one in RecordReader().feed(stream) if isinstance(one, Samples)]
        for start in range(0, len(found), AT_ONCE):
            _batch(found[start : start + AT_ONCE])
        samples = sum(one.samples for one in found)
        costs.append((time.process_time_ns() - begun_ns) / samples)
    return Parsed(len(METRICS), samples, quartiles(costs[1:]))  # the first imports


def _records() -> bytes:
    """Return the stream of so many full records of random samples of 50 us."""
    count = (RECORD_BYTES - 24) // (12 + 4 * len(METRICS))
    random = np.random.default_rng(1)
    lengths = np.full(count, 50_000, "<u4").tobytes()
    stream = bytearray()
    for number in range(RECORDS):
        ends = (np.arange(1, count + 1) + number * count) * 50_000 + 1_800_000_000 * 10**9
        values = random.uniform(0, 100, (len(METRICS), count)).astype("<f4")
        columns = ends.astype("<i8").tobytes() + lengths + values.tobytes()
        payload = struct.pack("<IHH", count, len(METRICS), 0) + columns
        stream += struct.pack("<IHHIi", MAGIC, VERSION, 6, len(payload), 0) + payload
    return bytes(stream)


def _batch(records: Sequence[Samples]) -> Any:
    return sample_batch(
        records, METRICS, gpu_uuid="GPU-00000000-0000-0000-0000-000000000000", counter_set=SETS[0]
    )


def streamed(folder: Path, interval_us: int, seconds: float) -> Streamed:
    """Let the helper sample a stand-in for so long. Raises GnomonError where it ends early."""
    from tests.standins import cupti

    script = folder / "script.txt"
    script.write_text("set gpus 1\nlive " + " ".join(f"{one.name}=50" for one in METRICS) + "\n")
    machine = Machine(
        folder / "gnomon-pm", Library(folder / "libcupti.so.13", 13000), gpus=(), refused=()
    )
    asked = Asked(interval_us, fine=True)
    environment = {
        **os.environ,
        "LD_LIBRARY_PATH": str(folder),
        cupti.SCRIPT: str(script),
    }
    helper = _pm_helper.Helper(
        asked.command(machine, asked.period_ns), plan_text(SETS), environment
    )
    try:
        _read(helper, SETTLE_S)
        helper_ns, own_ns = _cpu_ns(helper.pid), time.process_time_ns()
        begun_s = time.monotonic()
        samples, lost = _read(helper, seconds)
        lasted_s = time.monotonic() - begun_s
        return Streamed(
            interval_us,
            samples / lasted_s,
            (_cpu_ns(helper.pid) - helper_ns) / lasted_s / 1e7,
            (time.process_time_ns() - own_ns) / lasted_s / 1e7,
            lost,
        )
    finally:
        helper.close()


def _read(helper: _pm_helper.Helper, seconds: float) -> tuple[int, int]:
    """Make rows of what comes; returns the samples told and those lost."""
    samples = lost = rows = 0
    until_s = time.monotonic() + seconds
    while time.monotonic() < until_s:
        time.sleep(READ_EVERY_S)
        records, more = helper.read()
        if not more:
            raise GnomonError(f"gnomon-pm ended: {helper.ended()}")
        told = [one for one in records if isinstance(one, Samples)]
        lost += sum(one.samples for one in records if isinstance(one, Loss))
        rows += sum(isinstance(one, Row) for one in records)
        if told:
            samples += _batch(told).num_rows
    return samples, lost


def _cpu_ns(pid: int) -> int:
    # proc(5): utime and stime are the 14th and 15th field; the 2nd may hold blanks.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    ticks = int(fields[11]) + int(fields[12])
    return ticks * 10**9 // os.sysconf("SC_CLK_TCK")


def _show(way: Parsed, runs: Sequence[Streamed]) -> None:
    print(
        f"records to rows, {way.metrics} metrics: {way.ns.median:.0f} ns a sample "
        f"({way.ns.low:.0f} to {way.ns.high:.0f}), {way.a_second / 1e6:.1f} million a second\n"
    )
    print(f"{'interval':>10} {'samples/s':>10} {'helper':>9} {'reader':>9} {'lost':>6}")
    for run in runs:
        print(
            f"{run.interval_us:>7} us {run.samples_a_second:>10,.0f} {run.helper_pct:>7.1f} % "
            f"{run.reader_pct:>7.1f} % {run.lost:>6}"
        )


def main() -> int:
    parser = argparse.ArgumentParser(description="PM samples a second, without a GPU.")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    from tests.standins import cupti

    way = parsed(options.rounds)
    with tempfile.TemporaryDirectory() as name:
        try:
            cupti.build(Path(name), "-O2")
            runs = [streamed(Path(name), each, options.seconds) for each in INTERVALS_US]
        except GnomonError as error:
            print(f"error: {error}", file=sys.stderr)
            return 2
    _show(way, runs)
    if options.json:
        document = {"parsed": asdict(way), "streamed": [asdict(run) for run in runs]}
        options.json.write_text(json.dumps(document, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
