"""Ingero's counts a minute, as rows of ``call_histograms``, held against the rows stored."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from gnomon.recording.importers.foreign_values import EARLIEST_NS, LATEST_NS, LONGEST_NS, integer
from gnomon.recording.importers.ingero_codes import CALLS, HOST, operation_of
from gnomon.recording.importers.ingero_file import IS_READABLE, LARGEST_ID, IngeroFile
from gnomon.recording.importers.ingero_rows import Row
from gnomon.recording.importers.ingero_survey import Survey

MINUTE_NS = 60_000_000_000
COUNTS = ("count", "stored", "sum_dur", "min_dur", "max_dur", "sum_arg0")


@dataclass(slots=True)
class Totals:
    """What the aggregates of one operation say, and how many rows there are of it.

    ``missing_rows`` were stored once and are not there; ``surplus_rows`` are there though the
    aggregates say that they were not stored; ``minutes`` hold the latter.
    """

    missing_rows: int = 0
    missing_minutes: int = 0
    surplus_rows: int = 0
    surplus_minutes: int = 0

    def add(self, stored: int, calls: int, rows: int) -> None:
        said = min(stored, calls)
        if rows > said:
            self.surplus_rows += rows - said
            self.surplus_minutes += 1
        elif stored > rows:
            self.missing_rows += stored - rows
            self.missing_minutes += 1

    def contradictions(self, operation: str) -> Iterator[str]:
        if self.surplus_rows:
            yield (
                f"aggregates below rows: {operation} has {self.surplus_rows:,} more rows than its "
                f"aggregates count, in {self.surplus_minutes:,} minutes: those counts are too low"
            )
        if self.missing_rows:
            yield (
                f"stored above rows: of {operation} {self.missing_rows:,} rows are said to be "
                f"stored and are not, in {self.missing_minutes:,} minutes: they were lost or pruned"
            )


def histogram_rows(
    file: IngeroFile, found: Survey, totals: dict[str, Totals]
) -> Iterator[Row | None]:
    """Yield one row an aggregate, None for an unreadable one; ``totals`` has one an operation.

    Only minutes are read: the aggregates of 5 s count the same calls again.
    """
    names = {"bucket", "source", "op", "pid", *COUNTS}
    if not names <= file.columns("event_aggregates"):
        return
    query = (
        f"SELECT a.bucket, a.source, a.op, a.pid, {', '.join(f'a.{name}' for name in COUNTS)}, "  # noqa: S608
        "coalesce(e.n, 0) FROM event_aggregates a LEFT JOIN ("
        f"SELECT timestamp - timestamp % {MINUTE_NS} AS b, source AS s, op AS o, pid AS p, "
        f"count(*) AS n FROM events WHERE {IS_READABLE} GROUP BY 1, 2, 3, 4) e "
        "ON e.b = a.bucket AND e.s = a.source AND e.o = a.op AND e.p = a.pid"
    )
    for bucket, source, op, pid, *counts, rows in file.rows(query):
        named = operation_of(source, op)
        numbers = [integer(value) for value in counts]
        if (
            named is None
            or None in numbers
            or integer(bucket, EARLIEST_NS, LATEST_NS) is None
            or integer(pid, 0, LARGEST_ID) is None
        ):
            yield None
            continue
        layer, operation = named
        calls, stored, total_ns, shortest_ns, longest_ns, argument = (int(n or 0) for n in numbers)
        totals.setdefault(operation, Totals()).add(stored, calls, rows)
        call = CALLS.get((source, op))
        unit = call.bytes_per_unit if call is not None and call.bytes_in == 0 else None
        if operation == "mm_page_alloc":
            unit = 1
        yield {
            "ts_ns": bucket + MINUTE_NS,
            "duration_ns": MINUTE_NS,
            **_who(found, source, pid),
            "layer": layer.value,
            "operation": operation,
            "shortest_ns": min(shortest_ns, LONGEST_NS),
            "longest_ns": min(longest_ns, LONGEST_NS),
            "calls": calls,
            "calls_stored": stored,
            "total_ns": total_ns,
            "bytes": None if unit is None else min(argument * unit, (1 << 63) - 1),
        }


def _who(found: Survey, source: int, pid: int) -> Row:
    """Return whose calls were counted: the kernel's rows hold a thread where others have a pid."""
    if source != HOST:
        return {"pid": pid}
    one = found.threads.get(("", pid))
    return {"tid": pid, "pid": None if one is None else one.pid}
