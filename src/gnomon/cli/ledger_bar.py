"""A loss ledger as text: one stacked bar, then one line a term. Pure; draws on nothing."""

from __future__ import annotations

from dataclasses import dataclass

from rich.text import Text

from gnomon.analysis.summary_types import ComputeLedger, MemoryLedger
from gnomon.cli.numbers import pct


@dataclass(frozen=True, slots=True)
class Term:
    """One term of a ledger: its field, its sign in the bar, its colour, and what it means."""

    field: str
    label: str
    glyph: str
    ascii_glyph: str
    style: str
    meaning: str


COMPUTE_TERMS = (
    Term("achieved_pct", "achieved", "█", "#", "green", "work done"),
    Term("padding_pct", "padding", "▓", "%", "yellow", "tensor work that was not the model's"),
    Term("clock_pct", "clock", "▒", "c", "red", "SM clock below the reference"),
    Term("stalled_pct", "stalled", "░", "s", "magenta", "SMs hold warps that do not issue"),
    Term("sm_empty_pct", "sm_empty", "-", "-", "cyan", "small grids, gaps, tails"),
    Term("copying_pct", "copying", ">", ">", "blue", "only PCIe or NVLink at work"),
    Term("idle_pct", "idle", "·", ".", "bright_black", "nothing ran"),
)
MEMORY_TERMS = (
    Term("achieved_pct", "achieved", "█", "#", "green", "bytes moved"),
    Term("clock_pct", "clock", "▒", "c", "red", "memory clock below its maximum"),
    Term("not_requested_pct", "not_requested", "░", "s", "cyan", "nobody asked for more"),
    Term("idle_pct", "idle", "·", ".", "bright_black", "nothing ran"),
)


def terms_of(ledger: ComputeLedger | MemoryLedger) -> tuple[Term, ...]:
    return COMPUTE_TERMS if isinstance(ledger, ComputeLedger) else MEMORY_TERMS


def bar(ledger: ComputeLedger | MemoryLedger, width: int, *, ascii_only: bool = False) -> Text:
    """Return a bar of exactly ``width`` cells, or an empty text where nothing is known.

    Negative terms (a boosted clock, counter noise) take no cells; the rest is then scaled to fit.
    """
    known = [
        (term, value)
        for term in terms_of(ledger)
        if (value := getattr(ledger, term.field)) is not None and value > 0
    ]
    total = sum(value for _, value in known)
    text = Text()
    if not total:
        return text
    drawn, reached = 0, 0.0
    for term, value in known:
        reached += value
        # Rounding the running sum, not each term, makes the cells add up to the width.
        end = round(reached / total * width)
        glyph = term.ascii_glyph if ascii_only else term.glyph
        text.append(glyph * (end - drawn), style=term.style)
        drawn = end
    return text


def lines(ledger: ComputeLedger | MemoryLedger, *, ascii_only: bool = False) -> list[Text]:
    """Return one line a term: its sign, its name, its share, its meaning."""
    return [_line(ledger, term, ascii_only=ascii_only) for term in terms_of(ledger)]


def _line(ledger: ComputeLedger | MemoryLedger, term: Term, *, ascii_only: bool) -> Text:
    value: float | None = getattr(ledger, term.field)
    text = Text()
    text.append(term.ascii_glyph if ascii_only else term.glyph, style=term.style)
    text.append(f" {term.label:<14}{pct(value):>8}  ")
    if value is None:
        meaning = "not known"
    elif term.field == "clock_pct" and value < 0:
        meaning = "boost: the clock ran above the reference"
    else:
        meaning = term.meaning
    text.append(meaning, style="dim")
    return text
