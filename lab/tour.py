"""A tour of everything a GPU can be told to do, phase by phase, with the truth noted beside.

    python -m lab.tour --phases demo --seconds 8 --sidecar phases.jsonl
    gnomon record -o DIR -- python -m lab.tour --recording DIR --sidecar phases.jsonl

Needs PyTorch and CuPy with a GPU; the LLM phases also transformers and peft. A phase that this
machine cannot run is left out by name.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from lab.activity import NotPossibleError, memory_freed, repeat
from lab.announce import Announcer, PhaseRecord
from lab.phases import PHASES, SETS, Phase, select


def run_phase(phase: Phase, seconds: float, warm_up_s: float, announcer: Announcer) -> PhaseRecord:
    """Build, warm up and run one phase; announce it. Raises NotPossibleError."""
    import torch

    activity = phase.build()
    try:
        repeat(activity, warm_up_s)  # sustained, not burst: clocks settle within seconds
        activity.begin()
        stretch = repeat(activity, seconds)
        work = activity.work(stretch.iterations)
        truth = dict(activity.truth(stretch.iterations, stretch.seconds))
    finally:
        torch.cuda.synchronize()
        activity.release()
    expected = {**truth, "bounds": list(phase.bounds)}
    bounds_ns = (stretch.from_ns, stretch.to_ns)
    record = PhaseRecord.of(phase.name, bounds_ns, stretch.iterations, work, expected)
    announcer.announce(record)
    return record


def describe(record: PhaseRecord) -> str:
    """Return one line: what the program itself achieved."""
    parts = [f"{record.name:28} {record.seconds:5.1f} s {record.iterations:6d} iterations"]
    if record.flops_per_s is not None:
        parts.append(f"{record.flops_per_s / 1e12:7.1f} TFLOP/s {record.flops_dtype}")
    if record.bytes_per_s is not None:
        parts.append(f"{record.bytes_per_s / 1e9:7.0f} GB/s")
    if record.tokens is not None:
        parts.append(f"{record.tokens / record.seconds:8.0f} tokens/s")
    truths = (
        f"{name} {value:.2f}"
        for name, value in record.expected.items()
        if isinstance(value, int | float)
    )
    return "  ".join([*parts, *truths])


def run(phases: tuple[Phase, ...], options: argparse.Namespace) -> int:
    """Run the phases one after the other; return how many failed."""
    announcer = Announcer(options.sidecar, options.recording)
    failed = 0
    for phase in phases:
        try:
            with memory_freed():
                record = run_phase(phase, options.seconds, options.warm_up, announcer)
        except NotPossibleError as error:
            print(f"{phase.name:28} left out: {error}", flush=True)
        except Exception as error:  # noqa: BLE001  one phase must not take the others with it
            failed += 1
            print(f"{phase.name:28} FAILED: {type(error).__name__}: {error}", flush=True)
        else:
            print(describe(record), flush=True)
        time.sleep(options.pause)
    return failed


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    listing = "\n".join(f"  {phase.name:28} {phase.shows}" for phase in PHASES)
    parser = argparse.ArgumentParser(
        description=f"Run known work phase by phase.\n\nphases:\n{listing}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    sets = ", ".join(SETS)
    parser.add_argument("--phases", default="demo", help=f"names, or sets: {sets} (default demo)")
    parser.add_argument("--seconds", type=float, default=8.0, help="length of each phase")
    parser.add_argument("--warm-up", type=float, default=2.0, help="seconds before each phase")
    parser.add_argument("--pause", type=float, default=1.0, help="idle seconds after each phase")
    parser.add_argument("--sidecar", type=Path, help="append finished phases to this JSONL file")
    parser.add_argument("--recording", type=Path, help="mark phases in this gnomon recording")
    parser.add_argument("--clock64", type=Path, help="probe the true SM clock; write it here")
    return parser.parse_args(arguments)


def main() -> int:
    options = parse()
    try:
        phases = select(options.phases)
    except ValueError as error:
        print(f"lab.tour: {error}", file=sys.stderr)
        return 2
    if options.clock64 is None:
        return 1 if run(phases, options) else 0

    from lab import clock64

    probe = clock64.ClockProbe.start()
    failed = run(phases, options)
    samples = probe.stop()
    clock64.write(samples, options.clock64)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
