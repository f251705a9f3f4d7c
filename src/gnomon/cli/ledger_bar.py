"""A loss ledger as text that needs no colour: one stacked bar, then one line a term. Pure.

The terms, their labels and colours are the screen's (``tui/palette.py``); here each part of the
bar has a sign of its own besides, because text ends up in files and pull requests.
"""

from __future__ import annotations

from collections.abc import Mapping

from rich.text import Text

from gnomon.analysis.summary_types import ComputeLedger, MemoryLedger
from gnomon.cli.numbers import pct
from gnomon.tui import bar as apportioning
from gnomon.tui.palette import Term

# Field of the ledger -> its sign in the bar, and the one for terminals without UTF-8.
SIGNS: Mapping[str, tuple[str, str]] = {
    "achieved_pct": ("█", "#"),
    "padding_pct": ("▓", "%"),
    "clock_pct": ("▒", "c"),
    "stalled_pct": ("░", "s"),
    "not_requested_pct": ("░", "s"),
    "sm_empty_pct": ("-", "-"),
    "copying_pct": (">", ">"),
    "idle_pct": ("·", "."),
    "": ("?", "?"),  # the share that was not measured
}
PADDING_UNKNOWN = "needs the model's FLOPs; part of achieved"

Ledger = ComputeLedger | MemoryLedger


def bar(ledger: Ledger, width: int, *, ascii_only: bool = False) -> Text:
    """Return a bar of exactly ``width`` cells, or an empty text where nothing is known.

    Negative terms (a boosted clock, counter noise) take no cells; the rest is then scaled to fit.
    """
    shares = apportioning.shares(ledger)
    text = Text()
    widths = apportioning.cells([value for _, value in shares], width)
    for (term, _), count in zip(shares, widths, strict=True):
        text.append(_sign(term, ascii_only=ascii_only) * count, style=term.colour)
    return text


def lines(ledger: Ledger, *, ascii_only: bool = False) -> list[Text]:
    """Return one line a term: its sign, its name, its share, its meaning."""
    return [_line(ledger, term, ascii_only=ascii_only) for term in apportioning.terms_of(ledger)]


def _sign(term: Term, *, ascii_only: bool) -> str:
    return SIGNS[term.field][1 if ascii_only else 0]


def _line(ledger: Ledger, term: Term, *, ascii_only: bool) -> Text:
    value: float | None = getattr(ledger, term.field)
    text = Text()
    text.append(_sign(term, ascii_only=ascii_only), style=term.colour)
    text.append(f" {term.label:<14}{pct(value):>8}  ")
    text.append(_meaning(ledger, term, value), style="dim")
    return text


def _meaning(ledger: Ledger, term: Term, value: float | None) -> str:
    if value is None:
        return PADDING_UNKNOWN if term.field == "padding_pct" else "not measured"
    if term.field == "clock_pct" and value < 0:
        return "boost: the clock ran above the reference"
    if term.field == "achieved_pct" and isinstance(ledger, ComputeLedger):
        return "work executed" if ledger.padding_pct is None else "the model's own work"
    return term.meaning
