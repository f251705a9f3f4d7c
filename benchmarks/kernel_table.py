"""How long ``gnomon kernels`` takes over millions of kernels, and how much memory.

    python -m benchmarks.kernel_table [--kernels 10000000] [--shapes 400] [--keep DIR]

Makes a recording of two GPUs whose kernels ran in windows of a second, on two streams each that
overlap, in many names and shapes, of which every thousandth launch took a hundred times as long.
Needs no GPU. Prints the time of the whole process, the median of three with the fastest and the
slowest, its largest resident memory, and the first lines of the table. Exits 1 beyond 3 s or 1 GB.
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
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.explain_events import BEGIN_NS, batch
from gnomon import tables
from gnomon.hardware import sku_facts
from gnomon.recording.base import Meta
from gnomon.recording.writer import RecordingWriter

MOST_S, MOST_BYTES = 3.0, 1e9
TIMES = 3
AT_ONCE = 100_000
GPUS = 2
STREAMS = 2
# Mean time from one kernel of a stream to the next, and how long kernels take.
PERIOD_NS = 12_000
MEDIAN_NS = 6_000
WINDOW_NS, WINDOW_PERIOD_NS = 1_000_000_000, 20_000_000_000
BLOCK_X = (128, 256, 384, 512)
NAMES = (
    "nvjet_sm90_tst_{0}x128_64x4_1x2_h_bz_coopA_NTT",
    "_ZN2at6native29vectorized_elementwise_kernelILi{0}ENS0_15CUDAFunctor_addIfEEEEvif",
    "ncclDevKernel_AllReduce_Sum_bf16_RING_LL_{0}",
    "_ZN5flash16flash_fwd_kernelILi{0}EEEvv",
    "triton_poi_fused_add_mul_{0}",
)


def uuid(gpu: int) -> str:
    return f"GPU-{gpu:08d}-0000-0000-0000-000000000000"


def write(directory: Path, kernels: int, shapes: int) -> None:
    """Write the recording. Rows go through the real writer, every GPU has as many."""
    rng = np.random.default_rng(0)
    facts = sku_facts("H200-SXM-141GB")
    of_gpus = {uuid(gpu): {**facts, "index": gpu} for gpu in range(GPUS)}
    with RecordingWriter(directory, "host-1") as writer:
        writer.update_meta(Meta(tables.SCHEMA_VERSION, host={"id": "host-1"}, gpus=of_gpus))
        writer.append("kernel_names", name_rows(shapes))
        for first in range(0, kernels // GPUS, AT_ONCE):
            for gpu in range(GPUS):
                many = min(AT_ONCE, kernels // GPUS - first)
                writer.append("kernels", kernel_rows(rng, gpu, first, many, shapes))
            writer.flush()
        last_ns = shown_ns(np.array([kernels // GPUS * PERIOD_NS // STREAMS]))[0]
        writer.append("kernel_windows", window_rows(int(last_ns)))


def shown_ns(work_ns: Any) -> Any:
    """Return when something ran, after so much time in windows."""
    windows, inside_ns = np.divmod(work_ns, WINDOW_NS)
    return windows * WINDOW_PERIOD_NS + inside_ns


def kernel_rows(rng: np.random.Generator, gpu: int, first: int, many: int, shapes: int) -> Any:
    """Return a batch of kernels of one GPU, its streams by turns, in the order of their ends."""
    number = first + np.arange(many)
    shape = rng.zipf(1.3, many) % shapes
    duration_ns = MEDIAN_NS * (0.5 + shape % 7 / 6) * rng.lognormal(0, 0.05, many)
    duration_ns[rng.random(many) < 0.001] *= 100
    start_ns = shown_ns(number * PERIOD_NS // STREAMS)
    duration_ns = duration_ns.astype(np.int64)
    order = np.argsort(start_ns + duration_ns, kind="stable")
    shape, start_ns, duration_ns = shape[order], start_ns[order], duration_ns[order]
    return batch(
        "kernels",
        many,
        ts_ns=BEGIN_NS + start_ns + duration_ns,
        duration_ns=duration_ns,
        gpu_uuid=uuid(gpu),
        process_id=f"process-{gpu}",
        pid=1000 + gpu,
        source="cupti",
        context_id=1,
        stream_id=7 + number[order] % STREAMS,
        correlation_id=number[order],
        name_hash=name_hashes(shape // 4),
        grid_x=1 + shape,
        grid_y=1 + shape % 3,
        grid_z=1,
        block_x=np.array(BLOCK_X)[shape % 4],
        block_y=1,
        block_z=1,
        cluster_size=1,
        registers_per_thread=32 + shape % 200,
        static_shared_bytes=1024 * (shape % 3),
        dynamic_shared_bytes=8192 * (shape % 5),
        local_bytes_per_thread=0,
        theoretical_occupancy_pct=50.0,
        occupancy_limiter="registers",
        waves=(1 + shape) / 264,
    )


def name_hashes(number: Any) -> Any:
    """Return a hash a name: any odd number times it is one."""
    return (np.asarray(number).astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)).astype(np.int64)


def name_rows(shapes: int) -> Any:
    """Return a batch of the names, four shapes each."""
    rows = [
        {
            "ts_ns": BEGIN_NS + 1,
            "duration_ns": 0,
            "name_hash": int(name_hashes(number)),
            "mangled_name": NAMES[number % len(NAMES)].format(number),
        }
        for number in range(shapes // 4 + 1)
    ]
    return tables.batch("kernel_names", rows)


def window_rows(last_ns: int) -> Any:
    """Return a batch of the windows."""
    rows = [
        {
            "ts_ns": BEGIN_NS + begin_ns + WINDOW_NS,
            "duration_ns": WINDOW_NS,
            "process_id": f"process-{gpu}",
            "pid": 1000 + gpu,
            "source": "cupti",
            "dropped": 0,
        }
        for begin_ns in range(0, last_ns, WINDOW_PERIOD_NS)
        for gpu in range(GPUS)
    ]
    return tables.batch("kernel_windows", rows)


def table(directory: Path) -> tuple[float, float, int, dict[str, Any]]:
    """Return seconds, those of a core, largest resident bytes and the document of a whole run."""
    command = [sys.executable, "-m", "gnomon", "kernels", str(directory), "--by", "shape", "--json"]
    begin = time.monotonic()
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        output = process.stdout.read() if process.stdout else b""
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"gnomon kernels ended with status {process.returncode}")
    cpu_s = usage.ru_utime + usage.ru_stime
    return time.monotonic() - begin, cpu_s, usage.ru_maxrss * 1024, json.loads(output)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--kernels", type=int, default=10_000_000)
    parser.add_argument("--shapes", type=int, default=400)
    parser.add_argument("--keep", metavar="DIR", type=Path, help="leave the recording there")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        directory = arguments.keep or Path(scratch) / "recording"
        if not directory.exists():
            write(directory, arguments.kernels, arguments.shapes)
        size = sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())
        print(f"{arguments.kernels:,} kernels, {size / 1e6:,.0f} MB on disk")
        print(f"on {len(os.sched_getaffinity(0))} cores, load {os.getloadavg()[0]:.1f}")
        runs = [table(directory) for _ in range(TIMES)]
    times_s = sorted(one[0] for one in runs)
    median_s, most_bytes = statistics.median(times_s), max(one[2] for one in runs)
    print(
        f"kernels: {median_s:.2f} s ({times_s[0]:.2f} to {times_s[-1]:.2f}), "
        f"{statistics.median(one[1] for one in runs):.2f} s of a core, "
        f"{most_bytes / 1e6:,.0f} MB at most"
    )
    for one in runs[-1][3]["kernels"][:5]:
        told = f"{one['count']:,} x {one['p50_ns'] / 1e3:.1f} us, {one['outliers']:,} outliers"
        print(f"  {one['name'][:50]:50} {told}")
    return 0 if median_s <= MOST_S and most_bytes <= MOST_BYTES else 1


if __name__ == "__main__":
    sys.exit(main())
