"""What gnomon costs a workload, and what it uses itself, beside its peers.

    python -m benchmarks.overhead [--pairs 100] [--window 1.0] [--json FILE]

A long workload runs all the while. The observer is switched off and on in turn; throughput on
over off, pair by pair, gives the median ratio and its bootstrap 95 % interval. Exits 1 where a
lower bound is below the promise, 2 where it could not measure.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import random
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

from benchmarks import observers, workload
from benchmarks.observers import Held, ObserverError, PmSwitch, StoppedProcess, Usage
from benchmarks.paired_ratios import Interval, bootstrap_median, paired_ratios
from gnomon.configuration import Settings

PROMISED_RATIO = 0.997
WORKLOAD_WARM_UP_S = 5.0
GUARD_S = 0.15  # after a switch, before a window: what is in flight runs out
SETTLE_S = 5.0
SLOTS = ("counters", "pm", "turns")
TURN_S, CYCLE_S = Settings().pm_on_s, Settings().pm_every_s

Window = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Slowdown:
    """Throughput observed over unobserved."""

    workload: str
    observer: str
    pairs: int
    window_s: float
    ratio: Interval
    # Of the time the observer really takes: a whole cycle of turns, else the window itself.
    lasting: Interval
    passed: bool


def alternate(
    observer: Held, pairs: int, window_s: float, *, ends_on: bool = True
) -> list[tuple[Window, Window]]:
    """Switch the observer on and off; return (on, off) windows, Unix ns, in random order of
    on first and off first so that no drift favours one side. ``ends_on``: it is left on.
    """
    order = random.Random(0)
    result: list[tuple[Window, Window]] = []
    for _ in range(pairs):
        windows: dict[bool, Window] = {}
        for is_on in order.sample([True, False], 2):
            (observer.on if is_on else observer.off)()
            time.sleep(GUARD_S)
            begin_ns = time.time_ns()
            time.sleep(window_s)
            windows[is_on] = (begin_ns, time.time_ns())
        result.append((windows[True], windows[False]))
    if ends_on:
        observer.on()
    return result


@contextlib.contextmanager
def counters(gnomon: list[str], log: IO[bytes]) -> Iterator[Held]:
    """``gnomon record`` at 10 Hz without PM sampling."""
    with tempfile.TemporaryDirectory() as directory:
        target = Path(directory) / "recording"
        command = [*gnomon, "record", "-o", str(target), "--period", "100ms", "--no-pm"]
        with observers.running_quietly(command, log) as process:
            observers.wait_for_rows(target, process, 30.0)
            time.sleep(SETTLE_S)
            yield StoppedProcess(process)


@contextlib.contextmanager
def pm(log: IO[bytes], *arguments: object) -> Iterator[Held]:
    """The PM helper alone, with arguments of ``benchmarks.pm_switch``."""
    command = [sys.executable, "-m", "benchmarks.pm_switch", *map(str, arguments)]
    with observers.running(command, log) as process:
        yield PmSwitch(process)


def watch(name: str, options: argparse.Namespace, log: IO[bytes]) -> AbstractContextManager[Held]:
    """Return an observer by its name: ``turns`` is one turn, as long as gnomon's, a window."""
    if name == "counters":
        return counters(options.gnomon, log)
    interval = () if options.pm_us is None else ("--interval-us", options.pm_us)
    if name == "pm":
        return pm(log, *interval)
    return pm(log, *interval, "--turns", TURN_S, options.window)


def over_cycle(ratio: Interval, window_s: float) -> Interval:
    """Return what a turn in each window costs where gnomon takes one in ``CYCLE_S``.

    Until the next turn the sampler is disabled, and the GPU runs as it does unobserved.
    """
    share = min(1.0, window_s / CYCLE_S)
    return Interval(*(1 - (1 - value) * share for value in ratio))


def slowdown(kind: str, name: str, options: argparse.Namespace, log: IO[bytes]) -> Slowdown:
    """Measure one observer against one workload. Raises ObserverError."""
    with tempfile.TemporaryDirectory() as directory:
        progress = Path(directory) / "progress"
        command = [sys.executable, "-m", "benchmarks.workload", kind, str(progress)]
        with observers.running_quietly(command, log) as busy:
            wait_for_progress(progress, busy)
            with watch(name, options, log) as observer:
                windows = alternate(observer, options.pairs, options.window)
            time.sleep(2 * workload.FLUSH_EVERY_S)
        ratio = bootstrap_median(paired_ratios(workload.read_progress(progress), windows))
    lasting = over_cycle(ratio, options.window) if name == "turns" else ratio
    passed = lasting.low >= PROMISED_RATIO
    return Slowdown(kind, name, options.pairs, options.window, ratio, lasting, passed)


def usages(options: argparse.Namespace, log: IO[bytes]) -> dict[str, Usage | str]:
    """CPU and memory of gnomon and its peers, one after the other beside the same workload.

    A tool that could not be measured maps to the reason.
    """
    result: dict[str, Usage | str] = {}
    with tempfile.TemporaryDirectory() as directory:
        progress = Path(directory) / "progress"
        command = [sys.executable, "-m", "benchmarks.workload", "gemm", str(progress)]
        with observers.running_quietly(command, log) as busy:
            wait_for_progress(progress, busy)
            for name, tool, needs_terminal in _tools(options.gnomon, Path(directory)):
                opened = (
                    observers.running_in_terminal(tool)
                    if needs_terminal
                    else observers.running_quietly(tool, log)
                )
                try:
                    with opened as process:
                        result[name] = observers.measure(process, SETTLE_S, options.usage_seconds)
                except ObserverError as error:
                    result[name] = str(error)
    return result


def _tools(gnomon: list[str], directory: Path) -> list[tuple[str, list[str], bool]]:
    def record(name: str, *arguments: str) -> tuple[str, list[str], bool]:
        target = str(directory / name.replace(" ", "-").replace(",", ""))
        return name, [*gnomon, "record", "-o", target, *arguments], False

    return [
        record("gnomon record, 1 Hz", "--period", "1s", "--no-pm"),
        record("gnomon record, 10 Hz", "--period", "100ms", "--no-pm"),
        record("gnomon record, 1 Hz and PM", "--period", "1s", "--pm"),
        record("gnomon record, 10 Hz and PM", "--period", "100ms", "--pm"),
        *observers.peers(),
    ]


def wait_for_progress(
    progress: Path, busy: subprocess.Popen[bytes], timeout_s: float = 60.0
) -> None:
    """Wait until a workload goes on, and has warmed up. Raises ObserverError."""
    deadline = time.monotonic() + timeout_s
    while not (progress.exists() and progress.stat().st_size):
        if busy.poll() is not None:
            raise ObserverError("the workload ended at once: is PyTorch here, with a GPU?")
        if time.monotonic() > deadline:
            raise ObserverError(f"the workload made no progress within {timeout_s:.0f} s")
        time.sleep(0.1)
    time.sleep(WORKLOAD_WARM_UP_S)


def show(slowdowns: list[Slowdown], used: dict[str, Usage | str]) -> None:
    print(f"\n{'workload':10} {'observer':10} {'pairs':>5} {'on / off':>9}  95 % interval")
    for one in slowdowns:
        verdict = "" if one.passed else f"  FAILED: lower bound under {PROMISED_RATIO}"
        head = f"{one.workload:10} {one.observer:10} {one.pairs:5d}"
        if one.lasting != one.ratio:
            print(f"{head} {_words_of(one.ratio)}  a turn in {one.window_s:g} s")
            head = f"{'':10} {f'in {CYCLE_S:g} s':10} {'':5}"
        print(f"{head} {_words_of(one.lasting)}{verdict}")
    if used:
        print(f"\n{'tool':28} {'% of a core':>11} {'RSS, MB':>8}")
    for name, usage in used.items():
        if isinstance(usage, str):
            print(f"{name:28} {usage}")
        else:
            print(f"{name:28} {usage.cpu_pct:11.2f} {usage.rss_bytes / 1e6:8.0f}")


def _words_of(ratio: Interval) -> str:
    return f"{ratio.median:9.5f}  {ratio.low:.5f} to {ratio.high:.5f}"


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="What gnomon costs a workload and itself uses.")
    parser.add_argument("--pairs", type=int, default=100, help="on/off pairs for each observer")
    parser.add_argument("--window", type=float, default=2.0, help="seconds of each half")
    parser.add_argument("--workloads", default="mixed", help=f"of {', '.join(workload.KINDS)}")
    parser.add_argument("--observers", default="counters,turns", help=f"of {', '.join(SLOTS)}")
    parser.add_argument("--usage-seconds", type=float, default=15.0, help="0: leave usage out")
    parser.add_argument("--pm-us", type=int, help="PM sampling interval (default: gnomon's own)")
    parser.add_argument(
        "--gnomon", type=shlex.split, default=[sys.executable, "-m", "gnomon"], metavar="COMMAND"
    )
    parser.add_argument("--log", type=Path, help="what the programs print goes here")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the results here")
    options = parser.parse_args(arguments)
    options.workloads = _words(parser, options.workloads, workload.KINDS)
    options.observers = _words(parser, options.observers, SLOTS)
    if "turns" in options.observers and options.window <= TURN_S:
        parser.error(f"--window {options.window:g}: a turn lasts {TURN_S:g} s, take more for turns")
    return options


def _words(parser: argparse.ArgumentParser, text: str, known: tuple[str, ...]) -> list[str]:
    words = [word.strip() for word in text.split(",") if word.strip()]
    for word in words:
        if word not in known:
            parser.error(f"{word!r} is none of {', '.join(known)}")
    return words


def main() -> int:
    options = parse()
    slowdowns: list[Slowdown] = []
    failed = False
    with options.log.open("wb") if options.log else tempfile.TemporaryFile() as log:
        for kind in options.workloads:
            for name in options.observers:
                try:
                    slowdowns.append(slowdown(kind, name, options, log))
                except (ObserverError, ValueError) as error:
                    failed = True
                    print(f"{name} beside {kind} could not be measured: {error}", file=sys.stderr)
        try:
            used = usages(options, log) if options.usage_seconds else {}
        except ObserverError as error:
            failed, used = True, {}
            print(f"usage could not be measured: {error}", file=sys.stderr)
    show(slowdowns, used)
    if options.json:
        document = {
            "slowdowns": [
                asdict(one) | {"ratio": one.ratio._asdict(), "lasting": one.lasting._asdict()}
                for one in slowdowns
            ],
            "usage": {
                name: usage if isinstance(usage, str) else asdict(usage)
                for name, usage in used.items()
            },
        }
        options.json.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    if failed:
        return 2
    return 0 if all(one.passed for one in slowdowns) else 1


if __name__ == "__main__":
    sys.exit(main())
