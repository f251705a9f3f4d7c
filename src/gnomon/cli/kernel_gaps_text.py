"""Gaps between kernels, for a terminal; nothing here computes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.text import Text

from gnomon.analysis.gpu_gap_types import CounterCheck, GapPair, GpuGaps
from gnomon.cli.numbers import duration, pct
from gnomon.cli.trace_table import short

# Reason -> what is said of it.
REASON_NAMES = {
    "copying": "a copy ran",
    "queued": "the next kernel was launched before: start-up, or its stream waited",
    "launching": "its thread was in a launch",
    "copy_call": "its thread was in a copy's call",
    "synchronizing": "its thread was in a synchronization",
    "memory_call": "its thread allocated or freed",
    "cuda_call": "its thread was in another CUDA call",
    "run_queue": "its thread waited for a CPU",
    "io": "its thread waited for a disk",
    "loader": "its thread waited for the data loader",
    "lock": "its thread waited for a lock",
    "sleep": "its thread slept",
    "request": "its thread waited for a request",
    "off_cpu": "its thread was off the CPU, nobody knows why",
    "own_code": "its thread ran its own code",
    "after_synchronization": "after a synchronization",
    "after_copy_to_host": "after a copy to the host",
    "after_collective": "after a collective",
    "launch_bound": "the next kernel was launched late",
    "periodic": "comes regularly",
    "unknown": "unknown",
}
COUNTER_NAMES = {
    "busy_pct": "busy (nvidia-smi)",
    "engine_active_pct": "engine active",
    "sm_active_pct": "SMs active",
}
HEADINGS = ("share", "gaps", "p50", "max", "every")
WIDTHS = (7, 9, 8, 8, 8)
MOST_PAIRS = 10


def lines(one: GpuGaps) -> Iterator[Text]:
    """Say of a GPU what it did, how long its gaps are, why, and between what."""
    yield Text(one.mig_uuid or one.gpu_uuid, style="bold")
    busy, known_ns = one.busy, max(one.busy.known_ns, 1)
    parts = (
        ("kernels", busy.kernels_only_ns),
        ("copies", busy.copies_only_ns),
        ("both", busy.both_ns),
        ("nothing", busy.neither_ns),
    )
    told = ", ".join(f"{name} {pct(100 * ns / known_ns)}" for name, ns in parts)
    windows = "1 window" if one.windows == 1 else f"{one.windows:,} windows"
    yield Text(f"of {duration(busy.known_ns)} in {windows}: {told}")
    if one.dropped:
        lost = f"{one.dropped:,} records were lost there: what they were looks like a gap"
        yield Text(lost, style="yellow")
    yield from map(_check, one.checks)
    if not one.count:
        yield Text("no gap lies between two kernels of a window")
        return
    lengths = (one.p50_ns, one.p95_ns, one.p99_ns, one.longest_ns)
    p50, p95, p99, longest = map(short, lengths)
    yield Text(
        f"{one.count:,} gaps between kernels, {short(one.total_ns)} in sum: p50 {p50}, p95 {p95}, "
        f"p99 {p99}, max {longest}"
    )
    for reason in one.reasons:
        yield Text(f"{pct(one.share_pct(reason)):>8} {REASON_NAMES[reason]}")
    yield row(_line([*HEADINGS, "between"]), "bold")
    for pair in one.pairs[:MOST_PAIRS]:
        yield row(_line(_cells(pair, one.total_ns)))
    if not one.threads:
        yield Text("no thread was traced: reasons are patterns (gnomon record --trace)", "dim")


def _check(one: CounterCheck) -> Text:
    return Text(
        f"{COUNTER_NAMES[one.counter]} {pct(one.counted_pct)} by {one.source}, {pct(one.ran_pct)} "
        f"by {one.ran}: {one.difference_pct:+.1f} points",
        style="dim",
    )


def _cells(pair: GapPair, total_ns: int) -> Sequence[str]:
    return (
        pct(100 * pair.total_ns / max(total_ns, 1)),
        f"{pair.count:,}",
        short(pair.p50_ns),
        short(pair.longest_ns),
        short(pair.period_ns),
        plain(f"{pair.before} > {pair.after}"),
    )


def plain(name: str) -> str:
    """Return a name that a program chose without what would move the cursor."""
    return "".join(letter if letter.isprintable() else "?" for letter in name)


def row(line: str, style: str = "") -> Text:
    """Return a row of a table: it is cut at the edge, where a sentence goes on below."""
    return Text(line, style=style, no_wrap=True, overflow="ellipsis")


def _line(cells: Sequence[str]) -> str:
    *numbers, last = cells
    aligned = (cell.rjust(width) for cell, width in zip(numbers, WIDTHS, strict=True))
    return " ".join([*aligned, last])
