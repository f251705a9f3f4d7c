"""Which rows can be measurements: the border that every row of a file crosses before it is read.

A recording may have been written by anybody, or by a recorder with a fault. One row that lasted
for centuries, or that stands for infinitely many, would spoil every sum that it is in. Such a row
is set aside as a whole, counted and told with its file; all others are read.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Protocol

from gnomon import tables

# Twice a time, and the difference of any two, stays within 64 bits: until the year 2116.
LATEST_NS = (1 << 62) - 1
# Nothing is recorded for longer, and hundreds of such rows can be added up within 64 bits.
LONGEST_NS = 400 * 86_400 * 1_000_000_000
MOST_WEIGHT = 1e9
# A recorder may round: a part is wrong where it is longer than its whole by more than this.
SLACK_NS = 1_000_000_000

# Of how many nanoseconds of a row it is known what they were.
PARTS = ("off_cpu_ns", "run_queue_ns", "io_ns", "voluntary_ns")
# Columns that are added up over rows, and are no part of a row's duration.
ADDED_UP = {
    "losses": ("rows",),
    "call_histograms": ("calls", "calls_stored", "total_ns", "bytes", *PARTS),
    "source_health": ("reads", "failures"),
}
# Readings: nothing that is read of a machine, in any unit, is larger. NaN is no reading.
MOST_READ = 1e18
READ = ("gpu_counters", "gpu_processes", "host_samples", "process_samples")
# Tables whose rows say nothing but how long something took.
DURATIONS_ONLY = ("off_cpu",)


@dataclass(frozen=True, slots=True)
class Known:
    """What a file says of a column: its smallest and largest value, and whether it has nulls."""

    smallest: Any
    largest: Any
    has_nulls: bool


class Rule(Protocol):
    """What must be true of a row."""

    @property
    def reason(self) -> str:
        """What is said of a row of which it is not true."""
        ...

    @property
    def columns(self) -> Sequence[str]:
        """What it looks at; a column that is lacking is null."""
        ...

    def is_proven(self, known: Mapping[str, Known | None]) -> bool:
        """Tell whether it is true of all rows of a file; None: nothing is known of a column."""
        ...

    def holds(self, rows: Any) -> Any:
        """Return for each row of a ``pyarrow.Table`` whether it is true."""
        ...


@dataclass(frozen=True, slots=True)
class Range:
    """A value is within bounds. Files tell nothing of NaN."""

    column: str
    low: float
    high: float
    may_be_null: bool = True
    may_be_nan: bool = False

    @property
    def reason(self) -> str:
        return f"{self.column} beyond {self.low:.3g} to {self.high:.3g}" + (
            "" if self.may_be_null else ", or null"
        )

    @property
    def columns(self) -> Sequence[str]:
        return (self.column,)

    def is_proven(self, known: Mapping[str, Known | None]) -> bool:
        one = known[self.column]
        return (
            one is not None
            and (self.may_be_null or not one.has_nulls)
            and (one.smallest is None or self.low <= one.smallest <= one.largest <= self.high)
        )

    def holds(self, rows: Any) -> Any:
        import pyarrow.compute as pc  # noqa: PLC0415

        column = rows.column(self.column)
        is_within = pc.and_(pc.greater_equal(column, self.low), pc.less_equal(column, self.high))
        if self.may_be_nan:
            is_within = pc.or_(is_within, pc.is_nan(column))
        return pc.fill_null(is_within, self.may_be_null)


@dataclass(frozen=True, slots=True)
class StandsFor:
    """All the rows that a sampled one stands for do not last longer than one may."""

    reason = "duration_ns times weight beyond 400 days"
    columns = ("duration_ns", "weight")

    def is_proven(self, known: Mapping[str, Known | None]) -> bool:
        weight = known["weight"]
        return weight is not None and (weight.largest is None or weight.largest <= 1)

    def holds(self, rows: Any) -> Any:
        import pyarrow.compute as pc  # noqa: PLC0415

        durations_ns, weights = (rows.column(name) for name in self.columns)
        whole_ns = pc.multiply(pc.cast(durations_ns, "float64", safe=False), weights)
        return pc.fill_null(pc.less_equal(whole_ns, float(LONGEST_NS)), fill_value=True)


@dataclass(frozen=True, slots=True)
class PartOf:
    """A part of a row's duration is not longer than the whole of it."""

    column: str

    @property
    def reason(self) -> str:
        return f"{self.column} longer than duration_ns"

    @property
    def columns(self) -> Sequence[str]:
        return (self.column, "duration_ns")

    def is_proven(self, known: Mapping[str, Known | None]) -> bool:
        part = known[self.column]
        return part is not None and (part.largest is None or part.largest <= SLACK_NS)

    def holds(self, rows: Any) -> Any:
        import pyarrow.compute as pc  # noqa: PLC0415

        longest_ns = pc.add(rows.column("duration_ns"), SLACK_NS)
        return pc.fill_null(pc.less_equal(rows.column(self.column), longest_ns), fill_value=True)


@cache
def rules(table: str) -> Sequence[Rule]:
    """Return what must be true of every row of a table."""
    names = tables.TABLES[table].column_names
    found: list[Rule] = [
        Range("ts_ns", 1, LATEST_NS, may_be_null=False),
        Range("duration_ns", 0, LONGEST_NS, may_be_null=table not in DURATIONS_ONLY),
        *(Range(name, 0, LONGEST_NS) for name in ADDED_UP.get(table, ())),
    ]
    if table in READ:
        found += [
            Range(one.name, -MOST_READ, MOST_READ, may_be_nan=True)
            for one in tables.TABLES[table].columns
            if one.type == "float64"
        ]
    if "weight" in names:
        # Not 0: a row stands for itself at least in some part.
        found += [Range("weight", 1e-9, MOST_WEIGHT), StandsFor()]
        for name in PARTS:
            if name in names:
                found += [Range(name, 0, LONGEST_NS), PartOf(name)]
    return tuple(found)


@cache
def judged(table: str) -> Any:
    """Return the schema of the columns that the rules of a table look at."""
    wanted = {name for rule in rules(table) for name in rule.columns}
    schema = tables.arrow_schema(table)
    return tables.pick(schema, [name for name in schema.names if name in wanted])


def valid(table: str, rows: Any) -> tuple[Any, Counter[str]]:
    """Return which rows can be measurements, and how many cannot by the first reason of each.

    ``rows``: of schema ``judged``. The first value is None where all of them can be.
    """
    import pyarrow.compute as pc  # noqa: PLC0415

    is_valid, reasons = None, Counter[str]()
    left = rows.num_rows
    rows = rows.combine_chunks()
    known = {name: _known(rows.column(name)) for name in rows.column_names}
    for rule in rules(table):
        if rule.is_proven(known):
            continue
        holds = rule.holds(rows)
        if pc.all(holds).as_py() is not False:
            continue
        is_valid = holds if is_valid is None else pc.and_(is_valid, holds)
        still = pc.sum(is_valid).as_py()
        if still < left:
            reasons[rule.reason] = left - still
        left = still
    return is_valid, reasons


def _known(column: Any) -> Known | None:
    """Return what is known of rows at hand; nothing where a NaN is among them."""
    import pyarrow as pa  # noqa: PLC0415
    import pyarrow.compute as pc  # noqa: PLC0415

    if column.null_count == len(column):
        return Known(None, None, has_nulls=True)
    if pa.types.is_floating(column.type) and pc.any(pc.is_nan(column)).as_py():
        return None
    span = pc.min_max(column).as_py()
    return Known(span["min"], span["max"], has_nulls=column.null_count > 0)


def told(set_aside: Mapping[str, int]) -> str:
    """Return what is said of a file with such rows: ``3 rows set aside: weight beyond ...``."""
    return "; ".join(
        f"{rows:,} row{'' if rows == 1 else 's'} set aside: {reason}"
        for reason, rows in set_aside.items()
    )
