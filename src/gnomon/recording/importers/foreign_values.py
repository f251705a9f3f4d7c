"""Values of files that strangers wrote: taken where they can be what they should be."""

from __future__ import annotations

# 2000 to 2100, and a year: what lies beyond is a number, not a time.
EARLIEST_NS, LATEST_NS = 946_684_800_000_000_000, 4_102_444_800_000_000_000
LONGEST_NS = 366 * 86_400_000_000_000
LARGEST_32 = (1 << 31) - 1


def clean(value: object, longest: int = 1000) -> str | None:
    """Return printable text of limited length, None for what is no text or empty.

    Names come from traced programs: a terminal must not obey them.
    """
    if not isinstance(value, str) or not value:
        return None
    cut = value if len(value) <= longest else value[: longest - 1] + "…"
    return cut if cut.isprintable() else "".join(c if c.isprintable() else " " for c in cut)


def integer(value: object, least: int = 0, most: int = (1 << 63) - 1) -> int | None:
    """Return an integer within bounds, None for anything else."""
    return value if type(value) is int and least <= value <= most else None
