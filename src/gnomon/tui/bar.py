"""Stacked bars: a ledger as cells that sum exactly to the width. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text

from gnomon.analysis.summary_types import ComputeLedger, MemoryLedger
from gnomon.tui import palette
from gnomon.tui.figures import pct
from gnomon.tui.palette import Term

Share = tuple[Term, float]
HATCH = "╱"  # noqa: RUF001  a diagonal, not a slash: it joins into hatching


def terms_of(ledger: ComputeLedger | MemoryLedger) -> tuple[Term, ...]:
    is_compute = isinstance(ledger, ComputeLedger)
    return palette.COMPUTE_TERMS if is_compute else palette.MEMORY_TERMS


def shares(ledger: ComputeLedger | MemoryLedger) -> list[Share]:
    """Return the known terms with their percent, in drawing order; empty where none is known.

    Negative terms (a boosted clock, counter noise) are told in the legend and take no part of
    the bar. What the known terms leave of 100 is a share of its own, "not measured".
    """
    known = [
        (term, float(value))
        for term in terms_of(ledger)
        if (value := getattr(ledger, term.field)) is not None
    ]
    if not known:
        return []
    missing = 100.0 - sum(value for _, value in known)
    drawn = [(term, value) for term, value in known if value > 0]
    return [*drawn, (palette.UNKNOWN, missing)] if missing > 0.05 else drawn


def cells(values: Sequence[float], width: int) -> list[int]:
    """Apportion ``width`` cells to non-negative values by largest remainder.

    The result sums to ``width`` exactly, and each part is within one cell of its exact share.
    Without any positive value all parts are 0.
    """
    total = sum(values)
    if total <= 0:
        return [0] * len(values)
    exact = [value / total * width for value in values]
    whole = [int(share) for share in exact]
    by_remainder = sorted(range(len(values)), key=lambda at: whole[at] - exact[at])
    for at in by_remainder[: width - sum(whole)]:
        whole[at] += 1
    return whole


def stacked(ledger: ComputeLedger | MemoryLedger, width: int) -> Text:
    """Draw a ledger as one bar of exactly ``width`` cells."""
    parts = shares(ledger)
    if not any(value > 0 for _, value in parts):
        return Text("not measured".center(width, "·")[:width], style=palette.FAINT)
    text = Text()
    widths = cells([value for _, value in parts], width)
    for (term, value), count in zip(parts, widths, strict=True):
        text.append(_label(term, value, count), style=f"{term.ink} on {term.colour}")
    return text


def _label(term: Term, value: float, count: int) -> str:
    """The letter leads each part, its number follows where there is room."""
    full = f"{term.letter} {pct(value, 0)}"
    short = full if count > len(full) else term.letter
    return short.ljust(count)[:count]


def busy(value: float | None, width: int) -> Text:
    """Draw "busy" as hatching: a share of time, not of the peak, and it looks the part."""
    if value is None:
        return Text("not measured".center(width, "·")[:width], style=palette.FAINT)
    full = cells([min(max(value, 0.0), 100.0), 100.0 - min(max(value, 0.0), 100.0)], width)[0]
    text = Text(HATCH * full, style=palette.BUSY)
    text.append("·" * (width - full), style=palette.FAINT)
    return text


def legend(ledger: ComputeLedger | MemoryLedger, width: int) -> Text:
    """Name every part with its number on one line, shorter where the width asks for it."""
    known = [
        (term, value)
        for term in terms_of(ledger)
        if (value := getattr(ledger, term.field)) is not None
    ]
    seen = [(term, value) for term, value in known if abs(value) >= 0.05]
    for parts, digits in ((known, 1), (seen, 1), (seen, 0)):
        text = _legend(parts, digits)
        if text.cell_len <= width:
            return text
    text.truncate(width, overflow="ellipsis")
    return text


def _legend(parts: Sequence[Share], digits: int) -> Text:
    text = Text()
    for term, value in parts:
        text.append(term.letter, style=f"{term.ink} on {term.colour}")
        label = "boost" if term.field == "clock_pct" and value < -0.05 else term.label
        text.append(f" {label} ", style=palette.DIM)
        shown = -value if label == "boost" else value
        text.append(f"{pct(shown, digits)}", style=palette.TEXT)
        text.append("  ")
    text.rstrip()
    return text
