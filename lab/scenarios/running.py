"""Record a scenario with gnomon and ask it what it saw; gnomon is met by its command line alone."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lab.scenarios.catalogue import SCENARIOS
from lab.scenarios.scoring import MUST_SEE, Score, Seen, score
from lab.scenarios.truth import read_truths

GNOMON = (sys.executable, "-m", "gnomon")
RECORD = "record --trace --period 100ms"
LEFT_OUT = 3  # exit status: this machine cannot do it
# A container has process numbers of its own.
THREAD_SQL = """\
SELECT any_value(pid) AS pid, (
  SELECT round(sum(run_queue_ns * coalesce(weight, 1)))::BIGINT FROM off_cpu
  WHERE off_cpu.tid = any_value(threads.tid) AND ts_ns > {from_ns} AND ts_ns <= {to_ns}
) AS run_queue_ns
FROM threads WHERE coalesce(ns_pid, pid) = {pid} AND coalesce(ns_tid, tid) = {tid}"""


class RunError(Exception):
    """A run that has no score: what failed, and what it said."""


@dataclass(frozen=True, slots=True)
class Run:
    """A scenario of a seed with or without its fault; everything of it lies in ``folder``."""

    name: str
    fault: bool
    seed: int
    output: Path

    @property
    def folder(self) -> Path:
        return self.output / f"{self.name}-{'fault' if self.fault else 'control'}-{self.seed}"

    @property
    def recording(self) -> Path:
        return self.folder / "recording"

    @property
    def sidecar(self) -> Path:
        return self.folder / "truth.jsonl"


def runs_in(output: Path) -> list[Run]:
    """Return the runs that were made, by the folders' names."""
    found = []
    for sidecar in sorted(output.glob("*/truth.jsonl")):
        (truth,) = read_truths(sidecar)
        found.append(Run(truth.name, truth.fault, truth.seed, output))
    return found


def perform(run: Run, seconds: float, warm_up_s: float, *, gpu: str, record: str) -> bool:
    """Record a run; returns False where this machine cannot do it. Raises RunError.

    ``record``: the command of gnomon and its options that record what comes after ``--``.
    """
    if run.folder.exists():
        raise RunError(f"{run.folder} exists: give another folder, or remove it")
    run.folder.mkdir(parents=True)
    begun = [*GNOMON, *shlex.split(record), "-o", str(run.recording), "--"]
    ended = subprocess.run([*begun, *work_command(run, seconds, warm_up_s, gpu)], check=False)
    if ended.returncode == LEFT_OUT:
        return False
    if ended.returncode or not run.sidecar.exists():
        raise RunError(f"{shlex.join(begun)} ... ended with status {ended.returncode}")
    return True


def work_command(run: Run, seconds: float, warm_up_s: float, gpu: str) -> Sequence[str]:
    """Return the command of the workload itself."""
    return [
        *(sys.executable, "-m", "lab.scenarios", "work", run.name),
        "--fault" if run.fault else "--healthy",
        *("--seed", str(run.seed), "--seconds", str(seconds), "--warm-up", str(warm_up_s)),
        *("--gpu", gpu, "--sidecar", str(run.sidecar)),
    ]


def judge(run: Run, must_see: Sequence[str] = MUST_SEE) -> Score:
    """Ask gnomon about the window of a run that was recorded. Raises RunError."""
    (truth,) = read_truths(run.sidecar)
    window = ["--from", str(truth.from_ns), "--to", str(truth.to_ns)]
    explanation = asked(run, "explain", ["--json", *window])
    summary = asked(run, "summary", ["--json", *window])
    (thread,) = asked(run, "query", ["--json"], THREAD_SQL.format(**asdict(truth)))
    found = score(
        truth,
        explanation,
        seen_in(summary, thread),
        is_loss=SCENARIOS[truth.name].is_loss,
        must_see=must_see,
    )
    told = {"found": found.found, "claimed_s": found.claimed_s, "wrong": found.wrong}
    (run.folder / "score.json").write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    return found


def seen_in(summary: Mapping[str, Any], thread: Mapping[str, int | None]) -> Seen:
    """Return what nvidia-smi would have shown of the busiest GPU, beside its speed of light."""
    gpus = [one for one in summary["gpus"] if one.get("busy_pct") is not None]
    if not gpus:
        return Seen(**thread)
    gpu = max(gpus, key=lambda one: one["busy_pct"])
    sol = [gpu[name] for name in ("compute_sol_pct", "memory_sol_pct") if gpu.get(name) is not None]
    return Seen(gpu["busy_pct"], max(sol, default=None), **thread)


def asked(run: Run, command: str, options: Sequence[str], *more: str) -> Any:
    """Return what gnomon answers in JSON; it is kept beside the recording. Raises RunError."""
    begun = [*GNOMON, command, str(run.recording), *options, *more]
    ended = subprocess.run(begun, check=False, capture_output=True, text=True)
    if ended.returncode:
        raise RunError(f"gnomon {command} {run.recording} failed: {ended.stderr.strip()}")
    (run.folder / f"{command}.json").write_text(ended.stdout, encoding="utf-8")
    return json.loads(ended.stdout)
