"""What a day of eight GPUs at 1 Hz takes on disk, and how long questions about it take.

    python benchmarks/recording_day.py [SOURCE] [--keep DIR]

SOURCE is the measured run that the day is made from: a recording, or a CSV for
`gnomon import gpm-csv`. Needs no GPU. Every time is the median of five, with the fastest and
the slowest: as a whole process, which is what a user waits for, and inside a running one.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # run as a file, Python knows this directory only

from benchmarks.synthetic_day import SECOND_NS, Day, measured_seconds  # noqa: E402
from gnomon.analysis.series import series  # noqa: E402
from gnomon.analysis.summary import summarize  # noqa: E402
from gnomon.recording.reader import Recording  # noqa: E402

SOURCE = ROOT / "tests" / "data" / "h200_llm" / "gpm.csv"
TIMES = 5
P99 = (
    "SELECT gpu_uuid, quantile_cont(power_watts, 0.99) AS p99_power_watts "
    "FROM gpu_counters GROUP BY gpu_uuid ORDER BY gpu_uuid"
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("source", nargs="?", type=Path, default=SOURCE)
    parser.add_argument("--keep", metavar="DIR", type=Path, help="leave the recording there")
    parser.add_argument("--hours", type=int, default=24)
    arguments = parser.parse_args()
    day = Day(measured_seconds(arguments.source), hours=arguments.hours)
    with tempfile.TemporaryDirectory() as scratch:
        directory = arguments.keep or Path(scratch) / "day"
        if not directory.exists():
            day.write(directory)
        print_size(directory, day)
        print(f"on {len(os.sched_getaffinity(0))} cores, load {os.getloadavg()[0]:.1f}")
        print_processes(directory)
        print_calls(directory)


def print_size(directory: Path, day: Day) -> None:
    """Print what the recording takes, as a whole and by table."""
    sizes = {
        table.name: sum(path.stat().st_size for path in table.rglob("*") if path.is_file())
        for table in sorted(directory.iterdir())
    }
    files = sum(1 for path in directory.rglob("*.parquet"))
    total = sum(sizes.values())
    a_day = total / day.gpus * 24 / day.hours
    print(f"size {total:,} bytes in {files} segments, {a_day:,.0f} bytes per GPU and day")
    for table, size in sizes.items():
        print(f"  {table:<16}{size:>14,}")


def print_processes(directory: Path) -> None:
    """Print the times of whole processes, from the shell's point of view."""
    for name, arguments in {
        "--version": ["--version"],
        "summary --json": ["summary", str(directory), "--json"],
        "summary --by 1h --json": ["summary", str(directory), "--by", "1h", "--json"],
        "summary --from -60s --json": ["summary", str(directory), "--from", "-60s", "--json"],
        "query p99 --json": ["query", str(directory), P99, "--json"],
    }.items():
        command = [sys.executable, "-m", "gnomon", *arguments]
        print_times(f"gnomon {name}", lambda command=command: run(command))


def print_calls(directory: Path) -> None:
    """Print the times of calls; a fresh Recording each, but one that is kept for the live ones."""
    kept = Recording.open(directory)
    _, end_ns = kept.bounds() or (0, 0)
    uuid = next(iter(kept.meta().gpus))
    hour_ns = 3600 * SECOND_NS

    def ago(seconds: int) -> int:
        return end_ns - seconds * SECOND_NS

    print_times("summarize", lambda: summarize(Recording.open(directory)))
    print_times("summarize by 1h", lambda: summarize(Recording.open(directory), by=hour_ns))
    print_times("sql p99", lambda: Recording.open(directory).sql(P99))
    print_times("summarize last 60 s", lambda: summarize(kept, from_ns=ago(60), to_ns=end_ns))
    print_times("summarize last 5 s", lambda: summarize(kept, from_ns=ago(5), to_ns=end_ns))
    print_times(
        "series last 5 min, one GPU",
        lambda: series(kept, uuid, from_ns=ago(300), to_ns=end_ns, bins=100),
    )


def run(command: list[str]) -> None:
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def print_times(name: str, call: Callable[[], object]) -> None:
    """Print the median wall time, its spread, and the CPU time of the median."""
    walls_s, cpus_s = [], []
    for _ in range(TIMES):
        wall_s, cpu_s = time.perf_counter(), sum(os.times()[:4])
        call()
        walls_s.append(time.perf_counter() - wall_s)
        cpus_s.append(sum(os.times()[:4]) - cpu_s)
    print(
        f"{name:<34}{statistics.median(walls_s):7.3f} s "
        f"({min(walls_s):.3f} to {max(walls_s):.3f}), CPU {statistics.median(cpus_s):.2f} s"
    )


if __name__ == "__main__":
    main()
