"""How right gnomon is: it records while known work runs, and is held against that work.

    python -m benchmarks.accuracy [--phases all] [--seconds 6] [--json FILE] [--keep DIR]

Runs ``gnomon record`` at 10 Hz with PM sampling, ``lab.tour`` beside it, then ``gnomon summary
--by phase``, and prints what each says. Exits 1 where a tolerance is missed, 2 where it could
not measure. Needs PyTorch and CuPy; the LLM phases transformers and peft.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lab.announce import read_sidecar

from benchmarks.observers import ObserverError, wait_for_rows
from benchmarks.truth import Check, Clocks, Subject, clock_means, compare
from lab import clock64

PM_SETTLES_S = 4.0
CLOCK_SQL = (
    "SELECT ts_ns, duration_ns, sm_clock_source, sm_clock_mhz FROM gpu_counters "
    "WHERE sm_clock_mhz IS NOT NULL AND gpu_uuid = '{uuid}'"
)


@dataclass(frozen=True, slots=True)
class Files:
    """What a run leaves behind, under one directory."""

    directory: Path

    @property
    def recording(self) -> Path:
        return self.directory / "recording"

    @property
    def sidecar(self) -> Path:
        return self.directory / "phases.jsonl"

    @property
    def clock(self) -> Path:
        return self.directory / "clock64.jsonl"

    @property
    def log(self) -> Path:
        return self.directory / "record.log"


@contextlib.contextmanager
def recorder(gnomon: Sequence[str], files: Files) -> Iterator[None]:
    """``gnomon record`` while the body runs. Raises ObserverError with what it printed."""
    command = [*gnomon, "record", "-o", str(files.recording), "--period", "100ms", "--pm-always"]
    with files.log.open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            wait_for_rows(files.recording, process, 30.0)
            time.sleep(PM_SETTLES_S)
            yield
        except ObserverError as error:
            raise ObserverError(f"{error}: {files.log.read_text(errors='replace')}") from None
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(timeout=30)


def run(options: argparse.Namespace, files: Files) -> None:
    """Record the tour. Raises ObserverError."""
    tour = [
        *(sys.executable, "-m", "lab.tour", "--phases", options.phases),
        *("--seconds", str(options.seconds), "--warm-up", str(options.warm_up)),
        *("--sidecar", str(files.sidecar), "--recording", str(files.recording)),
        *("--clock64", str(files.clock)),
    ]
    with recorder(options.gnomon, files):
        status = subprocess.run(tour, check=False).returncode
    if status != 0 or not files.sidecar.exists():
        raise ObserverError(f"the tour failed with status {status}; its lines above say where")


def subjects(options: argparse.Namespace, files: Files) -> list[Subject]:
    """Join the program's records, gnomon's summaries and the three clocks, phase by phase.

    Raises ObserverError where gnomon's answer lacks a phase.
    """
    answer = _gnomon(options.gnomon, "summary", files.recording, "--by", "phase", "--json")
    summaries = {
        gpu["phase"]: gpu
        for gpu in answer["gpus"]
        if gpu.get("phase") and (options.gpu is None or gpu["uuid"] == options.gpu)
    }
    records = read_sidecar(files.sidecar)
    missing = [record.name for record in records if record.name not in summaries]
    if missing:
        raise ObserverError(f"gnomon summary --by phase does not know {', '.join(missing)}")
    uuid = summaries[records[0].name]["uuid"]
    sql = CLOCK_SQL.format(uuid=uuid)
    rows = _gnomon(options.gnomon, "query", files.recording, sql, "--json", "--limit", "0")
    samples = clock64.read(files.clock) if files.clock.exists() else []
    result = []
    for record in records:
        means = clock_means(rows, record.from_ns, record.to_ns)
        true_mhz = clock64.mean_mhz(samples, record.from_ns, record.to_ns)
        clocks = Clocks(means.get("cupti"), means.get("nvml"), true_mhz)
        summary = summaries[record.name]
        result.append(Subject(record, summary, clocks, peaks(summary["name"])))
    return result


def peaks(name: str) -> Callable[[str], float | None]:
    """Return dtype -> peak FLOP/s of the GPU with this name."""
    from gnomon.hardware import profile

    hardware = profile({"name": name})
    return hardware.flops


def show(subject: Subject, checks: Sequence[Check]) -> None:
    """Print one phase: what gnomon says, what is known, how far apart they are."""
    summary, record, clocks = subject.summary, subject.record, subject.clocks
    terms = {key.removesuffix("_pct"): value for key, value in summary["ledger"].items()}
    print(f"\n{record.name}: {summary['verdict']}")
    print(
        f"  busy {_number(summary['busy_pct'])}  engine {_number(summary['engine_active_pct'])}"
        f"  SM {_number(summary['sm_active_pct'])}  {summary['pipe']}"
        f" {_number(summary['pipe_active_pct'])}  compute SOL"
        f" {_number(summary['compute_sol_pct'])}  memory SOL {_number(summary['memory_sol_pct'])}"
    )
    print("  ledger " + "  ".join(f"{name} {_number(value)}" for name, value in terms.items()))
    program = [
        f"{record.flops_per_s / 1e12:.1f} TFLOP/s {record.flops_dtype}"
        if record.flops_per_s is not None
        else "",
        f"{record.bytes_per_s / 1e9:.0f} GB/s" if record.bytes_per_s is not None else "",
        f"{record.tokens / record.seconds:.0f} tokens/s" if record.tokens is not None else "",
    ]
    print("  program " + ("  ".join(filter(None, program)) or "counts nothing"), end="")
    print(
        f"; clock MHz: NVML {_number(clocks.nvml, 0)}  CUPTI {_number(clocks.cupti, 0)}"
        f"  clock64 {_number(clocks.clock64, 0)}; {_number(summary['power_watts'], 0)} W"
    )
    for check in checks:
        limit = "" if check.tolerance is None else f" (at most {check.tolerance:g})"
        mark = "  ok  " if check.tolerance is not None and check.passed else "      "
        mark = mark if check.passed else "FAILED"
        difference = "" if check.error is None else f"{check.error:+.2f} {check.unit}{limit}"
        print(
            f"  {mark} {check.quantity:26} {_number(check.measured):>12}"
            f"  truth {_number(check.truth):>12}  {difference}"
        )


def _number(value: object, digits: int = 2) -> str:
    if value is None:
        return "none"
    if not isinstance(value, int | float):
        return str(value)
    return f"{value:.3e}" if abs(value) >= 1e6 else f"{value:.{digits}f}"


def _gnomon(gnomon: Sequence[str], verb: str, directory: Path, *arguments: str) -> Any:
    command = [*gnomon, verb, str(directory), *arguments]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode != 0:
        raise ObserverError(f"gnomon {verb} ended with status {done.returncode}: {done.stderr}")
    return json.loads(done.stdout)


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Hold gnomon against work that is known.")
    parser.add_argument("--phases", default="all", help="names or sets of lab.tour")
    parser.add_argument("--seconds", type=float, default=6.0, help="length of each phase")
    parser.add_argument("--warm-up", type=float, default=2.0, help="seconds before each phase")
    parser.add_argument("--gpu", metavar="UUID", help="the GPU that works, where there are several")
    parser.add_argument(
        "--gnomon", type=shlex.split, default=[sys.executable, "-m", "gnomon"], metavar="COMMAND"
    )
    parser.add_argument("--keep", type=Path, metavar="DIR", help="keep the recording here")
    parser.add_argument("--again", type=Path, metavar="DIR", help="judge a kept recording anew")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the results here")
    return parser.parse_args(arguments)


def judge(options: argparse.Namespace, files: Files) -> int:
    """Print every comparison; return the exit status."""
    judged = [(subject, compare(subject)) for subject in subjects(options, files)]
    for subject, checks in judged:
        show(subject, checks)
    failed = [check for _, checks in judged for check in checks if not check.passed]
    held = sum(check.tolerance is not None for _, checks in judged for check in checks)
    print(f"\n{held - len(failed)} of {held} checks hold")
    for check in failed:
        print(f"FAILED {check.phase}: {check.quantity}")
    if options.json:
        options.json.write_text(json.dumps(_document(judged), indent=1) + "\n", encoding="utf-8")
    return 1 if failed else 0


def _document(judged: Sequence[tuple[Subject, Sequence[Check]]]) -> list[dict[str, Any]]:
    return [
        {
            "record": asdict(subject.record),
            "summary": subject.summary,
            "clocks_mhz": asdict(subject.clocks),
            "checks": [{**asdict(check), "passed": check.passed} for check in checks],
        }
        for subject, checks in judged
    ]


def main() -> int:
    options = parse()
    with contextlib.ExitStack() as stack:
        if options.again or options.keep:
            directory = options.again or options.keep
            directory.mkdir(parents=True, exist_ok=True)
        else:
            directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        files = Files(directory)
        try:
            if not options.again:
                run(options, files)
            return judge(options, files)
        except ObserverError as error:
            print(f"benchmarks.accuracy: {error}", file=sys.stderr)
            return 2


if __name__ == "__main__":
    sys.exit(main())
