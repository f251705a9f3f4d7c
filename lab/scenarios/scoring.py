"""Was the right thing said? A run's truth held against ``gnomon explain --json`` of its recording.

Pure functions. A fault is right where the worst finding that is an alarm has the expected cause (or
an accepted one), claims a share of the lost time that can be true, and names who or which line did
it. A control is right where nothing is an alarm. Information is no alarm; where the cause itself is
none (``voluntary_wait``), information suffices. Silence of who saw nothing is wrong in both. That
measurements were lost is said of the recorder, not of the workload.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lab.scenarios.truth import SourceLines, Truth

INFO = "info"
OF_THE_RECORDER = frozenset({"data_loss"})
# Without any of these (fields of ``looked_at``) silence proves nothing.
MUST_SEE = ("dispatch_threads", "stays_off_cpu", "gpus")
# The scheduler's own account of waits for a CPU, against the sum of the recorded stays.
QUEUE_TOLERANCE = 0.05

Finding = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Seen:
    """What was asked of the recording beside ``explain``; None where it was not recorded.

    ``busy_pct``: nvidia-smi's, ``sol_pct``: of the GPU's peak. ``pid``: the workload's in the
    recording, ``run_queue_ns``: of its dispatching thread's stays off the CPU.
    """

    busy_pct: float | None = None
    sol_pct: float | None = None
    pid: int | None = None
    run_queue_ns: int | None = None


@dataclass(frozen=True, slots=True)
class Score:
    """A run's verdict: right where ``wrong`` is empty."""

    truth: Truth
    seen: Seen
    found: str
    claimed_s: float | None
    wrong: tuple[str, ...]
    beside: tuple[str, ...]

    @property
    def is_right(self) -> bool:
        return not self.wrong


def score(
    truth: Truth,
    explanation: Mapping[str, Any],
    seen: Seen,
    *,
    is_loss: bool,
    must_see: Sequence[str] = MUST_SEE,
) -> Score:
    """Return the verdict. ``is_loss``: the cause is one to raise an alarm over."""
    # What is said of other processes that use a GPU here is none of this run's.
    pids = {None, seen.pid}
    findings = [one for one in explanation["findings"] if not seen.pid or one["pid"] in pids]
    alarms = [one for one in findings if _is_alarm(one)]
    right = {truth.expected, *truth.accepted} if truth.fault else set()
    told = [one for one in findings if one["cause"] in right]
    best = next(iter(told), None)
    wrong = [f"it saw no {name}" for name in must_see if not explanation["looked_at"][name]]
    wrong += _wrong(truth, alarms, best, is_loss=is_loss)
    if best is not None:
        wrong += _wrong_in(truth, best, told)
    wrong += _wrong_queue(truth, seen)
    wrong += [f"{name} failed: {why}" for name, why in explanation.get("failed", {}).items()]
    shown = best or next(iter(alarms), None)
    return Score(
        truth=truth,
        seen=seen,
        found="silence" if shown is None else f"{shown['cause']} {shown['severity']}",
        claimed_s=None if shown is None else claimed_s(shown),
        wrong=tuple(wrong),
        beside=tuple(f"{one['cause']} {one['severity']}" for one in findings if one is not shown),
    )


def claimed_s(finding: Finding) -> float | None:
    """Return the thread's time that a finding is about, in seconds."""
    own = finding.get("thread_seconds")
    return finding.get("lost_seconds") if own is None else own


def _is_alarm(finding: Finding) -> bool:
    return finding["severity"] != INFO and finding["cause"] not in OF_THE_RECORDER


def _wrong(
    truth: Truth, alarms: Sequence[Finding], best: Finding | None, *, is_loss: bool
) -> Iterator[str]:
    """Yield what is wrong about which causes were said, and how loudly."""
    if not truth.fault:
        for one in alarms:
            yield f"a false alarm: {one['cause']} {one['severity']}"
        return
    if best is None:
        yield f"{truth.expected} was not said"
    elif is_loss and not _is_alarm(best):
        yield f"{best['cause']} is information only"
    worst = next(iter(alarms), None)
    if worst is not None and worst["cause"] not in {truth.expected, *truth.accepted}:
        yield f"the worst is said to be {worst['cause']}"


def _wrong_in(truth: Truth, best: Finding, told: Sequence[Finding]) -> Iterator[str]:
    """Yield what is wrong about the nanoseconds, and about who did it."""
    injected = truth.injected
    claimed = claimed_s(best)
    if injected.lost_ns is not None:
        of_truth = 0.0 if claimed is None else claimed * 1e9 / max(injected.lost_ns, 1)
        if not injected.least <= of_truth <= injected.most:
            yield f"{100 * of_truth:.0f} % of the lost time is claimed"
    words = " ".join(" ".join(_texts(one)) for one in told)
    if injected.named and not any(name in words for name in injected.named):
        yield f"{' or '.join(injected.named)} is not named"
    if injected.sources and not any(_is_told(one, words) for one in injected.sources):
        yield f"{' or '.join(one.function for one in injected.sources)} is not named"


def _wrong_queue(truth: Truth, seen: Seen) -> Iterator[str]:
    """Yield where the recorded waits for a CPU are not what the scheduler counted."""
    counted_ns = truth.clocks.get("run_queue_ns", 0)
    if truth.expected != "cpu_contention" or seen.run_queue_ns is None or not counted_ns:
        return
    error = seen.run_queue_ns / counted_ns - 1
    if abs(error) > QUEUE_TOLERANCE:
        yield f"waits for a CPU are {100 * error:+.1f} % off the scheduler's account"


def _is_told(lines: SourceLines, words: str) -> bool:
    """Tell whether a function is named, or one of its lines."""
    if re.search(rf"\b{re.escape(lines.function)}\b", words):
        return True
    file = re.escape(lines.file.rsplit("/", 1)[-1])
    told = re.findall(rf"\b{file}:(\d+)", words)
    return any(lines.first_line <= int(line) <= lines.last_line for line in told)


def _texts(finding: Finding) -> Iterator[str]:
    for one in finding["evidence"]:
        yield str(one["text"])
        yield str(one["value"])


def table(scores: Sequence[Score]) -> str:
    """Return the verdicts as lines of text, each under a heading."""
    rows = [HEADINGS, *map(_row, scores)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
    right = sum(one.is_right for one in scores)
    return "\n".join([*lines, "", f"{right} of {len(scores)} right"])


HEADINGS = (
    "scenario",
    "variant",
    "run",
    "seed",
    "verdict",
    "found",
    "claimed",
    "lost",
    "busy",
    "SOL",
    "steps/s",
    "beside",
)


def _row(one: Score) -> tuple[str, ...]:
    truth = one.truth
    lost_ns = truth.injected.lost_ns
    return (
        truth.name,
        truth.variant,
        "fault" if truth.fault else "control",
        str(truth.seed),
        "right" if one.is_right else "WRONG: " + "; ".join(one.wrong),
        one.found,
        _told(one.claimed_s, " s"),
        _told(None if lost_ns is None else lost_ns / 1e9, " s"),
        _told(one.seen.busy_pct, " %"),
        _told(one.seen.sol_pct, " %"),
        f"{truth.steps_per_s:.1f}",
        ", ".join(one.beside),
    )


def _told(value: float | None, unit: str) -> str:
    return "-" if value is None else f"{value:.2f}{unit}"
