"""Steps and ranges of a GPU, for a terminal; nothing here computes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.text import Text

from gnomon.analysis.gpu_step_types import GpuSteps, RangeParts, RepeatedCopy
from gnomon.analysis.summary_types import ComputeLedger
from gnomon.cli.kernel_gaps_text import plain, row
from gnomon.cli.numbers import UNKNOWN, duration, pct, scaled
from gnomon.cli.trace_table import short

HEADINGS = ("count", "p50", "p95", "compute", "comm", "copy", "host", "SOL", "DRAM")
WIDTHS = (6, 7, 7, 7, 5, 5, 5, 5, 5)
LEGEND = (
    "compute: a compute kernel ran; comm: a collective with no such kernel beside it; copy: one "
    "with no kernel beside it; host: nothing ran; the four are 100 %"
)
MOST_RANGES, MOST_COPIES, MOST_FAMILIES, MOST_STREAMS = 15, 5, 6, 8


def lines(one: GpuSteps) -> Iterator[Text]:
    """Say of a GPU its steps, its ranges, and what it does again and again."""
    yield Text(one.mig_uuid or one.gpu_uuid, style="bold")
    windows = "1 window" if one.windows == 1 else f"{one.windows:,} windows"
    yield Text(f"{duration(one.known_ns)} in {windows}", style="dim")
    if one.dropped:
        lost = f"{one.dropped:,} records were lost there: what they were counts as the host's"
        yield Text(lost, style="yellow")
    if one.steps is None:
        yield Text(f"no steps: {one.confidence_reason}")
    else:
        sure = f"steps by {one.basis}, confidence {one.confidence:.2f}: {one.confidence_reason}"
        yield Text(plain(sure))
    named = [part for part in one.ranges if one.steps is None or part.name != one.steps.name]
    shown = [*([one.steps] if one.steps else []), *named[:MOST_RANGES]]
    if shown:
        yield row(_line([*HEADINGS, "range"]), "bold")
        yield from (row(_line(_cells(part))) for part in shown)
        if len(named) > MOST_RANGES:
            yield Text(f"and {len(named) - MOST_RANGES:,} more (--json)", style="dim")
        yield Text(LEGEND, style="dim")
    if one.steps is not None:
        yield from _of_steps(one.steps)
    yield from (Text(_copy(copy)) for copy in one.repeated_copies[:MOST_COPIES])
    if one.streams_never_overlap:
        yield Text(f"{len(one.streams):,} streams have kernels, and no two ever ran at once")
    elif len(one.streams) > 1:
        yield Text(_streams(one))


def _of_steps(steps: RangeParts) -> Iterator[Text]:
    families = [
        f"{name} {pct(100 * ns / steps.total_ns)}"
        for name, ns in list(steps.families.items())[:MOST_FAMILIES]
    ]
    yield Text(f"in a step: {', '.join(families) or 'no kernel'}")
    hidden = (
        ("collectives", steps.collectives_overlapped_ns),
        ("copies", steps.copies_overlapped_ns),
    )
    told = [f"{name} {pct(100 * ns / steps.total_ns)}" for name, ns in hidden if ns]
    if told:
        yield Text(f"overlapped: {', '.join(told)}")
    if steps.counters is None:
        yield Text(f"no speed of light: {steps.no_counters}", style="dim")
    elif steps.counters.ledger is None:
        yield Text(f"no ledger: {steps.counters.no_ledger}", style="dim")
    else:
        yield Text(f"{steps.counters.pipe}: {_terms(steps.counters.ledger)}")


def _terms(ledger: ComputeLedger) -> str:
    terms = (
        ("achieved", ledger.achieved_pct),
        ("clock", ledger.clock_pct),
        ("stalled", ledger.stalled_pct),
        ("SMs empty", ledger.sm_empty_pct),
        ("copying", ledger.copying_pct),
        ("idle", ledger.idle_pct),
    )
    return ", ".join(f"{name} {pct(value)}" for name, value in terms)


def _copy(one: RepeatedCopy) -> str:
    return (
        f"every step: {one.per_step:.1f} x {scaled(one.bytes, 'B')} {plain(one.kind)}, "
        f"{short(one.total_ns)} in sum, {short(one.exposed_ns)} of it exposed"
    )


def _streams(one: GpuSteps) -> str:
    told = ", ".join(
        f"{stream.stream_id} {pct(100 * stream.overlapped_ns / max(stream.time_ns, 1))}"
        for stream in one.streams[:MOST_STREAMS]
    )
    return f"streams, and how much of their kernels others overlap: {told}"


def _cells(part: RangeParts) -> Sequence[str]:
    counters = part.counters
    shares = (
        part.compute_ns,
        part.collectives_exposed_ns,
        part.copies_exposed_ns,
        part.host_ns,
    )
    return (
        f"{part.count:,}",
        short(part.p50_ns),
        short(part.p95_ns),
        *(_whole_pct(100 * ns / part.total_ns) for ns in shares),
        _whole_pct(None if counters is None else counters.compute_sol_pct),
        _whole_pct(None if counters is None else counters.memory_sol_pct),
        plain(part.name),
    )


def _whole_pct(value: float | None) -> str:
    if value is None:
        return UNKNOWN
    return "<1 %" if 0 < value < 0.5 else f"{value:.0f} %"


def _line(cells: Sequence[str]) -> str:
    *numbers, last = cells
    aligned = (cell.rjust(width) for cell, width in zip(numbers, WIDTHS, strict=True))
    return " ".join([*aligned, last])
