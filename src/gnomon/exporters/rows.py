"""Rows in the order in which they began, a part at a time: millions need no memory."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from gnomon.analysis.questions import Span, literal
from gnomon.recording.base import Session

ROWS_AT_ONCE = 50_000

# What a row begins and ends with, and whose it is. Traces know no time before 1970, and imports
# may not know the process's hash.
BEGAN = "greatest(0, ts_ns - coalesce(duration_ns, 0)) AS begin_ns, ts_ns AS end_ns"
PROCESS = "coalesce(process_id, concat_ws('/', pid)) AS process"
PROCESS_OF_HOST = "coalesce(process_id, concat_ws('/', host, pid)) AS process"
ALL_OF_IT = "SELECT * FROM part"

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Chosen:
    """What goes into a trace: rows of a span; of GPUs, and of calls for one, those of one."""

    span: Span
    gpu_uuid: str | None = None

    @property
    def condition(self) -> str:
        """As it stands in a WHERE of a table that knows no GPU."""
        return self.span.condition

    @property
    def gpu_condition(self) -> str:
        """As it stands in a WHERE of a table of GPUs; rows of no GPU are of none of them."""
        return self.condition + self._only("")

    @property
    def call_condition(self) -> str:
        """As it stands in a WHERE of calls; of those of no GPU all are taken."""
        return self.condition + self._only("gpu_uuid IS NULL OR ")

    def _only(self, or_else: str) -> str:
        wanted = self.gpu_uuid
        return "" if wanted is None else f" AND ({or_else}gpu_uuid = {literal(wanted)})"


def by_begin(session: Session, select: str, span: Span, finish: str = ALL_OF_IT) -> Iterator[Row]:
    """Yield the rows of a SELECT by their begins; of those that begin together the longest first.

    ``select`` has the columns begin_ns, end_ns, and depth: of rows with the same times the one
    with the smaller depth comes first. All rows with one begin are in one part, and ``finish`` is
    a SELECT from ``part``. ``span``: where about they lie.
    """
    for from_ns, to_ns in pairwise([None, *edges(session, select, span), None]):
        conditions = ["TRUE"]
        if from_ns is not None:
            # By its end as well, of which files say where it can be.
            conditions += [f"begin_ns >= {from_ns}", f"end_ns >= {from_ns}"]
        if to_ns is not None:
            conditions.append(f"begin_ns < {to_ns}")
        part = f"SELECT * FROM ({select}) WHERE {' AND '.join(conditions)}"
        yield from session.rows(
            f"WITH part AS ({part}) SELECT * FROM ({finish}) ORDER BY begin_ns, end_ns DESC, depth"
        )


def counted(session: Session, select: str) -> int:
    """Return how many rows a SELECT has."""
    (row,) = session.rows(f"SELECT count(*)::BIGINT AS many FROM ({select})")
    return int(row["many"])


def known(row: Row, names: Sequence[str]) -> dict[str, Any]:
    """Return the values of some columns that are not null."""
    return {name: value for name in names if (value := row[name]) is not None}


def edges(session: Session, select: str, span: Span) -> Sequence[int]:
    """Return begins that cut the rows of a SELECT into parts of about ``ROWS_AT_ONCE``."""
    number = math.ceil(counted(session, select) / ROWS_AT_ONCE)
    if number < 2:
        return ()
    shares = [round(place / number, 6) for place in range(1, number)]
    # Counted from the span's begin: as they are, Unix ns are too large for a float.
    (found,) = session.rows(
        f"SELECT approx_quantile(begin_ns - {span.from_ns}, {shares}) AS edges FROM ({select})"
    )
    return sorted({span.from_ns + edge for edge in found["edges"]})
