"""How long ``gnomon kernels --gaps`` and ``--steps`` take over millions of kernels.

    python -m benchmarks.gaps_and_steps [--kernels 10000000] [--shapes 400]

Over the recording of ``kernel_table``. Needs no GPU. Prints, for each view, the time of the whole
process, the median of three with the fastest and the slowest, and its largest resident memory.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.kernel_table import TIMES, write


def run(directory: Path, view: str) -> tuple[float, int]:
    """Return seconds and largest resident bytes of a whole ``gnomon kernels --VIEW``."""
    command = [sys.executable, "-m", "gnomon", "kernels", str(directory), f"--{view}", "--json"]
    begin = time.monotonic()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"gnomon kernels --{view} ended with status {process.returncode}")
    return time.monotonic() - begin, usage.ru_maxrss * 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--kernels", type=int, default=10_000_000)
    parser.add_argument("--shapes", type=int, default=400)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        directory = Path(scratch) / "recording"
        write(directory, arguments.kernels, arguments.shapes)
        cores, load = len(os.sched_getaffinity(0)), os.getloadavg()[0]
        print(f"{arguments.kernels:,} kernels on {cores} cores, load {load:.1f}")
        for view in ("gaps", "steps"):
            runs = sorted(run(directory, view) for _ in range(TIMES))
            times_s = [seconds for seconds, _ in runs]
            print(
                f"{view}: {statistics.median(times_s):.1f} s ({times_s[0]:.1f} to "
                f"{times_s[-1]:.1f}), {max(peak for _, peak in runs) / 1e6:,.0f} MB at most"
            )


if __name__ == "__main__":
    main()
