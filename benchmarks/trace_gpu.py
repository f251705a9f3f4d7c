"""What ``gnomon trace`` costs work on a GPU: throughput with it over without, pair by pair.

    python -m benchmarks.trace_gpu --results trace.jsonl [--pairs 15] [--window 1.5]

A workload runs all the while; the tracer is started on it and ended in turn. ``trace`` is gnomon
as it comes, but for PM sampling; ``trace-always`` has the budget for launches lifted, so that
every launch is traced. Each ratio is printed, and appended to a file, as soon as it is known.
Needs root (or CAP_BPF and CAP_PERFMON) and an NVIDIA GPU with PyTorch. Exits 1 where the lower end
of a 95 % interval is below the promise, 2 where it could not measure.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

from benchmarks import observers, overhead, trace_gpu_work
from benchmarks.observers import ObserverError
from benchmarks.paired_ratios import (
    Interval,
    Quartiles,
    bootstrap_median,
    paired_ratios,
    quartiles,
)
from benchmarks.workload import FLUSH_EVERY_S, read_progress

BUDGET, ALWAYS = "trace", "trace-always"
# A turn of PM sampling slows the GPU down by itself; benchmarks.overhead tells by how much.
WITHOUT_PM = ("env", "GNOMON_PM_ENABLED=false")
# The budget is a setting; this one lets every launch be traced.
LIFTED = "GNOMON_TRACE_LAUNCH_BUDGET_PCT=100"
# Launches are held within the budget of 2 %; all else is too rare to be felt.
PROMISED = {
    ("launches", BUDGET): 0.98,
    ("decode", BUDGET): 0.99,
    ("gemm", BUDGET): 0.99,
}
PLANS = (*PROMISED, ("launches", ALWAYS))
READY_WITHIN_S = 60.0
BUILT_WITHIN_S = 180.0
SETTLE_S = 0.5  # after the first totals: by then launches that are too many are in windows


@dataclass(frozen=True, slots=True)
class Ratio:
    """Throughput traced over untraced, with what it was measured on.

    ``ratio`` has the 95 % interval of its median, ``spread`` the quartiles of the pairs.
    ``untraced_per_s`` are iterations.
    """

    workload: str
    observer: str
    pairs: int
    window_s: float
    ratio: Interval
    spread: Quartiles
    untraced_per_s: float
    promised: float | None
    passed: bool
    kernel: str
    processors: int
    load_average: float

    def line(self) -> str:
        """Return it as a line of JSON."""
        document = asdict(self)
        document["ratio"] = self.ratio._asdict()
        document["spread"] = self.spread._asdict()
        return json.dumps(document)


class StartedTracer:
    """A tracer that is on while it runs: it is started on a process and ended again."""

    def __init__(self, command: Sequence[str], folder: Path, log: IO[bytes]) -> None:
        """``command`` records into the folder that is appended to it."""
        self._command, self._folder, self._log = command, folder, log
        self._process: subprocess.Popen[bytes] | None = None
        self._owned = ExitStack()
        self._starts = 0

    def on(self) -> None:
        """Return once it counts calls. Raises ObserverError."""
        if self._process is not None:
            if self._process.poll() is not None:
                raise ObserverError(f"the tracer ended with status {self._process.returncode}")
            return
        self._starts += 1
        recording = self._folder / f"recording-{self._starts}"
        command = [*self._command, str(recording)]
        self._process = self._owned.enter_context(observers.running_quietly(command, self._log))
        observers.wait_for_rows(recording, self._process, READY_WITHIN_S, "call_histograms")
        time.sleep(SETTLE_S)

    def off(self) -> None:
        """Return once it has ended, its probes with it."""
        self._process = None
        self._owned.close()


def tracer_command(gnomon: Sequence[str], observer: str, pid: int) -> list[str]:
    """Return what traces a process, but for the folder to record into."""
    lifted = (LIFTED,) if observer == ALWAYS else ()
    return [*WITHOUT_PM, *lifted, *gnomon, "trace", "--pid", str(pid), "-o"]


def measure(kind: str, wanted: Sequence[str], options: argparse.Namespace, log: IO[bytes]) -> None:
    """Measure one workload with the observers ``wanted``, one after the other, and tell.

    Raises ObserverError.
    """
    with tempfile.TemporaryDirectory() as directory:
        folder = Path(directory)
        progress = folder / "progress"
        command = [sys.executable, "-m", "benchmarks.trace_gpu_work", kind, str(progress)]
        with observers.running_quietly([*command, "--gpu", options.gpu], log) as busy:
            overhead.wait_for_progress(progress, busy, BUILT_WITHIN_S)
            for observer in wanted:
                watching = tracer_command(options.gnomon, observer, busy.pid)
                tracer = StartedTracer(watching, folder / observer, log)
                try:
                    windows = overhead.alternate(
                        tracer, options.pairs, options.window, ends_on=False
                    )
                finally:
                    tracer.off()
                time.sleep(2 * FLUSH_EVERY_S)
                tell(judged(kind, observer, progress, windows, options.window), options.results)


def judged(
    kind: str,
    observer: str,
    path: Path,
    windows: list[tuple[overhead.Window, overhead.Window]],
    window_s: float,
) -> Ratio:
    """Return the ratio over (traced, untraced) windows of a workload's progress."""
    progress = read_progress(path)
    ratios = paired_ratios(progress, windows)
    interval = bootstrap_median(ratios)
    promised = PROMISED.get((kind, observer))
    return Ratio(
        workload=kind,
        observer=observer,
        pairs=len(ratios),
        window_s=window_s,
        ratio=interval,
        spread=quartiles(ratios),
        untraced_per_s=quartiles([progress.rate_per_s(*off) for _, off in windows]).median,
        promised=promised,
        passed=promised is None or interval.low >= promised,
        kernel=platform.release(),
        processors=len(os.sched_getaffinity(0)),
        load_average=os.getloadavg()[0],
    )


def tell(found: Ratio, results: Path) -> None:
    """Print a ratio and append it to the results."""
    median, low, high = found.ratio
    verdict = "" if found.passed else f"  FAILED: {found.promised} is promised"
    quarter = f"quartiles {found.spread.low:.4f} to {found.spread.high:.4f}"
    print(
        f"{found.workload:10} {found.observer:14} {found.pairs:3d} pairs  {median:.4f}  "
        f"{low:.4f} to {high:.4f}  {quarter}  {found.untraced_per_s:9.1f}/s{verdict}",
        flush=True,
    )
    with results.open("a", encoding="utf-8") as file:
        file.write(found.line() + "\n")


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="What gnomon trace costs work on a GPU.")
    parser.add_argument("--pairs", type=int, default=15, help="on/off pairs for each ratio")
    parser.add_argument("--window", type=float, default=1.5, help="seconds of each half")
    names = ", ".join(trace_gpu_work.KINDS)
    parser.add_argument("--workloads", default=",".join(trace_gpu_work.KINDS), help=f"of {names}")
    parser.add_argument("--gpu", default=trace_gpu_work.TORCH, metavar="MODULE:FUNCTION")
    parser.add_argument(
        "--gnomon", type=shlex.split, default=[sys.executable, "-m", "gnomon"], metavar="COMMAND"
    )
    parser.add_argument("--log", type=Path, default=Path(os.devnull), help="what programs print")
    parser.add_argument("--results", type=Path, required=True, help="a line of JSON a ratio")
    options = parser.parse_args(arguments)
    options.workloads = [word.strip() for word in options.workloads.split(",")]
    for word in options.workloads:
        if word not in trace_gpu_work.KINDS:
            parser.error(f"{word!r} is none of {names}")
    return options


def main(arguments: list[str] | None = None) -> int:
    options = parse(arguments)
    began_s = time.monotonic()
    print("workload, observer: throughput traced / untraced, its 95 % interval", flush=True)
    before = len(_lines(options.results))
    try:
        with options.log.open("ab") as log:
            for kind in options.workloads:
                wanted = [observer for plan, observer in PLANS if plan == kind]
                measure(kind, wanted, options, log)
    except ObserverError as error:
        print(f"cannot measure: {error}", file=sys.stderr)
        return 2
    print(f"{time.monotonic() - began_s:.0f} s in all")
    made = map(json.loads, _lines(options.results)[before:])
    return 0 if all(one["passed"] for one in made) else 1


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else []


if __name__ == "__main__":
    sys.exit(main())
