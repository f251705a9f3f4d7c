"""Colours and the terms of both ledgers as they are drawn.

Neighbours in a bar differ in lightness as well as in hue, so that they stay apart for the
colour-blind; every term also carries a letter, so that a bar reads without any colour. What
did work is saturated, what did nothing is grey: the eye finds the loss by itself.
"""

from __future__ import annotations

from dataclasses import dataclass

BACKGROUND = "#12151c"
PANEL = "#1e2430"
TEXT = "#d8dde6"
BRIGHT = "#ffffff"
DIM = "#8b93a3"
FAINT = "#4a5262"
WARNING = "#e8b64c"
ERROR = "#f2776e"

COMPUTE = "#2cb69c"
MEMORY = "#5f9df7"
BUSY = "#a5adbb"
CLOCK = "#e39a2d"
POWER = "#b98be0"


@dataclass(frozen=True, slots=True)
class Term:
    """One term of a ledger: its field, the letter and label it is shown by, and its colours."""

    field: str
    letter: str
    label: str
    meaning: str
    colour: str
    ink: str = "#000000"


COMPUTE_TERMS = (
    Term("achieved_pct", "A", "achieved", "arithmetic that counts towards the peak", COMPUTE),
    Term("padding_pct", "P", "padding", "tensor work that was not the model's", "#1c6f54", BRIGHT),
    Term("clock_pct", "C", "clock", "SM clock below its reference", "#ffc152"),
    Term(
        "stalled_pct",
        "S",
        "stalled",
        "warps are resident, the pipe does not issue",
        "#7d4fb5",
        BRIGHT,
    ),
    Term("sm_empty_pct", "E", "SMs empty", "small grids, tails, gaps between kernels", "#93a3c0"),
    Term("idle_pct", "I", "idle", "nothing ran", "#353d4c", "#c3c9d4"),
    Term("copying_pct", "X", "copying", "only PCIe or NVLink moved data", "#efe06a"),
)
MEMORY_TERMS = (
    Term("achieved_pct", "A", "achieved", "bytes moved to and from DRAM", MEMORY),
    Term("clock_pct", "C", "clock", "memory clock below its maximum", "#ffc152"),
    Term("not_requested_pct", "N", "not requested", "nobody asked for more", "#5b6780", BRIGHT),
    Term("idle_pct", "I", "idle", "nothing ran", "#353d4c", "#c3c9d4"),
)
UNKNOWN = Term("", "?", "not measured", "a term of the ledger is missing", PANEL, DIM)
