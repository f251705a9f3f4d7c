"""Closed segments with rows that cannot be measurements: what is left of them, in memory.

That is for the few files that somebody else wrote, or a recorder with a fault. What the footer of
a file proves to be in order is left where it is.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

from gnomon import tables
from gnomon.recording._closed import ClosedSegment
from gnomon.recording._conform import conform, unfit
from gnomon.recording._validity import Known, judged, rules, valid
from gnomon.recording.times import cut


class CleanedSegment(ClosedSegment):
    """The rows of a segment that can be measurements; the others are counted by their reason."""

    def __init__(self, segment: ClosedSegment, table: str) -> None:
        """Raises ValueError where no row is left, OSError or ValueError where it is damaged."""
        schema = tables.arrow_schema(table)
        rows = segment.read(None, None, schema)
        is_valid, self.set_aside = valid(table, rows)
        self.rows = rows if is_valid is None else rows.filter(is_valid)
        if self.rows.num_rows == 0:
            raise ValueError(f"none of its rows can be: {', '.join(self.set_aside)}")
        self.path = segment.path
        self.footer = segment.footer
        self.schema = schema
        self.names = tuple(schema.names)
        times = self.rows.column("ts_ns").to_numpy()
        self.first_ns, self.last_ns = int(times.min()), int(times.max())
        self._start_ns = None
        self.is_weighed = True

    @cached_property
    def fragment(self) -> Any:
        import pyarrow.dataset as ds  # noqa: PLC0415

        return ds.InMemoryDataset(self.rows)

    def known(self, from_ns: int | None, to_ns: int | None, schema: Any) -> Any:
        rows = conform(self.rows.select(schema.names), schema)
        return cut(rows, from_ns, to_ns)

    def verify(self) -> None:
        """Do nothing: it has been read."""


def cleaned(segment: ClosedSegment, table: str) -> ClosedSegment:
    """Return a segment as far as its rows can be measurements: itself, if all can be.

    NaN is not looked for: see ``weighed``. Raises as ``CleanedSegment``; ValueError where columns
    are not those of the table.
    """
    if (reason := unfit(segment.schema, table)) is not None:
        raise ValueError(reason)
    if not _has_types_of(segment, table):
        return CleanedSegment(segment, table)
    known = {name: _known(segment, name) for name in judged(table).names}
    if all(rule.is_proven(known) for rule in rules(table)):
        return segment
    return _looked_at(segment, table)


def weighed(segment: ClosedSegment, table: str) -> ClosedSegment:
    """Return a segment without rows whose weight is NaN, which no footer tells."""
    import pyarrow.compute as pc  # noqa: PLC0415

    if segment.is_weighed:
        return segment
    weights = segment.read(None, None, tables.pick(judged(table), ["weight"])).column("weight")
    segment.is_weighed = True
    return _looked_at(segment, table) if pc.any(pc.is_nan(weights)).as_py() else segment


def _looked_at(segment: ClosedSegment, table: str) -> ClosedSegment:
    is_valid, _ = valid(table, segment.read(None, None, judged(table)))
    return segment if is_valid is None else CleanedSegment(segment, table)


def _has_types_of(segment: ClosedSegment, table: str) -> bool:
    return all(
        segment.schema.field(field.name).type.equals(field.type)
        for field in tables.arrow_schema(table)
        if field.name in segment.names
    )


def _known(segment: ClosedSegment, name: str) -> Known | None:
    """Return what the footer says of a column as a whole."""
    if name not in segment.names:
        return Known(None, None, has_nulls=True)
    statistics = segment.statistics(name)
    if not all(one is not None and one.has_null_count for one in statistics):
        return None
    # A row group of nulls alone has neither a smallest nor a largest value.
    spans = [(one.min, one.max) for one in statistics if one.has_min_max]
    if len(spans) < sum(one.num_values > 0 for one in statistics):
        return None
    return Known(
        min((low for low, _ in spans), default=None),
        max((high for _, high in spans), default=None),
        any(one.null_count for one in statistics),
    )
