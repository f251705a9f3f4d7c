"""How long ``gnomon explain`` takes over millions of events, and how much memory.

    python -m benchmarks.explain_events [--events 10000000] [--keep DIR]

Makes a recording of four processes that each feed a GPU from one thread (launches with the driver
call nested in them, copies, synchronisations), of which the second shares its core for a part of
the time and the third reads its data from a disk, with counters of their GPUs. Needs no GPU. Prints
the time of the whole process, the median of three with the fastest and the slowest, its largest
resident memory, and what was found. Exits 1 beyond 10 s or 2 GB.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from gnomon import tables
from gnomon.recording.base import Meta
from gnomon.recording.writer import RecordingWriter

BEGIN_NS = 1_795_219_200_000_000_000
PROCESSES = 4
CALLS_SHARE = 0.8  # of the events; the others are stays off the CPU
AT_ONCE = 100_000
MOST_S, MOST_BYTES = 10.0, 2e9
TIMES = 3
# Operation, layer, depth, median duration in us, share of the calls.
OPERATIONS = (
    ("cudaLaunchKernel", "cuda_runtime", 0, 5.0, 0.42),
    ("cuLaunchKernel", "cuda_driver", 1, 3.5, 0.42),
    ("cudaMemcpyAsync", "cuda_runtime", 0, 8.0, 0.08),
    ("cudaStreamSynchronize", "cuda_runtime", 0, 40.0, 0.05),
    ("cudaMallocAsync", "cuda_runtime", 0, 2.0, 0.03),
)
CALL_PERIOD_NS = 40_000
COUNTERS_PERIOD_NS = 100_000_000

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Process:
    """One rank: its thread, its GPU, and the share of its stays that are a fault."""

    rank: int
    run_queue: float
    io: float

    @property
    def pid(self) -> int:
        return 1000 + 100 * self.rank

    @property
    def gpu_uuid(self) -> str:
        return f"GPU-{self.rank:08d}-0000-0000-0000-000000000000"


RANKS = (Process(0, 0.0, 0.0), Process(1, 0.5, 0.0), Process(2, 0.0, 0.5), Process(3, 0.0, 0.0))


def write(directory: Path, events: int) -> None:
    """Write the recording. Rows go through the real writer; every process has as many."""
    rng = np.random.default_rng(0)
    calls = int(events * CALLS_SHARE) // PROCESSES
    stays = (events - calls * PROCESSES) // PROCESSES
    with RecordingWriter(directory, "host-1") as writer:
        writer.update_meta(Meta(tables.SCHEMA_VERSION, host={"id": "host-1"}))
        for first in range(0, calls, AT_ONCE):
            many = min(AT_ONCE, calls - first)
            begin_ns = BEGIN_NS + first * CALL_PERIOD_NS
            for process in RANKS:
                writer.append("host_calls", call_rows(rng, process, begin_ns, many))
                some = stays * (first + many) // calls - stays * first // calls
                length_ns = many * CALL_PERIOD_NS
                writer.append("off_cpu", stay_rows(rng, process, begin_ns, length_ns, some))
                writer.append("gpu_counters", counter_rows(rng, process, begin_ns, length_ns))
            writer.flush()
        writer.append("threads", thread_rows(calls * CALL_PERIOD_NS))


def call_rows(rng: np.random.Generator, process: Process, begin_ns: int, many: int) -> Any:
    """Return a batch of calls, one every ``CALL_PERIOD_NS`` on average, in the order of time."""
    which = rng.choice(len(OPERATIONS), many, p=[one[4] for one in OPERATIONS])
    medians_ns = np.array([one[3] * 1000 for one in OPERATIONS])
    duration_ns = (medians_ns[which] * rng.lognormal(0, 0.4, many)).astype(np.int64)
    starts_ns = begin_ns + np.sort(rng.integers(0, many * CALL_PERIOD_NS, many))
    is_copy = which == 2
    off_ns = np.where(rng.random(many) < 0.02, duration_ns // 4, 0)
    return batch(
        "host_calls",
        many,
        ts_ns=starts_ns + duration_ns,
        duration_ns=duration_ns,
        gpu_uuid=process.gpu_uuid,
        host="host-1",
        pid=process.pid,
        tid=process.pid,
        rank=process.rank,
        operation=words([one[0] for one in OPERATIONS], which),
        layer=words([one[1] for one in OPERATIONS], which),
        depth=np.array([one[2] for one in OPERATIONS])[which],
        bytes=np.where(is_copy, rng.integers(1 << 10, 1 << 22, many), 0),
        address=rng.integers(1 << 40, (1 << 40) + 300, many),
        stream=7,
        return_code=0,
        first_call=0,
        off_cpu_ns=off_ns,
        run_queue_ns=off_ns,
        io_ns=0,
        voluntary_ns=0,
        stack_hash=rng.integers(1, 200, many),
        selection="all",
        weight=1.0,
    )


def stay_rows(
    rng: np.random.Generator, process: Process, begin_ns: int, length_ns: int, many: int
) -> Any:
    """Return a batch of stays off the CPU of 20 us, more of those that are the process's fault."""
    ends_ns = begin_ns + np.sort(rng.integers(0, length_ns, many))
    kind = rng.choice(
        3, many, p=[process.run_queue, process.io, 1 - process.run_queue - process.io]
    )
    duration_ns = (np.where(kind < 2, 60_000, 8_000) * rng.lognormal(0, 0.3, many)).astype(np.int64)
    columns = {
        name: np.where(kind == place, duration_ns, 0)
        for place, name in enumerate(("run_queue_ns", "io_ns", "voluntary_ns"))
    }
    return batch(
        "off_cpu",
        many,
        ts_ns=ends_ns,
        duration_ns=duration_ns,
        host="host-1",
        pid=process.pid,
        tid=process.pid,
        state=words(["runnable", "uninterruptible", "interruptible"], kind),
        preemptor_tid=np.where(kind == 0, 4242, 0),
        preemptor_name=words(["backup.sh", "swapper/0", "swapper/0"], kind),
        selection="all",
        weight=1.0,
        **columns,
    )


def counter_rows(rng: np.random.Generator, process: Process, begin_ns: int, length_ns: int) -> Any:
    """Return a batch of counters at 10 Hz."""
    many = length_ns // COUNTERS_PERIOD_NS
    engine_pct = 80 + 5 * rng.random(many)
    return batch(
        "gpu_counters",
        many,
        ts_ns=begin_ns + COUNTERS_PERIOD_NS * np.arange(1, many + 1),
        duration_ns=COUNTERS_PERIOD_NS,
        gpu_uuid=process.gpu_uuid,
        source="gpm",
        busy_pct=100.0,
        engine_active_pct=engine_pct,
        sm_active_pct=engine_pct * 0.8,
        dram_active_pct=40.0,
        sm_clock_mhz=1980.0,
    )


def thread_rows(length_ns: int) -> Any:
    """Return a batch of the threads, one a process."""
    rows = [
        {
            "ts_ns": BEGIN_NS + length_ns,
            "duration_ns": length_ns,
            "host": "host-1",
            "pid": one.pid,
            "tid": one.pid,
            "name": f"rank{one.rank}",
            "process_name": "python3",
            "rank": one.rank,
            "off_cpu_selection": "all",
        }
        for one in RANKS
    ]
    return tables.batch("threads", rows)


def words(values: list[str], which: Ints) -> Any:
    return pa.DictionaryArray.from_arrays(pa.array(which.astype(np.int32)), pa.array(values))


def batch(table: str, many: int, **columns: Any) -> Any:
    """Return a batch of ``many`` rows: a column is an array, or one value for all; else null."""

    def array(field: Any) -> Any:
        value = columns.pop(field.name, None)
        if isinstance(value, pa.DictionaryArray):
            return value.cast(field.type)
        if isinstance(value, np.ndarray):
            return pa.array(value).cast(field.type)
        return pa.repeat(pa.scalar(value, field.type), many)

    schema = tables.arrow_schema(table)
    arrays = [array(field) for field in schema]
    if columns:
        raise KeyError(f"{table} has no {sorted(columns)}")
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def explain(directory: Path) -> tuple[float, int, dict[str, Any]]:
    """Return seconds, largest resident bytes and the document of a whole ``gnomon explain``."""
    command = [sys.executable, "-m", "gnomon", "explain", str(directory), "--json"]
    begin = time.monotonic()
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        output = process.stdout.read() if process.stdout else b""
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"gnomon explain ended with status {process.returncode}")
    return time.monotonic() - begin, usage.ru_maxrss * 1024, json.loads(output)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--events", type=int, default=10_000_000)
    parser.add_argument("--keep", metavar="DIR", type=Path, help="leave the recording there")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        directory = arguments.keep or Path(scratch) / "recording"
        if not directory.exists():
            write(directory, arguments.events)
        size = sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())
        print(f"{arguments.events:,} events, {size / 1e6:,.0f} MB on disk")
        print(f"on {len(os.sched_getaffinity(0))} cores, load {os.getloadavg()[0]:.1f}")
        runs = [explain(directory) for _ in range(TIMES)]
    times_s = sorted(seconds for seconds, _, _ in runs)
    median_s, most_bytes = statistics.median(times_s), max(peak for _, peak, _ in runs)
    print(
        f"explain: {median_s:.1f} s ({times_s[0]:.1f} to {times_s[-1]:.1f}), "
        f"{most_bytes / 1e6:,.0f} MB at most"
    )
    for one in runs[-1][2]["findings"]:
        lost_s = one["lost_seconds"]
        told = "-" if lost_s is None else f"{lost_s:.1f} s"
        print(f"  {one['severity']:9} {one['cause']:22} process {one['pid']}: {told}")
    return 0 if median_s <= MOST_S and most_bytes <= MOST_BYTES else 1


if __name__ == "__main__":
    sys.exit(main())
