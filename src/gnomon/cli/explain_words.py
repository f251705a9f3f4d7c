"""What is said of a finding, and of what was looked at: the same words on every page. Pure.

Names come from the processes that were observed: letters that are not seen are written out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from gnomon.analysis.clock_error import ClockError
from gnomon.analysis.drops import Drop
from gnomon.cli.numbers import NS_PER_S, duration, moment, pct
from gnomon.detectors.case import said
from gnomon.detectors.finding import Finding
from gnomon.detectors.report import Explanation
from gnomon.detectors.titles import TITLES
from gnomon.enums import Severity
from gnomon.mcp.reply import rewritten, visible
from gnomon.recording.base import Meta

SKIPPED = "Not read"
UNSEEN = "What could not be seen: there, silence proves nothing"
DROPS = "Throughput fell"
CLOCKS = "Clocks of the hosts, which are not corrected"
# Differences beyond the largest explain little.
MOST_DIFFERENCES = 3
PART_NAMES = {
    "run_queue": "waits for a CPU",
    "io": "waits for a disk",
    "voluntary": "waits of its own will",
    "unknown": "is off the CPU, why is not known",
    "asleep": "sleeps long",
    "waiting": "waits for the GPU",
    "in_calls": "is in other CUDA calls",
    "own_code": "runs its own code",
}


@dataclass(frozen=True, slots=True)
class Frame:
    """What sentences need to know beside the explanation; ``start_ns``: of the recording."""

    meta: Meta
    start_ns: int


def title(finding: Finding) -> str:
    return TITLES[finding.cause]


def where(finding: Finding, meta: Meta) -> str:
    """``host node-1, GPU 0, rank 3, process 7, thread 9 (python), in cudaLaunchKernel``."""
    parts = []
    if finding.host is not None:
        parts.append(f"host {finding.host}")
    if finding.gpu is not None:
        index = meta.gpus.get(finding.gpu, {}).get("index")
        parts.append(finding.gpu if index is None else f"GPU {index}")
    if finding.rank is not None:
        parts.append(f"rank {finding.rank}")
    if finding.pid is not None:
        parts.append(f"process {finding.pid}")
    if finding.tid is not None:
        parts.append(f"thread {finding.tid}")
    if finding.thread is not None:
        parts[-1:] = [f"{parts[-1]} ({finding.thread})"] if parts else [finding.thread]
    if finding.operation is not None:
        parts.append(f"in {finding.operation}")
    return visible(", ".join(parts)) or "the whole recording"


def when(finding: Finding, start_ns: int) -> str:
    """``4.102 s to 33.150 s after the start; 2026-03-21 13:24:50 to 13:25:19 UTC``.

    ``start_ns``: of the recording, because ``--from`` counts from there.
    """
    after = (after_start(at_ns, start_ns) for at_ns in (finding.from_ns, finding.to_ns))
    first, last = moment(finding.from_ns), moment(finding.to_ns)
    if first[:10] == last[:10]:
        last = last[11:]
    return f"{' to '.join(after)} after the start; {first} to {last} UTC"


def after_start(ts_ns: int, start_ns: int) -> str:
    """``4.102 s``, as ``--from`` takes it where there is no space."""
    return f"{(ts_ns - start_ns) / NS_PER_S:.3f} s"


def cost(finding: Finding, explanation: Explanation) -> str:
    """``0.143 s, 0.2 % of the time; 4.0 % of the GPU's peak``; without counters ``at most``."""
    if finding.cost_seconds is None:
        lost = "no time that was measured"
    else:
        lost = "at most " if finding.lost_seconds is None else ""
        lost += said(finding.cost_seconds, "s")
        share_pct = explanation.share_pct(finding)
        if share_pct is not None:
            is_sum = share_pct > 100
            lost += ", added over threads" if is_sum else f", {pct(share_pct)} of the time"
    if finding.lost_pct is not None:
        lost += f"; {pct(finding.lost_pct)} of the GPU's peak meanwhile"
    return lost


def remedy(finding: Finding) -> str:
    gain = finding.expected_gain
    if gain is None:
        return visible(finding.remedy)
    return visible(f"{finding.remedy} Could win {said(gain.value, gain.unit)}: {gain.basis}.")


def confidence(finding: Finding) -> str:
    return f"{100 * finding.confidence:.0f} %: {visible(finding.confidence_reason)}"


def query(sql: str) -> str:
    """Return a query that gives the same answer and moves no cursor."""
    return rewritten(sql, str.isprintable)


def verdict(explanation: Explanation) -> str:
    """Return how many findings of which severity there are, or that nothing was found."""
    counts = Counter(one.severity for one in explanation.findings)
    told = ", ".join(
        f"{counts[each]} {each}{'s' if each is Severity.WARNING and counts[each] > 1 else ''}"
        for each in reversed(Severity)
        if counts[each]
    )
    left = explanation.less_severe
    if left:
        less = f"{left} less severe finding{'s' if left > 1 else ''} left out"
        told = f"{told}; {less}" if told else f"Nothing as severe; {less}"
    parts = [told or "Nothing wrong was found"]
    if explanation.failed:
        parts.append(f"{_counted(len(explanation.failed), 'detector')} failed")
    if not told and explanation.unavailable:
        parts.append(f"{_counted(len(explanation.unavailable), 'detector')} lacked something")
    return "; ".join(parts)


def looked_at(explanation: Explanation) -> str:
    """``Looked at 59.0 s: 3,000 CUDA calls of 1 thread (1 feeds a GPU), ...``.

    Estimates from a sample say so: ``about 1,000,000 CUDA calls (14,171 of them kept) of ...``.
    """
    looked = explanation.looked
    parts = ["no CUDA calls"]
    if looked.calls:
        feed = "feeds" if looked.dispatch_threads == 1 else "feed"
        calls = _estimated(looked.calls, looked.calls_kept, "CUDA call")
        threads = _counted(looked.threads, "thread")
        parts = [f"{calls} of {threads} ({looked.dispatch_threads:,} {feed} a GPU)"]
    parts.append(_estimated(looked.stays_off_cpu, looked.stays_kept, "stay", " off the CPU"))
    gpus = _counted(looked.gpus, "GPU")
    parts.append(f"counters of {gpus}" if looked.gpus else "no GPU counters")
    if looked.collectives:
        parts.append(_counted(looked.collectives, "collective"))
    seconds = duration(explanation.span.to_ns - explanation.span.from_ns)
    return f"Looked at {seconds}: {', '.join(parts)}."


def drops(explanation: Explanation, frame: Frame) -> Sequence[str]:
    """Return a line for each drop of throughput: when, how deep, what was done instead."""
    return [_drop(one, frame) for one in explanation.drops]


def clocks(explanation: Explanation) -> Sequence[str]:
    """Return a line for each of several hosts: how far its clock is ahead of the first one's."""
    return [visible(f"{host}: {_clock(one)}") for host, one in explanation.clocks.items()]


def _clock(error: ClockError | None) -> str:
    if error is None:
        return "not known: nothing in common with the others ties it to them"
    if error.ahead_ns == error.uncertainty_ns == 0:
        return "the one that the others are compared with"
    way = "ahead" if error.ahead_ns >= 0 else "behind"
    within = said(error.uncertainty_ns, "ns")
    return (
        f"{said(abs(error.ahead_ns), 'ns')} {way}, known within {within} from "
        f"{_counted(error.shared, 'shared collective')}"
    )


def figure(number: float) -> str:
    """``1,234``, ``12.3``, ``0.123``: three digits where there are fewer before the point."""
    return f"{number:,.0f}" if abs(number) >= 100 else f"{number:.3g}"


def _drop(drop: Drop, frame: Frame) -> str:
    begin, end = (after_start(at_ns, frame.start_ns) for at_ns in (drop.from_ns, drop.to_ns))
    text = (
        f"{begin} to {end} after the start: {drop.metric} fell by {pct(drop.depth_pct)}, from "
        f"{figure(drop.before_per_s)} to {figure(drop.during_per_s)} a second"
    )
    if not drop.is_over:
        text += ", and did not come back"
    if drop.is_gpu_as_busy:
        text += "; the GPU stayed as busy: it did more for each of them, or was slower"
    for one in drop.causes[:MOST_DIFFERENCES]:
        more = said(one.more_ns_per_s, "ns")
        text += f"; thread {one.tid} {PART_NAMES[one.part]} {more} more of each second"
    return visible(text)


def unseen(explanation: Explanation) -> Sequence[str]:
    """Return a line for each thing that was lacking, with the detectors that lacked it."""
    by_reason: dict[str, list[str]] = {}
    for name, reasons in explanation.unavailable.items():
        for reason in reasons:
            by_reason.setdefault(reason, []).append(name)
    return [f"{', '.join(names)}: {reason}" for reason, names in by_reason.items()]


def lost(explanation: Explanation) -> Sequence[str]:
    """Return a line for each kind of rows that were measured and not kept."""
    return [
        visible(
            f"{_counted(one.rows, 'row')} of {one.table or 'a table'} "
            f"{'was' if one.rows == 1 else 'were'} not kept"
            + (f" ({': '.join(filter(None, (one.source, one.reason)))})" if one.reason else "")
        )
        for one in explanation.losses
        if one.rows
    ]


def skipped(explanation: Explanation) -> Sequence[str]:
    """Return a line for each file that was not read, in part or whole."""
    return [visible(f"{one.path}: {one.reason}") for one in explanation.skipped]


def _estimated(number: int, kept: int, noun: str, more: str = "") -> str:
    """Return a count; one that stands on fewer rows in three digits, with how many were kept."""
    if number == kept:
        return _counted(number, noun) + more
    return f"about {_counted(int(float(f'{number:.3g}')), noun)}{more} ({kept:,} of them kept)"


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}" if number else f"no {noun}s"
