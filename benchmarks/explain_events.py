"""How long ``gnomon explain`` takes over millions of events, and how much memory.

    python -m benchmarks.explain_events [--events 10000000] [--hard] [--keep DIR]

Makes a recording of four processes that each feed a GPU from one thread (launches with the driver
call nested in them, copies, synchronisations), of which the second shares its core for a part of
the time and the third reads its data from a disk, with counters of their GPUs. With ``--hard``:
three processes of eight busy threads that start up first, and of which seven have a fault each, in
a part of the time or all along. Needs no GPU. Prints the time of the whole process, the median of
three with the fastest and the slowest, its largest resident memory, and what was found. Exits 1
beyond 10 s or 2 GB.
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
CALLS_SHARE = 0.8  # of the events; the others are stays off the CPU
AT_ONCE = 100_000
MOST_S, MOST_BYTES = 10.0, 2e9
TIMES = 3
# Operation, layer, depth, median duration in us.
OPERATIONS = (
    ("cudaLaunchKernel", "cuda_runtime", 0, 5.0),
    ("cuLaunchKernel", "cuda_driver", 1, 3.5),
    ("cudaMemcpyAsync", "cuda_runtime", 0, 8.0),
    ("cudaStreamSynchronize", "cuda_runtime", 0, 40.0),
    ("cudaMallocAsync", "cuda_runtime", 0, 2.0),
    ("cudaFree", "cuda_runtime", 0, 6.0),
)
COPY, FREE = 2, 5
# How often a thread makes each of them.
USUAL = (0.42, 0.42, 0.08, 0.05, 0.03, 0.0)
# Kinds of stays off the CPU, and where they were (a stack); of sleeps that is not known.
QUEUED, DISK, ASLEEP, LOCKED, LOADED, SHORT = range(6)
STATES = ("runnable", "uninterruptible", *("interruptible",) * 4)
STACKS = {
    1001: "read_pages",
    1003: "take_gil",
    1004: "_try_get_data",
    1005: "epoll_wait",
}
OF_KIND = (1005, 1001, 0, 1003, 1004, 1005)
START_NS = 400_000_000
CALL_PERIOD_NS = 40_000
COUNTERS_PERIOD_NS = 100_000_000

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Fault:
    """A share of a thread's stays that are of a kind, in a part of the time (0 to 1)."""

    kind: int
    share: float
    begin: float = 0.0
    end: float = 1.0


@dataclass(frozen=True, slots=True)
class Busy:
    """A thread that feeds the GPU of its rank, and what is wrong with it."""

    rank: int
    number: int = 0
    fault: Fault | None = None
    mix: tuple[float, ...] = USUAL
    starts: bool = False

    @property
    def pid(self) -> int:
        return 1000 + 100 * self.rank

    @property
    def tid(self) -> int:
        return self.pid + self.number

    @property
    def gpu_uuid(self) -> str:
        return f"GPU-{self.rank:08d}-0000-0000-0000-000000000000"


PLAIN = (Busy(0), Busy(1, fault=Fault(QUEUED, 0.5)), Busy(2, fault=Fault(DISK, 0.5)), Busy(3))
HARD = (
    Busy(0, 0, Fault(QUEUED, 0.8, 0.5, 0.7), starts=True),
    Busy(0, 1, Fault(DISK, 0.6, 0.2, 0.5)),
    Busy(0, 2),
    Busy(1, 0, Fault(ASLEEP, 0.5), starts=True),
    Busy(1, 1, Fault(LOCKED, 0.7, 0.6, 0.9)),
    Busy(1, 2, Fault(LOADED, 0.5)),
    Busy(2, 0, mix=(0.30, 0.30, 0.28, 0.08, 0.04, 0.0), starts=True),
    Busy(2, 1, mix=(0.36, 0.36, 0.06, 0.06, 0.08, 0.08)),
)


def write(directory: Path, events: int, threads: tuple[Busy, ...]) -> None:
    """Write the recording. Rows go through the real writer; every thread has as many."""
    rng = np.random.default_rng(0)
    calls = int(events * CALLS_SHARE) // len(threads)
    stays = (events - calls * len(threads)) // len(threads)
    whole_ns = calls * CALL_PERIOD_NS
    with RecordingWriter(directory, "host-1") as writer:
        writer.update_meta(Meta(tables.SCHEMA_VERSION, host={"id": "host-1"}))
        for first in range(0, calls, AT_ONCE):
            many = min(AT_ONCE, calls - first)
            begin_ns, length_ns = first * CALL_PERIOD_NS, many * CALL_PERIOD_NS
            for one in threads:
                writer.append("host_calls", call_rows(rng, one, begin_ns, many))
                some = stays * (first + many) // calls - stays * first // calls
                rows = stay_rows(rng, one, (begin_ns, length_ns, whole_ns), some)
                writer.append("off_cpu", rows)
            for one in {each.rank: each for each in threads}.values():
                writer.append("gpu_counters", counter_rows(rng, one, begin_ns, length_ns))
            writer.flush()
        writer.append("threads", thread_rows(threads, whole_ns))
        writer.append("stacks", stack_rows())


def call_rows(rng: np.random.Generator, one: Busy, begin_ns: int, many: int) -> Any:
    """Return a batch of calls, one every ``CALL_PERIOD_NS`` on average, in the order of time."""
    which = rng.choice(len(OPERATIONS), many, p=one.mix)
    medians_ns = np.array([each[3] * 1000 for each in OPERATIONS])
    duration_ns = (medians_ns[which] * rng.lognormal(0, 0.4, many)).astype(np.int64)
    starts_ns = BEGIN_NS + begin_ns + np.sort(rng.integers(0, many * CALL_PERIOD_NS, many))
    first_call = np.zeros(many, dtype=np.int64)
    if one.starts and not begin_ns:
        which[0], first_call[0], duration_ns[0] = FREE, 1, START_NS
        starts_ns[0] -= START_NS
    off_ns = np.where(rng.random(many) < 0.02, duration_ns // 4, 0)
    return batch(
        "host_calls",
        many,
        ts_ns=starts_ns + duration_ns,
        duration_ns=duration_ns,
        gpu_uuid=one.gpu_uuid,
        host="host-1",
        pid=one.pid,
        tid=one.tid,
        rank=one.rank,
        operation=words([each[0] for each in OPERATIONS], which),
        layer=words([each[1] for each in OPERATIONS], which),
        depth=np.array([each[2] for each in OPERATIONS])[which],
        bytes=np.where(which == COPY, rng.integers(1 << 10, 1 << 22, many), 0),
        address=rng.integers(1 << 40, (1 << 40) + 300, many),
        stream=7,
        return_code=0,
        first_call=first_call,
        off_cpu_ns=off_ns,
        run_queue_ns=off_ns,
        io_ns=0,
        voluntary_ns=0,
        stack_hash=rng.integers(1, 200, many),
        selection="all",
        weight=1.0,
    )


def stay_rows(rng: np.random.Generator, one: Busy, when_ns: tuple[int, int, int], many: int) -> Any:
    """Return a batch of stays off the CPU of 8 us, and of 60 us where they are the fault.

    ``when_ns``: begin and length of the batch, and the length of all.
    """
    begin_ns, length_ns, whole_ns = when_ns
    after_ns = begin_ns + np.sort(rng.integers(0, length_ns, many))
    kind = np.full(many, SHORT)
    if one.fault is not None:
        at = after_ns / whole_ns
        inside = (at >= one.fault.begin) & (at < one.fault.end)
        kind[inside & (rng.random(many) < one.fault.share)] = one.fault.kind
    spread = np.where(kind == ASLEEP, 0.001, 0.3)
    duration_ns = np.where(kind == SHORT, 8_000, 60_000) * np.exp(rng.normal(0, 1, many) * spread)
    duration_ns = duration_ns.astype(np.int64)
    classes = {"run_queue_ns": (QUEUED,), "io_ns": (DISK,)}
    classes["voluntary_ns"] = (ASLEEP, LOCKED, LOADED, SHORT)
    columns = {
        name: np.where(np.isin(kind, kinds), duration_ns, 0) for name, kinds in classes.items()
    }
    return batch(
        "off_cpu",
        many,
        ts_ns=BEGIN_NS + after_ns,
        duration_ns=duration_ns,
        host="host-1",
        pid=one.pid,
        tid=one.tid,
        state=words(list(STATES), kind),
        waker_pid=np.where(kind == LOCKED, one.pid, 0),
        waker_tid=np.where(kind == LOCKED, one.pid + 2, 0),
        preemptor_tid=np.where(kind == QUEUED, 4242, 0),
        preemptor_name=words(["backup.sh", *("swapper/0",) * 5], kind),
        stack_hash=np.array(OF_KIND)[kind],
        selection="all",
        weight=1.0,
        **columns,
    )


def counter_rows(rng: np.random.Generator, one: Busy, begin_ns: int, length_ns: int) -> Any:
    """Return a batch of counters at 10 Hz."""
    many = length_ns // COUNTERS_PERIOD_NS
    engine_pct = 80 + 5 * rng.random(many)
    return batch(
        "gpu_counters",
        many,
        ts_ns=BEGIN_NS + begin_ns + COUNTERS_PERIOD_NS * np.arange(1, many + 1),
        duration_ns=COUNTERS_PERIOD_NS,
        gpu_uuid=one.gpu_uuid,
        source="gpm",
        busy_pct=100.0,
        engine_active_pct=engine_pct,
        sm_active_pct=engine_pct * 0.8,
        dram_active_pct=40.0,
        sm_clock_mhz=1980.0,
    )


def thread_rows(threads: tuple[Busy, ...], length_ns: int) -> Any:
    """Return a batch of the threads."""
    rows = [
        {
            "ts_ns": BEGIN_NS + length_ns,
            "duration_ns": length_ns,
            "host": "host-1",
            "pid": one.pid,
            "tid": one.tid,
            "name": f"rank{one.rank}",
            "process_name": "python3",
            "rank": one.rank,
            "off_cpu_selection": "all",
        }
        for one in threads
    ]
    return tables.batch("threads", rows)


def stack_rows() -> Any:
    """Return a batch of stacks of one frame."""
    rows = [
        {"ts_ns": BEGIN_NS + 1, "duration_ns": 0, "stack_hash": of, "depth": 0, "symbol": symbol}
        for of, symbol in STACKS.items()
    ]
    return tables.batch("stacks", rows)


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
    parser.add_argument("--hard", action="store_true", help="eight threads, seven faults")
    parser.add_argument("--keep", metavar="DIR", type=Path, help="leave the recording there")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        directory = arguments.keep or Path(scratch) / "recording"
        if not directory.exists():
            write(directory, arguments.events, HARD if arguments.hard else PLAIN)
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
        who = f"process {one['pid']} thread {one['tid']}"
        print(f"  {one['severity']:9} {one['cause']:22} {who}: {told}")
    return 0 if median_s <= MOST_S and most_bytes <= MOST_BYTES else 1


if __name__ == "__main__":
    sys.exit(main())
