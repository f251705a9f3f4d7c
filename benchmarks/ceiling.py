"""How near a model runs to its ceiling, and whether the ceiling is one: on this GPU.

    python -m benchmarks.ceiling [--points all] [--seconds 4] [--json FILE] [--keep DIR]
    python -m benchmarks.ceiling --again DIR [--json FILE]

Calibrates twice and holds the two against each other; then runs Llama-3.1-8B's shape with random
weights, prefill and decode and a decode step's bare operators, beside ``gnomon record`` with PM
sampling. Prints measured tokens/s beside attainable with default and with calibrated constants,
and the counters' FLOP/s and DRAM bytes beside the model's. ``--again`` judges a kept run anew.
Exits 1 where a tolerance is missed, 2 where it could not measure. Needs PyTorch and transformers.
"""

from __future__ import annotations

import argparse
import contextlib
import fnmatch
import json
import os
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lab.activity import NotPossibleError, memory_freed, repeat
from lab.announce import Announcer, PhaseRecord, read_sidecar
from lab.known_work import Work

from benchmarks.accuracy import Files, _gnomon, recorder
from benchmarks.ceiling_points import (
    AGREE_PCT,
    WORKLOADS,
    Compared,
    Expected,
    Ran,
    Workload,
    compare,
    complaints,
    expect,
)
from benchmarks.ceiling_traffic import executed_bytes
from benchmarks.observers import ObserverError
from gnomon.hardware import HardwareProfile, profile
from gnomon.hardware.calibration.document import largest_change
from gnomon.performance_model.constants import DEFAULT, read_calibration

HEAD = (
    f"{'point':18} {'tokens/s':>10} {'of default':>11} {'of calibr.':>11} {'TFLOP/s':>8} "
    f"{'model':>7} {'error':>7} {'padding':>8} {'GB/s':>6} {'model':>6} {'error':>7} "
    f"{'as run':>6} {'error':>7} {'MHz':>6} {'W':>5}  engine"
)


def calibrations(options: argparse.Namespace, directory: Path) -> list[Path]:
    """Return the calibrations of this run, the one that counts last: given, kept or made now.

    Raises ObserverError with what gnomon said, or where a kept run has none.
    """
    if options.calibration is not None:
        return [options.calibration]
    if options.again is not None:
        kept = sorted(directory.glob("calibration-*.json"))
        if not kept:
            raise ObserverError(f"{directory} has no calibration-*.json: name one, --calibration")
        return kept
    files = [directory / f"calibration-{i}.json" for i in range(options.calibrations)]
    for file in files:
        print(f"calibrating into {file}", flush=True)
        command = [*options.gnomon, "calibrate", "--gpu", options.gpu, "-o", str(file)]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        if done.returncode != 0:
            raise ObserverError(f"gnomon calibrate: {done.stderr.strip()}")
        print(done.stdout, flush=True)
    return files


def disagreement(documents: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the complaint about the first and the last calibration, if they differ too much."""
    change = largest_change(documents[0], documents[-1])
    if change is None or abs(change[1]) <= AGREE_PCT:
        return []
    return [f"two calibrations differ by {change[1]:+.1f} % in {change[0]}"]


def run_all(workloads: Sequence[Workload], options: argparse.Namespace, files: Files) -> list[Ran]:
    """Run every workload beside a recording. Raises ObserverError where recording fails."""
    announcer = Announcer(files.sidecar, files.recording)
    done = []
    with recorder(options.gnomon, files):
        for workload in workloads:
            try:
                with memory_freed():
                    ran = run_one(workload, options, announcer)
            except NotPossibleError as error:
                print(f"{workload.name:18} left out: {error}", flush=True)
            except Exception as error:  # noqa: BLE001  one point must not take the others along
                print(f"{workload.name:18} FAILED: {type(error).__name__}: {error}", flush=True)
            else:
                done.append(ran)
                print(f"{workload.name:18} {ran.tokens_per_s:10,.0f} tokens/s", flush=True)
            time.sleep(options.pause)
    engines = {ran.workload.name: ran.engine for ran in done}
    _engines(files).write_text(json.dumps(engines, indent=1) + "\n", encoding="utf-8")
    return done


def read_kept(workloads: Sequence[Workload], files: Files) -> list[Ran]:
    """Return what a kept run did. Raises ObserverError where its files are not there."""
    try:
        records = {record.name: record for record in read_sidecar(files.sidecar)}
        engines = _read(_engines(files))
    except OSError as error:
        raise ObserverError(f"{files.directory} is no kept run of this program: {error}") from None
    return [
        Ran(one, records[one.name].iterations, records[one.name].seconds, engines[one.name])
        for one in workloads
        if one.name in engines
    ]


def _engines(files: Files) -> Path:
    """How each point was run: {name: engine}; the rest of it is in the sidecar."""
    return files.directory / "engines.json"


def run_one(workload: Workload, options: argparse.Namespace, announcer: Announcer) -> Ran:
    """Warm up until power has settled, then measure and mark. Raises NotPossibleError."""
    from benchmarks.ceiling_work import build

    activity, engine = build(workload)
    try:
        repeat(activity, options.warm_up)
        stretch = repeat(activity, options.seconds)
    finally:
        activity.release()
    work = Work(tokens=workload.tokens * stretch.iterations)
    bounds_ns = (stretch.from_ns, stretch.to_ns)
    announcer.announce(PhaseRecord.of(workload.name, bounds_ns, stretch.iterations, work, {}))
    return Ran(workload, stretch.iterations, stretch.seconds, engine)


def judge(
    done: Sequence[Ran], options: argparse.Namespace, files: Files, calibration: Path
) -> tuple[list[Compared], list[str]]:
    """Return a row for each point, and what is outside its tolerance. Raises ObserverError."""
    answer = _gnomon(options.gnomon, "summary", files.recording, "--by", "phase", "--json")
    uuid = _read(calibration)["gpu_uuid"]
    summaries = {
        gpu["phase"]: gpu for gpu in answer["gpus"] if gpu.get("phase") and gpu["uuid"] == uuid
    }
    rows, missed = [], []
    for ran in done:
        summary = summaries.get(ran.workload.name, {})
        gpu = profile({"name": summary.get("name") or _read(calibration)["gpu_name"]})
        default, calibrated = _expected(ran.workload, gpu, calibration)
        executed = executed_bytes(ran.workload, gpu)
        row = compare(ran, default, calibrated, executed, summary, gpu)
        rows.append(row)
        missed += complaints(ran.workload, row)
    return rows, missed


def _read(file: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return found


def _expected(
    workload: Workload, gpu: HardwareProfile, calibration: Path
) -> tuple[Expected, Expected]:
    return (
        expect(workload, gpu, DEFAULT),
        expect(workload, gpu, read_calibration(calibration, gpu)),
    )


def show(row: Compared) -> str:
    """Return one line of the table."""

    def number(value: float | None, scale: float = 1.0, digits: int = 0, sign: str = "") -> str:
        return "-" if value is None else f"{value / scale:{sign},.{digits}f}"

    tera, giga = 1e12, 1e9
    return (
        f"{row.name:18} {number(row.tokens_per_s):>10} {number(row.of_default_pct, 1, 1):>9} % "
        f"{number(row.of_calibrated_pct, 1, 1):>9} % "
        f"{number(row.counter_flops_per_s, tera, 1):>8} "
        f"{number(row.model_flops_per_s, tera, 1):>7} "
        f"{number(row.flops_error_pct, 1, 1, '+'):>7} {number(row.padding_pct, 1, 1):>8} "
        f"{number(row.counter_dram_bytes_per_s, giga):>6} "
        f"{number(row.model_dram_bytes_per_s, giga):>6} "
        f"{number(row.dram_error_pct, 1, 1, '+'):>7} "
        f"{number(row.executed_dram_bytes_per_s, giga):>6} "
        f"{number(row.executed_dram_error_pct, 1, 1, '+'):>7} {number(row.sm_clock_mhz):>6} "
        f"{number(row.power_watts):>5}  {row.engine}"
    )


def select(pattern: str) -> list[Workload]:
    """Return the workloads whose names match one of the patterns, comma-separated."""
    patterns = ["*" if one == "all" else one for one in pattern.split(",")]
    return [w for w in WORKLOADS if any(fnmatch.fnmatch(w.name, one) for one in patterns)]


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Hold the ceiling against a model on this GPU.")
    parser.add_argument("--points", default="all", help="names or patterns: prefill_*,chain_*")
    parser.add_argument("--seconds", type=float, default=4.0, help="length of each point")
    parser.add_argument("--warm-up", type=float, default=2.5, help="seconds before each point")
    parser.add_argument("--pause", type=float, default=0.5, help="idle seconds after each point")
    parser.add_argument("--gpu", default="0", metavar="UUID|INDEX", help="which GPU")
    parser.add_argument("--calibrations", type=int, default=2, help="how often to calibrate")
    parser.add_argument("--calibration", type=Path, metavar="FILE", help="take this one instead")
    parser.add_argument(
        "--gnomon", type=shlex.split, default=[sys.executable, "-m", "gnomon"], metavar="COMMAND"
    )
    parser.add_argument("--keep", type=Path, metavar="DIR", help="keep recording and calibration")
    parser.add_argument("--again", type=Path, metavar="DIR", help="judge a kept run anew")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the results here")
    return parser.parse_args(arguments)


def document(
    rows: Sequence[Compared], missed: Sequence[str], found: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    return {
        "points": [row.to_json() for row in rows],
        "missed": list(missed),
        "calibrations": list(found),
    }


def run(options: argparse.Namespace, directory: Path) -> int:
    files = Files(directory)
    kept = calibrations(options, directory)
    found = [_read(file) for file in kept]
    if options.again:
        done = read_kept(select(options.points), files)
    else:
        # NVML counts in another order than CUDA; PyTorch is not imported yet.
        os.environ["CUDA_VISIBLE_DEVICES"] = found[-1]["gpu_uuid"]
        done = run_all(select(options.points), options, files)
    rows, off = judge(done, options, files, kept[-1])
    missed = disagreement(found) + off
    print(f"\n{HEAD}")
    for row in rows:
        print(show(row))
    for complaint in missed:
        print(f"MISSED {complaint}")
    print(f"{len(rows)} points, {len(missed)} tolerances missed")
    if options.json:
        text = json.dumps(document(rows, missed, found), indent=1)
        options.json.write_text(text + "\n", encoding="utf-8")
    return 1 if missed or not rows else 0


def main() -> int:
    options = parse()
    if not select(options.points):
        names = ", ".join(workload.name for workload in WORKLOADS)
        print(f"benchmarks.ceiling: --points {options.points}: none; there are {names}")
        return 2
    with contextlib.ExitStack() as stack:
        directory = options.again or options.keep
        if directory is None:
            directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        if not options.again:
            directory.mkdir(parents=True, exist_ok=True)
        try:
            return run(options, directory)
        except ObserverError as error:
            print(f"benchmarks.ceiling: {error}", file=sys.stderr)
            return 2


if __name__ == "__main__":
    sys.exit(main())
