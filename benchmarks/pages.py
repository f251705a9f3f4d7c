"""Tables of a page in docs/measurements, made anew from a run; the prose is for people to write."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

Table = Sequence[Sequence[str]]
"""Rows of cells, the heads first."""


def with_tables(page: str, tables: Mapping[str, Table]) -> str:
    """Return the page with the first table under each heading replaced.

    ``tables``: by the words that the heading begins with. Raises ValueError where one is missing.
    """
    for heading, table in tables.items():
        begin = page.find(f"\n{heading}")
        found = (
            re.compile(r"(?:^\|.*\n)+", re.MULTILINE).search(page, begin) if begin >= 0 else None
        )
        if found is None:
            raise ValueError(f"the page has no table under {heading!r}")
        page = page[: found.start()] + _markdown(table) + page[found.end() :]
    return page


def _markdown(table: Table) -> str:
    lines = [f"| {' | '.join(cells)} |\n" for cells in table]
    return "".join([lines[0], "|-" * len(table[0]) + "|\n", *lines[1:]])


def renew(renewed: Callable[[str, Any], str], usage: str | None) -> int:
    """Put the results (JSON) of the first argument into the page of the second."""
    if len(sys.argv) != 3:
        print(usage)
        return 2
    results, page = (Path(argument) for argument in sys.argv[1:])
    found = json.loads(results.read_text(encoding="utf-8"))
    page.write_text(renewed(page.read_text(encoding="utf-8"), found), encoding="utf-8")
    return 0
